//! Ranks of MPI programs in steps of Slurm 24.11, two on each of two nodes: MPICH by PMI-2, Open MPI by PMIx. The
//! programs are built and started without a container first: what they print there is expected in containers too.

use crate::hpc::RING;
use crate::slurm_recent::{Recent, SlurmArchive};

/// Makes a root directory of the machine's own programs, and functions for the steps.
const STEPS: &str = r#"
cd /w/work
for name in usr etc proc sys dev tmp; do mkdir -p /w/root/$name; done
for name in bin lib lib64 sbin; do ln -sfn usr/$name /w/root/$name; done
# Two processors for all ranks; no hardware of fabrics, of which the libraries would warn.
export OMPI_MCA_mpi_yield_when_idle=1 OMPI_MCA_btl=self,sm,tcp OMPI_MCA_pml=ob1 FI_PROVIDER=tcp
export UCX_TLS=self,tcp
contained() {
    usnea run --hpc -v /usr:/usr:ro -v /etc/openmpi:/etc/openmpi:ro -v /etc/alternatives:/etc/alternatives:ro \
        dir:/w/root "$@"
}
# Both nodes have the same host name: Open MPI would take files of the other node for its own.
node() { export OMPI_MCA_btl_sm_backing_directory=/dev/shm/$SLURMD_NODENAME; mkdir -p /dev/shm/$SLURMD_NODENAME; "$@"; }
step() { timeout 90 srun -N2 --ntasks-per-node=2 "$@" 2> errors || { echo status $?; cat errors; }; }
export -f contained node
"#;

/// Result of four ranks, of which 0 and 1 share a node.
const RESULT: &str = "ring 10, all 10, 4194304 bytes there and back, memory 16";

fn ranks_run(library: &str, protocol: &str) {
    let Some(recent) = Recent::of_archive(SlurmArchive::SlurmWithMpi, "oci.conf") else { return };
    recent.0.write("w/work/ring.c", RING);
    let steps = format!(
        "mpicc.{library} -O1 -o ring ring.c\n\
         step --mpi={protocol} bash -c 'node ./ring'\n\
         step --mpi={protocol} bash -c 'node contained ./ring'\n\
         usnea ps -aq; ls -A /w/store/tmp\n"
    );
    let ran = recent.run(&format!("{STEPS}{steps}"));
    assert_eq!(ran.works().lines().collect::<Vec<_>>(), [RESULT, RESULT], "{ran:?}");
}

#[test]
fn ranks_of_mpich_meet_by_pmi_2_over_two_nodes() {
    ranks_run("mpich", "pmi2");
}

#[test]
fn ranks_of_open_mpi_meet_by_pmix_over_two_nodes() {
    ranks_run("openmpi", "pmix");
}
