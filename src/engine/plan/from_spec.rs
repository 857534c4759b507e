//! Turns config.json into steps. Refuses invalid settings here where possible, before the first process is made. A
//! setting that the engine does not support is an error, never ignored (CVE-2025-65105).

use std::path::Path;

use oci_spec::runtime::{LinuxIdMapping, Process, Spec};

use crate::cgroup;
use crate::engine::hooks::Hooks;
use crate::engine::plan::bundle::{self, NamespacePlan};
use crate::engine::plan::mount::{Maker, has_server, map_of};
use crate::engine::plan::namespace::{ContainerNamespaces, NamespacesToJoin};
use crate::engine::plan::notify;
use crate::engine::plan::process::Reaper;
use crate::engine::plan::process_steps::{command, console_size, last_steps};
use crate::engine::plan::running::RunningContainer;
use crate::engine::plan::secrets::{self, SecretVariable};
use crate::engine::plan::step::{AccountEntry, Step, SupervisorLifetime};
use crate::engine::plan::{
    LaunchOptions, Lifetime, Plan, StartTrigger, config_checks, root_steps, scheduling,
};
use crate::error::{Error, Result};
use crate::fail;
use crate::hook_point::HookPoint;
use crate::ids::{ContainerIds, HostIds, Id, IdLevel, IdMaps, Map};
use crate::net::{GeneratedFile, Need, Network, NetworkOrigin};
use crate::spec::{GROUP_ENTRY, PASSWD_ENTRY, Sysctl};
use crate::sys::namespace::Namespaces;
use crate::userns::{Base, Levels, Writer};

/// Plans the launch of `spec` for a user whose IDs are `base`.
pub fn plan(spec: &Spec, base: Base, mut options: LaunchOptions) -> Result<Plan> {
    let spec = &*notify::with_variable(spec, options.notify.as_ref());
    config_checks::check(spec)?;
    let process = spec.process().as_ref();
    let process = process.ok_or_else(|| Error::invalid("config.json: process: missing"))?;
    let setgroups = base.setgroups();
    let maps = maps(spec);
    let mut levels = base.levels(&maps)?;
    config_checks::check_ids(process, &maps)?;
    secrets::check_owners(&options.secrets, &maps)?;
    if spec.mounts().iter().flatten().any(has_server) {
        levels = levels.apart();
    }
    let namespaces = ContainerNamespaces::of_config(spec)?;
    let new = namespaces.new_ones();
    let join = namespaces.into_joined(new)?;
    if let Some(join) = &join {
        leave_default_network(join, &mut options);
        levels = join.levels(levels)?;
        check_joined(spec, join, &levels)?;
    }
    let placed = NamespacePlan { levels, setgroups, new, join };
    plan_placed(spec, process, (placed, maps), options)
}

/// Plans the launch of a bundle's `spec` for the OCI runtime's command line. Its user namespace may be that of this
/// process, or one with a path. Errors are one line, whatever the config says.
pub fn plan_bundle(spec: &Spec, options: LaunchOptions) -> Result<Plan> {
    checked_bundle(spec, options).map_err(Error::in_one_line)
}

fn checked_bundle(spec: &Spec, options: LaunchOptions) -> Result<Plan> {
    config_checks::check(spec)?;
    let process = spec.process().as_ref();
    let process = process.ok_or_else(|| Error::invalid("config.json: process: missing"))?;
    let mut maps = maps(spec);
    let placed = NamespacePlan::of_bundle(spec, &maps)?;
    if placed.levels.container.is_none() && placed.levels.base.writer == Writer::Nobody {
        maps = placed.levels.base.maps.clone().as_containers();
    }
    config_checks::check_ids(process, &maps)?;
    let mut plan = plan_placed(spec, process, (placed, maps), options)?;
    bundle::adjust(&mut plan, process);
    Ok(plan)
}

/// Plans the launch of `spec` in its user namespaces.
fn plan_placed(
    spec: &Spec,
    process: &Process,
    placed: (NamespacePlan, IdMaps<ContainerIds, HostIds>),
    options: LaunchOptions,
) -> Result<Plan> {
    let (NamespacePlan { levels, setgroups, new, join }, maps) = placed;
    let joined = join.as_ref().map(NamespacesToJoin::kinds).unwrap_or_default();
    let is_hidden = joined.contains(Namespaces::PID);
    let mut oom_score = process.oom_score_adj().map(Step::OomScore);
    let (mut steps, mut root) = (Vec::new(), Vec::new());
    // A hidden process cannot write to its own files in /proc.
    steps.extend(oom_score.take_if(|_| is_hidden));
    namespace_steps(spec, &levels, &options, new, join, &mut steps)?;
    let (uid, gid) = match &levels.container {
        // In base the IDs of this process are 0.
        Some(maps) => (setup_id(&maps.uids, Id::ROOT), setup_id(&maps.gids, Id::ROOT)),
        None => setup_ids(&levels.base.maps),
    };
    steps.push(Step::BecomeRoot { uid, gid });
    if levels.container.is_some() {
        steps.extend(helper(&options.network, new)?);
    }
    // While the host's /proc is visible.
    steps.extend(oom_score);
    let shown = match &levels.container {
        Some(_) => joined,
        None => Namespaces::default(),
    };
    let hooks = Hooks::of_config(spec, &options.container)?;
    let at = |point| hooks.has(point).then_some(Step::Hooks(point));
    let owner = |uid, gid| {
        let uid = maps.uids.inside_of(Id::new(uid)).map(Id::number);
        (uid, maps.gids.inside_of(Id::new(gid)).map(Id::number))
    };
    root_steps::root_steps(spec, &options, &owner, &mut root)?;
    container_steps(spec, process, &options, new, root, &mut steps)?;
    let pivot = steps.iter().position(|step| matches!(step, Step::PivotRoot));
    let before = [HookPoint::Prestart, HookPoint::CreateRuntime, HookPoint::CreateContainer];
    let pivot = pivot.unwrap_or(steps.len());
    steps.splice(pivot..pivot, before.into_iter().filter_map(at));
    adapt_mounts(joined, shown, &mut steps);
    let until = match options.lifetime {
        Lifetime::BoundToParent => SupervisorLifetime::OnParentDeath,
        Lifetime::Independent => SupervisorLifetime::LastCaller,
    };
    last_steps(spec, process, setgroups, until, &mut steps)?;
    if options.begin == StartTrigger::AtFifo {
        steps.push(Step::HoldAtFifo);
    }
    steps.extend(at(HookPoint::StartContainer));
    let mut command = command(process, Reaper::of_config(spec))?;
    secrets::add_variables(&mut command, &options.secrets.variables)?;
    steps.push(Step::Exec(command));
    Ok(Plan { levels, steps, options, hooks })
}

/// Adds the steps that make the user namespaces and the container's process in its namespaces.
fn namespace_steps(
    spec: &Spec,
    levels: &Levels,
    options: &LaunchOptions,
    mut new: Namespaces,
    join: Option<NamespacesToJoin>,
    steps: &mut Vec<Step>,
) -> Result<()> {
    let all = new;
    new = new.without(join.as_ref().map(|join| join.made_in_base).unwrap_or_default());
    new = enter_cgroup(spec, new, steps)?;
    // newuidmap takes longer than making namespaces. Where another process writes the maps, only the user namespace is
    // made first. The other namespaces are made while the maps are written.
    let offsets = time_offsets(spec);
    let exists = levels.base.writer == Writer::Nobody;
    let writes_itself = exists || levels.base.writer == Writer::Itself;
    let has_keeper = !exists && keeper_ends_processes(options, all);
    let waits = join.is_some() || offsets.is_some() || !writes_itself || has_keeper;
    if offsets.is_some() {
        check_room_for_clocks(join.as_ref(), &levels.base.writer)?;
        new = new.without(Namespaces::TIME);
    }
    match join {
        Some(join) => steps.push(Step::JoinNamespaces(join)),
        None if exists => steps.push(Step::Namespaces(match &levels.container {
            Some(_) => Namespaces::MOUNT,
            None => new,
        })),
        None => {
            steps.push(Step::Namespaces(match &levels.container {
                Some(_) => Namespaces::USER.with(Namespaces::MOUNT),
                None if waits => Namespaces::USER,
                None => new.with(Namespaces::USER),
            }));
            // Offsets must be written before a process is in the time namespace; the next child will be
            // (time_namespaces(7)).
            steps.extend(offsets.map(Step::TimeOffsets));
            steps.push(Step::Maps(levels.base.maps.clone()));
        }
    }
    match &levels.container {
        Some(maps) => {
            steps.extend(options.layers.clone().map(Step::Layers));
            steps.push(Step::Container(new.with(Namespaces::USER), Some(maps.clone())));
        }
        None => {
            if waits {
                steps.push(Step::Container(new.without(Namespaces::USER), None));
            }
            // The helper gets ready while the layers are made. It reads /proc of the process, which a change of IDs
            // would hide. Here Step::BecomeRoot changes no IDs.
            steps.extend(helper(&options.network, all)?);
            steps.extend(options.layers.clone().map(Step::Layers));
        }
    }
    Ok(())
}

/// Adds the step that enters the container's cgroup. Returns the namespaces without the cgroup namespace, which that step
/// makes.
fn enter_cgroup(spec: &Spec, new: Namespaces, steps: &mut Vec<Step>) -> Result<Namespaces> {
    let Some(wanted) = cgroup(spec)? else { return Ok(new) };
    let later = new.both(Namespaces::CGROUP);
    steps.push(Step::Cgroup(wanted, later));
    Ok(new.without(later))
}

/// True if a keeper ends the children of the command: no PID namespace does.
fn keeper_ends_processes(options: &LaunchOptions, namespaces: Namespaces) -> bool {
    options.lifetime == Lifetime::BoundToParent && !namespaces.contains(Namespaces::PID)
}

/// Refuses clock offsets that cannot be written for the container.
fn check_room_for_clocks(join: Option<&NamespacesToJoin>, writer: &Writer) -> Result<()> {
    if join.is_some() {
        fail!(Refused: "config.json: linux.timeOffsets: not beside a namespace of another container");
    }
    if *writer == Writer::Nobody {
        fail!(Refused: "config.json: linux.timeOffsets: not without a new user namespace");
    }
    Ok(())
}

/// Returns the step that starts the network's helper. `None`: no helper is needed. Errors: a network namespace of
/// another container, or of the host.
fn helper(network: &Network, new: Namespaces) -> Result<Option<Step>> {
    if !network.is_connected() {
        return Ok(None);
    }
    if !new.contains(Namespaces::NET) {
        fail!("config.json: a network's helper, and no network namespace");
    }
    Ok(Some(Step::Network))
}

/// Adapts mounts to the `joined` namespaces. /dev/shm becomes that of the joined IPC namespace. New file systems that
/// show a namespace of `shown` are made in base: the kernel mounts them only for the owner of that namespace.
fn adapt_mounts(joined: Namespaces, shown: Namespaces, steps: &mut [Step]) {
    const SHOW: [(&str, Namespaces); 4] = [
        ("sysfs", Namespaces::NET),
        ("mqueue", Namespaces::IPC),
        ("cgroup", Namespaces::CGROUP),
        ("cgroup2", Namespaces::CGROUP),
    ];
    for step in steps {
        let Step::Mount(mount) = step else { continue };
        if joined.contains(Namespaces::IPC) {
            *mount = mount.clone().sharing_memory();
        }
        if SHOW.iter().any(|(fs, kind)| shown.contains(*kind) && mount.is_new(fs)) {
            mount.maker = Maker::Base;
        }
    }
}

/// Adds the steps that set up the container, up to those of the command's process.
fn container_steps(
    spec: &Spec,
    process: &Process,
    options: &LaunchOptions,
    new: Namespaces,
    root: Vec<Step>,
    steps: &mut Vec<Step>,
) -> Result<()> {
    steps.extend(spec.hostname().iter().map(|name| Step::Hostname(name.clone())));
    steps.extend(spec.domainname().iter().map(|name| Step::Domainname(name.clone())));
    let network = &options.network;
    steps.extend(root);
    steps.extend(notify::mount(spec, options.notify.as_ref())?);
    steps.extend(files(&network.files, steps));
    steps.extend(accounts(spec));
    let files = &options.secrets.files;
    steps.extend((!files.is_empty()).then(|| Step::Secrets(files.clone())));
    if new.contains(Namespaces::NET) {
        steps.push(Step::Loopback);
    }
    kernel_parameters(spec, steps);
    if process.terminal() == Some(true) {
        steps.push(Step::Terminal(console_size(process)));
    }
    steps.push(Step::PivotRoot);
    steps.extend(root_steps::shared_root(spec)?);
    steps.push(Step::WorkingFolder(process.cwd().clone()));
    if spec.root().as_ref().and_then(|root| root.readonly()) == Some(true) {
        steps.push(Step::ReadOnlyRoot);
    }
    if network.is_connected() {
        steps.push(Step::Connect);
    }
    if matches!(options.begin, StartTrigger::AtStart | StartTrigger::Never) {
        steps.push(Step::Hold);
    }
    Ok(())
}

/// Gives up the default network where the container joins the network of another container.
fn leave_default_network(join: &NamespacesToJoin, options: &mut LaunchOptions) {
    let network = &mut options.network;
    if network.origin != NetworkOrigin::Requested && join.contains(Namespaces::NET) {
        network.helpers.clear();
    }
}

/// Refuses joined namespaces that contradict other settings of the config.
fn check_joined(spec: &Spec, join: &NamespacesToJoin, levels: &Levels) -> Result<()> {
    if join.contains(Namespaces::UTS) && (spec.hostname().is_some() || spec.domainname().is_some())
    {
        fail!("config.json: in a joined UTS namespace the host name is the other container's");
    }
    // The container's process is hidden in a joined PID namespace, so its maps cannot be written.
    if levels.container.is_some() && join.contains(Namespaces::PID) {
        fail!(
            "config.json: a container with a user namespace of its own cannot join a PID namespace"
        );
    }
    Ok(())
}

/// Returns the step for the account entries in the config's annotations.
fn accounts(spec: &Spec) -> Option<Step> {
    let annotations = spec.annotations().as_ref()?;
    let files = [(PASSWD_ENTRY, "/etc/passwd"), (GROUP_ENTRY, "/etc/group")];
    let entry = |(name, path)| Some(AccountEntry { path, line: annotations.get(name)?.clone() });
    let entries: Vec<AccountEntry> = files.into_iter().filter_map(entry).collect();
    (!entries.is_empty()).then_some(Step::Accounts(entries))
}

/// Returns the step for `files`, without files that the user's mounts replace. A file that is not required is left out
/// of a mounted folder too: its mount point would have to be made there.
fn files(files: &[GeneratedFile], steps: &[Step]) -> Option<Step> {
    let is_mounted = |file: &&GeneratedFile| {
        let path = Path::new(file.path);
        let hides = |target: &Path| match file.need {
            Need::Required => target == path,
            Need::Customary | Need::Replacement => path.starts_with(target),
        };
        steps.iter().any(|step| matches!(step, Step::Mount(mount) if hides(&mount.target)))
    };
    let left: Vec<GeneratedFile> = files.iter().filter(|file| !is_mounted(file)).cloned().collect();
    (!left.is_empty()).then_some(Step::Files(left))
}

/// Plans the launch of `process` in the container `running`, whose config is `spec`.
/// `variables`: secrets of its environment.
pub fn plan_exec(
    spec: &Spec,
    process: &Process,
    running: RunningContainer,
    variables: &[SecretVariable],
) -> Result<Vec<Step>> {
    let (uid, gid) = setup_ids(&maps(spec));
    let setgroups = running.setgroups();
    let mut steps = vec![Step::Join(running), Step::BecomeRoot { uid, gid }];
    if process.terminal() == Some(true) {
        steps.push(Step::Terminal(console_size(process)));
    }
    steps.push(Step::WorkingFolder(process.cwd().clone()));
    let [initial, last] = scheduling::exec_affinity(process)?;
    steps.splice(1..1, initial.into_iter().map(Step::CpuAffinity));
    steps.extend(last.map(Step::CpuAffinity));
    last_steps(spec, process, setgroups, SupervisorLifetime::LastCaller, &mut steps)?;
    let mut command = command(process, Reaper::None)?;
    secrets::add_variables(&mut command, variables)?;
    steps.push(Step::Exec(command));
    Ok(steps)
}

/// Returns the lines of timens_offsets (time_namespaces(7)).
fn time_offsets(spec: &Spec) -> Option<String> {
    let offsets = spec.linux().as_ref()?.time_offsets().as_ref()?;
    let mut lines: Vec<String> = offsets
        .iter()
        .map(|(clock, offset)| {
            let (seconds, nanoseconds) =
                (offset.secs().unwrap_or(0), offset.nanosecs().unwrap_or(0));
            format!("{clock} {seconds} {nanoseconds}\n")
        })
        .collect();
    lines.sort();
    (!lines.is_empty()).then(|| lines.concat())
}

/// Plans the launch of `process` in the container `running` of a bundle, whose config is `spec`.
pub fn plan_bundle_exec(
    spec: &Spec,
    process: &Process,
    running: RunningContainer,
) -> Result<Vec<Step>> {
    let mut steps = plan_exec(spec, process, running, &[]).map_err(Error::in_one_line)?;
    bundle::keep_limits(process, &mut steps);
    Ok(steps)
}

/// Returns the cgroup of the container; `None`: the container gets none. Errors: a limit that this machine cannot
/// apply.
fn cgroup(spec: &Spec) -> Result<Option<cgroup::CgroupRequest>> {
    let Some(linux) = spec.linux() else { return Ok(None) };
    let limits = linux.resources().as_ref().map(cgroup::CgroupLimits::of).transpose()?;
    let limits = limits.unwrap_or_default();
    match linux.cgroups_path() {
        Some(path) => cgroup::find(path, limits, cgroup::ParentSource::Setting),
        None if limits.are_none() => Ok(None),
        None => fail!("config.json: linux.resources without linux.cgroupsPath"),
    }
}

fn maps(spec: &Spec) -> IdMaps<ContainerIds, HostIds> {
    let linux = spec.linux().as_ref();
    let read = |list: Option<&Vec<LinuxIdMapping>>| map_of(list.map_or(&[], Vec::as_slice));
    IdMaps {
        uids: read(linux.and_then(|linux| linux.uid_mappings().as_ref())),
        gids: read(linux.and_then(|linux| linux.gid_mappings().as_ref())),
    }
}

/// Returns the ID in the container of the process that sets it up. That is root if mapped, so that new files belong to
/// root, else the user's own ID. `ours`: outer ID of this process.
fn setup_id<Inner: IdLevel, Outer: IdLevel>(map: &Map<Inner, Outer>, ours: Id<Outer>) -> u32 {
    let first = || map.first().map(|line| line.inside);
    let user = || map.inside_of(ours).map(Id::number).or_else(first).unwrap_or(0);
    if map.iter().any(|line| line.inside == 0) { 0 } else { user() }
}

/// [`setup_id`] of the user and the group of this process.
fn setup_ids<Inner: IdLevel>(maps: &IdMaps<Inner, HostIds>) -> (u32, u32) {
    let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
    let (uid, gid) = (Id::new(uid.as_raw()), Id::new(gid.as_raw()));
    (setup_id(&maps.uids, uid), setup_id(&maps.gids, gid))
}

/// Adds the steps for kernel parameters, then those for masks, after which /proc/sys is read-only.
fn kernel_parameters(spec: &Spec, steps: &mut Vec<Step>) {
    let Some(linux) = spec.linux() else { return };
    let mut parameters: Vec<_> = linux.sysctl().iter().flatten().collect();
    parameters.sort();
    let parameters = parameters.into_iter().filter_map(|(name, value)| {
        // Checked before: the name is one of sysctl(8), with dots or slashes.
        format!("{name}={value}").parse::<Sysctl>().ok()
    });
    steps.extend(parameters.map(|Sysctl { name, value }| Step::Sysctl {
        path: parameter_path(&name),
        name,
        value,
    }));
    steps.extend(linux.masked_paths().iter().flatten().map(|path| Step::Mask(path.into())));
    steps.extend(linux.readonly_paths().iter().flatten().map(|path| Step::ReadOnly(path.into())));
}

/// Returns the path of a parameter. In a name dots separate the parts, and a slash stands for a dot within one
/// (sysctl(8)).
fn parameter_path(name: &str) -> std::path::PathBuf {
    let swapped: String = name
        .chars()
        .map(|character| match character {
            '.' => '/',
            '/' => '.',
            other => other,
        })
        .collect();
    swapped.into()
}
