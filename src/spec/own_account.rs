//! The caller's account in the container (`--userns keep-id`). An image has no account of the caller, and without a
//! line in /etc/passwd `whoami`, ssh, git and many installers fail (podman's `--passwd`).

use super::account::{GroupEntry, PasswdEntry};
use super::inputs::SpecInputs;
use super::user::ProcessIdentity;
use super::volumes;
use crate::host::account;

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
    ) -> Self {
        let name = field(Some(account::own_name())).unwrap_or_else(|| "user".to_owned());
        let (uid, gid) = (identity.uid, identity.gid);
        let passwd = (!users.iter().any(|user| user.uid == uid)).then(|| {
            let home = std::env::var("HOME").ok().filter(|home| home.starts_with('/'));
            let home = field(home).filter(|home| volumes::is_mounted(inputs.options, home));
            let home = home.or_else(|| field(Some(cwd.to_owned()))).unwrap_or_else(|| "/".into());
            let line = format!("{name}:x:{uid}:{gid}::{home}:/bin/sh");
            identity.home = Some(home);
            line
        });
        let group = (!groups.iter().any(|group| group.gid == gid)).then(|| {
            let name = account::group_name(gid).and_then(|name| field(Some(name))).unwrap_or(name);
            format!("{name}:x:{gid}:")
        });
        Self { passwd, group }
    }
}

/// Returns the text if valid in a field of passwd(5).
fn field(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty() && !text.contains(|c: char| c == ':' || c.is_control()))
}
