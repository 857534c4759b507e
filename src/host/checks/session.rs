//! Checks of the user's session: the folder for the state of running containers, and their survival of a logout.

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use super::is_real_root;
use crate::error::{Context, Error, Result};
use crate::fail;
use crate::host::finding::Finding;
use crate::host::hint::Hint;
use crate::host::{self, account, cgroup, lifetime};

pub(super) fn all() -> Vec<Finding> {
    vec![runtime_folder(), user_manager(), linger()]
}

fn runtime_folder() -> Finding {
    let name = "XDG_RUNTIME_DIR";
    match checked_runtime_folder() {
        Ok(path) => Finding::ok(name, format!("{}, closed to others", path.display())),
        Err(error) => Finding::degraded(name, error.to_string())
            .costs(
                "the state of running containers lies in the store, slower if that is a network's",
            )
            .fix(Hint::RuntimeFolder.to_string()),
    }
}

fn checked_runtime_folder() -> Result<PathBuf> {
    let path = std::env::var_os("XDG_RUNTIME_DIR").filter(|path| !path.is_empty());
    let path = PathBuf::from(path.ok_or_else(|| Error::new("not set"))?);
    let shown = path.display();
    let stat = std::fs::symlink_metadata(&path).context(|| format!("{shown}"))?;
    let me = rustix::process::geteuid().as_raw();
    if !stat.is_dir() {
        fail!("{shown} is not a folder");
    }
    if stat.uid() != me {
        fail!("{shown} belongs to user {}, not to you ({me})", stat.uid());
    }
    if stat.mode() & 0o777 != 0o700 {
        fail!("{shown} has mode {:03o}, not 700", stat.mode() & 0o777);
    }
    Ok(path)
}

fn user_manager() -> Finding {
    let name = "systemd user manager";
    if let Some(socket) = cgroup::user_manager() {
        return Finding::ok(name, format!("answers at {}", socket.display()));
    }
    let found = "does not answer";
    // A process whose cgroup is delegated already needs no manager.
    if is_real_root() || cgroup::own().is_some_and(|own| own.writable) {
        return Finding::ok(name, format!("{found}; not needed, your cgroup is delegated"));
    }
    if !host::systemd_runs() {
        return Finding::ok(name, format!("{found}; systemd does not run on this machine"));
    }
    Finding::degraded(name, found)
        .costs("no cgroup can be requested: no limits, no pause")
        .fix(Hint::NoUserManager.to_string())
}

fn linger() -> Finding {
    let name = "linger";
    let user = account::own_name();
    if !host::systemd_runs() {
        return Finding::ok(name, "no systemd here that would end processes at logout");
    }
    if is_real_root() {
        return Finding::ok(name, "root's processes survive a logout");
    }
    if lifetime::lingers() {
        return Finding::ok(name, format!("on for {user}: containers survive a logout"));
    }
    Finding::degraded(name, format!("off for {user}"))
        .costs(
            "detached containers may be ended when you log out, and do not start with the machine",
        )
        .fix("loginctl enable-linger".to_owned())
}
