//! ID maps of layers under the kernel's overlay: only the host's root can make them. Tried with the store's file
//! system.

use std::path::Path;

use crate::error::{Context, Result};
use crate::fail;
use crate::host::kernel::{self, KernelVersion};
use crate::host::{trial, userns};
use crate::sys::mount::{self, MountReach};
use crate::sys::namespace::{self, Namespaces};

/// Checks that layers on the file system of `folder` can have their IDs mapped. Errors: the step that fails.
pub fn serves(folder: &Path) -> Result<()> {
    if !is_allowed() {
        fail!("the kernel lets the root of the host alone map the IDs of its file systems");
    }
    // Before this version the overlay refuses such layers, whatever their file system.
    const OVERLAY: KernelVersion = KernelVersion(5, 19);
    let version = kernel::version();
    if version < OVERLAY {
        fail!("the kernel's overlay takes such layers from Linux {OVERLAY} on, this is {version}");
    }
    let idmap = |pid: i32| {
        trial::write_proc(pid, "uid_map", "0 1 1")?;
        trial::write_proc(pid, "gid_map", "0 1 1")?;
        let userns = namespace::user_of(pid).context(|| "cannot open a user namespace")?;
        let tree = mount::copy(rustix::fs::CWD, folder, MountReach::Alone);
        let tree = tree.context(|| folder.display().to_string())?;
        let refusal = || format!("{}: its file system cannot map IDs", folder.display());
        mount::idmap(&tree, &userns).context(refusal)
    };
    trial::run(Namespaces::USER, idmap, || Ok(String::new())).map(drop)
}

/// True if this process may map the IDs of the host's file systems.
pub fn is_allowed() -> bool {
    rustix::process::geteuid().is_root() && userns::in_initial_namespace()
}
