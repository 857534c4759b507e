//! Socket for readiness messages to the service manager (sd_notify(3)): adds its mount and its variable to the plan, if
//! config.json has none.

use std::borrow::Cow;
use std::path::Path;

use oci_spec::runtime::{MountBuilder, Spec};

use crate::engine::plan::mount::PlannedMount;
use crate::engine::plan::step::Step;
use crate::error::{Error, Result};
use crate::readiness::{NOTIFY_SOCKET, NotifyRequest, PROXY_FOLDER, PROXY_SOCKET};
use crate::sys::inroot::MountPointKind;

/// Adds NOTIFY_SOCKET of `request` to a config that does not set it.
pub fn with_variable<'a>(spec: &'a Spec, request: Option<&NotifyRequest>) -> Cow<'a, Spec> {
    let variables = spec.process().as_ref().and_then(|process| process.env().as_ref());
    let is_set = variables.into_iter().flatten().any(|one| value(one).is_some());
    if is_set || request.and_then(NotifyRequest::mounted).is_none() {
        return Cow::Borrowed(spec);
    }
    let mut spec = spec.clone();
    if let Some(process) = spec.process_mut() {
        let mut variables = process.env().clone().unwrap_or_default();
        variables.push(format!("{NOTIFY_SOCKET}={PROXY_SOCKET}"));
        process.set_env(Some(variables));
    }
    Cow::Owned(spec)
}

/// Returns the mount of the folder with the socket of `request`, if the process of `spec` has the variable for it.
pub fn mount(spec: &Spec, request: Option<&NotifyRequest>) -> Result<Option<Step>> {
    let Some(folder) = request.and_then(NotifyRequest::mounted) else { return Ok(None) };
    let variables = spec.process().as_ref().and_then(|process| process.env().as_ref());
    let mut values = variables.into_iter().flatten().filter_map(|one| value(one));
    if !values.any(|value| value == PROXY_SOCKET) {
        return Ok(None);
    }
    planned(folder).map(|mount| Some(Step::Mount(mount)))
}

fn value(variable: &str) -> Option<&str> {
    variable.strip_prefix(NOTIFY_SOCKET)?.strip_prefix('=')
}

/// Plans a read-only bind mount: a process can send to a socket on a read-only mount. The folder does not exist yet.
fn planned(folder: &Path) -> Result<PlannedMount> {
    let options = ["bind", "rprivate", "ro", "nosuid", "nodev", "noexec"];
    let mount = MountBuilder::default()
        .destination(PROXY_FOLDER)
        .typ("bind")
        .source(folder)
        .options(options.map(str::to_owned))
        .build()
        .map_err(Error::new)?;
    Ok(PlannedMount { kind: MountPointKind::Directory, ..PlannedMount::from_oci(&mount)? })
}
