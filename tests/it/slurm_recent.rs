//! Slurm 24.11 in a container of the ordinary user, with its own usnea: several tasks a node in OCI mode, PMI, PMIx, and
//! the wrapper mode, which the Slurm of Debian 12 has not. The root directory is from the archive that `tests/run` makes.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;

use crate::support::{Place, Ran, binary, finish, need_that, source, text};

/// Brings a cluster of two nodes up, then runs the script of the test. The container's end is that of all its processes.
const CLUSTER: &str = r#"
set -eu
mkdir -p /w/c/state /w/c/spool /w/home; cd /w/c
export USER=$(id -un) HOME=/w/home USNEA_ROOT=/w/store PATH=/w/bin:$PATH SLURM_CONF=/w/c/slurm.conf
head -c 128 /dev/urandom > munge.key; chmod 600 munge.key
host=$(hostname -s)
cat > slurm.conf << END
ClusterName=test
SlurmctldHost=$host(127.0.0.1)
SlurmUser=$USER
SlurmdUser=$USER
AuthType=auth/munge
AuthInfo=socket=/w/c/munge.sock
CredType=cred/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/builtin
PropagateResourceLimits=NONE
ReturnToService=2
KillWait=2
StateSaveLocation=/w/c/state
SlurmdSpoolDir=/w/c/spool/%n
TmpFS=/w/c/spool/%n
SlurmctldPidFile=/w/c/ctld.pid
SlurmdPidFile=/w/c/slurmd-%n.pid
SlurmctldLogFile=/w/c/ctld.log
SlurmdLogFile=/w/c/slurmd-%n.log
SlurmdParameters=config_overrides
NodeName=n[1-2] NodeHostname=$host NodeAddr=127.0.0.1 Port=[7001-7002] CPUs=64
PartitionName=all Nodes=n[1-2] Default=YES MaxTime=10 State=UP
END
echo CgroupPlugin=disabled > cgroup.conf
cp /w/oci.conf oci.conf
munged --force --key-file=/w/c/munge.key --socket=/w/c/munge.sock --pid-file=/w/c/munge.pid \
    --log-file=/w/c/munge.log --seed-file=/w/c/munge.seed 2> munge.out
slurmctld -c; slurmd -N n1; slurmd -N n2
for i in $(seq 300); do
    [ "$(sinfo -h -N -o %T 2> /dev/null | sort | uniq -c | xargs)" != '2 idle' ] || break
    sleep 0.2
done
# cancel STEP...: cancels srun's job when its step is ready, and prints what is left of it a moment later.
cancel() {
    # Its number stands in no command line of the test itself.
    mark=$((471300 + 1)) && : > /w/c/ready
    srun -n1 "$@" sh -c 'trap "" TERM; echo ready; while :; do sleep '$mark'; done' > /w/c/ready 2> /w/c/errors &
    for i in $(seq 300); do ! grep -q ready /w/c/ready || break; sleep 0.2; done
    scancel "$(squeue -h -t RUNNING -o %i)"
    wait $! || true
    for i in $(seq 300); do [ -n "$(squeue -h)" ] || break; sleep 0.2; done
    cat /proc/[0-9]*/cmdline 2> /dev/null | tr '\0' ' ' | grep -o "sleep ${mark%1}[1]" || echo nothing is left
}
"#;

/// Archive of a root directory with Slurm, which `tests/run` makes.
#[derive(Clone, Copy)]
pub enum SlurmArchive {
    /// Slurm alone.
    Slurm,
    /// With MPICH, Open MPI and a C compiler.
    SlurmWithMpi,
}

impl SlurmArchive {
    fn path(self) -> PathBuf {
        let (variable, name) = match self {
            Self::Slurm => ("USNEA_TEST_SLURM", "slurm.tar"),
            Self::SlurmWithMpi => ("USNEA_TEST_SLURM_MPI", "slurm-mpi.tar"),
        };
        let usual = || PathBuf::from("/var/cache/usnea-tests").join(name);
        std::env::var_os(variable).map_or_else(usual, PathBuf::from)
    }
}

/// A container with Slurm.
pub struct Recent(pub Place);

impl Recent {
    /// A container with `packaging/slurm/NAME` as oci.conf.
    fn new(oci_conf: &str) -> Option<Self> {
        Self::of_archive(SlurmArchive::Slurm, oci_conf)
    }

    /// Unpacks the root. `None`: `tests/run` has not made the archive.
    pub fn of_archive(archive: SlurmArchive, oci_conf: &str) -> Option<Self> {
        let archive = archive.path();
        if !need_that(archive.is_file(), "the archive with Slurm that tests/run makes") {
            return None;
        }
        let place = Place::new();
        let root = place.folder("root");
        let words = ["-xf", text(&archive), "-C", text(&root), "--exclude=./dev/*"];
        finish(Command::new("tar").args(words), "").works();
        place.folder("w/bin");
        std::fs::copy(binary(), place.path("w/bin/usnea")).expect("the program");
        std::os::unix::fs::symlink("usnea", place.path("w/bin/usnea-oci")).expect("a link");
        let file = source().join("packaging/slurm").join(oci_conf);
        std::fs::copy(file, place.path("w/oci.conf")).expect("the packaged file");
        Some(Self(place))
    }

    /// Runs a script in the cluster.
    pub fn run(&self, script: &str) -> Ran {
        let (root, volume) = (self.0.path("root"), format!("{}:/w", text(&self.0.path("w"))));
        let image = format!("dir:{}", text(&root));
        // Containers in the container: neither a filter nor a covered /proc may forbid them.
        // With a network: slurmctld finds no address of its own where there is only a loopback interface.
        let run = ["run", "--rm", "--userns", "keep-id", "-v", &volume];
        let open = ["--security-opt", "seccomp=unconfined", "--security-opt", "unmask=ALL"];
        let script = format!("{CLUSTER}{script}");
        let command = [&image, "bash", "-c", &script];
        self.0.usnea(&[&run[..], &open, &command].concat())
    }
}

#[test]
fn tasks_of_a_bundle_share_a_node_and_have_their_rank_and_their_process_manager() {
    let Some(recent) = Recent::new("oci.conf") else { return };
    let ran = recent.run(
        r#"
        usnea slurm bundle host:sh,id,printf,sleep,wc,ls /w/bundle -- --userns keep-id --network none
        step() { srun "$@" || echo status $?; }
        step -N2 -n4 --container=/w/bundle sh -c 'echo rank $SLURM_PROCID $(id -u)'
        step -n1 --container=/w/bundle printf '[%s]' "it's" 'a b' '"$X"' ''; echo
        step -n1 --container=/w/bundle sh -c 'exit 9' 2> /dev/null
        step -n2 --mpi=pmi2 --container=/w/bundle sh -c 'test -S /proc/self/fd/$PMI_FD && echo pmi $PMI_RANK'
        cancel --container=/w/bundle
        # Removes the record of the killed container.
        usnea ps -aq
        usnea-oci list --quiet; ls -A /w/store/tmp
        find /w/store/run -name state.json
        "#,
    );
    let user = rustix::process::getuid().as_raw();
    let lines: BTreeSet<&str> = ran.works().lines().collect();
    let ranks: Vec<String> = (0..4).map(|rank| format!("rank {rank} {user}")).collect();
    let others = ["[it's][a b][\"$X\"][]", "status 9", "pmi 0", "pmi 1", "nothing is left"];
    let wanted: BTreeSet<&str> = ranks.iter().map(String::as_str).chain(others).collect();
    assert_eq!(lines, wanted, "{ran:?}");
}

#[test]
fn the_wrapper_runs_an_image_by_its_name() {
    let Some(recent) = Recent::new("oci-wrapper.conf") else { return };
    let ran = recent.run(
        r#"
        image=host:sh,id,printf,cat,sleep,touch,readlink,test
        step() { srun "$@" || echo status $?; }
        step -n2 --container=$image sh -c 'echo rank $SLURM_PROCID $(id -u)'
        step -n1 --container=$image printf '[%s]' 'a b' '"$X"' '$(id)' ''; echo
        echo input | step -n1 --container=$image sh -c 'cat; exit 9' 2> /dev/null
        # A value with a line feed is one entry of the file; PATH is the container's.
        LINES_OF="first
second" step -n1 --container=$image sh -c 'printf "%s," "$LINES_OF" ${PATH##*w/bin*}'; echo
        step -n1 --container=dir:/nope true 2>&1 | grep -c '^usnea: .*/nope'
        # Tasks of a node are in one container, in the folder and with the home of the job.
        mkdir -p /w/job && cd /w/job
        step -n2 --container=$image sh -c 'touch $SLURM_PROCID; i=0
            until [ -e 0 ] && [ -e 1 ] || [ $i -gt 600 ]; do sleep 0.1; i=$((i + 1)); done
            echo $PWD $(readlink /proc/self/ns/user)' | sort -u | cut -d: -f1
        step -n2 --mpi=pmi2 --container=$image sh -c 'test -S /proc/self/fd/$PMI_FD && echo pmi $PMI_RANK'
        step -n1 --mpi=pmix --container=$image sh -c 'test -d $PMIX_SERVER_TMPDIR && echo pmix $PMIX_RANK'
        cancel --container=$image
        usnea ps -aq; ls -A /w/store/tmp
        "#,
    );
    let user = rustix::process::getuid().as_raw();
    let ranks = [0, 1].map(|rank| format!("rank {rank} {user}"));
    let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin,";
    let others = ["[a b][\"$X\"][$(id)][]", "input", "status 9", "first", "1", "nothing is left"];
    let joined = ["/w/job user", "pmi 0", "pmi 1", "pmix 0"];
    let second = format!("second,{path}");
    let ranks = ranks.iter().map(String::as_str);
    let wanted: BTreeSet<&str> =
        ranks.chain(others).chain(joined).chain([second.as_str()]).collect();
    assert_eq!(ran.works().lines().collect::<BTreeSet<_>>(), wanted, "{ran:?}");
}

#[test]
fn bundles_take_the_options_of_hpc() {
    let Some(recent) = Recent::new("oci.conf") else { return };
    let ran = recent.run(
        r#"
        usnea slurm bundle host:sh,id,touch,readlink,sleep,test /w/bundle -- --hpc
        mkdir -p /w/job && cd /w/job
        srun -n2 --mpi=pmi2 --container=/w/bundle sh -c 'touch $SLURM_PROCID; i=0
            until [ -e 0 ] && [ -e 1 ] || [ $i -gt 600 ]; do sleep 0.1; i=$((i + 1)); done
            test -S /proc/self/fd/$PMI_FD || echo no process manager
            echo $PWD $(id -u) $(readlink /proc/self/ns/user)' | sort -u | cut -d: -f1
        "#,
    );
    let user = rustix::process::getuid().as_raw();
    assert_eq!(ran.works(), format!("/w/job {user} user"), "{ran:?}");
}

#[test]
fn munge_is_reached_through_a_bind_of_the_site() {
    let Some(recent) = Recent::new("oci.conf") else { return };
    let toml = "[hpc]\nbinds = ['/w/c/munge.sock']\n";
    recent.0.write("w/home/.config/usnea/usnea.toml", toml);
    let ran = recent.run(
        r#"
        mkdir -p /w/job && cd /w/job
        script='munge -S /w/c/munge.sock -n | unmunge -S /w/c/munge.sock | grep -o "^STATUS: *Success"'
        run='usnea run --hpc host:sh,munge,unmunge,grep sh -c'
        srun -n1 $run "$script"
        rm ~/.config/usnea/usnea.toml
        srun -n1 $run "$script" 2> /dev/null || echo none
        "#,
    );
    let lines: Vec<_> = ran.works().lines().collect();
    assert!(matches!(lines[..], [reached, "none"] if reached.ends_with("Success")), "{ran:?}");
}
