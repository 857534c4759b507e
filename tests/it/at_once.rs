//! Many tasks of a job on one node: containers that start at once, and limits of the job, which are the command's.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::Duration;

use crate::slurm_cluster::Cluster;
use crate::support::{Place, Ran, Started, binary, finish, text, within};

/// Number of containers that live at once.
const MANY: usize = 500;
/// Time for them to start, and to end.
const LIMIT: Duration = Duration::from_secs(300);

/// Starts containers in the background of one shell. Each makes a file in `/up`, and ends after a line of the pipe
/// `/up/gate`.
fn live_at_once(options: &[&str], count: usize) {
    let place = Place::new();
    let up = place.folder("up");
    let runtime = place.folder("runtime");
    std::fs::set_permissions(&runtime, std::fs::Permissions::from_mode(0o700)).expect("a folder");
    let gate = up.join("gate");
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mkfifoat(rustix::fs::CWD, &gate, mode).expect("a pipe");
    let volume = format!("{}:/up", text(&up));
    let image = place.image();
    let task = "echo > /up/$0; read line < /up/gate";
    let script = format!(
        "for i in $(seq {count}); do \"$@\" sh -c '{task}' $i & all=\"$all $!\"; done\n\
         for one in $all; do wait $one || echo status $?; done"
    );
    let usnea = binary();
    let run = [&["-c", &script, "sh", text(&usnea), "run", "-v", &volume], options, &[&image]];
    let mut command = Command::new("sh");
    place.prepare(command.args(run.concat()));
    let shell = Started::new(command.env("XDG_RUNTIME_DIR", &runtime), "");
    let files = || std::fs::read_dir(&up).expect("the folder").count() - 1;
    let are_up = within(LIMIT, || files() == count);
    // Open until the end: some of them may not have opened the pipe yet.
    let mut writer =
        std::fs::OpenOptions::new().read(true).write(true).open(&gate).expect("a pipe");
    writer.write_all(&vec![b'\n'; count]).expect("lines");
    let ran = shell.end();
    assert!(are_up, "{} of {count} were up: {ran:?}", files());
    assert_eq!((ran.works(), ran.stderr.as_str()), ("", ""));
    place.nothing_is_left();
}

#[test]
fn five_hundred_containers_live_at_once() {
    live_at_once(&["--rm", "--network", "none"], MANY);
}

#[test]
fn a_hundred_ranks_live_at_once_in_one_container() {
    live_at_once(&["--hpc", "--join=many"], 100);
}

#[test]
fn the_jobs_of_an_array_run_at_once() {
    let Some(cluster) = Cluster::new("oci.conf") else { return };
    let image = cluster.stocked.place.image();
    let task = "echo $SLURM_ARRAY_TASK_ID";
    let script = format!("usnea run --rm --network none -e 'SLURM_*' {image} sh -c '{task}'");
    let output = cluster.stocked.place.path("task-%a");
    let output = format!("--output={}", text(&output));
    let words = ["--wait", "--array=0-39", "--quiet", &output, "--wrap", &script];
    cluster.slurm("sbatch", &words).works();
    for number in 0..40 {
        let said = cluster.stocked.place.read(&format!("task-{number}"));
        assert_eq!(said, format!("{number}\n"));
    }
    cluster.no_step_is_left(&image);
}

/// Prints the limits and the processors of a process.
const SHOW: &str = "grep -e memory -e processes -e 'address space' -e stack /proc/self/limits; \
                    grep -e Cpus_allowed_list -e Mems_allowed_list /proc/self/status";

/// Runs `words SHOW` with limits, on one processor.
fn limited(place: &Place, processor: &str, memory: &str, words: &[&str]) -> Ran {
    let script = format!(
        "ulimit -v {memory}; ulimit -l 48; ulimit -u 4000; ulimit -s 4096; \
         exec taskset -c {processor} \"$@\""
    );
    let mut command = Command::new("bash");
    command.args(["-c", &script, "bash"]).args(words).args(["sh", "-c", SHOW]);
    place.prepare(&mut command);
    finish(command.env("XDG_RUNTIME_DIR", place.path("runtime")), "")
}

#[test]
fn limits_and_processors_of_a_job_are_those_of_its_commands() {
    let place = Place::new();
    let runtime = place.folder("runtime");
    std::fs::set_permissions(&runtime, std::fs::Permissions::from_mode(0o700)).expect("a folder");
    let allowed = finish(Command::new("nproc").arg("--all"), "");
    let last = (allowed.works().parse::<u32>().expect("a number") - 1).to_string();
    let (image, usnea) = ("host:sh,grep,sleep,test", binary());
    let run = |options: &[&'static str]| [&[text(&usnea), "run"], options, &[image]].concat();
    for options in [&["--rm"][..], &["--hpc"], &["--rm", "--ulimit", "host"]] {
        let plain = limited(&place, &last, "8000000", &[]);
        let ours = limited(&place, &last, "8000000", &run(options));
        assert_eq!(ours.works(), plain.works(), "{options:?}");
    }
    // Ranks of one container, which have limits of their own each. The first one made the container.
    let mut words = run(&["--rm", "--join=a"]);
    words.extend(["sh", "-c", "echo up; until test -e /done; do sleep 0.1; done"]);
    let mut command = Command::new("bash");
    command.args(["-c", "ulimit -v 16000000; exec taskset -c 0 \"$@\"", "bash"]).args(&words);
    place.prepare(&mut command);
    let mut first = Started::new(command.env("XDG_RUNTIME_DIR", &runtime), "");
    first.wait_for("up");
    let plain = limited(&place, &last, "8000000", &[]);
    let second = limited(&place, &last, "8000000", &run(&["--rm", "--join=a"]));
    assert_eq!(second.works(), plain.works());
    let mut end =
        place.command(&[&run(&["--rm", "--join=a"])[1..], &["sh", "-c", ": > /done"]].concat());
    finish(end.env("XDG_RUNTIME_DIR", &runtime), "").works();
    first.end().works();
    place.nothing_is_left();
}
