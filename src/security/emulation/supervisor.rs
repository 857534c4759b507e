//! Supervisor: receives calls from the filter and answers them, one after the other.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::caller::{Caller, Empty, Last, Target};
use super::confine;
use super::credentials::{Credentials, Ids, Power, Refused};
use super::files::{self, File, make_device, mount_of};
use super::look;
use super::processes::Processes;
use crate::layer::override_stat::FileType;
use crate::security::seccomp::Architecture;
use crate::sys::namespace;
use crate::sys::process;
use crate::sys::seccomp::{Answer, Call, Listener};

/// Largest number of supplementary groups (kernel/groups.c).
const NGROUPS_MAX: usize = 65536;

/// User and capabilities of the container's command.
#[derive(Clone, Debug)]
pub struct Supervisor {
    /// User ID inside.
    pub uid: u32,
    /// Group ID inside.
    pub gid: u32,
    /// Capabilities of the command: calls that need others are not emulated either.
    pub capabilities: caps::CapsHashSet,
}

/// State between two calls.
struct SupervisorState {
    listener: Listener,
    proc: OwnedFd,
    processes: Processes,
    capabilities: caps::CapsHashSet,
    /// Mount ID of the container's root.
    root: u64,
    /// The container's user namespace, as an inode of nsfs.
    namespace: u64,
    /// Thread of the last call: most threads call again.
    last: Option<Caller>,
}

/// Enters `namespaces`, the user namespace first, and answers the calls of `listener`, until this process is killed.
/// Calls `ready` once no failure but that of its own filter can follow. A failure ends the listener, and calls that
/// nobody answers fail with ENOSYS.
pub fn serve(
    supervisor: &Supervisor,
    listener: OwnedFd,
    namespaces: &[OwnedFd],
    ready: impl FnOnce(),
) -> io::Result<()> {
    let mut state = enter(supervisor, listener.into(), namespaces)?;
    state.listener.hurry();
    ready();
    // Before the first call is read, and while the command starts: the kernel needs 0.2 ms to take a filter.
    confine::install()?;
    loop {
        match state.listener.receive() {
            Ok(Some(call)) => {
                let answer = state.answer(&call).unwrap_or_else(|error| match error {
                    // The thread is gone, and cannot receive an answer.
                    Errno::SRCH => Answer::Errno(libc::EINTR),
                    error => Answer::Errno(error.raw_os_error()),
                });
                let _ = state.listener.answer(&call, answer);
            }
            Ok(None) => {}
            Err(_) => return Ok(()), // no thread is left that could call
        }
    }
}

/// Sets up the supervisor, in this order: /proc is the host's, so it is opened first; capabilities are dropped inside.
fn enter(
    supervisor: &Supervisor,
    listener: Listener,
    namespaces: &[OwnedFd],
) -> io::Result<SupervisorState> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let proc = rustix::fs::open("/proc", flags, Mode::empty())?;
    let ours = rustix::fs::readlinkat(&proc, "self", Vec::new())?;
    if ours.to_bytes() != std::process::id().to_string().as_bytes() {
        // In a procfs of another PID namespace, our PIDs would mean other processes.
        return Err(io::Error::from_raw_os_error(libc::ESRCH));
    }
    for namespace in namespaces {
        namespace::enter(namespace.as_fd())?;
    }
    process::set_undumpable()?;
    let root = mount_of(&rustix::fs::open("/", flags, Mode::empty())?)?;
    let namespace = namespace_of(&proc, "self")?;
    keep(&supervisor.capabilities)?;
    rustix::process::umask(Mode::empty());
    let first = Credentials::of(supervisor.uid, supervisor.gid);
    Ok(SupervisorState {
        listener,
        processes: Processes::new(proc.try_clone()?, first),
        proc,
        capabilities: supervisor.capabilities.clone(),
        root,
        namespace,
        last: None,
    })
}

/// Drops capabilities. Entering the namespace granted all of them over the container. Those of the container remain,
/// plus two to inspect it from inside.
fn keep(capabilities: &caps::CapsHashSet) -> io::Result<()> {
    use caps::{CapSet, Capability};
    let mut kept = capabilities.clone();
    kept.extend([Capability::CAP_SYS_PTRACE, Capability::CAP_SYS_CHROOT]);
    let failed = |_| io::Error::from_raw_os_error(libc::EPERM);
    caps::clear(None, CapSet::Inheritable).map_err(failed)?;
    caps::set(None, CapSet::Effective, &kept).map_err(failed)?;
    caps::set(None, CapSet::Permitted, &kept).map_err(failed)?;
    process::set_no_new_privileges()
}

fn namespace_of(proc: &OwnedFd, process: &str) -> Result<u64, Errno> {
    let path = format!("{process}/ns/user");
    Ok(rustix::fs::statat(proc, Path::new(&path), rustix::fs::AtFlags::empty())?.st_ino)
}

/// Converts a 16-bit number to an ID (linux/highuid.h): its -1 is the 32-bit -1.
fn id_of_16(number: u32) -> u32 {
    if number & 0xffff == 0xffff { u32::MAX } else { number & 0xffff }
}

/// Converts an ID to a 16-bit number: a larger ID becomes the overflow ID.
fn to_16(id: u32) -> u32 {
    if id > 0xffff { 65534 } else { id }
}

/// Width of the IDs of a call, in bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum IdWidth {
    Two,
    Four,
}

impl IdWidth {
    fn id(self, argument: u64) -> u32 {
        let number = argument as u32;
        if self == Self::Two { id_of_16(number) } else { number }
    }

    fn shown(self, id: u32) -> u32 {
        if self == Self::Two { to_16(id) } else { id }
    }

    fn size(self) -> usize {
        if self == Self::Two { 2 } else { 4 }
    }

    fn bytes(self, id: u32) -> Vec<u8> {
        match self {
            Self::Two => (to_16(id) as u16).to_ne_bytes().to_vec(),
            Self::Four => id.to_ne_bytes().to_vec(),
        }
    }
}

impl SupervisorState {
    fn answer(&mut self, call: &Call) -> Result<Answer, Errno> {
        let architecture = Architecture::of_call(call.architecture, call.number);
        let Some((architecture, name)) =
            architecture.and_then(|one| Some((one, one.name(call.number)?)))
        else {
            return Ok(Answer::Continue);
        };
        let (plain, width) = match (name.strip_suffix("32"), architecture) {
            (Some(plain), _) => (plain, IdWidth::Four),
            (None, Architecture::X86 | Architecture::Arm) => (name, IdWidth::Two),
            (None, _) => (name, IdWidth::Four),
        };
        match plain {
            "chown" | "lchown" | "fchown" => self.change_owner(plain, call, width),
            "fchownat" => self.change_owner(plain, call, IdWidth::Four),
            "chmod" | "fchmod" | "fchmodat" | "fchmodat2" => self.change_mode(plain, call),
            "mknod" | "mknodat" => self.make_device(plain, call),
            "getgroups" | "setgroups" | "getresuid" | "getresgid" => {
                self.many_ids(plain, call, width)
            }
            _ if plain.ends_with("id") => self.ids(plain, call, width),
            // Old structs of 32-bit x86 (before stat64) and of ARM: the kernel answers.
            "stat" | "lstat" | "fstat" if width == IdWidth::Two => Ok(Answer::Continue),
            "stat64" | "lstat64" | "fstat64" | "fstatat64" if architecture == Architecture::Arm => {
                Ok(Answer::Continue)
            }
            _ => {
                self.take(call)?;
                let Some(caller) = &self.last else { return Err(Errno::SRCH) };
                // If the lookup fails, the kernel answers.
                Ok(look::answer(caller, plain, call, self.root).unwrap_or(Answer::Continue))
            }
        }
    }

    /// Gets hold of the calling thread, reusing the last one if alive.
    fn take(&mut self, call: &Call) -> Result<(), Errno> {
        let lives = |caller: &&Caller| caller.is(call.pid) && caller.lives();
        if self.last.as_ref().filter(lives).is_none() {
            self.last = None;
            self.last = Some(Caller::take(&self.proc, &self.listener, call)?);
        }
        Ok(())
    }

    /// True if the caller is in a user namespace that the container created: there, IDs are the kernel's.
    fn is_elsewhere(&self, call: &Call) -> Result<bool, Errno> {
        Ok(namespace_of(&self.proc, &call.pid.to_string())? != self.namespace)
    }

    fn power(&self, who: &Credentials, capability: caps::Capability) -> Power {
        match who.is_root() && self.capabilities.contains(&capability) {
            true => Power::Held,
            false => Power::None,
        }
    }

    /// Answers calls with IDs as arguments or as results.
    fn ids(&mut self, name: &str, call: &Call, width: IdWidth) -> Result<Answer, Errno> {
        if self.is_elsewhere(call)? {
            return Ok(Answer::Continue);
        }
        let mut who = self.processes.of(call.pid);
        let told = match name {
            "getuid" => Some(who.users.real),
            "geteuid" => Some(who.users.effective),
            "getgid" => Some(who.groups.real),
            "getegid" => Some(who.groups.effective),
            _ => None,
        };
        if let Some(id) = told {
            return Ok(Answer::Value(width.shown(id).into()));
        }
        let [first, second, third, ..] = call.arguments.map(|argument| width.id(argument));
        let users = self.power(&who, caps::Capability::CAP_SETUID);
        let groups = self.power(&who, caps::Capability::CAP_SETGID);
        let changed = match name {
            "setuid" => who.users.set(first, users),
            "setgid" => who.groups.set(first, groups),
            "setreuid" => who.users.set_two(first, second, users),
            "setregid" => who.groups.set_two(first, second, groups),
            "setresuid" => who.users.set_three(first, second, third, users),
            "setresgid" => who.groups.set_three(first, second, third, groups),
            "setfsuid" | "setfsgid" => {
                let (ids, power): (&mut Ids, Power) = match name {
                    "setfsuid" => (&mut who.users, users),
                    _ => (&mut who.groups, groups),
                };
                let before = ids.set_files(first, power);
                self.processes.change(call.pid, who);
                return Ok(Answer::Value(width.shown(before).into()));
            }
            _ => return Ok(Answer::Continue),
        };
        changed.map_err(|refused| match refused {
            Refused::NotPermitted => Errno::PERM,
            Refused::Invalid => Errno::INVAL,
        })?;
        self.processes.change(call.pid, who);
        Ok(Answer::Value(0))
    }

    /// Answers calls with IDs in memory.
    fn many_ids(&mut self, name: &str, call: &Call, width: IdWidth) -> Result<Answer, Errno> {
        if self.is_elsewhere(call)? {
            return Ok(Answer::Continue);
        }
        let who = self.processes.of(call.pid);
        self.take(call)?;
        let Some(caller) = &self.last else { return Err(Errno::SRCH) };
        let ids = match name {
            "getresuid" => who.users,
            "getresgid" => who.groups,
            "getgroups" => return tell_groups(caller, &who, call, width),
            _ => {
                let groups = self.groups_to_set(caller, &who, call, width)?;
                let groups = self.processes.list(&groups).ok_or(Errno::NOMEM)?;
                let who = Credentials { supplementary: Some(groups), ..who };
                self.processes.change(call.pid, who);
                return Ok(Answer::Value(0));
            }
        };
        for (id, address) in [ids.real, ids.effective, ids.saved].into_iter().zip(call.arguments) {
            caller.write(address, &width.bytes(id))?;
        }
        Ok(Answer::Value(0))
    }

    fn groups_to_set(
        &self,
        caller: &Caller,
        who: &Credentials,
        call: &Call,
        width: IdWidth,
    ) -> Result<Vec<u32>, Errno> {
        if self.power(who, caps::Capability::CAP_SETGID) == Power::None {
            return Err(Errno::PERM);
        }
        let count = call.arguments[0] as u32 as usize;
        if count > NGROUPS_MAX {
            return Err(Errno::INVAL);
        }
        let mut groups = caller.numbers(call.arguments[1], count, width.size())?;
        if width == IdWidth::Two {
            groups.iter_mut().for_each(|group| *group = id_of_16(*group));
        }
        if groups.contains(&u32::MAX) {
            return Err(Errno::INVAL);
        }
        groups.sort_unstable(); // the kernel reports groups in this order
        Ok(groups)
    }

    fn change_owner(&mut self, name: &str, call: &Call, width: IdWidth) -> Result<Answer, Errno> {
        let who = self.processes.of(call.pid);
        if self.power(&who, caps::Capability::CAP_CHOWN) == Power::None {
            return Ok(Answer::Continue);
        }
        self.take(call)?;
        let Some(caller) = &self.last else { return Err(Errno::SRCH) };
        let [first, second, third, fourth, fifth, _] = call.arguments;
        let (target, uid, gid) = match name {
            "fchown" => (caller.open_file(first)?, second, third),
            "fchownat" => {
                let empty = fifth & libc::AT_EMPTY_PATH as u64 != 0;
                let itself = fifth & libc::AT_SYMLINK_NOFOLLOW as u64 != 0;
                let empty = if empty { Empty::IsDirfd } else { Empty::Nothing };
                let last = if itself { Last::Itself } else { Last::Follow };
                (caller.target(first, second, empty, last)?, third, fourth)
            }
            _ => {
                let last = if name == "lchown" { Last::Itself } else { Last::Follow };
                (named(caller, first, last)?, second, third)
            }
        };
        enter_root_for(caller, &target)?;
        File::open(&target, self.root)?.change_owner(width.id(uid), width.id(gid))?;
        Ok(Answer::Value(0))
    }

    /// Updates the recorded mode; the mode on disk is changed by the kernel.
    fn change_mode(&mut self, name: &str, call: &Call) -> Result<Answer, Errno> {
        self.take(call)?;
        let Some(caller) = &self.last else { return Err(Errno::SRCH) };
        let [first, second, third, fourth, ..] = call.arguments;
        let (target, mode) = match name {
            "chmod" => (named(caller, first, Last::Follow), second),
            "fchmod" => (caller.open_file(first), second),
            _ => {
                let flags = if name == "fchmodat2" { fourth } else { 0 };
                let empty = flags & libc::AT_EMPTY_PATH as u64 != 0;
                let itself = flags & libc::AT_SYMLINK_NOFOLLOW as u64 != 0;
                let empty = if empty { Empty::IsDirfd } else { Empty::Nothing };
                let last = if itself { Last::Itself } else { Last::Follow };
                (caller.target(first, second, empty, last), third)
            }
        };
        let Ok(target) = target else { return Ok(Answer::Continue) };
        enter_root_for(caller, &target)?;
        if files::recalled(&target).is_some() {
            File::open(&target, self.root)?.change_mode(mode as u32)?;
        }
        Ok(Answer::Continue)
    }

    fn make_device(&mut self, name: &str, call: &Call) -> Result<Answer, Errno> {
        let who = self.processes.of(call.pid);
        let [first, second, third, fourth, ..] = call.arguments;
        let (path, mode, device) = match name {
            "mknod" => (first, second as u32, third as u32),
            _ => (second, third as u32, fourth as u32),
        };
        // 0:0 is a whiteout, which any user may make.
        if self.power(&who, caps::Capability::CAP_MKNOD) == Power::None || device == 0 {
            return Ok(Answer::Continue);
        }
        self.take(call)?;
        let Some(caller) = &self.last else { return Err(Errno::SRCH) };
        let target = match name {
            "mknod" => named(caller, path, Last::Itself)?,
            _ => caller.target(first, path, Empty::Nothing, Last::Itself)?,
        };
        enter_root_for(caller, &target)?;
        let (major, minor) = numbers(device);
        let kind = match mode & libc::S_IFMT {
            libc::S_IFBLK => FileType::Block(major, minor),
            _ => FileType::Character(major, minor),
        };
        make_device(caller, &target, self.root, mode, kind)?;
        Ok(Answer::Value(0))
    }
}

fn named(caller: &Caller, path: u64, last: Last) -> Result<Target, Errno> {
    caller.target(libc::AT_FDCWD as u64, path, Empty::Nothing, last)
}

fn enter_root_for(caller: &Caller, target: &Target) -> Result<(), Errno> {
    match target {
        Target::Named(..) => caller.enter_root(),
        Target::Open(_) => Ok(()),
    }
}

/// Splits a device number (linux/kdev_t.h, `new_decode_dev`).
fn numbers(device: u32) -> (u32, u32) {
    ((device & 0xfff00) >> 8, (device & 0xff) | ((device >> 12) & 0xfff00))
}

fn tell_groups(
    caller: &Caller,
    who: &Credentials,
    call: &Call,
    width: IdWidth,
) -> Result<Answer, Errno> {
    let Some(groups) = &who.supplementary else { return Ok(Answer::Continue) };
    let room = call.arguments[0] as i32;
    if room < 0 || (room != 0 && (room as usize) < groups.len()) {
        return Err(Errno::INVAL);
    }
    if room != 0 {
        let bytes: Vec<u8> = groups.iter().flat_map(|group| width.bytes(*group)).collect();
        caller.write(call.arguments[1], &bytes)?;
    }
    Ok(Answer::Value(groups.len() as i64))
}
