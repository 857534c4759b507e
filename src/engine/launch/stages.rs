//! Stages of a launch: each is a value whose method leads to the next, so that no other order compiles.
//!
//! ```text
//! Prepared    sockets, ID-mapped mounts, cgroup
//!   clone_first
//! Cloned      the first process waits for its maps
//!   map_ids
//! Mapped      it sets the container up
//!   set_up
//! Created     the command waits, if the plan has Step::Hold; else it is on its way already
//!   start
//! Launched    the command runs
//! ```
//!
//! No process outlives a stage that is dropped: each is ended and reaped.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::Instant;

use rustix::net::{AddressFamily, SocketFlags, SocketType};

use super::child::ChildInput;
use super::conversation::{Conversation, LaunchPoint, LaunchProgress, supervised};
use super::dying;
use super::failure::KILLED_FOR_MEMORY;
use super::processes::end_all;
use crate::cgroup::{self, ContainerCgroup};
use crate::engine::messages::{self, ChildChannel, ParentChannel, ParentMessage};
use crate::engine::plan::{Lifetime, Plan};
use crate::engine::root::idmapped::Idmapped;
use crate::engine::shared_images::{BaseState, SharedImages, StartingHolder};
use crate::engine::streams::LaunchStreams;
use crate::error::{Context, Error, Result};
use crate::net::{HelperWatch, Membership};
use crate::sys::namespace::Namespaces;
use crate::sys::process::{self, Child, Forked, Parentage};
use crate::sys::signal::Signals;
use crate::userns::{self, Writer};

/// Running command, and all resources that must exist as long as it runs.
#[derive(Debug)]
pub struct Launched {
    /// The container's first process.
    pub command: Child,
    /// Master of the command's terminal.
    pub terminal: Option<OwnedFd>,
    /// Signals for the command that arrived during the launch.
    pub early_signals: Vec<i32>,
    /// Socket that keeps the container alive while any process has it open: the keeper ends the container when it
    /// closes. The keeper sends a byte when a server of the container's files has died.
    pub alive: OwnedFd,
    /// True if all other processes of the container end with the command. In its own PID namespace the kernel kills
    /// them, in a joined one the keeper does.
    pub owns_pid_namespace: bool,
    /// Supervisor for root emulation. Exits by itself when no process with the filter is left.
    pub supervisor: Option<Child>,
    /// Helper that connects the container's network. Dies with this process, and must be ended with the container.
    pub helper: Option<HelperWatch>,
    /// Named networks of the container.
    pub membership: Membership,
    /// Reason why no helper connects the default network.
    pub offline: Option<Error>,
    /// True if the helper listens on ports of the host.
    pub publishes: bool,
    /// The container's cgroup.
    pub cgroup: Option<ContainerCgroup>,
    pub(super) base: Option<Child>,
    pub(super) preexisting_children: Vec<i32>,
}

/// Command of a container with a lifetime of its own ([`Lifetime::Independent`]).
#[derive(Debug)]
pub struct Released {
    /// The container's first process, a child of this process.
    pub command: Child,
    /// Signals for the command that arrived during the launch.
    pub early_signals: Vec<i32>,
}

impl Launched {
    /// PID of a process in the base user namespace.
    pub fn base_pid(&self) -> i32 {
        self.base.as_ref().map_or(self.command.pid, |base| base.pid)
    }

    /// Releases the base process, which exits, and lets the container run without it. Errors: the base process cannot
    /// be waited for.
    pub fn release(self) -> Result<Released> {
        drop(self.alive);
        if let Some(base) = &self.base {
            base.wait().context(|| "cannot wait for the first process")?;
        }
        Ok(Released { command: self.command, early_signals: self.early_signals })
    }
}

/// Preparations before the first process.
pub struct Prepared<'a> {
    plan: &'a Plan,
    streams: LaunchStreams<'a>,
    started: Instant,
    ours: ParentChannel,
    theirs: ChildChannel,
    /// Socket for the keeper, whose other end is `alive`.
    watched: OwnedFd,
    /// Socket that closes when this process dies by any cause: then the keeper ends the container.
    alive: OwnedFd,
    preexisting_children: Vec<i32>,
    idmapped: Idmapped,
    membership: Membership,
    cgroup: Option<ContainerCgroup>,
    images: Option<SharedImages>,
    /// New holder of the images.
    holder: Option<StartingHolder>,
}

/// First process, in a user namespace without maps.
pub struct Cloned<'a>(Launch<'a>);

/// First process with its IDs, which sets the container up.
pub struct Mapped<'a>(Launch<'a>);

/// Container that is set up. If its plan holds it, the command waits for [`Created::start`]. Dropping it ends and reaps
/// all its processes.
#[derive(Debug)]
pub struct Created<'a>(Launch<'a>);

impl<'a> Prepared<'a> {
    /// Prepares the launch of `plan`. Errors: the caller may not map the IDs of files; no cgroup can be made.
    pub fn new(plan: &'a Plan, streams: LaunchStreams<'a>) -> Result<Self> {
        let started = Instant::now();
        dying::reap();
        let (ours, theirs) = messages::pair().context(|| "cannot make a socket pair")?;
        let (watched, alive) = rustix::net::socketpair(
            AddressFamily::UNIX,
            SocketType::STREAM,
            SocketFlags::CLOEXEC,
            None,
        )
        .context(|| "cannot make a socket pair")?;
        let preexisting_children = process::children().unwrap_or_default(); // jobs of a shell that ran 'exec usnea'
        let idmapped = Idmapped::make(plan).context(|| "cannot map the IDs of files")?;
        let membership = plan.options.network.join()?;
        let cgroup = plan.cgroup().map(ContainerCgroup::make).transpose()?.flatten();
        // Last: the start of a holder must be finished, whatever fails.
        let (images, holder) = SharedImages::of_plan(plan).unzip();
        Ok(Self {
            plan,
            streams,
            started,
            ours,
            theirs,
            watched,
            alive,
            preexisting_children,
            idmapped,
            membership,
            cgroup,
            images,
            holder: holder.flatten(),
        })
    }

    /// Clones the first process. That process carries out the child's steps, and never returns from this method.
    pub fn clone_first(self) -> Result<Cloned<'a>> {
        let Self { plan, streams, started, ours, theirs, watched, alive, idmapped, .. } = self;
        let (cgroup, preexisting_children) = (self.cgroup, self.preexisting_children);
        let membership = self.membership;
        let (images, holder) = (self.images, self.holder);
        let namespaces = first_namespaces(plan, images.as_ref());
        // The keeper must not be frozen or limited with the container. So the first process starts in the cgroup only
        // if it does not become a keeper.
        let into = cgroup.as_ref().filter(|_| !plan.has_keeper()).map(AsFd::as_fd);
        let made = process::clone_into(into, namespaces, Parentage::Ours);
        let base = match made.map_err(userns::forbidden) {
            Ok(Forked::Child) => {
                drop((ours, alive));
                let channel = theirs;
                let base_state = BaseState::of(holder);
                let hosts = membership.hosts(&plan.options.network.identity.hostname);
                ChildInput {
                    plan,
                    channel,
                    watched,
                    streams,
                    cgroup,
                    hosts,
                    idmapped,
                    images,
                    base_state,
                    started,
                }
                .run()
            }
            Ok(Forked::Parent(base)) => base,
            Err(error) => {
                holder.map_or(Ok(()), StartingHolder::finish)?;
                cgroup.into_iter().for_each(ContainerCgroup::remove);
                return Err(error);
            }
        };
        log_moment(started, &format!("process {} in its namespaces", base.pid));
        let conversation = Conversation {
            steps: &plan.steps,
            channel: ours,
            network: Some(&plan.options.network),
            hooks: Some(&plan.hooks),
            membership,
            identity: &plan.options.container,
            progress: LaunchProgress { base: Some(base.pid), ..LaunchProgress::default() },
        };
        let launch = Launch {
            plan,
            started,
            base: Some(base),
            base_exists: images.is_some() || plan.joins_base(),
            holder,
            conversation,
            alive: Some(alive),
            cgroup,
            preexisting_children,
        };
        Ok(Cloned(launch))
    }
}

impl<'a> Cloned<'a> {
    /// Maps the IDs of base. Errors: newuidmap or newgidmap refuses, or the kernel.
    pub fn map_ids(mut self) -> Result<Mapped<'a>> {
        let Launch { plan, base, base_exists, holder, conversation, cgroup, .. } = &mut self.0;
        if let Some(holder) = holder.take() {
            holder.finish()?;
            conversation.send_mapped()?;
        }
        if !plan.owns_pid_namespace() && plan.options.lifetime == Lifetime::BoundToParent {
            // Processes that the command leaves running become children of this process, and are killed at its end. A
            // holder must not become one.
            process::adopt_orphans().context(|| "cannot adopt orphans")?;
        }
        let base = base.as_ref().ok_or_else(|| Error::new("no first process"))?;
        if !*base_exists {
            userns::write_maps(&plan.levels.base, base.pid)?;
            if !matches!(plan.levels.base.writer, Writer::Itself | Writer::Nobody) {
                conversation.send_mapped()?;
            }
        }
        if let (Some(group), Some(wanted), Some(_)) =
            (cgroup, plan.cgroup(), supervised(&plan.steps))
        {
            conversation.progress.supervisors = group.supervisors(&wanted.limits)?;
        }
        Ok(Mapped(self.0))
    }
}

impl<'a> Mapped<'a> {
    /// Waits until the container is set up, if the plan holds it there. Errors: a step failed.
    pub fn set_up(mut self, signals: &Signals) -> Result<Created<'a>> {
        if self.0.plan.is_held() {
            self.0.conversation.receive_until(LaunchPoint::Created, signals)?;
        }
        Ok(Created(self.0))
    }
}

impl Created<'_> {
    /// PID of the container's process.
    pub fn pid(&self) -> Option<i32> {
        let process = self.0.conversation.progress.process.as_ref().or(self.0.base.as_ref());
        process.map(|process| process.pid)
    }

    /// Takes the master of the command's terminal, if any.
    pub fn take_terminal(&mut self) -> Option<OwnedFd> {
        self.0.conversation.progress.terminal.take()
    }

    /// Ends the container, and waits until its keeper has seen the end of its servers.
    pub fn end(self) {
        if let Some(container) = &self.0.conversation.progress.process {
            let _ = container.signal(libc::SIGKILL);
            let _ = self.0.base.as_ref().map(Child::wait);
        }
    }

    /// Processes whose end is the end of the container: its own, and its keeper.
    pub fn processes(&self) -> impl Iterator<Item = &Child> {
        self.0.conversation.progress.process.iter().chain(&self.0.base)
    }

    /// Namespaces that the container's process sent, the user namespace first ([`crate::engine::StartTrigger::Never`]).
    pub fn namespaces(&self) -> &[OwnedFd] {
        &self.0.conversation.progress.namespaces
    }

    /// Folder of the container's cgroup, if any.
    pub fn cgroup(&self) -> Option<&Path> {
        self.0.cgroup.as_ref().map(ContainerCgroup::folder)
    }

    /// Starts the command, and waits until it runs, or until it waits at its FIFO. Errors: a step failed.
    pub fn start(mut self, signals: &Signals) -> Result<Launched> {
        if self.0.plan.is_held() {
            self.0.conversation.send(&ParentMessage::Start)?;
        }
        self.0.conversation.receive_until(LaunchPoint::Exec, signals)?;
        log_moment(self.0.started, "the command runs");
        self.0.finish()
    }
}

/// State of a launch whose processes exist. Dropping it ends them.
#[derive(Debug)]
struct Launch<'a> {
    plan: &'a Plan,
    started: Instant,
    /// First process; `None`: the launch is over.
    base: Option<Child>,
    /// True if base is there already: its maps are written.
    base_exists: bool,
    /// New holder of images, whose start is not finished.
    holder: Option<StartingHolder>,
    conversation: Conversation<'a>,
    alive: Option<OwnedFd>,
    cgroup: Option<ContainerCgroup>,
    preexisting_children: Vec<i32>,
}

impl Launch<'_> {
    fn finish(mut self) -> Result<Launched> {
        let progress = std::mem::take(&mut self.conversation.progress);
        let (Some(base), Some(alive)) = (self.base.take(), self.alive.take()) else {
            return Err(Error::new("a launch that is over"));
        };
        let (command, base) = match progress.process {
            Some(command) => (command, Some(base)),
            None => (base, None),
        };
        Ok(Launched {
            command,
            terminal: progress.terminal,
            early_signals: progress.signals,
            alive,
            owns_pid_namespace: self.plan.owns_pid_namespace(),
            supervisor: progress.supervisor,
            helper: progress.helper,
            membership: std::mem::take(&mut self.conversation.membership),
            publishes: self.plan.options.network.publishes,
            offline: progress.offline.or_else(|| self.plan.options.network.offline.clone()),
            cgroup: self.cgroup.take(),
            base,
            preexisting_children: std::mem::take(&mut self.preexisting_children),
        })
    }
}

impl Drop for Launch<'_> {
    fn drop(&mut self) {
        if let Some(base) = self.base.take() {
            let progress = &mut self.conversation.progress;
            drop(progress.connecting.take());
            let helper = progress.helper.take().and_then(HelperWatch::into_child);
            let container = progress.process.as_ref();
            let beside = [progress.supervisor.as_ref(), helper.as_ref()];
            let all = [Some(&base), container].into_iter().chain(beside);
            end_all(&all.collect::<Vec<_>>(), &self.preexisting_children);
        }
        if let Some(cgroup) = self.cgroup.take() {
            if cgroup::oom_kills(cgroup.folder()) > 0 {
                log::warn!("{KILLED_FOR_MEMORY}");
            }
            cgroup.remove();
        }
    }
}

/// Namespaces of the first process: none where it enters a shared base.
fn first_namespaces(plan: &Plan, images: Option<&SharedImages>) -> Namespaces {
    images.map_or_else(|| plan.first_namespaces(), |_| Namespaces::default())
}

fn log_moment(started: Instant, text: &str) {
    log::debug!("{:8.3} ms  {text}", started.elapsed().as_secs_f64() * 1e3);
}
