//! System call numbers by name, on each architecture whose programs a single kernel may run.

use std::str::FromStr;

/// Bit that marks a call of x32, not of x86_64 (asm/unistd.h, `__X32_SYSCALL_BIT`).
pub(super) const X32: u32 = 0x4000_0000;

/// Calls with numbers of their own on x32 (arch/x86/entry/syscalls/syscall_64.tbl, from 512 on, in order).
const X32_OWN: [&str; 36] = [
    "rt_sigaction",
    "rt_sigreturn",
    "ioctl",
    "readv",
    "writev",
    "recvfrom",
    "sendmsg",
    "recvmsg",
    "execve",
    "ptrace",
    "rt_sigpending",
    "rt_sigtimedwait",
    "rt_sigqueueinfo",
    "sigaltstack",
    "timer_create",
    "mq_notify",
    "kexec_load",
    "waitid",
    "set_robust_list",
    "get_robust_list",
    "vmsplice",
    "move_pages",
    "preadv",
    "pwritev",
    "rt_tgsigqueueinfo",
    "recvmmsg",
    "sendmmsg",
    "process_vm_readv",
    "process_vm_writev",
    "setsockopt",
    "getsockopt",
    "io_setup",
    "io_submit",
    "execveat",
    "preadv2",
    "pwritev2",
];
const X32_FIRST: u32 = 512;

/// Calls of x86_64 that x32 does not have: neither by the same number nor by one of its own (ABI `64` in that table).
const X86_64_ALONE: [&str; 13] = [
    "uselib",
    "_sysctl",
    "create_module",
    "get_kernel_syms",
    "query_module",
    "nfsservctl",
    "set_thread_area",
    "get_thread_area",
    "epoll_ctl_old",
    "epoll_wait_old",
    "vserver",
    "uretprobe",
    "map_shadow_stack",
];

/// Name of a call on 64-bit ARM (asm-generic/unistd.h), and in the crate `syscalls`.
const KERNELS_FSTATAT: &str = "newfstatat";
const CRATES_FSTATAT: &str = "fstatat";

/// Calls with 64-bit times, which 32-bit architectures alone have (asm-generic/unistd.h); the crate has them everywhere.
const OF_32_BITS: std::ops::RangeInclusive<u32> = 403..=423;

/// Architecture of programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Architecture {
    /// 64-bit x86.
    X86_64,
    /// 64-bit x86 with 32-bit pointers: the numbers of x86_64 with a bit set.
    X32,
    /// 32-bit x86.
    X86,
    /// 64-bit ARM.
    Aarch64,
    /// 32-bit ARM.
    Arm,
}

impl Architecture {
    /// Architecture of usnea's own program.
    pub fn native() -> Self {
        if cfg!(target_arch = "aarch64") { Self::Aarch64 } else { Self::X86_64 }
    }

    /// Architectures whose programs this machine's kernel may run, usnea's own first.
    pub fn of_this_machine() -> &'static [Self] {
        Self::native().family()
    }

    /// Architectures whose programs one kernel may run, the 64-bit one first.
    pub fn family(self) -> &'static [Self] {
        match self {
            Self::Aarch64 | Self::Arm => &[Self::Aarch64, Self::Arm],
            Self::X86_64 | Self::X86 | Self::X32 => &[Self::X86_64, Self::X86, Self::X32],
        }
    }

    /// Audit number of the architecture (linux/audit.h).
    pub fn audit(self) -> u32 {
        match self {
            Self::X86_64 | Self::X32 => 0xc000_003e,
            Self::X86 => 0x4000_0003,
            Self::Aarch64 => 0xc000_00b7,
            Self::Arm => 0x4000_0028,
        }
    }

    /// Number of a call; `None`: the architecture has no call of this name.
    pub fn number(self, name: &str) -> Option<u32> {
        let id = match self {
            Self::X86_64 => syscalls::x86_64::Sysno::from_str(name).ok()?.id(),
            Self::X32 => return x32_number(name),
            Self::X86 => syscalls::x86::Sysno::from_str(name).ok()?.id(),
            Self::Aarch64 => return aarch64_number(name),
            Self::Arm => syscalls::arm::Sysno::from_str(name).ok()?.id(),
        };
        id.try_into().ok()
    }

    /// Name of a call; `None`: no call has this number.
    pub fn name(self, number: u32) -> Option<&'static str> {
        let id = number as usize;
        match self {
            Self::X86_64 => Some(syscalls::x86_64::Sysno::new(id)?.name()),
            Self::X32 => x32_name(number),
            Self::X86 => Some(syscalls::x86::Sysno::new(id)?.name()),
            Self::Aarch64 => aarch64_name(number),
            Self::Arm => Some(syscalls::arm::Sysno::new(id)?.name()),
        }
    }

    /// Returns the architecture of a call.
    pub fn of_call(audit: u32, number: u32) -> Option<Self> {
        match audit {
            0xc000_003e if number >= X32 => Some(Self::X32),
            0xc000_003e => Some(Self::X86_64),
            0x4000_0003 => Some(Self::X86),
            0xc000_00b7 => Some(Self::Aarch64),
            0x4000_0028 => Some(Self::Arm),
            _ => None,
        }
    }

    /// True if programs of this architecture have 64-bit pointers.
    pub fn is_64_bit(self) -> bool {
        matches!(self, Self::X86_64 | Self::Aarch64)
    }
}

fn aarch64_number(name: &str) -> Option<u32> {
    let name = match name {
        KERNELS_FSTATAT => CRATES_FSTATAT,
        CRATES_FSTATAT => return None,
        name => name,
    };
    let number = syscalls::aarch64::Sysno::from_str(name).ok()?.id().try_into().ok()?;
    (!OF_32_BITS.contains(&number)).then_some(number)
}

fn aarch64_name(number: u32) -> Option<&'static str> {
    if OF_32_BITS.contains(&number) {
        return None;
    }
    match syscalls::aarch64::Sysno::new(number as usize)?.name() {
        CRATES_FSTATAT => Some(KERNELS_FSTATAT),
        name => Some(name),
    }
}

fn x32_number(name: &str) -> Option<u32> {
    let own = X32_OWN.iter().position(|own| *own == name);
    let number = match own {
        Some(place) => X32_FIRST + place as u32,
        None if X86_64_ALONE.contains(&name) => return None,
        None => Architecture::X86_64.number(name)?,
    };
    Some(number | X32)
}

fn x32_name(number: u32) -> Option<&'static str> {
    let number = number & !X32;
    match number.checked_sub(X32_FIRST) {
        Some(place) => X32_OWN.get(place as usize).copied(),
        None => {
            let is_shared = |name: &&str| !X32_OWN.contains(name) && !X86_64_ALONE.contains(name);
            Architecture::X86_64.name(number).filter(is_shared)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_the_kernels() {
        use Architecture::{Aarch64, Arm, X32 as X32Programs, X86, X86_64};
        for (architecture, name, number) in [
            (X86_64, "chown", Some(92)),
            (X86_64, "fchmodat2", Some(452)),
            (X86_64, "chown32", None),
            (X86, "chown32", Some(212)),
            (X86, "fchownat", Some(298)),
            (X32Programs, "chown", Some(92 | X32)),
            (X32Programs, "execve", Some(520 | X32)),
            (X32Programs, "pwritev2", Some(547 | X32)),
            (X32Programs, "set_thread_area", None),
            (Aarch64, "fchownat", Some(54)),
            (Aarch64, "chown", None),
            (Aarch64, "newfstatat", Some(79)),
            (Aarch64, "fstatat", None),
            (Aarch64, "futex_time64", None),
            (Arm, "fchownat", Some(325)),
            (X86_64, "no_such_call", None),
            (X86_64, "", None),
        ] {
            assert_eq!(architecture.number(name), number, "{architecture:?} {name}");
        }
    }

    #[test]
    fn a_name_and_its_number_find_each_other() {
        for architecture in Architecture::of_this_machine() {
            for number in (0..600).map(|number| match architecture {
                Architecture::X32 => number | X32,
                _ => number,
            }) {
                let Some(name) = architecture.name(number) else { continue };
                assert_eq!(architecture.number(name), Some(number), "{architecture:?} {name}");
                assert_eq!(
                    Architecture::of_call(architecture.audit(), number),
                    Some(*architecture)
                );
            }
        }
    }
}
