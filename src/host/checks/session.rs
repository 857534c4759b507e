//! The session of the user: where the state of running containers lies, and whether they outlive a logout.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use super::is_real_root;
use crate::error::{Context, Error, Result};
use crate::fail;
use crate::host::distribution::Package;
use crate::host::finding::Finding;
use crate::host::hint::Hint;
use crate::host::{self, account, cgroup};

pub(super) fn all() -> Vec<Finding> {
    vec![runtime_folder(), session_bus(), linger()]
}

fn runtime_folder() -> Finding {
    let name = "XDG_RUNTIME_DIR";
    match checked_runtime_folder() {
        Ok(path) => Finding::ok(name, format!("{}, yours alone", path.display())),
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

fn session_bus() -> Finding {
    let name = "session bus";
    let (found, works) = match bus_address() {
        None => (
            "no address: neither DBUS_SESSION_BUS_ADDRESS nor a runtime folder is set".to_owned(),
            false,
        ),
        Some(address) => match connect(&address) {
            Ok(()) => (format!("{address} answers"), true),
            Err(error) => (format!("{address}: {error}"), false),
        },
    };
    if works {
        return Finding::ok(name, found);
    }
    // Who has a cgroup already need not ask for one.
    if is_real_root() || cgroup::own().is_some_and(|own| own.writable) {
        return Finding::ok(name, format!("{found}; not needed, your cgroup is delegated"));
    }
    if !host::systemd_runs() {
        return Finding::ok(name, format!("{found}; no systemd here to ask for anything"));
    }
    Finding::degraded(name, found)
        .costs("systemd cannot be asked for a cgroup: no limits")
        .fix(Hint::Install(Package::DbusUserSession).to_string())
}

fn bus_address() -> Option<String> {
    let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    variable("DBUS_SESSION_BUS_ADDRESS")
        .or_else(|| variable("XDG_RUNTIME_DIR").map(|folder| format!("unix:path={folder}/bus")))
}

/// Connects without waiting: a bus whose queue is full is as good as none.
fn connect(address: &str) -> Result<()> {
    let address = socket_address(address)?;
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    Ok(rustix::net::connect(&socket, &address)?)
}

/// The D-Bus specification, "Server Addresses": several, separated by semicolons; the first that is a unix socket.
fn socket_address(address: &str) -> Result<SocketAddrUnix> {
    let of_unix = |address: &str| Some(address.strip_prefix("unix:")?.to_owned());
    let Some(options) = address.split(';').find_map(of_unix) else {
        fail!("not a unix socket");
    };
    let value = |key: &str| options.split(',').find_map(|option| option.strip_prefix(key));
    if let Some(path) = value("path=") {
        return Ok(SocketAddrUnix::new(Path::new(path))?);
    }
    match value("abstract=") {
        Some(name) => Ok(SocketAddrUnix::new_abstract_name(name.as_bytes())?),
        None => fail!("neither a path nor an abstract name"),
    }
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
    if Path::new("/var/lib/systemd/linger").join(&user).exists() {
        return Finding::ok(name, format!("on for {user}: containers survive a logout"));
    }
    Finding::degraded(name, format!("off for {user}"))
        .costs(
            "detached containers may be ended when you log out, and do not start with the machine",
        )
        .fix("loginctl enable-linger".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_buses_are_read() {
        for right in [
            "unix:path=/run/user/1/bus",
            "unix:abstract=/tmp/x,guid=1",
            "tcp:host=x;unix:path=/a,guid=2",
        ] {
            assert!(socket_address(right).is_ok(), "{right}");
        }
        for wrong in ["", "tcp:host=x", "unix:tmpdir=/tmp"] {
            assert!(socket_address(wrong).is_err(), "{wrong}");
        }
    }
}
