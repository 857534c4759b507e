//! Default profile, equal in effect to docker's: calls in groups, each with its condition.
//!
//! Source: moby/profiles, `seccomp/default.json` of commit 02e898b137ae (2026; after docker 29). Rules for machines that
//! usnea does not run on (ppc64le, riscv64, s390x) are left out.

use oci_spec::runtime::{
    Capabilities, Capability, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg,
    LinuxSeccompArgBuilder, LinuxSeccompBuilder, LinuxSeccompOperator, LinuxSyscall,
    LinuxSyscallBuilder,
};

use super::numbers::Architecture;
use super::oci::arch;
use super::profile::ProfileTarget;
use crate::error::{Error, Result};
use crate::host::kernel::KernelVersion;

/// Flags of clone(2) that make namespaces: of mounts, cgroups, host names, IPC, users, PIDs and networks.
pub(super) const NEW_NAMESPACES: u64 = 0x7e02_0000;

/// Calls that every container may make.
const ALLOWED: &str = "
    accept accept4 access adjtimex alarm bind brk cachestat capget capset chdir chmod chown chown32 clock_adjtime
    clock_adjtime64 clock_getres clock_getres_time64 clock_gettime clock_gettime64 clock_nanosleep
    clock_nanosleep_time64 close close_range connect copy_file_range creat dup dup2 dup3 epoll_create epoll_create1
    epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait epoll_wait_old eventfd eventfd2 execve execveat exit
    exit_group faccessat faccessat2 fadvise64 fadvise64_64 fallocate fanotify_mark fchdir fchmod fchmodat fchmodat2
    fchown fchown32 fchownat fcntl fcntl64 fdatasync fgetxattr flistxattr flock fork fremovexattr fsetxattr fstat
    fstat64 fstatat64 fstatfs fstatfs64 fsync ftruncate ftruncate64 futex futex_requeue futex_time64 futex_wait
    futex_waitv futex_wake futimesat getcpu getcwd getdents getdents64 getegid getegid32 geteuid geteuid32 getgid
    getgid32 getgroups getgroups32 getitimer getpeername getpgid getpgrp getpid getppid getpriority getrandom getresgid
    getresgid32 getresuid getresuid32 getrlimit get_robust_list getrusage getsid getsockname getsockopt get_thread_area
    gettid gettimeofday getuid getuid32 getxattr getxattrat inotify_add_watch inotify_init inotify_init1
    inotify_rm_watch io_cancel ioctl io_destroy io_getevents io_pgetevents io_pgetevents_time64 ioprio_get ioprio_set
    io_setup io_submit ipc kill landlock_add_rule landlock_create_ruleset landlock_restrict_self lchown lchown32
    lgetxattr link linkat listen listmount listxattr listxattrat llistxattr _llseek lremovexattr lseek lsetxattr lstat
    lstat64 madvise map_shadow_stack membarrier memfd_create memfd_secret mincore mkdir mkdirat mknod mknodat mlock
    mlock2 mlockall mmap mmap2 mprotect mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedreceive_time64
    mq_timedsend mq_timedsend_time64 mq_unlink mremap mseal msgctl msgget msgrcv msgsnd msync munlock munlockall munmap
    name_to_handle_at nanosleep newfstatat _newselect open openat openat2 pause pidfd_open pidfd_send_signal pipe pipe2
    pkey_alloc pkey_free pkey_mprotect poll ppoll ppoll_time64 prctl pread64 preadv preadv2 prlimit64 process_mrelease
    pselect6 pselect6_time64 pwrite64 pwritev pwritev2 read readahead readlink readlinkat readv recv recvfrom recvmmsg
    recvmmsg_time64 recvmsg remap_file_pages removexattr removexattrat rename renameat renameat2 restart_syscall
    riscv_hwprobe rmdir rseq rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend
    rt_sigtimedwait rt_sigtimedwait_time64 rt_tgsigqueueinfo sched_getaffinity sched_getattr sched_getparam
    sched_get_priority_max sched_get_priority_min sched_getscheduler sched_rr_get_interval sched_rr_get_interval_time64
    sched_setaffinity sched_setattr sched_setparam sched_setscheduler sched_yield seccomp select semctl semget semop
    semtimedop semtimedop_time64 send sendfile sendfile64 sendmmsg sendmsg sendto setfsgid setfsgid32 setfsuid
    setfsuid32 setgid setgid32 setgroups setgroups32 setitimer setpgid setpriority setregid setregid32 setresgid
    setresgid32 setresuid setresuid32 setreuid setreuid32 setrlimit set_robust_list setsid setsockopt set_thread_area
    set_tid_address setuid setuid32 setxattr setxattrat shmat shmctl shmdt shmget shutdown sigaltstack signalfd
    signalfd4 sigprocmask sigreturn socketcall socketpair splice stat stat64 statfs statfs64 statmount statx symlink
    symlinkat sync sync_file_range syncfs sysinfo tee tgkill time timer_create timer_delete timer_getoverrun
    timer_gettime timer_gettime64 timer_settime timer_settime64 timerfd_create timerfd_gettime timerfd_gettime64
    timerfd_settime timerfd_settime64 times tkill truncate truncate64 ugetrlimit umask uname unlink unlinkat uretprobe
    utime utimensat utimensat_time64 utimes vfork vmsplice wait4 waitid waitpid write writev";

/// Calls that look into other processes. Before kernel 4.8, a tracer could change a call after its filter had passed it.
const TRACING: &str = "process_vm_readv process_vm_writev ptrace";
pub(super) const TRACING_FROM: KernelVersion = KernelVersion(4, 8);

const OF_ARM: &str =
    "arm_fadvise64_64 arm_sync_file_range sync_file_range2 breakpoint cacheflush set_tls";
const OF_X86: &str = "arch_prctl modify_ldt";

/// Calls that take a capability of the container's bounding set.
const OF_CAPABILITIES: [(Capability, &str); 14] = [
    (Capability::DacReadSearch, "open_by_handle_at"),
    (
        Capability::SysAdmin,
        "bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie lsm_get_self_attr \
         lsm_list_modules lsm_set_self_attr mount mount_setattr move_mount open_tree perf_event_open quotactl \
         quotactl_fd setdomainname sethostname setns syslog umount umount2 unshare",
    ),
    (Capability::SysBoot, "reboot"),
    (Capability::SysChroot, "chroot"),
    (Capability::SysModule, "delete_module init_module finit_module"),
    (Capability::SysPacct, "acct"),
    (
        Capability::SysPtrace,
        "kcmp pidfd_getfd process_madvise process_vm_readv process_vm_writev ptrace",
    ),
    (Capability::SysRawio, "iopl ioperm"),
    (Capability::SysTime, "settimeofday stime clock_settime clock_settime64"),
    (Capability::SysTtyConfig, "vhangup"),
    (Capability::SysNice, "get_mempolicy mbind set_mempolicy set_mempolicy_home_node"),
    (Capability::Syslog, "syslog"),
    (Capability::Bpf, "bpf"),
    (Capability::Perfmon, "perf_event_open"),
];

/// Families of socket(2) below which all are allowed: AF_DECnet is the first that the kernel no longer has.
const FAMILIES_BELOW: u64 = 12;
/// Further families, by number: none that the kernel no longer has, no AF_ALG (the kernel's cryptography), and no
/// AF_VSOCK (virtual machines, which no network namespace hides).
const FAMILIES: [u64; 25] = [
    13, 14, 15, 16, 17, 18, 21, 22, 24, 26, 27, 28, 29, 30, 31, 32, 33, 35, 36, 39, 41, 42, 43, 44,
    45,
];

/// Values of personality(2): PER_LINUX, PER_LINUX32, both with UNAME26, and the one that only reads.
const PERSONALITIES: [u64; 5] = [0, 8, 0x2_0000, 0x2_0008, 0xffff_ffff];

/// True if the profile denies the call to every container.
pub(super) fn never_allows(call: &str) -> bool {
    let of_capabilities = OF_CAPABILITIES.iter().map(|(_, names)| *names);
    let groups = [ALLOWED, TRACING, OF_ARM, OF_X86, "socket personality"];
    groups
        .into_iter()
        .chain(of_capabilities)
        .all(|names| names.split_whitespace().all(|name| name != call))
}

/// Returns the capabilities of the bounding set that allow calls.
pub(super) fn relevant(bounding: &Capabilities) -> Vec<Capability> {
    let all = OF_CAPABILITIES.iter().map(|(capability, _)| *capability);
    all.filter(|capability| bounding.contains(capability)).collect()
}

/// Resolves the default profile for a container.
pub fn builtin(target: &ProfileTarget<'_>) -> Result<LinuxSeccomp> {
    let mut rules = vec![allow(ALLOWED, None)?];
    if target.kernel >= TRACING_FROM {
        rules.push(allow(TRACING, None)?);
    }
    rules.push(allow("socket", Some((LinuxSeccompOperator::ScmpCmpLt, FAMILIES_BELOW, None)))?);
    for family in FAMILIES {
        rules.push(allow("socket", Some((LinuxSeccompOperator::ScmpCmpEq, family, None)))?);
    }
    for value in PERSONALITIES {
        rules.push(allow("personality", Some((LinuxSeccompOperator::ScmpCmpEq, value, None)))?);
    }
    rules.push(match target.machine {
        Architecture::Aarch64 | Architecture::Arm => allow(OF_ARM, None)?,
        _ => allow(OF_X86, None)?,
    });
    for (capability, names) in OF_CAPABILITIES {
        if target.bounding.contains(&capability) {
            rules.push(allow(names, None)?);
        }
    }
    if !target.bounding.contains(&Capability::SysAdmin) {
        let no_flag = (LinuxSeccompOperator::ScmpCmpMaskedEq, NEW_NAMESPACES, Some(0));
        rules.push(allow("clone", Some(no_flag))?);
        // Its flags lie behind a pointer. libc takes clone(2) when it hears that clone3(2) is missing.
        rules.push(
            LinuxSyscallBuilder::default()
                .names(vec!["clone3".to_owned()])
                .action(LinuxSeccompAction::ScmpActErrno)
                .errno_ret(libc::ENOSYS as u32)
                .build()
                .map_err(Error::new)?,
        );
    }
    LinuxSeccompBuilder::default()
        .default_action(LinuxSeccompAction::ScmpActErrno)
        .default_errno_ret(libc::EPERM as u32)
        .architectures(target.machine.family().iter().copied().map(arch).collect::<Vec<_>>())
        .syscalls(rules)
        .build()
        .map_err(Error::new)
}

/// Condition on the first argument: operator, value, second value.
type FirstArgument = (LinuxSeccompOperator, u64, Option<u64>);

fn allow(names: &str, first: Option<FirstArgument>) -> Result<LinuxSyscall> {
    let mut rule = LinuxSyscallBuilder::default()
        .names(names.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
        .action(LinuxSeccompAction::ScmpActAllow)
        .build()
        .map_err(Error::new)?;
    rule.set_args(first.map(argument).transpose()?.map(|one| vec![one]));
    Ok(rule)
}

fn argument(first: FirstArgument) -> Result<LinuxSeccompArg> {
    let (operator, value, second) = first;
    let arg = LinuxSeccompArgBuilder::default().index(0usize).value(value).op(operator);
    let arg = if let Some(second) = second { arg.value_two(second) } else { arg };
    arg.build().map_err(Error::new)
}
