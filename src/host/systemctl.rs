//! systemctl(1): the manager of the calling user, or for root that of the machine.

use std::process::Command;

use crate::error::{Context, Error, Result};

/// Restarts a unit, and waits until systemd counts it as started. Errors: no manager; the unit does not start.
pub fn restart(unit: &str) -> Result<()> {
    ask(&["restart", unit])?;
    // A unit of type simple may have failed since.
    match ask(&["is-failed", "--quiet", unit]) {
        Ok(()) => Err(Error::new(format!("unit {unit} has failed after its restart"))),
        Err(_) => Ok(()),
    }
}

/// Runs systemctl to its end: systemd itself bounds the time of a start. Errors: a status other than 0, with the message.
fn ask(words: &[&str]) -> Result<()> {
    let mut command = Command::new("systemctl");
    if !rustix::process::geteuid().is_root() {
        command.arg("--user");
    }
    let output = command.args(words).output().context(|| "cannot run systemctl")?;
    if output.status.success() {
        return Ok(());
    }
    let complaint = String::from_utf8_lossy(&output.stderr);
    let complaint = complaint.lines().next().unwrap_or("no message");
    Err(Error::new(format!("systemctl {}: {complaint}", words.join(" "))))
}
