//! `usnea run --join`: runs a command in the container of a group, which the first of its commands makes.

use std::fs::File;
use std::path::Path;

use super::client::check_terminal;
use super::descriptors::passed_sockets;
use super::find_or_pull::PullSettings;
use super::folder::{self, Folder};
use super::group_key::{GroupKey, JoinOrigin};
use super::group_terms::GroupTerms;
use super::image_root::ImageRoot;
use super::overlays::{OverlayUse, Overlays};
use super::request::ContainerRequest;
use super::run::{self, disposable, preserved};
use super::shared_namespaces::OtherContainers;
use super::usnea::Usnea;
use super::workspace::Workspace;
use super::{network, ports, ranges, remove, scratch, secrets, volumes};
use crate::engine::{
    self, BundleIdentity, CallerStreams, DetachKeys, ExecPlan, Finish, GroupAddress, GroupHolder,
    GroupMember, LaunchOptions, ListenSockets, Plan, RunningContainer, StartTrigger, Stdin,
};
use crate::error::{Context, Error, Result, Setting};
use crate::ids::UsernsMode;
use crate::monitor::protocol;
use crate::object_id::ContainerId;
use crate::readiness::NotifyMode;
use crate::sys::signal::Signals;
use crate::sys::{fd, process, title};

/// Runs the command in the container of its group; returns its exit status. `None`: the container differs, and no flag
/// asked for the group. Errors: the container differs from what the request asks for.
pub fn run_joined(
    usnea: &Usnea,
    request: &ContainerRequest,
    key: &GroupKey,
    pull: &PullSettings<'_>,
    streams: CallerStreams<'_>,
) -> Result<Option<u8>> {
    if matches!(request.options.userns(), UsernsMode::Auto(_)) {
        if key.origin == JoinOrigin::Assumed {
            return Ok(None);
        }
        let error = Error::invalid("the commands of a group have the same IDs");
        return Err(error.within(Setting::Userns.with("auto"))).context(|| Setting::Join);
    }
    let inherited = fd::inherited().context(|| "cannot list the open descriptors")?;
    let sockets = passed_sockets(usnea.sockets(), preserved(request))?;
    check_terminal(&request.options, streams)?;
    let store = usnea.make_store()?;
    let (root, signals) = run::root_and_signals(usnea, request, pull)?;
    let address = GroupAddress::of(&protocol::folder(store)?, &key.name)?;
    let group = Group { usnea, request, store, address, signals: &signals, inherited: &inherited };
    let (workspace, member) = match group.find()? {
        Found::Nothing(lock) => group.begin(lock, root)?,
        Found::Member(member) => match group.join(member, root, key)? {
            Some(joined) => joined,
            None => return Ok(None),
        },
    };
    title::name_container(workspace.id.short());
    let (running, membership) = member.into_parts();
    let has_own_pids = running.owns_pid_namespace();
    let entry = entry(request, &workspace, running, sockets)?;
    let older = process::children().unwrap_or_default();
    if !has_own_pids {
        // Processes that the command leaves running become children of this process, and are killed at its end.
        process::adopt_orphans().context(|| "cannot adopt orphans")?;
    }
    let ended = engine::exec(&entry, streams, &signals, |_| ());
    if !has_own_pids {
        engine::end_children_but(&older);
    }
    drop(entry);
    membership.leave();
    remove::sweep(usnea);
    Ok(Some(ended?.unwrap_or_default()))
}

/// Plans the command of `request` in the group's container.
fn entry(
    request: &ContainerRequest,
    workspace: &Workspace,
    running: RunningContainer,
    sockets: Option<ListenSockets>,
) -> Result<ExecPlan> {
    let spec = &workspace.spec;
    let process = spec.process().as_ref().ok_or_else(|| Error::new("a spec without a process"))?;
    let variables = secrets::launched(&workspace.secrets).variables;
    let options = &request.options;
    Ok(ExecPlan {
        steps: engine::plan_exec(spec, process, running, &variables)?,
        options: LaunchOptions {
            stdin: if options.interactive { Stdin::Ours } else { Stdin::Null },
            preserve_fds: options.preserve_fds,
            preserve_fd: options.preserve_fd.clone(),
            sockets,
            container: BundleIdentity::of_container(&workspace.id, workspace.folder.clone()),
            ..LaunchOptions::default()
        },
        keys: DetachKeys::none(),
        finish: Finish::AtEnd,
    })
}

fn terms_of(member: &GroupMember) -> Result<GroupTerms> {
    serde_json::from_slice(&member.terms).map_err(Error::new).context(|| "the terms of the group")
}

/// Result of a search for a group.
enum Found {
    Member(GroupMember),
    /// There is none, and none begins as long as this lock is open.
    Nothing(File),
}

/// Group that a command is to join, or to begin.
struct Group<'a> {
    usnea: &'a Usnea,
    request: &'a ContainerRequest,
    store: &'a Path,
    address: GroupAddress,
    signals: &'a Signals,
    /// Descriptors that this process has inherited.
    inherited: &'a [i32],
}

impl Group<'_> {
    fn find(&self) -> Result<Found> {
        /// A holder whose launch failed, and whose first command was killed, ends with clients waiting.
        const TRIES: u32 = 3;
        let mut tries = 0;
        loop {
            let lock = self.address.lock()?;
            let Some(connection) = self.address.connect()? else { return Ok(Found::Nothing(lock)) };
            drop(lock);
            match GroupMember::of(connection) {
                Ok(member) => return Ok(Found::Member(member)),
                Err(error) if tries >= TRIES => return Err(error),
                Err(error) => log::debug!("{error}"),
            }
            tries += 1;
        }
    }

    /// Compares the request with the group's container. `None`: they differ, and no flag asked for the group.
    fn join(
        &self,
        member: GroupMember,
        root: ImageRoot,
        key: &GroupKey,
    ) -> Result<Option<(Workspace, GroupMember)>> {
        let theirs = terms_of(&member)?;
        // The container has the locks.
        let root = root.below(self.overlays(OverlayUse::Described)?);
        let workspace = self.workspace(&theirs.id, root)?;
        let ours = GroupTerms::of(&workspace, self.request)?;
        let Some(difference) = theirs.difference(&ours) else {
            return Ok(Some((workspace, member)));
        };
        member.leave();
        let error = key.differs(&difference);
        if key.origin == JoinOrigin::Requested {
            return Err(error);
        }
        log::warn!("{error}: the command gets a container of its own");
        Ok(None)
    }

    fn overlays(&self, usage: OverlayUse) -> Result<Overlays> {
        Overlays::open(&self.request.options.overlay, usage)
    }

    fn workspace(&self, id: &ContainerId, root: ImageRoot) -> Result<Workspace> {
        let Self { usnea, request, store, .. } = self;
        let maps = ranges::maps(request, usnea.base()?, &root, store)?;
        let scratch = scratch::folder(store)?;
        scratch.as_deref().map_or(Ok(()), scratch::make)?;
        let place = scratch.as_deref().unwrap_or(store);
        Workspace::assemble(usnea, request, disposable(place, id, maps), root)
    }

    /// Starts the container of the group, and joins it.
    fn begin(&self, lock: File, root: ImageRoot) -> Result<(Workspace, GroupMember)> {
        let Self { usnea, request, store, .. } = self;
        let base = usnea.base()?;
        let root = root.below(self.overlays(OverlayUse::Started)?);
        let mut workspace = self.workspace(&ContainerId::random()?, root)?;
        let terms =
            serde_json::to_vec(&GroupTerms::of(&workspace, request)?).map_err(Error::new)?;
        // Locks of the volumes and overlays stay with the holder, which inherits them.
        let _volumes = volumes::acquire(usnea, &workspace.volumes, &workspace.anonymous)?;
        let plan = self.plan(&mut workspace)?;
        let folder = || match plan.options.layers.is_some() || workspace.layers.is_empty() {
            true => Ok(None),
            false => Folder::make(&workspace.folder, &workspace.layers).map(Some),
        };
        let clean = |folder: Option<Folder>| {
            let _ = folder.map(|folder| folder.remove(base));
        };
        let holder = GroupHolder {
            address: &self.address,
            lock: &lock,
            plan: &plan,
            terms,
            inherited: self.inherited,
            signals: self.signals,
        };
        holder.start(folder, clean)?;
        let connection = self.address.connect()?;
        drop(lock);
        folder::sweep(scratch::folder(store)?.as_deref().unwrap_or(store), base);
        let connection = connection.ok_or_else(|| Error::new("the group ended as it began"))?;
        Ok((workspace, GroupMember::of(connection)?))
    }

    /// Plans the launch of the container, without a command.
    fn plan(&self, workspace: &mut Workspace) -> Result<Plan> {
        let Self { request, store, .. } = self;
        // Each command opens a terminal of its own.
        let process = workspace.spec.process().clone();
        let without = process.clone().map(|mut process| {
            process.set_terminal(Some(false));
            process
        });
        workspace.spec.set_process(without);
        let mut options = run::launch_options(request, workspace, store, NotifyMode::Ignore)?;
        options.begin = StartTrigger::Never;
        (options.preserve_fds, options.preserve_fd) = (0, Vec::new());
        let plan = workspace.plan(store, options, OtherContainers::MustRun)?;
        workspace.spec.set_process(process);
        ports::check_ports_free(store, &workspace.network)?;
        network::warn_if_offline(&plan.options.network, store);
        workspace.remember_driver(store);
        Ok(plan)
    }
}
