//! A cluster of Slurm on this machine: munged, slurmctld and two slurmd, all of the ordinary user, on free ports of
//! 127.0.0.1, with their files in the place of the test.

use std::fmt::Write;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;

use crate::spread::free_port;
use crate::stocked::Stocked;
use crate::support::{
    Ran, Started, binary, finish, need, processes, processes_with, source, text, within,
};

/// Time for the daemons to come up, and to end.
const LIMIT: Duration = Duration::from_secs(60);

/// The cluster, whose nodes are n1 and n2.
pub struct Cluster {
    /// Place of the test, with usnea and usnea-oci in its folder `bin`.
    pub stocked: Stocked,
    daemons: Vec<Child>,
}

impl Cluster {
    /// Starts the cluster with the file `packaging/slurm/NAME` as oci.conf. `None`: the machine has no Slurm.
    pub fn new(oci_conf: &str) -> Option<Self> {
        if !["munged", "slurmctld", "slurmd", "srun"].into_iter().all(need) {
            return None;
        }
        let mut cluster = Self { stocked: Stocked::new(), daemons: Vec::new() };
        let place = &cluster.stocked.place;
        for name in ["bin", "state", "spool", "home", "run"] {
            place.folder(name);
        }
        for name in ["usnea", "usnea-oci"] {
            let link = place.path("bin").join(name);
            std::os::unix::fs::symlink(binary(), link).expect("a link");
        }
        place.write("slurm.conf", cluster.configuration());
        place.write("cgroup.conf", "CgroupAutomount=no\nCgroupPlugin=cgroup/v1\n");
        std::fs::copy(source().join("packaging/slurm").join(oci_conf), place.path("oci.conf"))
            .expect("the packaged file");
        cluster.start();
        Some(cluster)
    }

    fn configuration(&self) -> String {
        let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let host = name.split('.').next().unwrap_or(&name);
        let user = self.stocked.other("id", &["-un"]);
        let (user, folder) = (user.works(), self.stocked.place.path(""));
        let folder = text(&folder).trim_end_matches('/');
        let mut file = format!(
            "ClusterName=test\nSlurmctldHost={host}(127.0.0.1)\nSlurmctldPort={}\n\
             SlurmUser={user}\nSlurmdUser={user}\n\
             AuthType=auth/munge\nAuthInfo=socket={folder}/munge.sock\nCredType=cred/munge\n\
             ProctrackType=proctrack/linuxproc\nTaskPlugin=task/none\nSwitchType=switch/none\n\
             JobAcctGatherType=jobacct_gather/none\nMpiDefault=none\n\
             SelectType=select/cons_tres\nSelectTypeParameters=CR_Core\nSchedulerType=sched/builtin\n\
             PropagateResourceLimits=NONE\nReturnToService=2\nKillWait=2\nInactiveLimit=0\n\
             StateSaveLocation={folder}/state\nSlurmdSpoolDir={folder}/spool/%n\nTmpFS={folder}/spool/%n\n\
             SlurmctldPidFile={folder}/ctld.pid\nSlurmdPidFile={folder}/slurmd-%n.pid\n\
             SlurmctldLogFile={folder}/ctld.log\nSlurmdLogFile={folder}/slurmd-%n.log\n\
             SlurmdParameters=config_overrides\n",
            free_port()
        );
        for node in ["n1", "n2"] {
            let port = free_port();
            writeln!(
                file,
                "NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs=64"
            )
            .expect("a string");
        }
        file + "PartitionName=all Nodes=n[1-2] Default=YES MaxTime=10 State=UP\n"
    }

    fn start(&mut self) {
        let place = &self.stocked.place;
        std::fs::write(place.path("munge.key"), [7; 128]).expect("a key");
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(place.path("munge.key"), mode).expect("a mode");
        let file = |option: &str, name: &str| format!("--{option}={}", text(&place.path(name)));
        // --force: the folders above are closed to others.
        let munged = ["--foreground", "--force"].map(str::to_owned).into_iter().chain([
            file("key-file", "munge.key"),
            file("socket", "munge.sock"),
            file("pid-file", "munge.pid"),
            file("log-file", "munge.log"),
            file("seed-file", "munge.seed"),
        ]);
        let munged: Vec<String> = munged.collect();
        let munged: Vec<&str> = munged.iter().map(String::as_str).collect();
        self.daemons.push(self.daemon("munged", &munged));
        let socket = self.stocked.place.path("munge.sock");
        assert!(within(LIMIT, || socket.exists()), "munged: {}", self.log("munged.out"));
        let daemons = [
            ("slurmctld", &["-D", "-c"][..]),
            ("slurmd", &["-D", "-N", "n1"]),
            ("slurmd", &["-D", "-N", "n2"]),
        ];
        for (program, words) in daemons {
            self.daemons.push(self.daemon(program, words));
        }
        let is_up = || {
            let nodes = self.slurm("sinfo", &["-h", "-N", "-o", "%T"]);
            nodes.status == 0 && nodes.stdout == "idle\nidle\n"
        };
        let logs = ["slurmctld.out", "slurmd.out", "ctld.log"];
        assert!(within(LIMIT, is_up), "no cluster: {:?}", logs.map(|name| self.log(name)));
    }

    fn daemon(&self, program: &str, words: &[&str]) -> Child {
        let out = std::fs::File::create(self.stocked.place.path(&format!("{program}.out")));
        let mut command = self.command(program, words);
        let command = command.stdin(Stdio::null()).stdout(Stdio::null());
        command.stderr(out.expect("a file")).spawn().expect("a daemon")
    }

    fn log(&self, name: &str) -> String {
        std::fs::read_to_string(self.stocked.place.path(name)).unwrap_or_default()
    }

    /// A program of Slurm for this cluster, not yet started. Its folder is the place.
    pub fn command(&self, program: &str, words: &[&str]) -> Command {
        let place = &self.stocked.place;
        let mut command = Command::new(program);
        command.args(words);
        self.stocked.at_home(&mut command);
        let path = std::env::var("PATH").expect("PATH");
        command.env("PATH", format!("{}:{path}", text(&place.path("bin"))));
        command.env("SLURM_CONF", place.path("slurm.conf"));
        command
    }

    /// Runs a program of Slurm to its end.
    pub fn slurm(&self, program: &str, words: &[&str]) -> Ran {
        finish(&mut self.command(program, words), "")
    }

    /// `srun WORDS`, to its end.
    pub fn srun(&self, words: &[&str]) -> Ran {
        self.slurm("srun", words)
    }

    /// Starts srun, whose step prints `ready`; cancels its job, and waits for the end of srun.
    pub fn cancel_when_ready(&self, words: &[&str]) -> Ran {
        let mut step = Started::new(&mut self.command("srun", words), "");
        step.wait_for("ready");
        let jobs = self.slurm("squeue", &["-h", "-t", "RUNNING", "-o", "%i"]);
        self.slurm("scancel", &[jobs.works()]).works();
        step.end()
    }

    /// Asserts that no step is left: no process with `mark` in its command line, no mount, no state of a container.
    #[track_caller]
    pub fn no_step_is_left(&self, mark: &str) {
        let place = &self.stocked.place;
        let here = place.path("");
        let left = || {
            let mut left: Vec<String> = processes_with(mark)
                .iter()
                .map(|process| format!("process {}", process.text("cmdline")))
                .collect();
            let mounts = processes();
            let mounts = mounts.iter().filter(|one| one.text("mountinfo").contains(text(&here)));
            left.extend(mounts.map(|process| format!("mount of {}", process.number)));
            // Removes the records of killed containers, as the next command of a user does.
            let running = self.slurm("usnea", &["ps", "-q"]);
            left.extend(running.stdout.lines().map(str::to_owned));
            // Records of containers of usnea run, one in a folder, and of usnea-oci.
            let records = finish(
                Command::new("find")
                    .args([&place.path("run"), &place.path("store")])
                    .args(["-name", "state.json"]),
                "",
            );
            left.extend(records.stdout.lines().map(str::to_owned));
            for folder in ["run/usnea-oci", "store/tmp", "store/containers"] {
                let entries = std::fs::read_dir(place.path(folder)).into_iter().flatten().flatten();
                left.extend(entries.map(|entry| entry.path().display().to_string()));
            }
            left
        };
        assert!(
            within(LIMIT, || left().is_empty()),
            "{:#?}\n{}",
            left(),
            self.log("slurmd-n1.log")
        );
    }
}

impl Drop for Cluster {
    /// Ends the daemons, the nodes first, and what steps of a failed test have left.
    fn drop(&mut self) {
        let here = self.stocked.place.path("");
        for daemon in self.daemons.iter_mut().rev() {
            let number = rustix::process::Pid::from_child(daemon);
            let _ = rustix::process::kill_process(number, Signal::TERM);
            if !within(LIMIT, || matches!(daemon.try_wait(), Ok(Some(_)))) {
                let _ = daemon.kill();
                let _ = daemon.wait();
            }
        }
        let left =
            || processes().into_iter().filter(|one| one.text("environ").contains(text(&here)));
        for process in left().filter(|_| std::thread::panicking()) {
            if let Some(number) = rustix::process::Pid::from_raw(process.number) {
                let _ = rustix::process::kill_process(number, Signal::KILL);
            }
        }
    }
}
