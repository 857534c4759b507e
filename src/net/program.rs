//! Start of a helper. The helper starts as soon as the namespaces exist, gets ready while the root is mounted, and is
//! awaited just before the command. The helper dies with its parent, however that dies, and is ended with the
//! container.

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, SealFlags};
use serde::{Deserialize, Serialize};

use super::HostNetwork;
use super::slirp::{self, Api, PortRequests};
use crate::error::{Context, Error, ErrorKind, Result};
use crate::fail;
use crate::files::NewFolder;
use crate::host::hint::Hint;
use crate::host::network_helper::NetworkHelper;
use crate::sys::process::{self, Child, Forked};
use crate::sys::{fd, namespace, signal};

/// Time limit for a helper to get ready.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);
/// Limit of a helper's captured messages in bytes: a helper may write more, and must not block.
const SAID: u64 = 16 * 1024;
/// Limit of a helper's open files: enough for each port of both protocols.
const MOST_FILES: u64 = 1 << 18;
/// Descriptor on which slirp4netns reports its readiness.
const READY: i32 = 3;

/// Command line of a helper, and its port requests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Helper {
    /// Program of the helper.
    pub program: NetworkHelper,
    /// Path of the program.
    pub path: PathBuf,
    /// Interface in the container.
    pub interface: String,
    /// Arguments, without the namespaces.
    pub arguments: Vec<String>,
    /// Port requests to send when the helper runs.
    pub api: Option<Api>,
}

/// Helpers that can connect a container, the first to try first, and the namespaces to connect.
#[derive(Debug)]
pub(super) struct HelperPlan {
    pub namespaces: HelperNamespaces,
    /// At least one.
    pub helpers: Vec<Helper>,
}

/// Start of one of the helpers of a plan.
#[derive(Debug)]
pub(super) struct HelperStart {
    attempt: Attempt,
    /// Number of the helper in the plan.
    candidate: usize,
    /// Errors of the helpers before.
    failures: Vec<String>,
    /// The host's network at the start.
    pub host: HostNetwork,
}

/// Namespaces that a helper works in.
#[derive(Debug)]
pub struct HelperNamespaces {
    /// Base user namespace, if root is mapped in it.
    base: Option<OwnedFd>,
    process: NamespaceProcess,
}

/// Process by which a helper finds the container's namespaces.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct NamespaceProcess {
    /// PID of a process in the network namespace.
    pid: i32,
    /// PID of a process in the user namespace that owns the network namespace, or in one above.
    user: i32,
    /// True if that user namespace is the base.
    is_base: bool,
    /// The user namespace and the network namespace at the launch.
    namespaces: [NamespaceFile; 2],
}

/// Identity of a namespace: device and inode of its file (namespaces(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct NamespaceFile {
    device: u64,
    inode: u64,
}

impl NamespaceFile {
    fn of(file: &impl AsFd) -> std::io::Result<Self> {
        let stat = rustix::fs::fstat(file)?;
        Ok(Self { device: stat.st_dev, inode: stat.st_ino })
    }
}

/// Namespaces of a helper on their way through an exec of this program.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct NamespacesHandover {
    base: Option<RawFd>,
    process: NamespaceProcess,
}

fn open_namespace(pid: i32, name: &str) -> Result<std::fs::File> {
    let path = format!("/proc/{pid}/ns/{name}");
    std::fs::File::open(&path).context(|| path)
}

/// True if the content of a uid_map has the ID 0 inside.
fn maps_root(map: &str) -> bool {
    map.lines().any(|line| line.split_whitespace().next() == Some("0"))
}

impl HelperNamespaces {
    /// Finds the namespaces of the process `pid`, a child of ours; the process `base` is in the base user namespace. A
    /// helper that enters them must be allowed to inspect that process. The helper accepts `/proc/PID/ns` alone, and
    /// must see no descriptor of ours (cap_ptrace_access_check() in the kernel).
    pub fn of(base: i32, pid: i32) -> Result<Self> {
        let path = format!("/proc/{base}/uid_map");
        let map = std::fs::read_to_string(&path).context(|| path)?;
        let has_root = maps_root(&map);
        let base = open_namespace(base, "user")?;
        let namespaces = NamespaceProcess::namespaces(pid, pid)?;
        let is_base = NamespaceFile::of(&base)? == namespaces[0];
        let process = NamespaceProcess { pid, user: pid, is_base, namespaces };
        Ok(Self { base: has_root.then(|| base.into()), process })
    }

    /// Finds the namespaces of a running container by its process `pid`. Errors: another user namespace owns its network
    /// namespace.
    pub(super) fn of_running(pid: i32) -> Result<Self> {
        let cannot = || "cannot enter the container's network";
        let namespaces = NamespaceProcess::namespaces(pid, pid)?;
        let user = open_namespace(pid, "user")?;
        let net_owner = namespace::owner(open_namespace(pid, "net")?.as_fd()).context(cannot)?;
        if NamespaceFile::of(&net_owner)? != namespaces[0] {
            fail!(Conflict: "the container's network namespace belongs to another user namespace");
        }
        // The base is the outermost user namespace below ours.
        let ours = NamespaceFile::of(&std::fs::File::open("/proc/self/ns/user")?)?;
        let (mut base, mut is_base) = (OwnedFd::from(user), true);
        loop {
            let parent = namespace::owner(base.as_fd()).context(cannot)?;
            if NamespaceFile::of(&parent)? == ours {
                break;
            }
            (base, is_base) = (parent, false);
        }
        let path = format!("/proc/{pid}/uid_map");
        let map = std::fs::read_to_string(&path).context(|| path)?;
        // A base with another user namespace below has the map of all IDs.
        let has_root = !is_base || maps_root(&map);
        let process = NamespaceProcess { pid, user: pid, is_base, namespaces };
        Ok(Self { base: has_root.then_some(base), process })
    }

    /// Finds the namespaces of the process `pid`, which has joined the network namespace of another container. The
    /// process may be in another user namespace than the owner of that network namespace, but both have the same base.
    pub fn joined(base: i32, pid: i32) -> Result<Self> {
        let found = Self::of(base, pid)?;
        let namespaces = NamespaceProcess::namespaces(base, pid)?;
        let process = NamespaceProcess { pid, user: base, is_base: true, namespaces };
        Ok(Self { process, ..found })
    }

    /// PID of a process in the network namespace.
    pub(super) fn pid(&self) -> i32 {
        self.process.pid
    }

    /// Checks that the process is still where it was at the launch. Errors: it has ended, or has moved to other
    /// namespaces.
    pub(super) fn check(&self) -> Result<()> {
        let NamespaceProcess { pid, user, .. } = self.process;
        if NamespaceProcess::namespaces(user, pid)? != self.process.namespaces {
            fail!("the container's first process has left its namespaces");
        }
        Ok(())
    }

    /// Prepares an exec of this program.
    pub(super) fn hand_over(self) -> Result<NamespacesHandover> {
        let base = self.base.map(fd::hand_over).transpose()?;
        Ok(NamespacesHandover { base, process: self.process })
    }

    /// Takes the namespaces over after the exec.
    pub(super) fn take_over(handover: NamespacesHandover) -> Result<Self> {
        let base = handover.base.map(fd::take).transpose()?;
        Ok(Self { base, process: handover.process })
    }
}

impl NamespaceProcess {
    fn namespaces(user: i32, pid: i32) -> Result<[NamespaceFile; 2]> {
        let file = |pid, name| Ok::<_, Error>(NamespaceFile::of(&open_namespace(pid, name)?)?);
        Ok([file(user, "user")?, file(pid, "net")?])
    }
}

#[derive(Debug)]
struct Attempt {
    helper: Helper,
    /// Folder of the helper's socket.
    folder: Option<NewFolder>,
    /// Running helper. `None`: the caller of `wait` owns the ready helper.
    child: Option<Child>,
    ready: OwnedFd,
    /// Port requests of a helper that is ready.
    requests: Option<PortRequests>,
    said: std::fs::File,
    /// End of the patience.
    deadline: Instant,
}

impl Helper {
    /// Builds the command line for the namespaces at these paths.
    pub fn command_line(&self, user: Option<&str>, net: &str, socket: Option<&str>) -> Vec<String> {
        let mut words = vec![self.path.to_string_lossy().into_owned()];
        words.extend(self.arguments.iter().cloned());
        match self.program {
            NetworkHelper::Pasta => {
                words.extend(user.map(|user| format!("--userns={user}")));
                words.push(format!("--netns={net}"));
            }
            NetworkHelper::Slirp4netns => {
                words.push(format!("--ready-fd={READY}"));
                words.extend(socket.map(|socket| format!("--api-socket={socket}")));
                words.extend(slirp::target_arguments(&self.interface, user, net));
            }
        }
        words
    }
}

impl HelperPlan {
    /// True if the error is that of pasta (until 2024_10_30) on a host without a network.
    pub fn awaits_host(&self, error: &Error, host: &HostNetwork) -> bool {
        let is_pasta = |helper: &Helper| helper.program == NetworkHelper::Pasta;
        self.helpers.iter().all(is_pasta)
            && !host.has_way_out()
            && error.to_string().contains("External interface")
    }
}

impl HelperStart {
    /// Starts the first helper.
    pub fn begin(plan: &HelperPlan) -> Result<Self> {
        let host = HostNetwork::read();
        let attempt = Attempt::start(&plan.helpers[0], &plan.namespaces)?;
        Ok(Self { attempt, candidate: 0, failures: Vec::new(), host })
    }

    /// Returns the helper's process if it is ready, after at most `limit`. Tries the next helper after a failure.
    /// Errors: all helpers failed, with the reasons.
    pub fn advance(&mut self, plan: &HelperPlan, limit: Duration) -> Result<Option<Child>> {
        let error = match self.attempt.check(limit) {
            Ok(child) => return Ok(child),
            Err(error) => error,
        };
        self.failures.push(error.to_string());
        let Some(next) = plan.helpers.get(self.candidate + 1) else {
            let all = Error::new(self.failures.join("; ")).of_kind(error.kind());
            return Err(match error.hint_text() {
                Some(hint) => all.hint(hint),
                None => all,
            });
        };
        log::debug!("{error}");
        self.candidate += 1;
        self.attempt = Attempt::start(next, &plan.namespaces)?;
        Ok(None)
    }

    /// Descriptor that is readable when [`HelperStart::advance`] has work: the helper is ready, has answered or ended.
    pub fn readiness(&self) -> BorrowedFd<'_> {
        self.attempt.readiness()
    }

    /// Time at which the helper has taken too long.
    pub fn deadline(&self) -> Instant {
        self.attempt.deadline
    }

    /// Number of the helper in its plan.
    pub fn candidate(&self) -> usize {
        self.candidate
    }
}

/// Forked process that becomes a helper.
struct HelperLaunch<'a> {
    /// Working folder: the one with the helper's socket.
    folder: &'a std::fs::File,
    /// Base user namespace, if the helper starts there.
    base: Option<&'a OwnedFd>,
    /// End of the pipe on which the helper reports that it is ready.
    ready: &'a OwnedFd,
    /// File for the helper's messages.
    said: &'a std::fs::File,
    /// Standard output of the helper.
    output: BorrowedFd<'a>,
}

impl HelperLaunch<'_> {
    /// Prepares this process, a child of `parent`, for the exec of the helper.
    fn prepare(&self, parent: rustix::process::Pid) -> std::io::Result<()> {
        process::set_parent_death_signal(libc::SIGKILL)?;
        if rustix::process::getppid() != Some(parent) {
            process::exit_now(1); // the parent died before
        }
        // Terminal signals belong to the command.
        rustix::process::setsid()?;
        rustix::process::fchdir(self.folder)?;
        signal::unblock_all();
        signal::set_default(&[libc::SIGPIPE, libc::SIGCHLD]);
        if let Some(base) = self.base {
            namespace::enter(base.as_fd())?;
            process::set_parent_death_signal(libc::SIGKILL)?;
        }
        // A descriptor for each port, and for each connection; slirp4netns does not raise its own limit.
        if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
            let _ = setrlimit(Resource::RLIMIT_NOFILE, hard.min(MOST_FILES), hard);
        }
        let null = std::fs::File::open("/dev/null")?;
        // First duplicated above 3: descriptors up to there are overwritten.
        let ready = rustix::io::fcntl_dupfd_cloexec(self.ready, 10)?;
        let output = rustix::io::fcntl_dupfd_cloexec(self.output, 10)?;
        let said = rustix::io::fcntl_dupfd_cloexec(self.said, 10)?;
        fd::install(null.as_fd(), 0)?;
        fd::install(output.as_fd(), 1)?;
        fd::install(said.as_fd(), 2)?;
        fd::install(ready.as_fd(), READY)?;
        fd::close_at_exec_from(READY + 1)
    }
}

impl Attempt {
    fn start(helper: &Helper, namespaces: &HelperNamespaces) -> Result<Self> {
        let name = helper.program.name();
        let cannot = || format!("cannot start {name}");
        let (ready, ready_far) =
            rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).context(cannot)?;
        let said = bounded_file().context(cannot)?;
        let folder = helper.api.as_ref().map(Api::folder).transpose()?;
        let socket = folder.as_ref().map(|_| slirp::SOCKET);
        let here = folder.as_ref().map_or(Path::new("/"), |folder| &folder.path);
        let here = std::fs::File::open(here).context(cannot)?;
        // slirp4netns's sandbox must be root in a user namespace; pasta enters the innermost by itself.
        let base =
            namespaces.base.as_ref().filter(|_| helper.program == NetworkHelper::Slirp4netns);
        let is_there = base.is_some() && namespaces.process.is_base;
        let pid = namespaces.process.pid;
        let user = (!is_there).then(|| format!("/proc/{}/ns/user", namespaces.process.user));
        let net = format!("/proc/{pid}/ns/net");
        let mut words = helper.command_line(user.as_deref(), &net, socket);
        if base.is_none() {
            words.retain(|word| word != slirp::SANDBOX);
        }
        let program = CString::new(helper.path.as_os_str().as_bytes()).map_err(Error::new)?;
        let words: Vec<CString> =
            words.into_iter().map(CString::new).collect::<Result<_, _>>().map_err(Error::new)?;
        let words: Vec<_> = words.iter().map(CString::as_c_str).collect();
        let output = match helper.program {
            NetworkHelper::Pasta => ready_far.as_fd(),
            NetworkHelper::Slirp4netns => said.as_fd(),
        };
        let launch = HelperLaunch { folder: &here, base, ready: &ready_far, said: &said, output };
        let us = rustix::process::getpid();
        let child = match process::fork().context(cannot)? {
            Forked::Parent(child) => child,
            Forked::Child => {
                let error = match launch.prepare(us) {
                    Ok(()) => {
                        process::exec(&program, &words, &[c"PATH=/usr/sbin:/usr/bin:/sbin:/bin"])
                    }
                    Err(error) => error,
                };
                let _ = rustix::io::write(&said, error.to_string().as_bytes());
                process::exit_now(1)
            }
        };
        log::debug!("{name} is started, process {}", child.pid);
        let deadline = Instant::now() + PATIENCE;
        let helper = helper.clone();
        Ok(Self { helper, folder, child: Some(child), ready, requests: None, said, deadline })
    }

    fn readiness(&self) -> BorrowedFd<'_> {
        let asked = self.requests.as_ref().and_then(PortRequests::readiness);
        asked.unwrap_or_else(|| self.ready.as_fd())
    }

    fn check(&mut self, limit: Duration) -> Result<Option<Child>> {
        let name = self.helper.program.name();
        let Some(child) = &self.child else { fail!("{name} is waited for twice") };
        let left = self.deadline.saturating_duration_since(Instant::now());
        let wait = left.min(limit);
        let wait = Timespec { tv_sec: wait.as_secs() as i64, tv_nsec: wait.subsec_nanos().into() };
        let readiness = self.readiness();
        match poll(&mut [PollFd::from_borrowed_fd(readiness, PollFlags::IN)], Some(&wait)) {
            Err(rustix::io::Errno::INTR) => return Ok(None),
            Ok(0) if Instant::now() < self.deadline => return Ok(None),
            Ok(0) if self.requests.is_some() => fail!("{name} does not answer"),
            Ok(0) => fail!("{name} is not ready after {} s", PATIENCE.as_secs()),
            answer => answer.context(|| format!("cannot wait for {name}"))?,
        };
        if let Some(requests) = &mut self.requests {
            let left = requests.turn()?;
            return Ok(self.unless_asking(left));
        }
        // Any data means that the helper is ready. End of file: the helper has ended.
        if rustix::io::read(&self.ready, &mut [0; 32][..]).is_ok_and(|length| length > 0) {
            let api = self.helper.api.as_ref().zip(self.folder.as_ref());
            self.requests = api.map(|(api, folder)| api.begin(folder)).transpose()?;
            return Ok(self.unless_asking(usize::from(self.requests.is_some())));
        }
        let _ = child.wait();
        self.child = None;
        Err(failure(name, &self.said()))
    }

    /// Returns the process of a helper of which nothing is asked any more; `left`: the number of requests.
    fn unless_asking(&mut self, left: usize) -> Option<Child> {
        if left == 0 {
            return self.child.take();
        }
        self.deadline = Instant::now() + slirp::PATIENCE;
        None
    }

    fn said(&self) -> String {
        let mut room = vec![0; SAID as usize];
        let length = self.said.read_at(&mut room, 0).unwrap_or(0);
        let length = room[..length].iter().position(|byte| *byte == 0).unwrap_or(length);
        String::from_utf8_lossy(&room[..length]).into_owned()
    }
}

/// Kills a helper that is not ready: such a helper is not needed.
impl Drop for Attempt {
    fn drop(&mut self) {
        if let Some(child) = self.child.take() {
            let _ = child.signal(libc::SIGKILL);
            let _ = child.wait();
        }
    }
}

/// Builds the error from a helper's messages, without the uninformative ones.
fn failure(name: &str, said: &str) -> Error {
    let is_noise = |line: &&str| {
        let noise = [
            "Failed to send",
            "No external",
            "WARNING: Support for seccomp",
            "Starting slirp",
            "* ",
        ];
        line.is_empty() || noise.iter().any(|noise| line.starts_with(noise))
    };
    let lines: Vec<&str> = said.lines().map(str::trim).filter(|line| !is_noise(line)).collect();
    let why = if lines.is_empty() { "it ended".to_owned() } else { lines.join(", ") };
    let error = Error::new(format!("{name}: {why}"));
    if why.contains("Permission denied") && why.contains("bind") {
        return error.of_kind(ErrorKind::Refused).hint(Hint::LowPorts(80).to_string());
    }
    error
}

/// Creates a file in memory that does not grow beyond [`SAID`].
fn bounded_file() -> std::io::Result<std::fs::File> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let file = rustix::fs::memfd_create("usnea-network", flags)?;
    rustix::fs::ftruncate(&file, SAID)?;
    rustix::fs::fcntl_add_seals(&file, SealFlags::GROW)?;
    Ok(file.into())
}
