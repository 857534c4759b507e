//! Process of the config: user, command, working directory, environment and limits.

use oci_spec::runtime::{
    Capabilities, LinuxCapabilities, LinuxCapabilitiesBuilder, Process, ProcessBuilder, User,
    UserBuilder,
};

use super::account::home;
use super::account::{self, GroupEntry};
use super::command::{args, runs_systemd};
use super::env::{Environment, host_value};
use super::group::GroupAdd;
use super::inputs::{ImageDefaults, SpecInputs};
use super::options::ContainerOptions;
use super::own_account::OwnAccount;
use super::security_option::SecurityOption;
use super::ulimit;
use super::user::{ProcessIdentity, UserFlag, find_group, identify};
use super::{env_file, mounts};
use crate::error::{Context, Error, Phrase, Result, Setting};
use crate::hint;
use crate::host::machine;
use crate::ids::{Id, UsernsMode};
use crate::layer::whiteout::Whiteouts;
use crate::layer::{LowerFolder, LowerLayer, Merged};

/// Environment variables that configure a proxy (podman's list).
const PROXIES: [&str; 8] = [
    "http_proxy",
    "https_proxy",
    "ftp_proxy",
    "no_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "FTP_PROXY",
    "NO_PROXY",
];

/// docker's default PATH, which has both halves of a merged /usr.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Builds the process. Errors: no command, an unknown or unmapped user, a limit above the caller's, a relative working
/// directory.
pub(super) fn process(inputs: &SpecInputs<'_>) -> Result<(Process, OwnAccount)> {
    let options = inputs.options;
    let (mut identity, users, groups) = who(inputs)?;
    let account = match options.passwd {
        Some(false) => OwnAccount::default(),
        _ => OwnAccount::complete(inputs, &mut identity, &users, &groups, &cwd(inputs)?)?,
    };
    let asked = options.security_opt.iter().rev();
    let no_new_privileges = asked
        .filter_map(|option| match option {
            SecurityOption::NoNewPrivileges => Some(true),
            SecurityOption::NewPrivileges => Some(false),
            _ => None,
        })
        .next()
        .unwrap_or(false);
    let mut process = ProcessBuilder::default()
        .terminal(options.tty)
        .user(user(inputs, &identity, &groups)?)
        .args(args(inputs)?)
        .env(environment(inputs, &identity)?)
        .cwd(cwd(inputs)?)
        .rlimits(ulimit::limits(&options.ulimit)?)
        .no_new_privileges(no_new_privileges)
        .capabilities(no_capabilities()?)
        .build()
        .map_err(Error::new)?;
    process.set_apparmor_profile(apparmor(options)?);
    process.set_oom_score_adj(options.oom_score_adj.map(oom_score).transpose()?);
    Ok((process, account))
}

/// Returns the AppArmor profile of the command. Errors: a kernel without AppArmor.
fn apparmor(options: &ContainerOptions) -> Result<Option<String>> {
    let asked = options.security_opt.iter().rev().find_map(|option| match option {
        SecurityOption::Apparmor(profile) => Some(profile),
        _ => None,
    });
    match asked {
        Some(profile) if !machine::has_apparmor() => {
            let error = "this kernel has no AppArmor, or it is not enabled";
            Err(Error::refused(error))
                .context(|| Setting::SecurityOpt.with(format!("apparmor={profile}")))
        }
        asked => Ok(asked.cloned()),
    }
}

/// Checks the OOM score: without root the score can only be raised (proc_pid_oom_score_adj(5)).
fn oom_score(asked: i32) -> Result<i32> {
    let ours = std::fs::read_to_string("/proc/self/oom_score_adj").unwrap_or_default();
    let ours = ours.trim().parse::<i32>().unwrap_or(0);
    match asked < ours {
        true => {
            let error = format!("ours is {ours}, and without root it cannot be lowered");
            Err(Error::refused(error)).context(|| Setting::OomScoreAdj.with(asked))
        }
        false => Ok(asked),
    }
}

fn no_capabilities() -> Result<LinuxCapabilities> {
    let none = Capabilities::new;
    LinuxCapabilitiesBuilder::default()
        .bounding(none())
        .effective(none())
        .permitted(none())
        .inheritable(none())
        .ambient(none())
        .build()
        .map_err(Error::new)
}

fn cwd(inputs: &SpecInputs<'_>) -> Result<String> {
    let given = |folder: &&String| !folder.is_empty();
    let asked = inputs.options.workdir.as_ref().filter(given);
    let of_image = inputs.image.workdir.as_ref().filter(given);
    match (asked, of_image) {
        (Some(folder), _) if !folder.starts_with('/') => {
            Err(Error::invalid("the working directory must be an absolute path"))
                .context(|| Setting::Workdir.with(folder))
        }
        (None, Some(folder)) if !folder.starts_with('/') => {
            let folder = folder.escape_debug();
            let error = format!("the image's working directory '{folder}' is no absolute path");
            Err(Error::invalid(error).hint("-w sets another one, such as: -w /"))
        }
        _ => Ok(asked.or(of_image).map_or_else(|| "/".to_owned(), String::clone)),
    }
}

/// Merges base, image, files and flags, each overriding the one before (docker). No variable of the host is inherited
/// implicitly.
fn environment(inputs: &SpecInputs<'_>, identity: &ProcessIdentity) -> Result<Vec<String>> {
    let options = inputs.options;
    let mut environment = Environment::default();
    environment.set("PATH", PATH);
    environment.set("HOSTNAME", &inputs.seen_hostname());
    let terminal = if options.tty { host_value("TERM")? } else { None };
    environment.set("TERM", terminal.as_deref().filter(|term| !term.is_empty()).unwrap_or("xterm"));
    environment.set("container", "usnea");
    if options.env_host {
        environment.take_host()?;
    }
    for line in &inputs.image.env {
        // A name alone would request the host's value, which no image may have.
        match line.split_once('=').filter(|(name, _)| !name.is_empty()) {
            Some((name, value)) if !line.contains('\0') => environment.set(name, value),
            _ => log::debug!("the image's variable '{}' is left out", line.escape_debug()),
        }
    }
    if options.unsetenv_all {
        environment = Environment::default();
    }
    options.unsetenv.iter().for_each(|name| environment.unset(name));
    if options.http_proxy {
        for name in PROXIES {
            if let Some(value) = host_value(name)? {
                environment.set(name, &value);
            }
        }
    }
    for change in &options.env_merge {
        environment.merge(change)?;
    }
    for file in &options.env_file {
        for change in env_file::read(file)? {
            environment.apply(&change)?;
        }
    }
    for change in &options.env {
        environment.apply(change)?;
    }
    if runs_systemd(inputs) {
        environment.set_missing("container_uuid", inputs.uuid);
    }
    environment.set_missing("HOME", home(identity.uid, identity.home.as_deref()));
    Ok(environment.into_strings())
}

/// Returns the user of a container's command, in the notation of `--user`. Errors: the image's user is malformed.
pub fn own_user(options: &ContainerOptions, image: &ImageDefaults) -> Result<String> {
    wish(options, image).map(|(_, flag)| flag.to_string())
}

/// Returns the requested user, with the label that errors use for the request.
fn wish(options: &ContainerOptions, image: &ImageDefaults) -> Result<(Phrase, UserFlag)> {
    if let Some(flag) = &options.user {
        // keep-id was chosen for the caller's sake, whose group is not root's.
        let own = (options.userns.is_none() && options.userns() != UsernsMode::Host).then(|| {
            UserFlag::of(
                rustix::process::geteuid().as_raw(),
                Some(rustix::process::getegid().as_raw()),
            )
        });
        let flag = own.as_ref().unwrap_or(flag);
        return Ok((Setting::User.with(flag), flag.clone()));
    }
    if let UsernsMode::KeepId { uid, gid, .. } = options.userns() {
        let uid = uid.unwrap_or_else(|| rustix::process::geteuid().as_raw());
        let gid = gid.unwrap_or_else(|| rustix::process::getegid().as_raw());
        return Ok((Setting::Userns.with("keep-id"), UserFlag::of(uid, Some(gid))));
    }
    match image.user.as_deref().filter(|user| !user.is_empty()) {
        Some(user) => {
            let label = format!("the image's user {user}");
            let flag = user.parse::<UserFlag>().map_err(Error::new).context(|| label.clone())?;
            Ok((label.into(), flag))
        }
        None => Ok(("user 0".into(), UserFlag::of(0, None))),
    }
}

fn who(
    inputs: &SpecInputs<'_>,
) -> Result<(ProcessIdentity, Vec<account::PasswdEntry>, Vec<GroupEntry>)> {
    let (label, flag) = wish(inputs.options, &inputs.image)?;
    let (users, groups) = accounts(inputs)?;
    let identity = identify(&flag, &users, &groups)?;
    for (map, kind, id) in
        [(&inputs.maps.uids, "user", identity.uid), (&inputs.maps.gids, "group", identity.gid)]
    {
        if !map.has(Id::new(id)) {
            return Err(match inputs.options.is_of_caller() {
                true => not_mapped(label, kind, id).hint(hint::KEEP_ID),
                false => unmapped(label, kind, id),
            });
        }
    }
    Ok((identity, users, groups))
}

pub(super) fn unmapped(label: Phrase, kind: &str, id: u32) -> Error {
    let hint = match id {
        0 => hint::NO_ROOT_ID,
        _ => hint::SUBORDINATE_IDS,
    };
    not_mapped(label, kind, id).hint(hint)
}

fn not_mapped(label: Phrase, kind: &str, id: u32) -> Error {
    Error::invalid(format!("the {kind} ID {id} is not mapped in the container")).within(label)
}

/// Number of IDs that a container of this root needs for its accounts and the requested user. podman's rule: all up to
/// the highest but "nobody".
pub fn ids_needed(
    root: &[LowerLayer],
    whiteouts: Whiteouts,
    asked: Option<&UserFlag>,
    image: &ImageDefaults,
) -> Result<u32> {
    const NOBODY: u32 = 65534;
    let (users, groups) = accounts_in(root, whiteouts)?;
    let counts = |name: &str, id: u32| !matches!(name, "nobody" | "nogroup") && id != NOBODY;
    let users = users.iter().flat_map(|user| [(&user.name, user.uid), (&user.name, user.gid)]);
    let all = users.chain(groups.iter().map(|group| (&group.name, group.gid)));
    let highest = all.filter(|(name, id)| counts(name, *id)).map(|(_, id)| id).max();
    let of_image = image.user.as_deref().and_then(|user| user.parse().ok());
    let flag = asked.cloned().or(of_image);
    let asked = flag.iter().flat_map(UserFlag::ids).max();
    Ok(highest.max(asked).map_or(1, |id| id.saturating_add(1)))
}

/// Returns the IDs of the user that the image names, if its accounts have that user.
pub fn image_user(
    root: &[LowerLayer],
    whiteouts: Whiteouts,
    image: &ImageDefaults,
) -> Option<(u32, u32)> {
    let flag: UserFlag = image.user.as_deref().filter(|user| !user.is_empty())?.parse().ok()?;
    let (users, groups) = accounts_in(root, whiteouts).ok()?;
    let identity = identify(&flag, &users, &groups).ok()?;
    Some((identity.uid, identity.gid))
}

/// Returns the image's accounts.
fn accounts(inputs: &SpecInputs<'_>) -> Result<(Vec<account::PasswdEntry>, Vec<GroupEntry>)> {
    accounts_in(&inputs.layers(), inputs.stacking.whiteouts)
}

fn accounts_in(
    layers: &[LowerLayer],
    whiteouts: Whiteouts,
) -> Result<(Vec<account::PasswdEntry>, Vec<GroupEntry>)> {
    // A root that is yet to be created (--explain) has no accounts yet.
    let layers = layers.iter().filter(|layer| layer.image().is_some() || layer.path().exists());
    let root = Merged::of(layers.map(open_root).collect::<Result<Vec<_>>>()?, whiteouts);
    let (users, groups) = (account::users(&root)?, account::groups(&root)?);
    Ok((users.unwrap_or_default(), groups.unwrap_or_default()))
}

fn open_root(layer: &LowerLayer) -> Result<LowerFolder> {
    mounts::text(layer.path())?;
    layer.open()
}

/// Returns the user of the config. The process's group is among the supplementary groups too. Otherwise the process
/// could drop that group to get around a file that is closed to the group (CVE-2022-36109).
fn user(
    inputs: &SpecInputs<'_>,
    identity: &ProcessIdentity,
    groups: &[GroupEntry],
) -> Result<User> {
    let builder = UserBuilder::default().uid(identity.uid).gid(identity.gid);
    let additional = additional_gids(inputs, identity, groups)?;
    let mut user = builder.additional_gids(additional).build().map_err(Error::new)?;
    user.set_umask(inputs.options.umask);
    Ok(user)
}

fn additional_gids(
    inputs: &SpecInputs<'_>,
    identity: &ProcessIdentity,
    groups: &[GroupEntry],
) -> Result<Vec<u32>> {
    let map = &inputs.maps.gids;
    let mut gids = vec![identity.gid];
    // Groups that the image lists beyond the map are skipped. For example, alpine's root is in a dozen groups, and a
    // container of a single ID could not run at all. An unmapped group from the options is an error.
    let mapped = |gid: &u32| map.has(Id::new(*gid));
    gids.extend(identity.others.iter().copied().filter(mapped));
    for asked in &inputs.options.group_add {
        let GroupAdd::Group(group) = asked else {
            return Ok(Vec::new());
        };

        let gid = find_group(group, groups).context(|| Setting::GroupAdd)?;
        if !mapped(&gid) {
            return Err(unmapped(Setting::GroupAdd.with(group), "group", gid));
        }
        gids.push(gid);
    }
    // A self-mapped group requires setgroups(2) to be denied (user_namespaces(7)): then no group can be added.
    if map.iter().map(|line| u64::from(line.count)).sum::<u64>() <= 1 {
        return Ok(Vec::new());
    }
    let mut seen = std::collections::HashSet::new();
    gids.retain(|gid| seen.insert(*gid));
    Ok(gids)
}
