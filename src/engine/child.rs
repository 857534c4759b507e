//! The other side of the fork: base, then the container, then the command.
//!
//! One process lives this whole story, unless the container has a user namespace of its own: then it goes on in a child
//! of it, from `Step::Container` on. Where we stand: in new namespaces with all powers over them and none over the host;
//! the host's files are in sight until `Step::PivotRoot`.

use std::convert::Infallible;
use std::fmt::Write;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::Instant;

use rustix::fs::{Mode, OFlags};
use rustix::pipe::{PipeFlags, pipe_with};

use super::last::{Last, ParentsDeath};
use super::layers;
use super::mounts::Owners;
use super::sync::{Channel, Failure, Message};
use super::trouble::{Done, On, Trouble};
use super::{Idmapped, Mount, Plan, Source, Step, Streams, command, copyup, files, filter, init};
use crate::cgroup::Group;
use crate::ids::{self, IdMaps};
use crate::rootfs::give;
use crate::sys::inroot::{self, Kind, Symlinks};
use crate::sys::mount::{self, Attributes, Reach};
use crate::sys::namespace::{self, Namespaces};
use crate::sys::process::{self, Forked, Parentage};
use crate::sys::signal::Signals;
use crate::sys::{fd, network, pty};
use crate::userns::{self, Writer};

/// Carries out the child's steps; the process is the command afterwards, or has ended.
pub fn live(
    plan: &Plan,
    channel: Channel,
    watched: OwnedFd,
    (signals, streams): (&Signals, Option<&Streams>),
    (cgroup, idmapped): (Option<Group>, Idmapped),
    started: Instant,
) -> ! {
    let mut child = Child {
        plan,
        channel,
        watched,
        signals,
        streams,
        cgroup,
        idmapped,
        started,
        step: 0,
        trees: plan.steps.iter().map(|_| None).collect(),
        hands: Hands::default(),
        servers: Vec::new(),
        announced: None,
    };
    let Err(trouble) = child.become_command();
    let failure = Failure { step: child.step, what: trouble.what, errno: trouble.errno };
    // Nobody left to tell is no reason to stay.
    let _ = child.channel.send(&Message::Failed(failure));
    process::exit_now(125)
}

struct Child<'a> {
    plan: &'a Plan,
    channel: Channel,
    /// The other end is the parent's: it hangs up when the parent is dead.
    watched: OwnedFd,
    signals: &'a Signals,
    streams: Option<&'a Streams>,
    /// The container's cgroup.
    cgroup: Option<Group>,
    idmapped: Idmapped,
    started: Instant,
    /// Index of the step in hand: what a failure is reported with.
    step: usize,
    /// What is mounted already, detached, by index of its step.
    trees: Vec<Option<OwnedFd>>,
    hands: Hands,
    /// Servers of file systems: ours to wait for.
    servers: Vec<process::Child>,
    /// Its other end closes when our keeper has told the parent of us.
    announced: Option<OwnedFd>,
}

/// Descriptors that later steps work on.
#[derive(Default)]
struct Hands {
    root: Option<OwnedFd>,
    proc: Option<OwnedFd>,
    dev: Option<OwnedFd>,
    null: Option<OwnedFd>,
    devpts: Option<OwnedFd>,
    empty: Option<OwnedFd>,
    terminal: Option<OwnedFd>,
}

impl Hands {
    fn root(&self) -> Done<&OwnedFd> {
        self.root.as_ref().ok_or_else(|| io::Error::from_raw_os_error(libc::EBADF).into())
    }
}

impl Child<'_> {
    fn become_command(&mut self) -> Done<Infallible> {
        let plan = self.plan;
        process::set_parent_death_signal(libc::SIGKILL)?;
        rustix::process::umask(Mode::from_raw_mode(0o022));
        for (index, step) in plan.steps.iter().enumerate() {
            self.step = index;
            match step {
                Step::Cgroup(..) => {} // made by the parent
                // We are in them: clone3 made this process there.
                Step::Namespaces(_) if plan.has_keeper() => {}
                Step::Namespaces(_) => self.make_later_namespaces()?,
                Step::Maps(maps) => {
                    if let Some(Step::Container(namespaces, None)) = plan.steps.get(index + 1) {
                        self.go_on_in_container(*namespaces, None)?;
                    }
                    self.get_mapped(maps)?;
                    // Files made from here on need an owner that is mapped: base's root, else who the user is in it.
                    userns::become_root(&plan.levels.base).on(|| "become root of base")?;
                }
                Step::Container(_, None) => {} // made before the maps were awaited
                Step::Container(namespaces, Some(maps)) => {
                    self.mount_in_base()?;
                    self.step = index;
                    self.go_on_in_container(*namespaces, Some(maps))?;
                    self.wait_until_mapped()?;
                }
                Step::Exec(command) => {
                    self.log(step);
                    let last = Last {
                        steps: &plan.steps,
                        options: &plan.options,
                        channel: &self.channel,
                        signals: self.signals,
                        streams: self.streams,
                        terminal: self.hands.terminal.as_ref(),
                        parents_death: ParentsDeath::IsOurs,
                    };
                    return last.exec(command, &mut self.step);
                }
                step => self.carry_out(step)?,
            }
            self.log(step);
        }
        Err(io::Error::from_raw_os_error(libc::ENOEXEC).into())
    }

    fn log(&self, step: &Step) {
        log::debug!("{:8.3} ms  {}", self.started.elapsed().as_secs_f64() * 1e3, step.doing());
    }

    /// newuidmap takes longer than most mounts: what needs no mapped ID is mounted meanwhile.
    fn get_mapped(&mut self, maps: &IdMaps) -> Done {
        if self.plan.levels.base.writer == Writer::Itself {
            userns::write_own_maps(maps)?;
            self.mount_early();
            return Ok(());
        }
        self.mount_early();
        self.wait_until_mapped()
    }

    /// Mounts detached what can be already: also before the layers come to lie where a volume could show them. A failure
    /// counts for nothing yet: each has its turn again.
    fn mount_early(&mut self) {
        for (index, step) in self.plan.steps.iter().enumerate() {
            if let Step::Root(mount) | Step::Mount(mount) = step
                && (mount.is_made_in_base() || self.plan.levels.container.is_none())
                && !matches!(mount.source, Source::Overlay { .. })
            {
                self.trees[index] =
                    self.idmapped.take_volume(index).or_else(|| self.make_tree(mount).ok());
            }
        }
    }

    fn wait_until_mapped(&self) -> Done {
        match self.channel.receive()? {
            Some(Message::Mapped) => Ok(()),
            _ => process::exit_now(125), // the parent gave up or is gone, and says why itself
        }
    }

    /// A helper enters by `/proc/PID/ns`, which was closed to it when we became another user. Nobody else is here yet who
    /// could look.
    fn show_network(&mut self) -> Done {
        // The parent starts the helper at the process it was told of: before that it would take the keeper for us.
        if let Some(announced) = self.announced.take() {
            rustix::io::retry_on_intr(|| rustix::io::read(&announced, &mut [0]))?;
        }
        process::show_to_others()?;
        Ok(self.channel.send(&Message::Network)?)
    }

    fn wait_until_connected(&self) -> Done {
        self.channel.send(&Message::Connect)?;
        match self.channel.receive()? {
            Some(Message::Heard) => Ok(process::hide_from_others()?),
            _ => process::exit_now(125), // the parent gave up, and says why itself
        }
    }

    /// Mounts detached what needs base's IDs, or the host's files with the user's own rights.
    fn mount_in_base(&mut self) -> Done {
        let plan = self.plan;
        let mut root = None;
        for (index, step) in plan.steps.iter().enumerate() {
            if let Step::Root(mount) | Step::Mount(mount) = step
                && mount.is_made_in_base()
            {
                self.step = index;
                if let Some(root) = root.and_then(|root: usize| self.trees[root].as_ref()) {
                    copyup::fill(root, mount, self.trees[index].as_ref(), plan.root_in_base())?;
                }
                let tree = match (step, self.trees[index].take()) {
                    (_, Some(early)) => early,
                    (Step::Root(_), None) => {
                        self.idmapped.cover_layers()?;
                        layers::make_root(mount, |mount| self.make_tree(mount))?
                    }
                    (_, None) => self.make_tree(mount)?,
                };
                if mount.owners == Owners::TheUsers {
                    self.give(&tree, mount)?;
                }
                if matches!(step, Step::Root(_)) && plan.levels.container.is_some() {
                    self.make_mount_points(&tree);
                }
                self.trees[index] = Some(tree);
                root = root.or(matches!(step, Step::Root(_)).then_some(index));
            }
        }
        Ok(())
    }

    /// Gives the files of a bind mount to the user of the command.
    fn give(&self, tree: &OwnedFd, mount: &Mount) -> Done {
        let Source::Bind(path, _) = &mount.source else { return Ok(()) };
        let said = |text: String| Trouble { what: text, errno: 0 };
        let owner = self.plan.user_in_base();
        let owner = owner.ok_or_else(|| said("the user of the command is not in base".into()))?;
        give::tree(tree.as_fd(), path, owner).map_err(|error| said(error.to_string()))
    }

    /// A mount, detached.
    fn make_tree(&mut self, mount: &Mount) -> Done<OwnedFd> {
        match &mount.source {
            Source::Bind(path, reach) => {
                mount::copy(rustix::fs::CWD, path, *reach).on(|| path.to_string_lossy())
            }
            Source::Overlay { .. } => layers::stacked(self.plan, mount, &mut self.servers),
            Source::New { fs, source, options } => {
                mount::make(fs, source, options, mount.attributes).on(|| fs.as_str())
            }
        }
    }

    /// Mount points directly in the root, made by base's root: the container's may have no right to its folders.
    /// What cannot be made is left to the mount's own step, which says so.
    fn make_mount_points(&self, root: &OwnedFd) {
        let mounts = || {
            self.plan
                .steps
                .iter()
                .filter_map(|step| if let Step::Mount(mount) = step { Some(mount) } else { None })
        };
        for (index, mount) in mounts().enumerate() {
            if !mounts().take(index).any(|outer| mount.target.starts_with(&outer.target)) {
                let _ =
                    inroot::mount_point(root.as_fd(), &mount.target, mount.kind, mount.symlinks);
            }
        }
    }

    /// Makes the container's process; the caller is that process afterwards. Base stays behind as its keeper: a command
    /// that changes its user (gosu, su) is no longer killed by the parent's death (prctl(2), PR_SET_PDEATHSIG), and base
    /// holds the power to do it.
    fn go_on_in_container(&mut self, namespaces: Namespaces, maps: Option<&IdMaps>) -> Done {
        let cgroup = self.cgroup.as_ref().map(AsFd::as_fd);
        let (announced, announcing) = pipe_with(PipeFlags::CLOEXEC)?;
        match process::clone_into(cgroup, namespaces, Parentage::OurParents)? {
            Forked::Parent(container) => {
                if let Some(maps) = maps {
                    write_maps(container.pid, maps)?;
                }
                let process::Child { pid, pidfd } = container;
                let message = Message::Container { pid, pidfd };
                self.channel.send(&message)?;
                drop(announcing);
                self.wire_keeper()?;
                match message {
                    Message::Container { pidfd, .. } => {
                        init::keep(&pidfd, &self.watched, &self.servers)
                    }
                    _ => process::exit_now(125),
                }
            }
            Forked::Child => {
                process::set_parent_death_signal(libc::SIGKILL)?;
                self.announced = Some(announced);
                self.make_later_namespaces()
            }
        }
    }

    fn make_later_namespaces(&self) -> Done {
        let later = self.plan.steps.iter().find_map(|step| match step {
            Step::Cgroup(_, namespaces) => Some(*namespaces),
            _ => None,
        });
        Ok(namespace::unshare(later.unwrap_or_default())?)
    }

    fn carry_out(&mut self, step: &Step) -> Done {
        match step {
            Step::Layers(layers) => layers::in_memory(layers)?,
            Step::BecomeRoot { uid, gid } => {
                if self.plan.levels.container.is_none() {
                    let step = self.step;
                    self.mount_in_base()?;
                    self.step = step;
                }
                process::become_user(*uid, *gid)?;
                // Its own session: no terminal of the user's can be typed into from here (TIOCSTI).
                rustix::process::setsid()?;
            }
            Step::OomScore(score) => {
                std::fs::write("/proc/self/oom_score_adj", score.to_string())?;
            }
            Step::Root(mount) => self.enter_root(mount)?,
            Step::Mount(mount) => self.mount(mount)?,
            Step::Link { target, name } => self.link(target, name)?,
            Step::Network => self.show_network()?,
            Step::Connect => self.wait_until_connected()?,
            Step::Files(files) => files::mount(files, self.hands.root()?)?,
            Step::Loopback => network::loopback_up()?,
            Step::Sysctl { path, value, .. } => self.write_parameter(path, value)?,
            Step::Mask(path) => self.mask(path)?,
            Step::ReadOnly(path) => self.make_read_only(path)?,
            Step::Terminal => self.open_terminal()?,
            Step::PivotRoot => {
                filter::show_namespaces(&self.plan.steps, &self.channel)?;
                mount::pivot_root_here()?
            }
            Step::ReadOnlyRoot => {
                mount::set_attributes(self.hands.root()?, Attributes::READ_ONLY, Reach::Alone)?;
            }
            Step::Hostname(name) => rustix::system::sethostname(name.as_bytes())?,
            Step::Domainname(name) => rustix::system::setdomainname(name.as_bytes())?,
            Step::WorkingFolder(path) => command::enter_folder(path)?,
            step => command::prepare(step, &self.plan.steps)?,
        }
        Ok(())
    }

    /// Onto "/" of our mount namespace: pivot_root(2) takes it from there.
    fn enter_root(&mut self, mount: &Mount) -> Done {
        let tree = self.trees[self.step].take().ok_or(io::Error::from_raw_os_error(libc::EBADF))?;
        let here = rustix::fs::open("/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
        mount::attach(&tree, &here)?;
        if mount.attributes != Attributes::NONE {
            mount::set_attributes(&tree, mount.attributes, Reach::Recursive)?;
        }
        rustix::process::fchdir(&tree)?;
        self.hands.root = Some(tree);
        Ok(())
    }

    fn mount(&mut self, mount: &Mount) -> Done {
        let target = self.target_of(mount)?;
        let tree = match self.trees[self.step].take() {
            Some(tree) => tree,
            None => self.make_tree(mount)?,
        };
        mount::attach(&tree, &target)?;
        // After the attaching: kernels before 5.12 change only what has a place.
        if let Source::Bind(_, reach) = mount.source
            && mount.attributes != Attributes::NONE
        {
            mount::set_attributes(&tree, mount.attributes, reach)?;
        }
        if let Some((propagation, reach)) = mount.propagation {
            mount::set_propagation(&tree, propagation, reach).on(|| "set the propagation")?;
        }
        match mount.target.to_str() {
            Some("/proc") => self.hands.proc = Some(tree),
            Some("/dev") => self.hands.dev = Some(tree),
            Some("/dev/null") => self.hands.null = Some(tree),
            Some("/dev/pts") => self.hands.devpts = Some(tree),
            _ => {}
        }
        Ok(())
    }

    /// Where a mount goes. Most are new names directly in our own /dev: those need no walk from the root.
    fn target_of(&self, mount: &Mount) -> Done<OwnedFd> {
        if let (Some(dev), Kind::File, Some(parent), Some(name)) =
            (&self.hands.dev, mount.kind, mount.target.parent(), mount.target.file_name())
            && parent == Path::new("/dev")
            && let Ok(made) = inroot::make_file(dev, name)
        {
            return Ok(made);
        }
        inroot::mount_point(self.hands.root()?.as_fd(), &mount.target, mount.kind, mount.symlinks)
            .map_err(|error| explain_target(error, mount))
    }

    fn link(&self, target: &str, name: &str) -> Done {
        let dev = self.hands.dev.as_ref().ok_or(io::Error::from_raw_os_error(libc::ENOENT))?;
        Ok(rustix::fs::symlinkat(target, dev, name)?)
    }

    /// Through the procfs that we mounted ourselves, and only if it is one (CVE-2025-52881).
    fn write_parameter(&self, path: &Path, value: &str) -> Done {
        const PROC_SUPER_MAGIC: i64 = 0x9fa0;
        let proc = self.hands.proc.as_ref().ok_or(io::Error::from_raw_os_error(libc::ENOENT))?;
        let path = Path::new("sys").join(path);
        let file = inroot::open(proc, &path, OFlags::WRONLY, Symlinks::Refuse).on(|| "open")?;
        if rustix::fs::fstatfs(&file)?.f_type as i64 != PROC_SUPER_MAGIC {
            return Err(io::Error::from_raw_os_error(libc::EXDEV).into());
        }
        rustix::io::write(&file, value.as_bytes()).on(|| format!("write '{value}'"))?;
        Ok(())
    }

    fn mask(&mut self, path: &Path) -> Done {
        let target = match inroot::open(self.hands.root()?, path, OFlags::PATH, Symlinks::Refuse) {
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR)) => {
                return Ok(());
            }
            answer => answer?,
        };
        let is_folder =
            rustix::fs::FileType::from_raw_mode(rustix::fs::fstat(&target)?.st_mode).is_dir();
        if !is_folder {
            let null = self.null_device()?;
            return Ok(mount::attach(mount::copy(null, Path::new(""), Reach::Alone)?, target)?);
        }
        // One empty folder serves for all: the first is attached, the others are copies of it.
        match &self.hands.empty {
            Some(empty) => mount::attach(mount::copy(empty, Path::new(""), Reach::Alone)?, target)?,
            None => {
                let attributes = Attributes::READ_ONLY
                    .with(Attributes::NO_SUID)
                    .with(Attributes::NO_DEV)
                    .with(Attributes::NO_EXEC);
                let empty = mount::make(
                    "tmpfs",
                    "masked",
                    &[("size".into(), Some("0".into()))],
                    attributes,
                )?;
                mount::attach(&empty, target)?;
                self.hands.empty = Some(empty);
            }
        }
        Ok(())
    }

    /// The container's /dev/null, looked at: what hides a file must not be something else (CVE-2025-31133).
    fn null_device(&mut self) -> Done<&OwnedFd> {
        let null = match self.hands.null.take() {
            Some(null) => null,
            None => inroot::open(
                self.hands.root()?,
                Path::new("/dev/null"),
                OFlags::PATH,
                Symlinks::Refuse,
            )
            .on(|| "/dev/null")?,
        };
        if rustix::fs::fstat(&null)?.st_rdev != rustix::fs::makedev(1, 3) {
            return Err(io::Error::from_raw_os_error(libc::ENODEV))
                .on(|| "/dev/null is not the null device");
        }
        Ok(self.hands.null.insert(null))
    }

    fn make_read_only(&self, path: &Path) -> Done {
        let target = match inroot::open(self.hands.root()?, path, OFlags::PATH, Symlinks::Refuse) {
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR)) => {
                return Ok(());
            }
            answer => answer?,
        };
        let tree = mount::copy(&target, Path::new(""), Reach::Recursive)?;
        mount::attach(&tree, target)?;
        Ok(mount::set_attributes(&tree, Attributes::READ_ONLY, Reach::Recursive)?)
    }

    fn open_terminal(&mut self) -> Done {
        let devpts = self.hands.devpts.as_ref().ok_or(io::Error::from_raw_os_error(libc::ENXIO))?;
        let (master, terminal) = pty::open_pair(devpts.as_fd())?;
        // Before the command can look; where neither is a terminal there is no size to have.
        let _ = pty::copy_window_size(rustix::stdio::stdin(), &master)
            .or_else(|_| pty::copy_window_size(rustix::stdio::stdout(), &master));
        let console = inroot::mount_point(
            self.hands.root()?.as_fd(),
            Path::new("/dev/console"),
            Kind::File,
            Symlinks::Refuse,
        )
        .on(|| "/dev/console")?;
        mount::attach(mount::copy(&terminal, Path::new(""), Reach::Alone)?, console)
            .on(|| "/dev/console")?;
        command::give_terminal(&terminal, &self.plan.steps)?;
        self.channel.send(&Message::Terminal(master))?;
        self.hands.terminal = Some(terminal);
        Ok(())
    }

    /// Where the keeper says that a file server has died: where the command says what it says. Not where somebody may
    /// wait for the end of what we were given, and the command does not hold it (`usnea run -dt ... 2>&1 | cat`).
    fn wire_keeper(&self) -> Done {
        let has_terminal = self.plan.steps.iter().any(|step| matches!(step, Step::Terminal));
        match self.streams {
            Some(streams) => fd::install(streams.error.as_fd(), 2)?,
            None if has_terminal && !rustix::termios::isatty(rustix::stdio::stderr()) => {
                let null =
                    rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
                        .on(|| "/dev/null")?;
                fd::install(null.as_fd(), 2)?;
            }
            None => {}
        }
        Ok(())
    }
}

fn explain_target(error: io::Error, mount: &Mount) -> Trouble {
    let what = match error.raw_os_error() {
        Some(libc::ELOOP) => "the image has a symbolic link on the way to it",
        Some(libc::ENOENT) => "the target is a symbolic link that leads to nothing inside the root",
        Some(libc::ENOTDIR) => "a part of the target's path is a file",
        Some(libc::EROFS | libc::EACCES) => "the target does not exist and cannot be made",
        _ => "",
    };
    let mut text = what.to_owned();
    if let (Source::Bind(path, _), false) = (&mount.source, what.is_empty()) {
        let _ = write!(text, " (source {})", path.display());
    }
    Trouble { what: text, ..error.into() }
}

/// From base, over a namespace below it: all powers are here, so setgroups(2) stays allowed there.
fn write_maps(pid: i32, maps: &IdMaps) -> Done {
    for (name, map) in [("uid_map", &maps.uids), ("gid_map", &maps.gids)] {
        let path = format!("/proc/{pid}/{name}");
        std::fs::write(&path, ids::lines(map)).on(|| path)?;
    }
    Ok(())
}
