//! The caller's account in the container (`--userns keep-id`). An image has no account of the caller, and without a
//! line in /etc/passwd `whoami`, ssh, git and many installers fail (podman's `--passwd`).

use super::account::{GroupEntry, PasswdEntry};
use super::inputs::SpecInputs;
use super::user::ProcessIdentity;
use super::volumes;
use crate::error::{Context, Error, Result, Setting};
use crate::host::account;
use crate::ids::UsernsMode;

/// Annotation: line of passwd(5) to add to /etc/passwd if the user ID is missing.
pub const PASSWD_ENTRY: &str = "usnea.passwd-entry";
/// Annotation: line of group(5) to add to /etc/group if the group ID is missing.
pub const GROUP_ENTRY: &str = "usnea.group-entry";

/// Lines of the caller's account that an image lacks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct OwnAccount {
    pub(super) passwd: Option<String>,
    pub(super) group: Option<String>,
}

impl OwnAccount {
    /// Builds the lines for `identity` that the image's accounts lack. The home is the caller's if mounted, else `cwd`
    /// (podman's rule), and becomes the identity's home.
    pub(super) fn complete(
        inputs: &SpecInputs<'_>,
        identity: &mut ProcessIdentity,
        users: &[PasswdEntry],
        groups: &[GroupEntry],
        cwd: &str,
    ) -> Result<Self> {
        let options = inputs.options;
        let (uid, gid) = (identity.uid, identity.gid);
        let is_caller = matches!(options.userns(), UsernsMode::KeepId { .. });
        let name = match is_caller {
            true => field(Some(account::own_name())).unwrap_or_else(|| "user".to_owned()),
            false => uid.to_string(),
        };
        let lacks_user = !users.iter().any(|user| user.uid == uid);
        let passwd = (lacks_user && (is_caller || options.passwd_entry.is_some())).then(|| {
            let home = std::env::var("HOME").ok().filter(|home| home.starts_with('/'));
            let home = field(home).filter(|home| volumes::is_mounted(inputs.options, home));
            let home = home.or_else(|| field(Some(cwd.to_owned()))).unwrap_or_else(|| "/".into());
            let line = match &options.passwd_entry {
                None => format!("{name}:x:{uid}:{gid}::{home}:/bin/sh"),
                Some(entry) => {
                    let (uid, gid) = (uid.to_string(), gid.to_string());
                    let values = [("$USERNAME", &name), ("$UID", &uid), ("$GID", &gid)];
                    expanded(entry, values.into_iter().chain([("$NAME", &name), ("$HOME", &home)]))
                }
            };
            let of_line = line.split(':').nth(5).filter(|home| home.starts_with('/'));
            identity.home = Some(of_line.unwrap_or(&home).to_owned());
            line
        });
        let lacks_group = !groups.iter().any(|group| group.gid == gid);
        let group = (lacks_group && (is_caller || options.group_entry.is_some())).then(|| {
            let of_host = account::group_name(gid).filter(|_| is_caller);
            let group = of_host.and_then(|name| field(Some(name))).unwrap_or_else(|| name.clone());
            match &options.group_entry {
                None => format!("{group}:x:{gid}:"),
                Some(entry) => {
                    let values =
                        [("$GROUPNAME", &group), ("$GID", &gid.to_string()), ("$USERLIST", &name)];
                    expanded(entry, values.into_iter())
                }
            }
        });
        check_fields(passwd.as_deref(), 7).context(|| Setting::PasswdEntry)?;
        check_fields(group.as_deref(), 4).context(|| Setting::GroupEntry)?;
        Ok(Self { passwd, group })
    }
}

/// Replaces podman's variables in a line.
fn expanded<'a>(entry: &str, values: impl Iterator<Item = (&'a str, &'a String)>) -> String {
    values.fold(entry.to_owned(), |line, value| line.replace(value.0, value.1))
}

/// Refuses a line with another number of fields. Errors: also for a control character.
fn check_fields(line: Option<&str>, fields: usize) -> Result<()> {
    let Some(line) = line else { return Ok(()) };
    match line.split(':').count() == fields && !line.contains(char::is_control) {
        true => Ok(()),
        false => Err(Error::invalid(format!(
            "'{}' is not a line of {fields} fields, with colons between",
            line.escape_debug()
        ))),
    }
}

/// Returns the text if valid in a field of passwd(5).
fn field(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty() && !text.contains(|c: char| c == ':' || c.is_control()))
}
