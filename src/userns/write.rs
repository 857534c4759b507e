//! Creation of the base user namespace: its maps, and work to be done inside.

use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::{Child as Helper, Stdio};

use serde::{Serialize, de::DeserializeOwned};

use super::{Base, Setgroups, Writer, lines};
use crate::error::{Context, Error, Result};
use crate::fail;
use crate::files;
use crate::hint;
use crate::host;
use crate::ids::{BaseIds, ContainerIds, FileIds, HostIds, IdLevel, IdMap, IdMaps};
use crate::sys::namespace::{self, Namespaces};
use crate::sys::process::{self, Ended, Forked, Parentage};

/// Adds context to a failure to create a user namespace or to map IDs, with a hint at the cause on this host.
pub fn forbidden(error: impl Into<Error>) -> Error {
    let error = Err::<(), _>(error.into()).context(|| "cannot make a user namespace").unwrap_err();
    match host::userns::forbidden_hint() {
        Some(hint) => error.hint(hint),
        None => error.hint(hint::ASK_DOCTOR),
    }
}

/// Writes the maps of `base` for process `pid`, which waits in a new user namespace. Does nothing if the process writes
/// its own maps. Errors: newuidmap or newgidmap refuses, or the kernel.
pub fn write_maps(base: &Base, pid: i32) -> Result<()> {
    let maps = &base.maps;
    match &base.writer {
        Writer::Itself | Writer::Nobody => Ok(()),
        Writer::Root => write_as_root(pid, maps),
        Writer::Helpers(helpers) => {
            // Concurrently: each takes about a millisecond.
            let uids = start(&helpers.newuidmap, pid, &maps.uids)?;
            let gids = start(&helpers.newgidmap, pid, &maps.gids)?;
            let (uids, gids) = (finish(&helpers.newuidmap, uids), finish(&helpers.newgidmap, gids));
            uids.and(gids)
        }
    }
}

fn write_as_root<Inner: IdLevel, Outer: IdLevel>(
    pid: i32,
    maps: &IdMaps<Inner, Outer>,
) -> Result<()> {
    for (name, map) in [("uid_map", &maps.uids), ("gid_map", &maps.gids)] {
        let path = format!("/proc/{pid}/{name}");
        std::fs::write(&path, map.kernel_lines()).map_err(forbidden).context(|| path)?;
    }
    Ok(())
}

fn start(program: &std::path::Path, pid: i32, map: &[IdMap]) -> Result<Helper> {
    let numbers = map
        .iter()
        .flat_map(|line| [line.inside, line.outside, line.count])
        .map(|number| number.to_string());
    std::process::Command::new(program)
        .arg(pid.to_string())
        .args(numbers)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .context(|| format!("cannot run {}", program.display()))
}

fn finish(program: &std::path::Path, helper: Helper) -> Result<()> {
    let output =
        helper.wait_with_output().context(|| format!("cannot wait for {}", program.display()))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said = said.lines().next().unwrap_or("it said nothing");
    let name = program.file_name().unwrap_or_default().display();
    let error = Error::new(said.strip_prefix(&format!("{name}: ")).unwrap_or(said));
    let error =
        Err::<(), _>(error).context(|| format!("cannot map IDs: {name} refuses")).unwrap_err();
    Err(match host::userns::forbidden_hint() {
        Some(hint) => error.hint(hint),
        None => error.hint(hint::CHECK_SUBORDINATE_IDS),
    })
}

/// Writes the maps of this process's own namespace, as its first process may: its own ID alone.
pub fn write_own_maps(maps: &IdMaps<BaseIds, HostIds>) -> std::io::Result<()> {
    // setgroups first: the kernel requires its denial before an unprivileged process maps a group (CVE-2014-8989).
    std::fs::write("/proc/self/setgroups", "deny")?;
    std::fs::write("/proc/self/uid_map", maps.uids.kernel_lines())?;
    std::fs::write("/proc/self/gid_map", maps.gids.kernel_lines())
}

/// Does `work` as root of a new base namespace, in a process of its own, and returns its answer. That process has a
/// single thread and may start more: no state but the answer comes back. The process dies with us. Errors: a failure to
/// create the namespace, a failure of `work`, or the death of the process.
pub fn in_base<T: Serialize + DeserializeOwned>(
    base: &Base,
    work: impl FnOnce() -> Result<T>,
) -> Result<T> {
    in_base_and_here(base, work, || ())?.0
}

/// Does `work` like [`in_base`], and `here` in this process concurrently. Each closure's captures are dropped in the
/// other's process. Returns both answers; the outer error: no such process could be created.
pub fn in_base_and_here<T: Serialize + DeserializeOwned, R>(
    base: &Base,
    work: impl FnOnce() -> Result<T>,
    here: impl FnOnce() -> R,
) -> Result<(Result<T>, R)> {
    let (mapped_near, mapped_far) = pipe()?;
    let parent = rustix::process::getpid();
    let enter = move || enter(base, &mapped_near, parent);
    let map = |pid| {
        let mapped = write_maps(base, pid);
        if mapped.is_ok() {
            let _ = rustix::io::write(&mapped_far, &[1]);
        }
        drop(mapped_far);
        mapped
    };
    apart(Namespaces::USER, enter, map, work, here)
}

/// Does `work` in a process of a user namespace below ours, with these maps, as its root if it has one. We are root of
/// ours.
pub fn in_container<T: Serialize + DeserializeOwned>(
    maps: &IdMaps<ContainerIds, BaseIds>,
    work: impl FnOnce() -> Result<T>,
) -> Result<T> {
    let (mapped_near, mapped_far) = pipe()?;
    let parent = rustix::process::getpid();
    let enter = move || {
        if rustix::io::read(&mapped_near, &mut [0]) != Ok(1) {
            process::exit_now(1);
        }
        // Without a root in the namespace, the process keeps its user.
        let _ = process::become_user(0, 0);
        die_with(parent)
    };
    let map = |pid| {
        for (name, map) in [("uid_map", &maps.uids), ("gid_map", &maps.gids)] {
            let path = format!("/proc/{pid}/{name}");
            std::fs::write(&path, map.kernel_lines()).context(|| path)?;
        }
        rustix::io::write(&mapped_far, &[1]).context(|| "cannot tell that it is mapped")?;
        Ok(())
    };
    apart(Namespaces::USER, enter, map, work, || ())?.0
}

/// Creates a user namespace with these maps, below ours and without a process: the argument of an ID-mapped mount. We
/// are root of ours.
pub fn namespace_of(maps: &IdMaps<FileIds, HostIds>) -> Result<OwnedFd> {
    let (end, alive) = pipe()?;
    match process::clone(Namespaces::USER, Parentage::Ours).map_err(forbidden)? {
        Forked::Child => {
            drop(alive);
            let _ = rustix::io::read(&end, &mut [0]);
            process::exit_now(0)
        }
        Forked::Parent(child) => {
            let namespace = write_as_root(child.pid, maps).and_then(|()| {
                namespace::user_of(child.pid).context(|| "cannot open a user namespace")
            });
            drop(alive);
            child.wait().context(|| "cannot wait for a process")?;
            namespace
        }
    }
}

/// Does `work` in a process of its own, after `enter`, and `here` in this one concurrently. The process dies with us.
pub fn in_process_and_here<T: Serialize + DeserializeOwned, R>(
    enter: impl FnOnce() -> Result<()>,
    work: impl FnOnce() -> Result<T>,
    here: impl FnOnce() -> R,
) -> Result<(Result<T>, R)> {
    let parent = rustix::process::getpid();
    let enter = || enter().and_then(|()| die_with(parent));
    apart(Namespaces::default(), enter, |_| Ok(()), work, here)
}

/// Returns the maps of another container's base. Errors: the caller may not enter it.
pub fn maps_in(namespace: BorrowedFd<'_>) -> Result<IdMaps<BaseIds, HostIds>> {
    let enter = || namespace::enter(namespace).context(|| "cannot enter a user namespace");
    in_process_and_here(enter, lines::of_base, || ())?.0
}

/// Returns the permission for setgroups(2) in another user namespace. Errors: the caller may not enter it.
pub fn setgroups_in(namespace: &OwnedFd) -> Result<Setgroups> {
    let enter = || namespace::enter(namespace.as_fd()).context(|| "cannot enter a user namespace");
    let read = || {
        std::fs::read_to_string("/proc/self/setgroups").context(|| "cannot read setgroups of /proc")
    };
    let text = in_process_and_here(enter, read, || ())?.0?;
    Ok(match text.trim() {
        "deny" => Setgroups::Denied,
        _ => Setgroups::Allowed,
    })
}

fn pipe() -> Result<(OwnedFd, OwnedFd)> {
    rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).context(|| "cannot make a pipe")
}

fn apart<T: Serialize + DeserializeOwned, R>(
    namespaces: Namespaces,
    enter: impl FnOnce() -> Result<()>,
    map: impl FnOnce(i32) -> Result<()>,
    work: impl FnOnce() -> Result<T>,
    here: impl FnOnce() -> R,
) -> Result<(Result<T>, R)> {
    let (answer_near, answer_far) = pipe()?;
    match process::clone(namespaces, Parentage::Ours).map_err(forbidden)? {
        Forked::Child => {
            drop((answer_near, map, here));
            let answer = enter().and_then(|()| work());
            // A parent that has ended needs no answer.
            let _ = files::write_json(answer_far, &answer);
            process::exit_now(0)
        }
        Forked::Parent(child) => {
            drop((answer_far, enter, work));
            let mapped = map(child.pid);
            let here = mapped.is_ok().then(here);
            let mut answer = String::new();
            let read = std::fs::File::from(answer_near).read_to_string(&mut answer);
            let ended = child.wait().context(|| "cannot wait for the process in base")?;
            mapped?;
            read.context(|| "cannot read the answer of the process in base")?;
            let answer = match ended {
                Ended::Exited(_) => {
                    serde_json::from_str::<Result<T>>(&answer).unwrap_or_else(|_| {
                        let said = "the process that worked in the user namespace gave no answer";
                        Err(Error::new(said))
                    })
                }
                Ended::Killed(signal) => {
                    fail!(
                        "the process that worked in the user namespace was killed by signal {signal}"
                    )
                }
            };
            Ok((answer, here.ok_or_else(|| Error::new("it was not mapped"))?))
        }
    }
}

/// Prepares the new process, once its namespace is complete.
fn enter(base: &Base, mapped: &OwnedFd, parent: rustix::process::Pid) -> Result<()> {
    match base.writer {
        Writer::Itself => write_own_maps(&base.maps).map_err(forbidden)?,
        // A byte: the maps are written. End of file: the maps could not be written, which the parent reports.
        _ => match rustix::io::read(mapped, &mut [0]) {
            Ok(1) => {}
            _ => process::exit_now(1),
        },
    }
    become_root(base).context(|| "cannot become root of the user namespace")?;
    die_with(parent)?;
    raise_file_limit();
    Ok(())
}

/// Requests SIGKILL for the parent's death; after the change of user, which would drop the request. Exits at once if
/// the parent has died before.
fn die_with(parent: rustix::process::Pid) -> Result<()> {
    process::set_parent_death_signal(libc::SIGKILL)
        .context(|| "cannot ask for the parent's death")?;
    if rustix::process::getppid() != Some(parent) {
        process::exit_now(1);
    }
    Ok(())
}

/// Raises the limit of descriptors to the maximum: a pull holds two for each layer until its image is recorded.
/// Programs executed from here get no more than the user could have set.
fn raise_file_limit() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}

/// Becomes base's first user: root, or the user's own ID in it.
pub fn become_root(base: &Base) -> std::io::Result<()> {
    let first = |map: &[IdMap]| map.first().map_or(0, |line| line.inside);
    process::become_user(first(&base.maps.uids), first(&base.maps.gids))
}
