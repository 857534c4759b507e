//! Child side of the fork: the process is first the base process, then the container's process, and last the command.
//!
//! One process does all of it, unless the plan has `Step::Container`: then a child of the base process continues from
//! that step. The process is in new namespaces, with all capabilities over them and none over the host. The host's
//! files stay visible until `Step::PivotRoot`. `trees` makes the mounts detached; `root` attaches them.

mod images;
mod root;
mod trees;

use std::borrow::Cow;
use std::convert::Infallible;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Instant;

use rustix::fs::{Mode, OFlags};
use rustix::pipe::{PipeFlags, pipe_with};

use crate::cgroup::ContainerCgroup;
use crate::engine::command::exec::{LastSteps, OnParentDeath};
use crate::engine::command::{filter, prepare, program};
use crate::engine::hooks::{HookOutputs, HooksEnd};
use crate::engine::keeper::{self, FileServers, ProcessesOfMounts};
use crate::engine::launch::failure::explain_failure;
use crate::engine::messages::{ChildChannel, ChildMessage, ParentMessage, StepFailure};
use crate::engine::plan::namespace::{JoinOrder, JoinedNamespace, NamespacesToJoin};
use crate::engine::plan::step::Step;
use crate::engine::plan::{Lifetime, Plan, RootChange, StartTrigger};
use crate::engine::root::idmapped::Idmapped;
use crate::engine::root::image_mount::LaunchServers;
use crate::engine::root::{accounts, files, layers, secrets};
use crate::engine::shared_images::{BaseState, SharedImages};
use crate::engine::step_error::{OnObject, StepError, StepResult};
use crate::engine::streams::{CommandStreams, LaunchStreams, ReportTarget};
use crate::error::Error;
use crate::hook_point::HookPoint;
use crate::ids::{BaseIds, ContainerIds, HostIds, IdMaps};
use crate::net::{self, GeneratedFile, NetlinkSocket};
use crate::sys::mount::{self, Attributes, MountReach, Propagation};
use crate::sys::namespace::{self, Namespaces};
use crate::sys::process::{self, Forked, Parentage};
use crate::sys::{fd, network, signal, title};
use crate::userns::{self, Writer};

/// Input of the process that [`super::stages::Prepared::clone_first`] clones.
pub struct ChildInput<'a> {
    /// Plan to carry out.
    pub plan: &'a Plan,
    /// Channel to the parent.
    pub channel: ChildChannel,
    /// Socket whose other end the parent holds: a hang-up means that the parent is dead.
    pub watched: OwnedFd,
    /// Streams of the command and of the caller.
    pub streams: LaunchStreams<'a>,
    /// The container's cgroup.
    pub cgroup: Option<ContainerCgroup>,
    /// Lines of /etc/hosts for the addresses on named networks.
    pub hosts: String,
    /// ID-mapped mounts, detached.
    pub idmapped: Idmapped,
    /// Shared mounts of images, and the base in which they can be used; `None`: the launch has its own.
    pub images: Option<SharedImages>,
    /// State of that base.
    pub base_state: BaseState,
    /// Start of the launch.
    pub started: Instant,
}

impl ChildInput<'_> {
    /// Carries out the child's steps. The process has then become the command, or has exited.
    pub fn run(self) -> ! {
        let mut child = SetupProcess {
            trees: self.plan.steps.iter().map(|_| None).collect(),
            input: self,
            step: 0,
            fds: OpenFds::default(),
            servers: LaunchServers::default(),
            announced: None,
            hook_outputs: None,
        };
        let Err(error) = child.become_command();
        let StepError { what, errno, hint } = error;
        let failure = StepFailure { step: child.step, what, errno, hint };
        let plan = child.input.plan;
        // The parent may be dead: the process exits in any case.
        let sent = child.input.channel.send(&ChildMessage::Failed(failure.clone()));
        if sent.is_err() && plan.options.begin == StartTrigger::AtFifo {
            log::error!("{}", explain_failure(&plan.steps, failure));
        }
        process::exit_now(125)
    }
}

/// Process that sets the container up.
struct SetupProcess<'a> {
    input: ChildInput<'a>,
    /// Index of the current step: failures are reported with it.
    step: usize,
    /// Detached mounts made early, by index of their step.
    trees: Vec<Option<OwnedFd>>,
    fds: OpenFds,
    /// Servers of file systems: the keeper waits for its children among them.
    servers: LaunchServers,
    /// Read end of a pipe whose write end closes when the keeper has announced this process to the parent.
    announced: Option<OwnedFd>,
    /// Files for the output of hooks in the container, opened while the host's files are visible.
    hook_outputs: Option<HookOutputs>,
}

/// Descriptors that later steps work on.
#[derive(Default)]
struct OpenFds {
    root: Option<OwnedFd>,
    proc: Option<OwnedFd>,
    sys: Option<OwnedFd>,
    dev: Option<OwnedFd>,
    null: Option<OwnedFd>,
    devpts: Option<OwnedFd>,
    empty: Option<OwnedFd>,
    terminal: Option<OwnedFd>,
}

impl OpenFds {
    fn root(&self) -> StepResult<&OwnedFd> {
        self.root.as_ref().ok_or_else(|| io::Error::from_raw_os_error(libc::EBADF).into())
    }
}

impl SetupProcess<'_> {
    fn become_command(&mut self) -> StepResult<Infallible> {
        let plan = self.input.plan;
        process::set_parent_death_signal(libc::SIGKILL)?;
        rustix::process::umask(Mode::from_raw_mode(0o022));
        for (index, step) in plan.steps.iter().enumerate() {
            self.step = index;
            match step {
                Step::Cgroup(..) => {} // made by the parent
                Step::Namespaces(_) | Step::Maps(_) if self.input.images.is_some() => {
                    self.enter_shared_base(step)?
                }
                // clone3 made this process in these namespaces.
                Step::Namespaces(_) if plan.has_keeper() => self.keep_mounts_here()?,
                Step::Namespaces(_) => {
                    self.keep_mounts_here()?;
                    self.make_later_namespaces()?
                }
                Step::JoinNamespaces(join) => {
                    self.join_namespaces(join)?;
                    if let Some(Step::Container(namespaces, None)) = plan.steps.get(index + 1) {
                        self.go_on_in_container(*namespaces, None)?;
                    }
                    self.mount_early();
                }
                Step::Maps(maps) => {
                    if let Some(Step::Container(namespaces, None)) = plan.steps.get(index + 1) {
                        self.go_on_in_container(*namespaces, None)?;
                    }
                    self.get_mapped(maps)?;
                    // Files made from here on need an owner that is mapped: base's root, else the ID that the user has
                    // in base.
                    userns::become_root(&plan.levels.base).on(|| "become root of base")?;
                }
                Step::Container(_, None) => {} // made before the wait for the maps
                Step::Container(namespaces, Some(maps)) => {
                    self.mount_in_base()?;
                    self.step = index;
                    self.go_on_in_container(*namespaces, Some(maps))?;
                    self.wait_until_mapped()?;
                }
                Step::Exec(command) => {
                    self.log(step);
                    let last = LastSteps {
                        steps: &plan.steps,
                        options: &plan.options,
                        channel: &self.input.channel,
                        streams: self.input.streams.command.as_ref(),
                        terminal: self.fds.terminal.as_ref(),
                        parents_death: self.parents_death(),
                    };
                    return last.exec(command, &mut self.step);
                }
                step => self.carry_out(step)?,
            }
            self.log(step);
        }
        Err(io::Error::from_raw_os_error(libc::ENOEXEC).into())
    }

    fn parents_death(&self) -> OnParentDeath {
        let options = &self.input.plan.options;
        match (options.lifetime, options.begin) {
            (Lifetime::BoundToParent, _) => OnParentDeath::Kill,
            (Lifetime::Independent, StartTrigger::AtFifo) => OnParentDeath::Detached,
            (Lifetime::Independent, _) => OnParentDeath::Ignore,
        }
    }

    /// Stops mounts from propagating from a new mount namespace to the old one. The kernel does so itself where the new
    /// one has another user namespace (mount_namespaces(7)).
    fn keep_mounts_here(&self) -> StepResult {
        if self.input.plan.levels.base.writer != Writer::Nobody {
            return Ok(());
        }
        let root = rustix::fs::open("/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
        mount::set_propagation(&root, Propagation::Slave, MountReach::Recursive)
            .on(|| "keep mounts out of the outer namespace")
    }

    fn log(&self, step: &Step) {
        log::debug!(
            "{:8.3} ms  {}",
            self.input.started.elapsed().as_secs_f64() * 1e3,
            step.doing()
        );
    }

    /// Maps the IDs, or waits for newuidmap. That takes longer than most mounts: mounts that need no mapped ID are made
    /// meanwhile.
    fn get_mapped(&mut self, maps: &IdMaps<BaseIds, HostIds>) -> StepResult {
        if self.input.plan.levels.base.writer == Writer::Itself {
            userns::write_own_maps(maps)?;
            self.mount_early();
            return Ok(());
        }
        self.mount_early();
        self.wait_until_mapped()
    }

    /// Enters the base of another container, and then the namespaces that base owns.
    fn join_namespaces(&self, join: &NamespacesToJoin) -> StepResult {
        let Some(base) = &join.base else { return self.join_from_here(join) };
        // Namespaces owned by this process's user namespace must be entered before base, all others after it.
        let mut rest = Vec::new();
        for JoinedNamespace { namespace, path, .. } in &join.namespaces {
            if join.order == JoinOrder::BaseFirst || namespace::enter(namespace.as_fd()).is_err() {
                rest.push((namespace, path));
            }
        }
        namespace::enter(base.as_fd()).on(|| "its user namespace")?;
        userns::become_root(&self.input.plan.levels.base).on(|| "become root of base")?;
        // Entering the user namespace has hidden this process. It must be dumpable, because its children's maps are
        // written through /proc. In the PID namespace of another container it stays hidden: the processes there could
        // inspect it (CVE-2016-9962).
        if !join.contains(Namespaces::PID) {
            process::set_dumpable()?;
        }
        // The same calls have cleared the parent-death signal (prctl(2), PR_SET_PDEATHSIG).
        process::set_parent_death_signal(libc::SIGKILL)?;
        if self.input.channel.is_deserted() {
            process::exit_now(125);
        }
        for (namespace, path) in rest {
            namespace::enter(namespace.as_fd()).on(|| path.to_string_lossy())?;
        }
        namespace::unshare(join.made_in_base)?;
        if self.input.plan.levels.container.is_some() {
            namespace::unshare_mounts()?;
        }
        Ok(())
    }

    /// Enters namespaces that this process may enter from its own user namespace.
    fn join_from_here(&self, join: &NamespacesToJoin) -> StepResult {
        for JoinedNamespace { path, namespace, .. } in &join.namespaces {
            namespace::enter(namespace.as_fd()).on(|| path.to_string_lossy())?;
        }
        if self.input.plan.levels.container.is_some() {
            namespace::unshare_mounts()?;
            self.keep_mounts_here()?;
        }
        Ok(())
    }

    fn wait_until_mapped(&self) -> StepResult {
        match self.input.channel.receive()? {
            Some(ParentMessage::Mapped) => Ok(()),
            _ => process::exit_now(125), // the parent gave up or is gone, and reports why
        }
    }

    /// Makes this process dumpable again, so that the network helper can open `/proc/PID/ns`: the change of user had
    /// hidden it. No process that could inspect it is in the container yet.
    fn announce_network(&mut self) -> StepResult {
        // The parent starts the helper for the announced process. Before the announcement it would use the keeper
        // instead.
        if let Some(announced) = self.announced.take() {
            rustix::io::retry_on_intr(|| rustix::io::read(&announced, &mut [0]))?;
        }
        if !self.is_hidden() {
            process::set_dumpable()?;
        }
        let netlink = match self.input.plan.options.network.joins.is_empty() {
            true => None,
            false => Some(NetlinkSocket::open()?.into()),
        };
        Ok(self.input.channel.send(&ChildMessage::Network(netlink))?)
    }

    fn wait_until_connected(&self) -> StepResult {
        self.input.channel.send(&ChildMessage::Connect)?;
        match self.input.channel.receive()? {
            Some(ParentMessage::Ready) => Ok(process::set_undumpable()?),
            _ => process::exit_now(125), // the parent gave up, and reports why
        }
    }

    /// Makes the container's process, and returns in that process. The base process stays as its keeper: the
    /// parent-death signal of the command is lost when the command changes its user (gosu, su; prctl(2),
    /// PR_SET_PDEATHSIG). The base process may kill it in any case.
    fn go_on_in_container(
        &mut self,
        namespaces: Namespaces,
        maps: Option<&IdMaps<ContainerIds, BaseIds>>,
    ) -> StepResult {
        let cgroup = self.input.cgroup.as_ref().map(AsFd::as_fd);
        let (announced, announcing) = pipe_with(PipeFlags::CLOEXEC)?;
        let is_kept = self.input.plan.options.lifetime == Lifetime::BoundToParent;
        // The mount namespace tells the container's processes from others in one PID namespace.
        let is_mixed =
            !self.input.plan.owns_pid_namespace() && namespaces.contains(Namespaces::MOUNT);
        let rest = is_kept && (self.is_hidden() || is_mixed);
        let rest = rest.then(|| pipe_with(PipeFlags::CLOEXEC)).transpose()?;
        match process::clone_into(cgroup, namespaces, Parentage::OurParents)? {
            Forked::Parent(container) => {
                if let Some(maps) = maps {
                    write_maps(container.pid, maps)?;
                }
                let process::Child { pid, pidfd } = container;
                let rest = rest.map(|(told, telling)| {
                    drop(telling);
                    ProcessesOfMounts::receive(&told)
                });
                let rest = rest.transpose()?;
                if self.is_hidden() && rest.is_some() {
                    // The base process, unlike the container's, is not visible in the other PID namespace.
                    process::set_dumpable()?;
                }
                let message = ChildMessage::Container { pid, pidfd };
                self.input.channel.send(&message)?;
                drop(announcing);
                if !is_kept {
                    // The parent still needs this process while it writes its maps.
                    keeper::wait_for_release(&self.input.watched)
                }
                self.wire_keeper()?;
                match message {
                    ChildMessage::Container { pidfd, .. } => {
                        let files = FileServers {
                            own: &self.servers.own,
                            shared: self.input.images.as_ref().map(|images| &images.connection),
                        };
                        keeper::keep(&pidfd, &self.input.watched, files, rest)
                    }
                    _ => process::exit_now(125),
                }
            }
            Forked::Child => {
                process::set_parent_death_signal(libc::SIGKILL)?;
                self.input.images = None; // the keeper's
                self.announced = Some(announced);
                rest.map_or(Ok(()), |(_, telling)| ProcessesOfMounts::send_ours(&telling))?;
                if maps.is_none() {
                    self.keep_mounts_here()?;
                }
                self.make_later_namespaces()
            }
        }
    }

    /// True if the container's process stays hidden during the whole launch, because it joins another PID namespace.
    fn is_hidden(&self) -> bool {
        self.input.plan.steps.iter().any(|step| match step {
            Step::JoinNamespaces(join) => join.contains(Namespaces::PID),
            _ => false,
        })
    }

    fn make_later_namespaces(&self) -> StepResult {
        let later = self.input.plan.steps.iter().find_map(|step| match step {
            Step::Cgroup(_, namespaces) => Some(*namespaces),
            _ => None,
        });
        Ok(namespace::unshare(later.unwrap_or_default())?)
    }

    fn carry_out(&mut self, step: &Step) -> StepResult {
        match step {
            Step::Layers(layers) => layers::in_memory(layers)?,
            Step::BecomeRoot { uid, gid } => {
                if self.input.plan.levels.container.is_none() {
                    let step = self.step;
                    self.mount_in_base()?;
                    self.step = step;
                }
                process::become_user(*uid, *gid)?;
                // A new session: the container cannot insert input into the user's terminal (TIOCSTI).
                rustix::process::setsid()?;
            }
            Step::OomScore(score) => {
                std::fs::write("/proc/self/oom_score_adj", score.to_string())?;
            }
            Step::Root(mount) => self.enter_root(mount)?,
            Step::Mount(mount) => self.mount(mount)?,
            Step::Link { target, name } => self.link(target, name)?,
            Step::Network => self.announce_network()?,
            Step::Connect => self.wait_until_connected()?,
            Step::Hold => self.wait_for_start()?,
            Step::Hooks(point) => self.run_hooks(*point)?,
            Step::HoldAtFifo => self.wait_at_fifo()?,
            Step::Files(files) => {
                let files = with_hosts(files, &self.input.hosts);
                files::mount(&files, self.fds.root()?, self.fds.dev.as_ref())?
            }
            Step::Secrets(files) => {
                secrets::mount(files, self.fds.root()?, self.fds.dev.as_ref())?;
            }
            Step::Accounts(entries) => {
                let root = self.fds.root()?;
                let copies = accounts::add(entries, root)?;
                if !copies.is_empty() {
                    files::mount(&copies, root, self.fds.dev.as_ref())?;
                }
            }
            Step::Loopback => network::loopback_up()?,
            Step::Sysctl { path, value, .. } => self.write_parameter(path, value)?,
            Step::Mask(path) => self.mask(path)?,
            Step::ReadOnly(path) => self.make_read_only(path)?,
            Step::Terminal(size) => self.open_terminal(*size)?,
            Step::PivotRoot => {
                filter::send_namespaces(self.input.plan, &self.input.channel)?;
                self.hook_outputs = Some(self.input.plan.hooks.open_outputs().map_err(as_failure)?);
                self.change_root()?
            }
            Step::Hostname(name) => rustix::system::sethostname(name.as_bytes())?,
            Step::Domainname(name) => rustix::system::setdomainname(name.as_bytes())?,
            Step::WorkingFolder(path) => prepare::enter_folder(path)?,
            step => self.carry_out_rarer(step)?,
        }
        Ok(())
    }

    /// Carries out a step that few configs have, or that changes only the process itself.
    fn carry_out_rarer(&mut self, step: &Step) -> StepResult {
        match step {
            Step::ReadOnlyRoot => {
                mount::set_attributes(self.fds.root()?, Attributes::READ_ONLY, MountReach::Alone)?;
            }
            Step::TimeOffsets(lines) => {
                namespace::unshare(Namespaces::TIME)?;
                std::fs::write("/proc/self/timens_offsets", lines)
                    .on(|| "config.json: linux.timeOffsets")?;
            }
            Step::RootPropagation(propagation, reach) => {
                mount::set_propagation(self.fds.root()?, *propagation, *reach)
                    .on(|| "config.json: linux.rootfsPropagation")?;
            }
            Step::Fifo { path, mode } => self.make_fifo(path, *mode)?,
            Step::SymbolicLink { path, target } => self.make_link(path, target)?,
            step => prepare::prepare(step, &self.input.plan.steps)?,
        }
        Ok(())
    }

    fn change_root(&self) -> StepResult {
        match self.input.plan.options.root_change {
            RootChange::Pivot => mount::pivot_root_here()?,
            RootChange::Chroot => {
                rustix::process::chroot(".")?;
                rustix::process::chdir("/")?;
            }
        }
        Ok(())
    }

    /// Waits until the parent starts the command of a created container. The process of a group waits until its end.
    fn wait_for_start(&self) -> StepResult {
        if self.input.plan.options.begin == StartTrigger::Never {
            self.hold_namespaces()?;
        }
        self.input.channel.send(&ChildMessage::Created)?;
        match self.input.channel.receive()? {
            Some(ParentMessage::Start) => Ok(()),
            _ => process::exit_now(125), // the parent has given up the container, or is gone
        }
    }

    /// Prepares this process for a life without a command: with nothing open but the channel, deaf to signals.
    fn hold_namespaces(&self) -> StepResult {
        process::set_undumpable()?;
        if let Some(CommandStreams { output, .. }) = &self.input.streams.command {
            for number in 0..=2 {
                fd::install(output.as_fd(), number)?;
            }
        }
        fd::close_all_but(&[self.input.channel.as_fd()]);
        // Process 1 of a PID namespace gets its orphans, and reaps them so.
        signal::ignore(libc::SIGCHLD);
        signal::block_all();
        title::set("group");
        Ok(())
    }

    /// Runs the hooks of a point: the runtime's in the parent, the container's in this process.
    fn run_hooks(&self, point: HookPoint) -> StepResult {
        if matches!(point, HookPoint::Prestart | HookPoint::CreateRuntime) {
            self.input.channel.send(&ChildMessage::Hooks(point))?;
            return match self.input.channel.receive()? {
                Some(ParentMessage::Ready) => Ok(()),
                _ => process::exit_now(125), // a hook failed, and the parent reports why
            };
        }
        // The change of credentials has cleared the parent-death signal. The hook dies with this process.
        process::set_parent_death_signal(libc::SIGKILL)?;
        let pid = rustix::process::getpid().as_raw_nonzero().get();
        let ended = self.input.plan.hooks.run(point, Some(pid), self.hook_outputs.as_ref(), None);
        match ended.map_err(as_failure)? {
            HooksEnd::Done => Ok(()),
            HooksEnd::Interrupted => process::exit_now(125),
        }
    }

    /// Closes the channel once the parent has recorded this process, and waits for a byte in the FIFO. The process
    /// holds both ends of the FIFO: only a byte wakes it. Checks the program first, while the parent still reports
    /// errors.
    fn wait_at_fifo(&mut self) -> StepResult {
        let plan = self.input.plan;
        if let Some(Step::Exec(command)) = plan.steps.last() {
            let hold = std::mem::replace(&mut self.step, plan.steps.len() - 1);
            program::find_program(command)?;
            self.step = hold;
        }
        let fifo = plan.options.fifo.as_ref().ok_or(io::Error::from_raw_os_error(libc::EBADF))?;
        self.wait_for_start()?;
        if filter::has_listener(&plan.steps) {
            // The parent hands the listener over: here, as in runc, and not at the last moment before exec.
            filter::install_filter(&plan.steps, &self.input.channel, &mut self.step)?;
        }
        process::set_parent_death_signal(0)?;
        self.input.channel.send(&ChildMessage::Running)?;
        self.input.channel.hang_up()?;
        rustix::io::retry_on_intr(|| rustix::io::read(fifo, &mut [0]))?;
        Ok(())
    }

    /// Installs the command's standard error for the keeper, which reports there that a file server has died. Uses
    /// /dev/null for a container with its own terminal if the caller's stderr is not a terminal. Otherwise the keeper
    /// would hold a pipe open whose reader waits for its end (`usnea run -dt IMAGE 2>&1 | cat`).
    fn wire_keeper(&self) -> StepResult {
        let LaunchStreams { command, caller } = &self.input.streams;
        let is_terminal = || caller.is_some_and(|caller| rustix::termios::isatty(caller.error));
        match command {
            Some(CommandStreams { error, reports: ReportTarget::CommandStderr, .. }) => {
                fd::install(error.as_fd(), 2)?;
            }
            None if self.input.plan.has_terminal() && !is_terminal() => {
                let null =
                    rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
                        .on(|| "/dev/null")?;
                fd::install(null.as_fd(), 2)?;
            }
            _ => {}
        }
        Ok(())
    }
}

/// Converts an error to the error of a step.
fn as_failure(error: Error) -> StepError {
    StepError::of(&error)
}

/// Appends `lines` to /etc/hosts, if that is one of `files`.
fn with_hosts<'a>(files: &'a [GeneratedFile], lines: &str) -> Cow<'a, [GeneratedFile]> {
    let mut files = Cow::Borrowed(files);
    if !lines.is_empty() {
        let hosts = files.to_mut().iter_mut().find(|file| file.path == net::HOSTS);
        hosts.into_iter().for_each(|file| file.content.push_str(lines));
    }
    files
}

/// Writes the maps of a user namespace below base. The base process has all capabilities over it, so setgroups(2) stays
/// allowed there.
fn write_maps(pid: i32, maps: &IdMaps<ContainerIds, BaseIds>) -> StepResult {
    for (name, map) in [("uid_map", &maps.uids), ("gid_map", &maps.gids)] {
        let path = format!("/proc/{pid}/{name}");
        std::fs::write(&path, map.kernel_lines()).on(|| path)?;
    }
    Ok(())
}
