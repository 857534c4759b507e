//! Steps of a real Slurm: `srun usnea run`, and `srun --container` with the packaged oci.conf.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::slurm_cluster::Cluster;
use crate::support::{Ran, text};

const OCI: &str = "oci.conf";

/// A script that nothing but KILL ends, and that says `ready`.
fn stubborn(mark: &str) -> String {
    format!("trap '' TERM INT HUP; echo ready; while :; do sleep {mark}; done")
}

impl Cluster {
    /// A bundle that names an image, with options of `usnea run`. Its path.
    fn bundle(&self, name: &str, image: &str, options: &[&str]) -> String {
        let path = self.stocked.place.path(name);
        let words = [&["slurm", "bundle", image, text(&path), "--"], options].concat();
        assert_eq!(self.stocked.usnea(&words).works(), "");
        text(&path).to_owned()
    }

    /// A bundle with the small root.
    fn root_bundle(&self) -> String {
        let place = &self.stocked.place;
        let path = place.folder("bundle");
        crate::small_root::make(&path.join("rootfs"));
        let words = ["oci", "spec", "--rootless", "--bundle", text(&path)];
        self.stocked.usnea(&words).works();
        text(&path).to_owned()
    }

    /// `srun --container=BUNDLE WORDS`
    fn contained(&self, bundle: &str, words: &[&str]) -> Ran {
        let container = format!("--container={bundle}");
        self.srun(&[&[container.as_str()], words].concat())
    }
}

#[test]
fn usnea_run_is_a_task_with_the_variables_streams_and_status_of_the_step() {
    let Some(cluster) = Cluster::new(OCI) else { return };
    let image = cluster.stocked.place.image();
    let run = ["-N2", "--ntasks-per-node=2", "usnea", "run", "--rm", "--userns", "keep-id"];
    let run = [&run[..], &["-e", "SLURM_PROCID", "-e", "SLURMD_NODENAME", &image]].concat();
    let script = "echo $SLURM_PROCID $SLURMD_NODENAME $(id -u); exit $SLURM_PROCID";
    let ran = cluster.srun(&[&run[..], &["sh", "-c", script]].concat());
    let user = cluster.stocked.other("id", &["-u"]);
    let wanted: BTreeSet<String> = [(0, "n1"), (1, "n1"), (2, "n2"), (3, "n2")]
        .map(|(rank, node)| format!("{rank} {node} {}", user.works()))
        .into();
    // The status of a step is the greatest of its tasks.
    let said: BTreeSet<String> = ran.exits(3).lines().map(str::to_owned).collect();
    assert_eq!(said, wanted, "{ran:?}");
    cluster.no_step_is_left(&image);
}

#[test]
fn ranks_of_a_node_are_in_one_container_with_hpc() {
    let Some(cluster) = Cluster::new(OCI) else { return };
    let image = cluster.stocked.place.image();
    // The folder of the step is the container's too: no rank ends before all are in.
    let script = "touch in.$SLURM_PROCID; i=0; \
                  until test -e in.0 -a -e in.1 -a -e in.2 || test $i -gt 1000; do sleep 0.05; i=$((i+1)); done; \
                  echo $SLURM_PROCID $(id -u) $(readlink /proc/self/ns/user) $(readlink /proc/self/ns/mnt)";
    let run = ["-N1", "-n3", "usnea", "run", "--hpc", &image, "sh", "-c", script];
    let ran = cluster.srun(&run);
    let mut said: Vec<&str> = ran.works().lines().collect();
    said.sort_unstable();
    let ranks: Vec<&str> = said.iter().filter_map(|line| Some(line.split_once(' ')?.0)).collect();
    let rest: BTreeSet<&str> =
        said.iter().filter_map(|line| Some(line.split_once(' ')?.1)).collect();
    assert_eq!((ranks, rest.len()), (vec!["0", "1", "2"], 1), "{ran:?}");
    let user = cluster.stocked.other("id", &["-u"]);
    assert!(
        rest.iter().all(|line| line.starts_with(&format!("{} user:", user.works()))),
        "{ran:?}"
    );
    cluster.no_step_is_left(&image);
}

#[test]
fn fifty_tasks_start_at_once() {
    let Some(cluster) = Cluster::new(OCI) else { return };
    let image = cluster.stocked.place.image();
    let run = ["-N2", "-n50", "usnea", "run", "--rm", "-e", "SLURM_PROCID", &image];
    let ran = cluster.srun(&[&run[..], &["sh", "-c", "echo $SLURM_PROCID"]].concat());
    let mut said: Vec<u32> = ran.works().lines().filter_map(|line| line.parse().ok()).collect();
    said.sort_unstable();
    assert_eq!((said, ran.stderr.as_str()), ((0..50).collect(), ""));
    cluster.no_step_is_left(&image);
}

#[test]
fn a_bundle_of_one_file_runs_its_image() {
    let Some(cluster) = Cluster::new(OCI) else { return };
    let place = &cluster.stocked.place;
    let root = place.small_root();
    let archive = place.path("root.tar");
    cluster.stocked.other("tar", &["-C", text(&root), "-cf", text(&archive), "."]).works();
    cluster.stocked.usnea(&["import", text(&archive), "localhost/step"]).works();
    let file = place.path("step.sqsh");
    let save = ["save", "-q", "--format", "squashfs", "-o", text(&file), "localhost/step"];
    cluster.stocked.usnea(&save).works();
    for (name, image, options) in
        [("stored", "localhost/step", &["--pull", "never"][..]), ("file", text(&file), &[])]
    {
        let bundle = cluster.bundle(name, image, options);
        let files: Vec<_> = std::fs::read_dir(&bundle).expect("the bundle").flatten().collect();
        assert_eq!(files.len(), 1, "{files:?}");
        // Words of all kinds reach the command as they were typed.
        let odd =
            ["a b", "it's", "\"$HOME\"", "$(id)", "\\", "", "*", "\u{e9}", "line\nfeed", "-x"];
        let ran = cluster.contained(&bundle, &[&["printf", "[%s]"], &odd[..]].concat());
        let wanted: String = odd.iter().map(|word| format!("[{word}]")).collect();
        assert_eq!((ran.status, ran.stdout, ran.stderr.as_str()), (0, wanted, ""));
        let script = "echo $SLURM_JOB_ID $PATH; cat; echo error >&2; exit 7";
        let mut command =
            cluster.command("srun", &[&format!("--container={bundle}"), "sh", "-c", script]);
        let ran = crate::support::finish(command.env("SPACES", "a  b"), "input\n");
        assert_eq!(ran.status, 7, "{ran:?}");
        let (first, rest) = ran.stdout.split_once('\n').expect("two lines");
        assert!(first.split(' ').next().is_some_and(|id| id.parse::<u32>().is_ok()), "{ran:?}");
        // PATH is the container's: the host's has the folder of the test.
        assert!(!first.contains(text(&place.path("bin"))), "{ran:?}");
        assert_eq!(rest, "input\n");
        assert!(ran.stderr.lines().any(|line| line == "error"), "{ran:?}");
    }
    cluster.no_step_is_left("oci-job");
}

#[test]
fn a_bundle_takes_options_of_run() {
    let Some(cluster) = Cluster::new(OCI) else { return };
    let place = &cluster.stocked.place;
    let scratch = place.folder("scratch");
    let volume = format!("{}:/scratch", text(&scratch));
    let options = ["--userns", "keep-id", "-v", &volume, "-w", "/scratch"];
    let bundle = cluster.bundle("b", &place.image(), &options);
    let ran = cluster.contained(&bundle, &["sh", "-c", "id -u > who; pwd"]);
    assert_eq!(ran.works(), "/scratch");
    let user = cluster.stocked.other("id", &["-u"]);
    assert_eq!(place.read("scratch/who").trim(), user.works());
    let again = ["slurm", "bundle", "debian:12", &bundle];
    cluster.stocked.usnea(&again).fails_with(125, &["config.json", "file exists"]);
    let wrong = ["slurm", "bundle", "debian:12", "new", "--", "--nope"];
    cluster.stocked.usnea(&wrong).fails_with(125, &["options of the bundle", "--nope"]);
    assert!(!place.path("new").exists());
    cluster.no_step_is_left("oci-job");
}

#[test]
fn a_missing_image_is_one_line_of_the_step() {
    let Some(cluster) = Cluster::new(OCI) else { return };
    let bundle = cluster.bundle("b", "localhost/nope", &["--pull", "never"]);
    let ran = cluster.contained(&bundle, &["true"]);
    assert_ne!(ran.status, 0, "{ran:?}");
    let ours: Vec<_> = ran.stderr.lines().filter(|line| line.starts_with("usnea: ")).collect();
    assert!(matches!(ours[..], [line] if line.contains("localhost/nope")), "{ran:?}");
    cluster.no_step_is_left("oci-job");
}

#[test]
fn a_bundle_with_a_root_directory_runs_and_leaves_no_state() {
    let Some(cluster) = Cluster::new(OCI) else { return };
    let bundle = cluster.root_bundle();
    let ran = cluster.contained(&bundle, &["sh", "-c", "echo $SLURM_JOB_ID; id -u"]);
    let lines: Vec<_> = ran.works().lines().collect();
    assert!(matches!(lines[..], [job, "0"] if job.parse::<u32>().is_ok()), "{ran:?}");
    assert_eq!(cluster.contained(&bundle, &["sh", "-c", "exit 5"]).status, 5);
    // The clean-up of Slurm names task -1.
    let oci = |words: &[&str]| {
        let mut command = cluster.command("usnea-oci", words);
        crate::support::finish(&mut command, "")
    };
    assert_eq!(oci(&["delete", "--force", "n1.user.5.0.-1"]).works(), "");
    let state = oci(&["state", "n1.user.5.0.-1"]);
    assert_eq!((state.status, state.stdout.as_str()), (1, ""));
    cluster.no_step_is_left("oci-job");
}

#[test]
fn nothing_is_left_of_cancelled_steps_that_ignore_every_signal() {
    let Some(cluster) = Cluster::new(OCI) else { return };
    let image = cluster.stocked.place.image();
    let script = stubborn("471101");
    cluster.cancel_when_ready(&["usnea", "run", "--rm", &image, "sh", "-c", &script]);
    cluster.no_step_is_left("471101");
    let script = stubborn("471102");
    let bundle = format!("--container={}", cluster.bundle("b", &image, &[]));
    cluster.cancel_when_ready(&[&bundle, "sh", "-c", &script]);
    cluster.no_step_is_left("471102");
    let script = stubborn("471103");
    let bundle = format!("--container={}", cluster.root_bundle());
    cluster.cancel_when_ready(&[&bundle, "sh", "-c", &script]);
    cluster.no_step_is_left("471103");
}

#[test]
fn the_socket_of_a_process_manager_keeps_its_number() {
    let Some(cluster) = Cluster::new(OCI) else { return };
    let image = cluster.stocked.place.image();
    // Slurm 22.05 sets PMI_FD for a task alone, not in config.json.
    let script = "exec usnea run --rm --preserve-fd $PMI_FD -e PMI_FD -e PMI_RANK \"$@\"";
    let inside = "test -S /proc/self/fd/$PMI_FD && echo $PMI_RANK";
    let words = ["--mpi=pmi2", "-n2", "sh", "-c", script, "sh", &image, "sh", "-c", inside];
    let ran = cluster.srun(&words);
    let ranks: BTreeSet<_> = ran.works().lines().collect();
    assert_eq!(ranks, BTreeSet::from(["0", "1"]), "{ran:?}");
    let set = |bundle: &str| {
        let path = std::path::Path::new(bundle).join("config.json");
        let mut config: Value =
            serde_json::from_slice(&std::fs::read(&path).expect("a config")).expect("JSON");
        config["process"]["env"] = serde_json::json!(["PATH=/bin", "PMI_FD=15"]);
        let inside = "test -S /proc/self/fd/$PMI_FD; echo $?; ls /proc/self/fd | wc -w";
        config["process"]["args"] = serde_json::json!(["sh", "-c", inside]);
        std::fs::write(path, config.to_string()).expect("a config");
    };
    for bundle in [cluster.bundle("b", &image, &[]), cluster.root_bundle()] {
        set(&bundle);
        // Another descriptor, 14, is not passed on. Beside 0 to 2, the command has 15 and that of ls.
        let script = "exec python3 -c 'import os, socket, sys\n\
             end, other = socket.socketpair()\n\
             os.dup2(end.fileno(), 14)\nos.dup2(end.fileno(), 15)\n\
             os.execvp(\"usnea-oci\", [\"usnea-oci\", \"run\", \"-b\", sys.argv[1], \"c\"])' \"$0\"";
        let ran = cluster.slurm("sh", &["-c", script, &bundle]);
        assert_eq!(ran.works(), "0\n5", "{ran:?}");
    }
    cluster.no_step_is_left("oci-job");
}

#[test]
fn packaged_files_have_a_comment_for_each_line() {
    for name in ["oci.conf", "oci-wrapper.conf"] {
        let path = crate::support::source().join("packaging/slurm").join(name);
        let file = std::fs::read_to_string(path).expect("the packaged file");
        let mut before = "";
        for line in file.lines() {
            let is_setting = !line.is_empty() && !line.starts_with('#');
            assert!(
                !is_setting || before.starts_with('#') || before.starts_with("RunTime"),
                "{line}"
            );
            // The first word behind the variables: without exec, the shell would get the signals.
            let run = line.strip_prefix("RunTimeRun=\"HOME=~%u ");
            assert!(run.is_none_or(|rest| rest.starts_with("exec usnea")), "{line}");
            before = line;
        }
        assert!(file.contains("RunTimeRun="));
    }
}

#[test]
fn an_image_bundle_has_no_state_of_its_own() {
    let bundle = crate::bundle::Bundle::new("true");
    bundle.change(|config| {
        config["annotations"] = serde_json::json!({ "usnea.image": "host:true" });
        config["mounts"] = Value::Array(Vec::new());
        config["process"]["args"] = serde_json::json!(["true"]);
    });
    bundle.oci(&["create", "c"]).fails_with(1, &["usnea.image"]);
    bundle.oci(&["run", "--detach", "c"]).fails_with(1, &["--detach", "usnea.image"]);
    assert_eq!(bundle.oci(&["run", "c"]).works(), "");
    bundle.change(|config| config["annotations"]["usnea.options"] = "[1]".into());
    bundle.oci(&["run", "c"]).fails_with(1, &["config.json: annotations.usnea.options"]);
    bundle.has_no_state();
}
