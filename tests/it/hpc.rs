//! `run --hpc`: ranks of MPI jobs. Open MPI is the judge where it is installed.

use std::os::unix::fs::symlink;
use std::process::Command;

use crate::support::{Place, finish, need, text};

/// Programs of this machine as an image.
const IMAGE: &str = "host:sh,readlink,ls,id,cat,pwd";

#[test]
fn a_rank_has_the_users_id_folders_and_namespaces_and_a_list_of_variables() {
    let place = Place::new();
    let work = place.folder("work");
    let home = place.folder("home");
    let server = place.folder("pmix");
    let script = "id -u; pwd; for n in pid net ipc cgroup; do readlink /proc/self/ns/$n; done; \
                  echo $HOME $SLURM_PROCID $PMIX_RANK; echo x$SECRET; ls -d $PMIX_SERVER_TMPDIR";
    let mut command = place.command(&["run", "--hpc", IMAGE, "sh", "-c", script]);
    command.current_dir(&work).envs([("SLURM_PROCID", "3"), ("PMIX_RANK", "1"), ("SECRET", "s")]);
    command.env("HOME", &home).env("PMIX_SERVER_TMPDIR", &server);
    let ran = finish(&mut command, "");
    let of_host = |kind| {
        let link = std::fs::read_link(format!("/proc/self/ns/{kind}")).expect("a namespace");
        text(&link).to_owned()
    };
    let mut expected = vec![
        rustix::process::geteuid().as_raw().to_string(),
        text(&work.canonicalize().expect("a path")).to_owned(),
    ];
    expected.extend(["pid", "net", "ipc", "cgroup"].map(of_host));
    expected.extend([format!("{} 3 1", home.display()), "x".into(), server.display().to_string()]);
    assert_eq!(ran.works().lines().collect::<Vec<_>>(), expected);
}

#[test]
fn namespaces_of_flags_win_also_where_they_are_the_default() {
    let place = Place::new();
    let of_host = |kind: &str| {
        let link = std::fs::read_link(format!("/proc/self/ns/{kind}")).expect("a namespace");
        text(&link).to_owned()
    };
    for (flags, kind) in [
        (&["--pid", "private"], "pid"),
        (&["--ipc", "private"], "ipc"),
        (&["--cgroupns", "private"], "cgroup"),
        (&["--network", "none"], "net"),
    ] {
        for (flags, is_host) in [(&flags[..], false), (&[], true)] {
            let script = format!("readlink /proc/self/ns/{kind}");
            let words = [&["run", "--hpc"], flags, &[IMAGE, "sh", "-c", &script]].concat();
            let ran = place.usnea(&words);
            assert_eq!(ran.works() == of_host(kind), is_host, "{flags:?} {ran:?}");
        }
    }
    let uid = |flags: &[&str]| {
        let words = [&["run", "--hpc"], flags, &[IMAGE, "id", "-u"]].concat();
        place.usnea(&words).works().parse::<u32>().expect("an ID")
    };
    assert_eq!(uid(&[]), rustix::process::geteuid().as_raw());
    assert_eq!(uid(&["--userns", "host"]), 0);
}

#[test]
fn the_working_folder_is_there_by_its_resolved_and_its_named_path() {
    let place = Place::new();
    place.write("real/inner/file", "in it");
    symlink(place.path("real"), place.path("link")).expect("a link");
    let named = place.path("link/inner");
    let words = ["run", "--hpc", IMAGE, "sh", "-c", "pwd -L; cat file"];
    let ran = finish(place.command(&words).current_dir(&named).env("PWD", &named), "");
    assert_eq!(ran.works(), format!("{}\nin it", named.display()));
}

#[test]
fn the_descriptor_of_the_process_manager_keeps_its_number() {
    let place = Place::new();
    let output = place.path("output");
    let usnea = crate::support::binary();
    let script = format!(
        "exec 7> {}; export PMI_FD=7; exec {} run --hpc {IMAGE} sh -c 'echo kept >&7'",
        output.display(),
        usnea.display()
    );
    let mut command = Command::new("sh");
    command.args(["-c", &script]);
    place.prepare(&mut command);
    finish(&mut command, "").works();
    assert_eq!(place.read("output"), "kept\n");
}

#[test]
fn a_site_adds_mounts_variables_and_folders_of_images_and_flags_win() {
    let place = Place::new();
    place.write("data/file", "of the site");
    place.folder("other");
    let toml = format!(
        "[hpc]\nbinds = ['{}:/data:ro', '/nowhere/at/all']\nenv = ['SITE_*', 'A=site']\n",
        place.path("data").display()
    );
    place.write("config/usnea/usnea.toml", toml);
    let run = |options: &[&str], script: &str| {
        let words = [&["run", "--hpc"], options, &[IMAGE, "sh", "-c", script]].concat();
        let mut command = place.command(&words);
        command.env("XDG_CONFIG_HOME", place.path("config")).env("SITE_NAME", "here");
        finish(&mut command, "")
    };
    assert_eq!(
        run(&[], "cat /data/file; echo; echo $SITE_NAME $A").works(),
        "of the site\nhere site"
    );
    let volume = format!("{}:/data", place.path("other").display());
    assert_eq!(run(&["-v", &volume, "-e", "A=flag"], "ls /data; echo $A").works(), "flag");
    let explained = run(&["--explain"], "true");
    assert!(explained.works().contains("/data"), "{explained:?}");
}

#[test]
fn ranks_of_open_mpi_exchange_messages_and_read_each_other_s_memory() {
    if !need("mpirun.openmpi") || !need("mpicc.openmpi") {
        return;
    }
    let place = Place::new();
    let source = place.write("work/ring.c", RING);
    let program = place.path("work/ring");
    let mut compile = Command::new("mpicc.openmpi");
    compile.args(["-O1", "-o", text(&program), text(&source)]);
    assert!(compile.status().expect("mpicc").success());
    // The host's files as a root of their own, with the host's Open MPI.
    for link in ["bin", "lib", "lib64", "sbin"] {
        symlink(format!("usr/{link}"), place.folder("mpi").join(link)).expect("a link");
    }
    for folder in ["mpi/usr", "mpi/etc", "mpi/proc", "mpi/sys", "mpi/dev", "mpi/tmp"] {
        place.folder(folder);
    }
    let usnea = crate::support::binary();
    let image = format!("dir:{}", place.path("mpi").display());
    let run = |join: &str, copies: &str| {
        let mut command = Command::new("mpirun.openmpi");
        command.args(["--oversubscribe", "-n", "2", text(&usnea), "run", "--hpc", join]);
        command.args(["-v", "/usr:/usr:ro", "-v", "/etc/openmpi:/etc/openmpi:ro"]);
        command.args(["-v", "/etc/alternatives:/etc/alternatives:ro"]);
        command.args([&image, text(&program)]);
        place.prepare(&mut command);
        command.current_dir(place.path("work"));
        command.env("OMPI_MCA_mpi_yield_when_idle", "1").env("OMPI_MCA_plm", "isolated");
        // Debian's Open MPI without hardware of fabrics warns of it.
        command.env("OMPI_MCA_btl", "self,vader").env("OMPI_MCA_pml", "ob1");
        // Open MPI 4 waits for ever where it must copy so and may not.
        command.env("OMPI_MCA_btl_vader_single_copy_mechanism", copies);
        finish(&mut command, "")
    };
    let joined = run("--join", "cma");
    assert_eq!(joined.works(), "ring 3, all 3, 4194304 bytes there and back, memory 16");
    // Ranks in user namespaces of their own exchange messages as well, but may not read.
    let alone = run("--join=none", "none");
    assert_eq!(alone.works(), "ring 3, all 3, 4194304 bytes there and back, memory -1");
    place.nothing_is_left();
}

/// A ring, a sum over all ranks, a ping-pong of ranks 0 and 1, and a read of the other's memory. The first rank prints
/// the results.
pub const RING: &str = r#"
#define _GNU_SOURCE
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>
enum { BYTES = 4 << 20 };
static char memory[16] = "sixteen bytes!!";
int main(int argc, char **argv) {
    MPI_Init(&argc, &argv);
    int rank, size, sum, all;
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    int token = rank + 1, to = (rank + 1) % size, from = (rank + size - 1) % size, got;
    MPI_Sendrecv(&token, 1, MPI_INT, to, 0, &got, 1, MPI_INT, from, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    MPI_Reduce(&got, &sum, 1, MPI_INT, MPI_SUM, 0, MPI_COMM_WORLD);
    int number = rank + 1;
    MPI_Allreduce(&number, &all, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD);
    char *bytes = malloc(BYTES);
    memset(bytes, rank ? 0 : 'a', BYTES);
    unsigned long place[2] = {getpid(), (unsigned long)memory};
    if (rank == 0) {
        MPI_Send(bytes, BYTES, MPI_CHAR, 1, 1, MPI_COMM_WORLD);
        memset(bytes, 0, BYTES);
        MPI_Recv(bytes, BYTES, MPI_CHAR, 1, 1, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
        MPI_Recv(place, 2, MPI_UNSIGNED_LONG, 1, 2, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
        char room[16];
        struct iovec here = {room, 16}, there = {(void *)place[1], 16};
        long count = process_vm_readv(place[0], &here, 1, &there, 1, 0);
        int back = bytes[BYTES - 1] == 'a' ? BYTES : 0;
        printf("ring %d, all %d, %d bytes there and back, memory %ld\n", sum, all, back, count);
    } else if (rank == 1) {
        MPI_Recv(bytes, BYTES, MPI_CHAR, 0, 1, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
        MPI_Send(bytes, BYTES, MPI_CHAR, 0, 1, MPI_COMM_WORLD);
        MPI_Send(place, 2, MPI_UNSIGNED_LONG, 0, 2, MPI_COMM_WORLD);
    }
    MPI_Barrier(MPI_COMM_WORLD);
    MPI_Finalize();
    return 0;
}
"#;
