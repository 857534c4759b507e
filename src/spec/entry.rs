//! Process of `usnea exec` in a running container: the container's own process, overridden by the options.

use std::os::fd::OwnedFd;
use std::path::PathBuf;

use oci_spec::runtime::{LinuxIdMapping, Process, Spec, UserBuilder};
use serde::{Deserialize, Serialize};

use super::account;
use super::account::home;
use super::env::{EnvChange, Environment};
use super::env_file;
use super::group::GroupAdd;
use super::inputs::KEEP_GROUPS;
use super::process::unmapped;
use super::user::{UserFlag, find_group, identify};
use crate::error::{Context, Error, Result, Setting};
use crate::fail;
use crate::ids::{ContainerIds, HostIds, Id, IdMap, Map};
use crate::layer::Merged;
use crate::layer::whiteout::Whiteouts;

/// Flags of `usnea exec` that concern the process.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct EntryOptions {
    /// Set an environment variable. NAME alone passes the host's value; a pattern without `=`, such as 'SLURM_*', passes
    /// all variables of the host whose names match it (glob(7)).
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    pub env: Vec<EnvChange>,

    /// Read environment variables from a file: NAME=VALUE or NAME on each line; # starts a comment.
    #[arg(long, value_name = "FILE")]
    pub env_file: Vec<PathBuf>,

    /// Working directory inside the container. Default: the container's own.
    #[arg(short, long, value_name = "DIR")]
    pub workdir: Option<String>,

    /// Run as this user and group, by name (in the container's /etc/passwd and /etc/group) or ID. Default: the
    /// container's own.
    #[arg(short, long, value_name = "NAME|UID[:GROUP|GID]")]
    pub user: Option<UserFlag>,
}

/// User of the container, resolved in its accounts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerUser {
    uid: u32,
    gid: u32,
    others: Vec<u32>,
    home: Option<String>,
    /// Home of the user of the container's own command.
    containers_home: Option<String>,
}

/// Resolves `flag` in the accounts below `root`, with the groups of `--group-add`. `own`: the user ID of the container's
/// command. Errors: a name without an entry.
pub fn look_up(
    root: OwnedFd,
    flag: &UserFlag,
    added: &[GroupAdd],
    own: u32,
) -> Result<ContainerUser> {
    let root = Merged::of([root], Whiteouts::Overlay);
    let users = account::users(&root)?.unwrap_or_default();
    let groups = account::groups(&root)?.unwrap_or_default();
    let identity = identify(flag, &users, &groups)?;
    let mut others = identity.others;
    for group in added {
        if let GroupAdd::Group(group) = group {
            others.push(find_group(group, &groups).context(|| Setting::GroupAdd)?);
        }
    }
    let containers_home = identify(&UserFlag::of(own, None), &users, &groups)?.home;
    Ok(ContainerUser {
        uid: identity.uid,
        gid: identity.gid,
        others,
        home: identity.home,
        containers_home,
    })
}

/// Builds the process. `who`: the user resolved from the options. Errors: an unmapped user, a relative working
/// directory, an invalid variable, no command.
pub fn entry(
    spec: &Spec,
    options: &EntryOptions,
    who: Option<&ContainerUser>,
    command: &[String],
) -> Result<Process> {
    let Some(mut process) = spec.process().clone() else { fail!("config.json: no process") };
    match command.first().map(String::as_str) {
        None => fail!(Invalid: "no command given"),
        Some("") => fail!(Invalid: "the command is an empty word"),
        Some(_) => process.set_args(Some(command.to_vec())),
    };
    process.set_env(Some(environment(&process, options, who)?));
    if let Some(folder) = options.workdir.as_ref().filter(|folder| !folder.is_empty()) {
        if !folder.starts_with('/') {
            return Err(Error::invalid("the working directory must be an absolute path"))
                .context(|| Setting::Workdir.with(folder));
        }
        process.set_cwd(folder.into());
    }
    if let (Some(who), Some(flag)) = (who, &options.user) {
        become_user(&mut process, spec, who, flag)?;
    }
    Ok(process)
}

/// Merges the environments of the container, the files and the flags, each overriding the one before. HOME is the
/// user's own home, unless HOME was set explicitly.
fn environment(
    process: &Process,
    options: &EntryOptions,
    who: Option<&ContainerUser>,
) -> Result<Vec<String>> {
    let mut environment = Environment::default();
    for line in process.env().iter().flatten() {
        environment.apply(&line.parse::<EnvChange>().map_err(Error::new)?)?;
    }
    if let Some(who) = who {
        let own = process.user().uid();
        if environment.value("HOME") == Some(home(own, who.containers_home.as_deref())) {
            environment.set("HOME", home(who.uid, who.home.as_deref()));
        }
    }
    for file in &options.env_file {
        for change in env_file::read(file)? {
            environment.apply(&change)?;
        }
    }
    for change in &options.env {
        environment.apply(change)?;
    }
    Ok(environment.into_strings())
}

fn become_user(
    process: &mut Process,
    spec: &Spec,
    who: &ContainerUser,
    flag: &UserFlag,
) -> Result<()> {
    let linux = spec.linux().as_ref();
    let map = |lines: Option<&Vec<LinuxIdMapping>>| -> Map<ContainerIds, HostIds> {
        let line =
            |line: &LinuxIdMapping| IdMap::new(line.container_id(), line.host_id(), line.size());
        Map::new(lines.into_iter().flatten().map(line).collect())
    };
    let users = map(linux.and_then(|linux| linux.uid_mappings().as_ref()));
    let groups = map(linux.and_then(|linux| linux.gid_mappings().as_ref()));
    for (map, kind, id) in [(&users, "user", who.uid), (&groups, "group", who.gid)] {
        if !map.has(Id::new(id)) {
            return Err(unmapped(Setting::User.with(flag), kind, id));
        }
    }
    let keeps = spec.annotations().as_ref().is_some_and(|all| all.contains_key(KEEP_GROUPS));
    let is_single = groups.iter().map(|line| u64::from(line.count)).sum::<u64>() <= 1;
    let mut additional = Vec::new();
    if !keeps && !is_single {
        // The process's group is among them, as for the container's own command (CVE-2022-36109).
        additional.push(who.gid);
        for gid in who.others.iter().copied().filter(|gid| groups.has(Id::new(*gid))) {
            if !additional.contains(&gid) {
                additional.push(gid);
            }
        }
    }
    let builder = UserBuilder::default().uid(who.uid).gid(who.gid).additional_gids(additional);
    process.set_user(builder.build().map_err(Error::new)?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(home: &str) -> Spec {
        let mut spec = Spec::default();
        let mut process = Process::default();
        process.set_env(Some(vec!["PATH=/bin".into(), format!("HOME={home}"), "A=1".into()]));
        spec.set_process(Some(process));
        let line = serde_json::from_value(
            serde_json::json!({ "containerID": 0, "hostID": 1000, "size": 100 }),
        );
        let lines: Vec<LinuxIdMapping> = vec![line.unwrap()];
        let linux = spec.linux_mut().as_mut().unwrap();
        linux.set_uid_mappings(Some(lines.clone()));
        linux.set_gid_mappings(Some(lines));
        spec
    }

    fn web() -> ContainerUser {
        ContainerUser {
            uid: 33,
            gid: 34,
            others: vec![5, 500],
            home: Some("/srv".into()),
            containers_home: None,
        }
    }

    fn made(spec: &Spec, options: &EntryOptions, who: Option<&ContainerUser>) -> Result<Process> {
        entry(spec, options, who, &["id".to_owned()])
    }

    #[test]
    fn what_is_not_asked_for_is_the_containers_own() {
        let spec = spec("/root");
        let process = made(&spec, &EntryOptions::default(), None).unwrap();
        let own = spec.process().as_ref().unwrap();
        assert_eq!(
            (process.env(), process.cwd(), process.user()),
            (own.env(), own.cwd(), own.user())
        );
        assert_eq!(process.args(), &Some(vec!["id".to_owned()]));
        assert!(entry(&spec, &EntryOptions::default(), None, &[]).is_err());
    }

    #[test]
    fn another_user_has_a_home_and_the_groups_that_are_mapped() {
        let user = Some("web".parse().unwrap());
        let options = EntryOptions { user, ..EntryOptions::default() };
        let process = made(&spec("/root"), &options, Some(&web())).unwrap();
        assert_eq!((process.user().uid(), process.user().gid()), (33, 34));
        assert_eq!(process.user().additional_gids(), &Some(vec![34, 5]));
        assert!(process.env().as_ref().unwrap().contains(&"HOME=/srv".to_owned()));
        // An explicitly set HOME stays.
        let process = made(&spec("/data"), &options, Some(&web())).unwrap();
        assert!(process.env().as_ref().unwrap().contains(&"HOME=/data".to_owned()));
        let unknown = ContainerUser { uid: 500, ..web() };
        let error = made(&spec("/root"), &options, Some(&unknown)).unwrap_err();
        assert!(error.to_string().contains("-u web: the user ID 500 is not mapped"), "{error}");
    }

    #[test]
    fn variables_and_the_folder_are_put_over_the_containers() {
        let options = EntryOptions {
            env: vec!["A=2".parse().unwrap(), "B=3".parse().unwrap()],
            workdir: Some("/srv".into()),
            ..EntryOptions::default()
        };
        let process = made(&spec("/root"), &options, None).unwrap();
        let env = process.env().as_ref().unwrap().join(" ");
        assert_eq!(env, "PATH=/bin HOME=/root A=2 B=3");
        assert_eq!(process.cwd(), std::path::Path::new("/srv"));
        let options = EntryOptions { workdir: Some("srv".into()), ..options };
        assert!(made(&spec("/root"), &options, None).is_err());
    }
}
