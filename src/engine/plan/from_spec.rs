//! Turns config.json into steps. Refuses here, before the first process is made, whatever can be refused. A setting
//! that the engine does not support is an error, never ignored (CVE-2025-65105).

use std::ffi::CString;
use std::path::Path;
use std::str::FromStr;

use oci_spec::runtime::{
    LinuxIdMapping, LinuxNamespaceType, LinuxPersonalityDomain, Process, Spec,
};

use crate::cgroup;
use crate::engine::plan::mount::{Mount, Owners, Source, map_of};
use crate::engine::plan::running::Running;
use crate::engine::root::accounts::Entry;
use crate::engine::root::idmapped;
use crate::engine::{Command, Credentials, Groups, Limit, Options, Plan, Step, Supervised, Until};
use crate::error::{Context, Error, Result};
use crate::fail;
use crate::ids::{IdMap, IdMaps, inside_of};
use crate::net::{File, Need};
use crate::security::emulation::{self, Supervisor};
use crate::security::seccomp::Filter;
use crate::spec::{FUSE, GROUP_ENTRY, KEEP_GROUPS, PASSWD_ENTRY};
use crate::sys::inroot::{Kind, Symlinks};
use crate::sys::mount::{Attributes, Reach};
use crate::sys::namespace::Namespaces;
use crate::sys::process::Personality;
use crate::sys::seccomp::Listening;
use crate::userns::{Base, Writer};

/// Annotation: process 1 is usnea's reaper (`--init`).
pub const INIT: &str = "usnea.init";

/// Device nodes that every container has (OCI runtime spec, "Default Devices"); /dev/ptmx is a link, /dev/console comes
/// with the terminal.
const DEVICES: [&str; 6] =
    ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty"];
/// Links in /dev (OCI runtime spec, "Dev symbolic links").
const LINKS: [(&str, &str); 6] = [
    ("/proc/self/fd", "fd"),
    ("/proc/self/fd/0", "stdin"),
    ("/proc/self/fd/1", "stdout"),
    ("/proc/self/fd/2", "stderr"),
    ("pts/ptmx", "ptmx"),
    ("/proc/kcore", "core"),
];

/// Plans the launch of `spec` for a user whose IDs are `base`.
pub fn plan(spec: &Spec, base: Base, options: Options) -> Result<Plan> {
    refuse_what_is_not_done(spec)?;
    let process = spec.process().as_ref().ok_or_else(|| Error::new("config.json: no process"))?;
    let setgroups_denied = base.denies_setgroups();
    let mut levels = base.levels(&maps(spec))?;
    if spec.mounts().iter().flatten().any(|mount| mount.typ().as_deref() == Some(FUSE)) {
        levels = levels.apart();
    }
    let mut namespaces = namespaces(spec)?;
    let mut steps = Vec::new();
    if let Some(wanted) = cgroup(spec)? {
        let later = namespaces.both(Namespaces::CGROUP);
        namespaces = namespaces.without(later);
        steps.push(Step::Cgroup(wanted, later));
    }

    // newuidmap takes longer than making namespaces. Where another process writes the maps, the user namespace alone
    // comes first, and the rest is made meanwhile.
    let waits = levels.base.writer != Writer::Itself;
    steps.push(Step::Namespaces(match &levels.container {
        Some(_) => Namespaces::USER.with(Namespaces::MOUNT),
        None if waits => Namespaces::USER,
        None => namespaces.with(Namespaces::USER),
    }));
    steps.push(Step::Maps(levels.base.maps.clone()));
    match &levels.container {
        Some(maps) => {
            steps.extend(options.layers.clone().map(Step::Layers));
            steps.push(Step::Container(namespaces.with(Namespaces::USER), Some(maps.clone())));
        }
        None => {
            if waits {
                steps.push(Step::Container(namespaces.without(Namespaces::USER), None));
            }
            steps.extend(options.layers.clone().map(Step::Layers));
        }
    }
    let inner = levels.innermost();
    // In base the IDs of this process are 0.
    let (uid, gid) = (setup_id(&inner.uids, 0), setup_id(&inner.gids, 0));
    steps.push(Step::BecomeRoot { uid, gid });
    // While the host's /proc is visible.
    steps.extend(process.oom_score_adj().map(Step::OomScore));

    steps.extend(spec.hostname().iter().map(|name| Step::Hostname(name.clone())));
    steps.extend(spec.domainname().iter().map(|name| Step::Domainname(name.clone())));

    let network = &options.network;
    if !network.helpers.is_empty() {
        if !namespaces.contains(Namespaces::NET) {
            fail!("config.json: a network's helper, and no network namespace");
        }
        steps.push(Step::Network);
    }
    root_and_mounts(spec, &mut steps)?;
    steps.extend(files(&network.files, &steps));
    steps.extend(accounts(spec));
    if namespaces.contains(Namespaces::NET) {
        steps.push(Step::Loopback);
    }
    kernel_parameters(spec, &mut steps);
    if process.terminal() == Some(true) {
        steps.push(Step::Terminal);
    }
    steps.push(Step::PivotRoot);
    steps.push(Step::WorkingFolder(process.cwd().clone()));
    if spec.root().as_ref().and_then(|root| root.readonly()) == Some(true) {
        steps.push(Step::ReadOnlyRoot);
    }
    if !network.helpers.is_empty() {
        steps.push(Step::Connect);
    }
    last_steps(spec, process, setgroups_denied, Until::ParentsDeath, &mut steps)?;
    steps.push(Step::Exec(command(process, has_init(spec))?));
    Ok(Plan { levels, steps, options })
}

/// Returns the step for the account entries in the config's annotations.
fn accounts(spec: &Spec) -> Option<Step> {
    let annotations = spec.annotations().as_ref()?;
    let files = [(PASSWD_ENTRY, "/etc/passwd"), (GROUP_ENTRY, "/etc/group")];
    let entry = |(name, path)| Some(Entry { path, line: annotations.get(name)?.clone() });
    let entries: Vec<Entry> = files.into_iter().filter_map(entry).collect();
    (!entries.is_empty()).then_some(Step::Accounts(entries))
}

/// Returns the step for `files`, without files that the user's mounts replace. A merely customary file is left out of a
/// mounted folder too: its mount point would have to be made there.
fn files(files: &[File], steps: &[Step]) -> Option<Step> {
    let is_mounted = |file: &&File| {
        let path = Path::new(file.path);
        let hides = |target: &Path| match file.need {
            Need::Required => target == path,
            Need::Customary => path.starts_with(target),
        };
        steps.iter().any(|step| matches!(step, Step::Mount(mount) if hides(&mount.target)))
    };
    let left: Vec<File> = files.iter().filter(|file| !is_mounted(file)).cloned().collect();
    (!left.is_empty()).then_some(Step::Files(left))
}

/// Adds the steps that concern the process alone, whatever container it is in.
fn last_steps(
    spec: &Spec,
    process: &Process,
    setgroups_denied: bool,
    until: Until,
    steps: &mut Vec<Step>,
) -> Result<()> {
    let personality = spec.linux().as_ref().and_then(|linux| linux.personality().as_ref());
    steps.extend(personality.map(|asked| Step::Personality(persona(asked.domain()))));
    limits(process, steps)?;
    steps.extend(process.user().umask().map(Step::Umask));
    steps.push(Step::Credentials(credentials(spec, process, setgroups_denied)?));
    if process.no_new_privileges() == Some(true) {
        steps.push(Step::NoNewPrivileges);
    }
    steps.extend(filter(spec, process, until)?);
    Ok(())
}

fn persona(domain: LinuxPersonalityDomain) -> Personality {
    match domain {
        LinuxPersonalityDomain::PerLinux => Personality::Linux,
        LinuxPersonalityDomain::PerLinux32 => Personality::Linux32,
    }
}

/// Plans the launch of `process` in the container `running`, whose config is `spec`.
pub fn entry(spec: &Spec, process: &Process, running: Running) -> Result<Vec<Step>> {
    let maps = maps(spec);
    let setgroups_denied = running.denies_setgroups();
    let mut steps = vec![
        Step::Join(running),
        Step::BecomeRoot {
            uid: setup_id(&maps.uids, rustix::process::geteuid().as_raw()),
            gid: setup_id(&maps.gids, rustix::process::getegid().as_raw()),
        },
    ];
    if process.terminal() == Some(true) {
        steps.push(Step::Terminal);
    }
    steps.push(Step::WorkingFolder(process.cwd().clone()));
    last_steps(spec, process, setgroups_denied, Until::LastCaller, &mut steps)?;
    steps.push(Step::Exec(command(process, false)?));
    Ok(steps)
}

/// True if process 1 is usnea's reaper.
pub fn has_init(spec: &Spec) -> bool {
    spec.annotations().as_ref().is_some_and(|all| all.contains_key(INIT))
}

fn refuse_what_is_not_done(spec: &Spec) -> Result<()> {
    let linux = spec.linux().as_ref();
    let process = spec.process().as_ref();
    let asked = [
        ("hooks", spec.hooks().is_some()),
        (
            "linux.devices",
            linux
                .is_some_and(|linux| linux.devices().as_ref().is_some_and(|list| !list.is_empty())),
        ),
        (
            "linux.rootfsPropagation",
            linux.is_some_and(|linux| linux.rootfs_propagation().is_some()),
        ),
        ("linux.mountLabel", linux.is_some_and(|linux| linux.mount_label().is_some())),
        (
            "process.apparmorProfile",
            process.is_some_and(|process| process.apparmor_profile().is_some()),
        ),
        ("process.selinuxLabel", process.is_some_and(|process| process.selinux_label().is_some())),
    ];
    match asked.iter().find(|(_, is_asked)| *is_asked) {
        Some((what, _)) => fail!("config.json: {what} cannot be applied"),
        None => Ok(()),
    }
}

/// Returns the cgroup of the container; `None`: the container gets none. Errors: a limit that cannot apply here.
fn cgroup(spec: &Spec) -> Result<Option<cgroup::Wanted>> {
    let Some(linux) = spec.linux() else { return Ok(None) };
    let limits = linux.resources().as_ref().map(cgroup::Limits::of).transpose()?;
    let limits = limits.unwrap_or_default();
    match linux.cgroups_path() {
        Some(path) => cgroup::find(path, limits),
        None if limits.are_none() => Ok(None),
        None => fail!("config.json: linux.resources without linux.cgroupsPath"),
    }
}

fn maps(spec: &Spec) -> IdMaps {
    let linux = spec.linux().as_ref();
    let read = |list: Option<&Vec<LinuxIdMapping>>| map_of(list.map_or(&[], Vec::as_slice));
    IdMaps {
        uids: read(linux.and_then(|linux| linux.uid_mappings().as_ref())),
        gids: read(linux.and_then(|linux| linux.gid_mappings().as_ref())),
    }
}

fn namespaces(spec: &Spec) -> Result<Namespaces> {
    let list = spec.linux().as_ref().and_then(|linux| linux.namespaces().as_ref());
    let mut namespaces = Namespaces::default();
    for namespace in list.into_iter().flatten() {
        if let Some(path) = namespace.path() {
            fail!("config.json: joining the namespace {} cannot be applied", path.display());
        }
        namespaces = namespaces.with(match namespace.typ() {
            LinuxNamespaceType::Mount => Namespaces::MOUNT,
            LinuxNamespaceType::Cgroup => Namespaces::CGROUP,
            LinuxNamespaceType::Uts => Namespaces::UTS,
            LinuxNamespaceType::Ipc => Namespaces::IPC,
            LinuxNamespaceType::User => Namespaces::USER,
            LinuxNamespaceType::Pid => Namespaces::PID,
            LinuxNamespaceType::Network => Namespaces::NET,
            LinuxNamespaceType::Time => Namespaces::TIME,
        });
    }
    if !namespaces.contains(Namespaces::MOUNT) {
        fail!("config.json: a container needs a mount namespace");
    }
    Ok(namespaces)
}

/// Returns the ID that sets the container up: root if mapped (files made on the way are root's), else the user's ID
/// inside. `ours`: this process's ID on the outer side of the map.
fn setup_id(map: &[IdMap], ours: u32) -> u32 {
    let user = || inside_of(map, ours).or(map.first().map(|line| line.inside)).unwrap_or(0);
    if map.iter().any(|line| line.inside == 0) { 0 } else { user() }
}

fn root_and_mounts(spec: &Spec, steps: &mut Vec<Step>) -> Result<()> {
    let root = spec.root().as_ref().ok_or_else(|| Error::new("config.json: no root"))?;
    let mut mounts = spec.mounts().as_deref().unwrap_or_default().iter().peekable();
    // A mount onto "/" is the writable layer over the root; without one the folder itself is the root.
    let layered = mounts.next_if(|mount| mount.destination() == Path::new("/"));
    steps.push(Step::Root(match layered {
        Some(mount) => Mount::from_oci(mount)?,
        None => Mount {
            source: Source::Bind(root.path().clone(), Reach::Recursive),
            target: "/".into(),
            kind: Kind::Directory,
            symlinks: Symlinks::Refuse,
            attributes: Attributes::NONE,
            propagation: None,
            copy_up: false,
            owners: Owners::AsTheyAre,
        },
    }));
    for mount in mounts {
        let mount = Mount::from_oci(mount)?;
        idmapped::check(&mount)?;
        let is_dev =
            mount.target == Path::new("/dev") && matches!(mount.source, Source::New { .. });
        steps.push(Step::Mount(mount));
        if is_dev {
            steps.extend(DEVICES.iter().map(|path| Step::Mount(Mount::bind_file(path))));
            steps.extend(LINKS.iter().map(|(target, name)| Step::Link { target, name }));
        }
    }
    Ok(())
}

/// Adds kernel parameters, then masks: /proc/sys is read-only afterwards.
fn kernel_parameters(spec: &Spec, steps: &mut Vec<Step>) {
    let Some(linux) = spec.linux() else { return };
    let mut parameters: Vec<_> = linux.sysctl().iter().flatten().collect();
    parameters.sort();
    steps.extend(parameters.into_iter().map(|(name, value)| Step::Sysctl {
        name: name.clone(),
        path: parameter_path(name),
        value: value.clone(),
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

fn limits(process: &Process, steps: &mut Vec<Step>) -> Result<()> {
    for limit in process.rlimits().iter().flatten() {
        let name = limit.typ().to_string();
        steps.push(Step::Limit(Limit {
            resource: resource(&name)?,
            name,
            soft: limit.soft(),
            hard: limit.hard(),
        }));
    }
    steps.extend(open_files(process).map(Step::Limit));
    Ok(())
}

/// Returns the default limit of open files: usnea's own hard limit. A shell may have a lower soft limit (mostly 1024).
/// At most docker's limit: some programs check each possible descriptor.
fn open_files(process: &Process) -> Option<Limit> {
    use nix::sys::resource::{Resource, getrlimit};
    const MOST: u64 = 1 << 20;
    let name = "RLIMIT_NOFILE";
    if process.rlimits().iter().flatten().any(|limit| limit.typ().to_string() == name) {
        return None;
    }
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).ok()?;
    let wanted = hard.min(MOST);
    let limit = |soft| Limit { name: name.into(), resource: Resource::RLIMIT_NOFILE, soft, hard };
    (wanted > soft).then(|| limit(wanted))
}

fn resource(name: &str) -> Result<nix::sys::resource::Resource> {
    use nix::sys::resource::Resource::*;
    Ok(match name {
        "RLIMIT_AS" => RLIMIT_AS,
        "RLIMIT_CORE" => RLIMIT_CORE,
        "RLIMIT_CPU" => RLIMIT_CPU,
        "RLIMIT_DATA" => RLIMIT_DATA,
        "RLIMIT_FSIZE" => RLIMIT_FSIZE,
        "RLIMIT_LOCKS" => RLIMIT_LOCKS,
        "RLIMIT_MEMLOCK" => RLIMIT_MEMLOCK,
        "RLIMIT_MSGQUEUE" => RLIMIT_MSGQUEUE,
        "RLIMIT_NICE" => RLIMIT_NICE,
        "RLIMIT_NOFILE" => RLIMIT_NOFILE,
        "RLIMIT_NPROC" => RLIMIT_NPROC,
        "RLIMIT_RSS" => RLIMIT_RSS,
        "RLIMIT_RTPRIO" => RLIMIT_RTPRIO,
        "RLIMIT_RTTIME" => RLIMIT_RTTIME,
        "RLIMIT_SIGPENDING" => RLIMIT_SIGPENDING,
        "RLIMIT_STACK" => RLIMIT_STACK,
        _ => fail!("config.json: no limit is called {name}"),
    })
}

fn credentials(spec: &Spec, process: &Process, setgroups_denied: bool) -> Result<Credentials> {
    let user = process.user();
    let additional = user.additional_gids().clone().unwrap_or_default();
    let groups = if spec.annotations().as_ref().is_some_and(|all| all.contains_key(KEEP_GROUPS)) {
        Groups::Keep
    } else if setgroups_denied {
        // setgroups(2) is denied in a namespace that its own process mapped (CVE-2014-8989).
        if additional.iter().any(|gid| *gid != user.gid()) {
            return Err(Error::new(
                "supplementary groups need subordinate group IDs, and you have none that can be used",
            )
            .hint("see 'usnea doctor'; --group-add keep-groups keeps those that you have"));
        }
        Groups::Keep
    } else {
        Groups::Set(additional)
    };
    let capabilities = process.capabilities().as_ref();
    let set = |list: Option<&std::collections::HashSet<oci_spec::runtime::Capability>>| {
        list.into_iter().flatten().map(capability).collect::<Result<caps::CapsHashSet>>()
    };
    Ok(Credentials {
        uid: user.uid(),
        gid: user.gid(),
        groups,
        bounding: set(capabilities.and_then(|all| all.bounding().as_ref()))?,
        permitted: set(capabilities.and_then(|all| all.permitted().as_ref()))?,
        effective: set(capabilities.and_then(|all| all.effective().as_ref()))?,
        inheritable: set(capabilities.and_then(|all| all.inheritable().as_ref()))?,
        ambient: set(capabilities.and_then(|all| all.ambient().as_ref()))?,
    })
}

fn capability(capability: &oci_spec::runtime::Capability) -> Result<caps::Capability> {
    let name = capability.to_string();
    let name = if name.starts_with("CAP_") { name } else { format!("CAP_{name}") };
    caps::Capability::from_str(&name)
        .map_err(|_| Error::new(format!("config.json: no capability is called {name}")))
}

/// Returns the filter of the config as a step. Errors: the filter hands calls over without a supervisor, or cannot be
/// applied.
fn filter(spec: &Spec, process: &Process, until: Until) -> Result<Option<Step>> {
    let emulation = emulation::asked(spec)?;
    let linux = spec.linux().as_ref();
    let Some(seccomp) = linux.and_then(|linux| linux.seccomp().as_ref()) else {
        if emulation.is_some() {
            fail!("config.json: annotation {} without linux.seccomp", emulation::ANNOTATION);
        }
        return Ok(None);
    };
    let filter = Filter::of_config(seccomp)?;
    if emulation.is_none() && filter.listening == Listening::Yes {
        fail!("config.json: linux.seccomp: nobody listens to what SCMP_ACT_NOTIFY tells");
    }
    if emulation.is_some() && filter.listening == Listening::No {
        fail!("config.json: annotation {}, and no SCMP_ACT_NOTIFY", emulation::ANNOTATION);
    }
    let capabilities = process.capabilities().as_ref();
    let effective = capabilities.and_then(|all| all.effective().as_ref());
    let supervisor = Supervisor {
        uid: process.user().uid(),
        gid: process.user().gid(),
        capabilities: effective.into_iter().flatten().map(capability).collect::<Result<_>>()?,
    };
    let supervised = emulation.map(|emulation| Supervised { emulation, supervisor, until });
    Ok(Some(Step::Seccomp(Box::new(filter), supervised)))
}

fn command(process: &Process, init: bool) -> Result<Command> {
    let texts = |list: &Option<Vec<String>>| {
        let text = |text: &String| {
            CString::new(text.as_str())
                .map_err(|_| Error::new(format!("{text:?}: a NUL byte in an argument or variable")))
        };
        list.iter().flatten().map(text).collect::<Result<Vec<_>>>()
    };
    let arguments = texts(process.args())?;
    if arguments.first().is_none_or(|name| name.is_empty()) {
        fail!("no command given");
    }
    let ourselves =
        rustix::fs::stat("/proc/self/exe").context(|| "cannot look at /proc/self/exe")?;
    Ok(Command {
        arguments,
        environment: texts(process.env())?,
        init,
        terminal: process.terminal() == Some(true),
        ourselves: (ourselves.st_dev, ourselves.st_ino),
    })
}

#[cfg(test)]
mod tests {
    use oci_spec::runtime::LinuxSeccomp;
    use serde_json::{Value, json};

    use super::*;
    use crate::security::emulation::Emulation;

    fn with_filter(config: Value) -> Spec {
        let mut spec = Spec::default();
        let seccomp: LinuxSeccomp = serde_json::from_value(config).unwrap();
        spec.linux_mut().as_mut().unwrap().set_seccomp(Some(seccomp));
        spec
    }

    fn step(spec: &Spec) -> Result<Option<Step>> {
        filter(spec, spec.process().as_ref().unwrap(), Until::ParentsDeath)
    }

    fn rule(action: &str) -> Value {
        let rule = json!({ "names": ["chown"], "action": action });
        json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule] })
    }

    #[test]
    fn a_filter_of_the_config_is_a_step() {
        assert!(step(&Spec::default()).unwrap().is_none());
        let Some(Step::Seccomp(filter, None)) = step(&with_filter(rule("SCMP_ACT_TRAP"))).unwrap()
        else {
            panic!()
        };
        assert_eq!(filter.listening, Listening::No);
    }

    #[test]
    fn what_is_handed_over_needs_somebody_who_answers() {
        let mut spec = with_filter(rule("SCMP_ACT_NOTIFY"));
        assert!(step(&spec).unwrap_err().to_string().contains("nobody listens"));
        let annotate = |spec: &mut Spec, value: &str| {
            let annotation = (emulation::ANNOTATION.to_owned(), value.to_owned());
            spec.set_annotations(Some([annotation].into()));
        };
        annotate(&mut spec, emulation::IDS);
        let Some(Step::Seccomp(_, Some(supervised))) = step(&spec).unwrap() else { panic!() };
        assert_eq!(supervised.emulation, Emulation::Ids);
        annotate(&mut spec, "all");
        assert!(step(&spec).unwrap_err().to_string().contains("'all' is not known"));
        let mut spec = with_filter(rule("SCMP_ACT_TRAP"));
        annotate(&mut spec, emulation::OWNERS);
        assert!(step(&spec).unwrap_err().to_string().contains("no SCMP_ACT_NOTIFY"));
        let mut spec = Spec::default();
        annotate(&mut spec, emulation::OWNERS);
        assert!(step(&spec).unwrap_err().to_string().contains("without linux.seccomp"));
    }
}
