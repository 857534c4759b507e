//! Filter of the server's system calls: allows reading, writing and naming files, memory, and thread calls. All other
//! calls fail with ENOSYS, which every library handles: no sockets, programs, mounts or other processes.
//!
//! The filter is written by hand: an allowed call is a line of it. The compiler of containers' policies is for calls
//! that are chosen by name.

use std::io;

use crate::sys::seccomp::{self, Instruction, Listening};

/// Condition for an allowed call.
#[derive(Clone, Copy)]
enum When {
    Always,
    /// The lower half of this argument is one of these.
    Among(u32, &'static [u32]),
    /// This argument has this bit.
    With(u32, u32),
    /// This argument does not have this bit.
    Without(u32, u32),
    /// This argument is the ID of this process.
    Ours(u32),
}

/// Calls for files.
#[derive(Clone, Copy)]
pub enum FileCalls {
    /// All calls that read, write and name files.
    All,
    /// Calls that read open files, and the one that opens the FUSE device.
    Reading,
}

const READING: &[libc::c_long] = &[
    libc::SYS_close,
    libc::SYS_fadvise64,
    libc::SYS_fcntl,
    libc::SYS_fstat,
    libc::SYS_lseek,
    libc::SYS_newfstatat, // fstat(3) of glibc
    libc::SYS_openat,
    libc::SYS_ppoll,
    libc::SYS_pread64,
    libc::SYS_preadv,
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_statx,
    libc::SYS_write,
    libc::SYS_writev,
];

const FILES: &[libc::c_long] = &[
    libc::SYS_close,
    libc::SYS_copy_file_range,
    libc::SYS_dup,
    libc::SYS_dup3,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_fadvise64,
    libc::SYS_fallocate,
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    FCHMODAT2,
    libc::SYS_fchown,
    libc::SYS_fchownat,
    libc::SYS_fcntl,
    libc::SYS_fdatasync,
    libc::SYS_fgetxattr,
    libc::SYS_flistxattr,
    libc::SYS_flock,
    libc::SYS_fremovexattr,
    libc::SYS_fsetxattr,
    libc::SYS_fstat,
    libc::SYS_fstatfs,
    libc::SYS_fsync,
    libc::SYS_ftruncate,
    libc::SYS_getdents64,
    libc::SYS_getxattr,
    libc::SYS_lgetxattr,
    libc::SYS_linkat,
    libc::SYS_listxattr,
    libc::SYS_llistxattr,
    libc::SYS_lremovexattr,
    libc::SYS_lseek,
    libc::SYS_lsetxattr,
    libc::SYS_mkdirat,
    libc::SYS_mknodat,
    libc::SYS_newfstatat,
    libc::SYS_openat,
    libc::SYS_openat2,
    libc::SYS_pipe2,
    libc::SYS_ppoll,
    libc::SYS_pread64,
    libc::SYS_preadv,
    libc::SYS_preadv2,
    libc::SYS_pwrite64,
    libc::SYS_pwritev,
    libc::SYS_pwritev2,
    libc::SYS_read,
    libc::SYS_readahead,
    libc::SYS_readlinkat,
    libc::SYS_readv,
    libc::SYS_removexattr,
    RENAMEAT,
    libc::SYS_renameat2,
    libc::SYS_sendfile,
    libc::SYS_setxattr,
    libc::SYS_splice,
    libc::SYS_statfs,
    libc::SYS_statx,
    libc::SYS_symlinkat,
    libc::SYS_syncfs,
    libc::SYS_truncate,
    libc::SYS_unlinkat,
    libc::SYS_utimensat,
    libc::SYS_vmsplice,
    libc::SYS_write,
    libc::SYS_writev,
];

/// Missing from libc for some architectures; the same number on all that share one table.
const FCHMODAT2: libc::c_long = 452;

/// Missing from libc for aarch64, which has the call.
const RENAMEAT: libc::c_long = if cfg!(target_arch = "x86_64") { 264 } else { 38 };

/// Older calls that the calls above replaced.
#[cfg(target_arch = "x86_64")]
const OLD: &[libc::c_long] = &[
    libc::SYS_access,
    libc::SYS_chmod,
    libc::SYS_dup2,
    libc::SYS_link,
    libc::SYS_lstat,
    libc::SYS_mkdir,
    libc::SYS_open,
    libc::SYS_poll,
    libc::SYS_readlink,
    libc::SYS_rename,
    libc::SYS_rmdir,
    libc::SYS_stat,
    libc::SYS_symlink,
    libc::SYS_time,
    libc::SYS_unlink,
];
#[cfg(not(target_arch = "x86_64"))]
const OLD: &[libc::c_long] = &[];

/// Calls of [`OLD`] that read.
#[cfg(target_arch = "x86_64")]
const OLD_READING: &[libc::c_long] = &[libc::SYS_open, libc::SYS_poll, libc::SYS_time];
#[cfg(not(target_arch = "x86_64"))]
const OLD_READING: &[libc::c_long] = &[];

const PROCESS: &[libc::c_long] = &[
    libc::SYS_brk,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_futex,
    libc::SYS_getegid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getpid,
    libc::SYS_getrandom,
    libc::SYS_gettid,
    libc::SYS_getuid,
    libc::SYS_gettimeofday,
    libc::SYS_madvise,
    libc::SYS_membarrier,
    libc::SYS_mremap,
    libc::SYS_munmap,
    libc::SYS_nanosleep,
    libc::SYS_restart_syscall,
    libc::SYS_rseq,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_yield,
    libc::SYS_set_robust_list,
    libc::SYS_sigaltstack,
    libc::SYS_umask,
];

/// Requests of ioctl(2): a clone of a file's content, another descriptor of the FUSE device, and the flags of a file
/// (FS_IOC_GETFLAGS and FS_IOC_SETFLAGS). No terminal knows these requests.
const REQUESTS: &[u32] = &[0x4004_9409, 0x8004_e500, 0x8008_6601, 0x4008_6602];

/// Settings of prctl(2): a thread's name, a mapping's name.
const PROPERTIES: &[u32] = &[libc::PR_SET_NAME as u32, libc::PR_SET_VMA as u32];

const CONDITIONAL: &[(libc::c_long, When)] = &[
    (libc::SYS_ioctl, When::Among(1, REQUESTS)),
    (libc::SYS_prctl, When::Among(0, PROPERTIES)),
    (libc::SYS_clone, When::With(0, libc::CLONE_THREAD as u32)),
    (libc::SYS_mmap, When::Without(2, libc::PROT_EXEC as u32)),
    (libc::SYS_mprotect, When::Without(2, libc::PROT_EXEC as u32)),
    (libc::SYS_tgkill, When::Ours(0)), // a panic that ends in abort(3)
];

/// Number of this architecture in linux/audit.h; other architectures get no filter.
const ARCHITECTURE: Option<u32> = if cfg!(target_arch = "x86_64") {
    Some(0xc000_003e)
} else if cfg!(target_arch = "aarch64") {
    Some(0xc000_00b7)
} else {
    None
};

/// Allows this thread, and threads that it starts, only these calls. The thread must have no_new_privs. A kernel
/// without filters is no error. Errors: seccomp(2).
pub fn install(files: FileCalls) -> io::Result<()> {
    let Some(architecture) = ARCHITECTURE else { return Ok(()) };
    match seccomp::install(&program(architecture, files), 0, Listening::No) {
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EINVAL)) => Ok(()),
        answer => answer.map(drop),
    }
}

fn program(architecture: u32, files: FileCalls) -> Vec<Instruction> {
    let deny = returns(libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32);
    let calls = match files {
        FileCalls::All => [FILES, OLD, PROCESS].concat(),
        FileCalls::Reading => [READING, OLD_READING, PROCESS].concat(),
    };
    let always = calls.into_iter().map(|call| (call, When::Always));
    let mut program = vec![load(4), jump(libc::BPF_JEQ, architecture, 1, 0), deny, load(0)];
    for (call, when) in CONDITIONAL.iter().copied().chain(always) {
        let block = verdict(when, deny);
        program.push(jump(libc::BPF_JEQ, call as u32, 0, block.len() as u8));
        program.extend(block);
    }
    program.push(deny);
    program
}

/// Returns the instructions that decide a call by its arguments.
fn verdict(when: When, deny: Instruction) -> Vec<Instruction> {
    let allow = returns(libc::SECCOMP_RET_ALLOW);
    let argument = |number: u32| load(16 + 8 * number);
    match when {
        When::Always => vec![allow],
        When::Among(number, values) => {
            let tests = values.iter().flat_map(|value| [jump(libc::BPF_JEQ, *value, 0, 1), allow]);
            std::iter::once(argument(number)).chain(tests).chain([deny]).collect()
        }
        When::With(number, bit) => {
            vec![argument(number), jump(libc::BPF_JSET, bit, 1, 0), deny, allow]
        }
        When::Without(number, bit) => {
            vec![argument(number), jump(libc::BPF_JSET, bit, 0, 1), deny, allow]
        }
        When::Ours(number) => {
            vec![argument(number), jump(libc::BPF_JEQ, std::process::id(), 1, 0), deny, allow]
        }
    }
}

/// Loads 32 bits of the call's data (`struct seccomp_data`).
fn load(offset: u32) -> Instruction {
    instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, offset, 0, 0)
}

fn jump(test: u32, value: u32, if_true: u8, if_false: u8) -> Instruction {
    instruction(libc::BPF_JMP | test | libc::BPF_K, value, if_true, if_false)
}

fn returns(value: u32) -> Instruction {
    instruction(libc::BPF_RET | libc::BPF_K, value, 0, 0)
}

fn instruction(code: u32, k: u32, jt: u8, jf: u8) -> Instruction {
    Instruction { code: code as u16, jt, jf, k }
}
