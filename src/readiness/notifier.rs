//! Messages to the service manager about a container.

use std::os::fd::{AsFd, BorrowedFd, RawFd};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::proxy::NotifyProxy;
use super::service_manager::{ServiceManager, address_in_environment};
use crate::error::{Context, Error, Result};
use crate::sys::fd;

/// Sender of READY (`--sdnotify`, with podman's words).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NotifyMode {
    /// The container's processes.
    #[default]
    Container,
    /// The monitor or parent process, when the command runs.
    Conmon,
    /// The monitor, when the container is healthy (`healthy`).
    Healthy,
    /// No process: READY is not sent.
    Ignore,
}

impl NotifyMode {
    /// podman's name of the mode.
    pub fn word(self) -> &'static str {
        match self {
            Self::Container => "container",
            Self::Conmon => "conmon",
            Self::Healthy => "healthy",
            Self::Ignore => "ignore",
        }
    }
}

/// Notification of the service manager that a launch has to make.
#[derive(Clone, Debug)]
pub struct NotifyRequest {
    /// Sender of READY.
    pub mode: NotifyMode,
    /// Folder for the container's socket; not made yet.
    pub folder: PathBuf,
}

impl NotifyRequest {
    /// Request of a launch whose caller was started by a service manager. `None`: there is no manager, or the mode is
    /// `ignore`.
    pub fn of(mode: NotifyMode, folder: impl FnOnce() -> Result<PathBuf>) -> Result<Option<Self>> {
        if mode == NotifyMode::Ignore || address_in_environment().is_none() {
            return Ok(None);
        }
        Ok(Some(Self { mode, folder: folder()? }))
    }

    /// Folder to mount into the container. `None`: the container gets no socket.
    pub fn mounted(&self) -> Option<&PathBuf> {
        (self.mode == NotifyMode::Container).then_some(&self.folder)
    }
}

/// Connection to the service manager while a container runs.
#[derive(Debug)]
pub struct Notifier {
    mode: NotifyMode,
    manager: ServiceManager,
    proxy: Option<NotifyProxy>,
    is_ready: bool,
}

/// Notifier on its way through an exec of this program, whose environment stays the same.
#[derive(Debug, Serialize, Deserialize)]
pub struct NotifierHandover {
    mode: NotifyMode,
    proxy: Option<(RawFd, PathBuf)>,
    is_ready: bool,
}

impl Notifier {
    /// Makes the notifier of a launch, if it has a `request`.
    pub fn of(request: Option<&NotifyRequest>) -> Result<Option<Self>> {
        request.map_or(Ok(None), Self::begin)
    }

    /// Connects to the manager, and makes the container's socket. Errors: no socket can be made there; the manager's
    /// address is invalid.
    fn begin(request: &NotifyRequest) -> Result<Option<Self>> {
        let Some(manager) = manager()? else { return Ok(None) };
        let proxy = request.mounted().map(|folder| NotifyProxy::make(folder)).transpose()?;
        Ok(Some(Self { mode: request.mode, manager, proxy, is_ready: false }))
    }

    /// Tells the manager that the command runs, and that this process is the main process of the service.
    pub fn has_started(&mut self) {
        let main = format!("MAINPID={}\n", std::process::id());
        self.send(main.as_bytes());
        if self.mode == NotifyMode::Conmon {
            self.is_now_ready();
        }
    }

    /// Tells the manager that the container is healthy, if it waits for that.
    pub fn is_healthy(&mut self) {
        if self.mode == NotifyMode::Healthy {
            self.is_now_ready();
        }
    }

    fn is_now_ready(&mut self) {
        if !std::mem::replace(&mut self.is_ready, true) {
            self.send(b"READY=1\n");
        }
    }

    /// Tells the manager that the container is being stopped.
    pub fn is_stopping(&self) {
        self.send(b"STOPPING=1\n");
    }

    /// Tells the manager that a reload begins (Type=notify-reload), if the container does not say so itself.
    pub fn is_reloading(&self) {
        if self.mode != NotifyMode::Container {
            let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
            let micros = now.tv_sec * 1_000_000 + now.tv_nsec / 1000;
            self.send(format!("RELOADING=1\nMONOTONIC_USEC={micros}\n").as_bytes());
        }
    }

    /// Tells the manager that the container has received the request to reload, if the container does not say itself
    /// when it is done.
    pub fn has_reloaded(&self) {
        if self.mode != NotifyMode::Container {
            self.send(b"READY=1\n");
        }
    }

    /// Passes on the messages of the container that have arrived.
    pub fn turn(&mut self) {
        let messages = self.proxy.as_ref().map(NotifyProxy::receive).unwrap_or_default();
        for message in messages {
            let passed = passed_on(&message);
            if !passed.is_empty() {
                self.send(&passed);
            }
        }
    }

    /// Returns the container's socket, to wait for messages.
    pub fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.proxy.as_ref().map(AsFd::as_fd)
    }

    fn send(&self, message: &[u8]) {
        // A manager that is gone must not end the container.
        if let Err(error) = self.manager.send(message) {
            log::warn!("cannot tell the service manager: {error}");
        }
    }

    /// Prepares the notifier for an exec.
    pub fn hand_over(self) -> Result<NotifierHandover> {
        let said = || "cannot hand over the socket for NOTIFY_SOCKET";
        let number = |proxy: NotifyProxy| {
            let (socket, folder) = proxy.into_parts()?;
            fd::hand_over(socket).map(|number| (number, folder))
        };
        let proxy = self.proxy.map(number).transpose().context(said)?;
        Ok(NotifierHandover { mode: self.mode, proxy, is_ready: self.is_ready })
    }

    /// Takes a notifier over after an exec. `None`: the manager's address has gone from the environment.
    pub fn take_over(handover: NotifierHandover) -> Result<Option<Self>> {
        let NotifierHandover { mode, proxy, is_ready } = handover;
        let said = || "the socket for NOTIFY_SOCKET";
        let take = |(number, folder)| {
            Ok::<_, Error>(NotifyProxy::of(fd::take(number).context(said)?, folder))
        };
        let proxy = proxy.map(take).transpose()?;
        let Some(manager) = manager()? else { return Ok(None) };
        Ok(Some(Self { mode, manager, proxy, is_ready }))
    }
}

fn manager() -> Result<Option<ServiceManager>> {
    ServiceManager::of_environment()
        .map_err(|error| Error::invalid(error.to_string()))
        .context(|| "NOTIFY_SOCKET")
}

/// Lines of a container's message that are passed on to the manager. Left out are MAINPID, since the main process is
/// the monitor or parent, whose PID the container does not know; descriptors to store; and a barrier, which has been
/// answered.
fn passed_on(message: &[u8]) -> Vec<u8> {
    const OURS: [&[u8]; 7] = [
        b"MAINPID",
        b"MAINPIDFDID",
        b"FDSTORE",
        b"FDSTOREREMOVE",
        b"FDNAME",
        b"FDPOLL",
        b"BARRIER",
    ];
    let is_passed = |line: &&[u8]| {
        let key = line.split(|byte| *byte == b'=').next().unwrap_or_default();
        !line.is_empty() && line.contains(&b'=') && !OURS.contains(&key)
    };
    let lines = message.split(|byte| *byte == b'\n').filter(is_passed);
    lines.flat_map(|line| line.iter().copied().chain([b'\n'])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_does_not_name_the_main_process() {
        let passed = |text: &str| String::from_utf8(passed_on(text.as_bytes())).unwrap();
        assert_eq!(passed("READY=1\nMAINPID=7\nSTATUS=a=b\n"), "READY=1\nSTATUS=a=b\n");
        assert_eq!(passed("FDSTORE=1\nFDNAME=x"), "");
        assert_eq!(passed("BARRIER=1"), "");
        assert_eq!(passed("nonsense\n\nWATCHDOG=1"), "WATCHDOG=1\n");
        assert_eq!(passed("RELOADING=1\nMONOTONIC_USEC=5"), "RELOADING=1\nMONOTONIC_USEC=5\n");
    }
}
