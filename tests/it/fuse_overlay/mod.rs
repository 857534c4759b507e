//! The FUSE overlay beside the kernel's: the same operations on the same layers must answer the same and leave the same.
//!
//! What mounts runs in a user namespace of its own, which a process with threads cannot make: this program starts itself
//! again under unshare(1), to run one of its ignored tests alone.

mod oracle;
mod sequence;
mod work;

use std::process::Command;

use crate::support::{binary, need};

/// Says to an ignored test that it runs inside.
const INSIDE: &str = "USNEA_TEST_INSIDE";

/// Runs an ignored test of this program as root of a user namespace with its own mounts.
fn inside(test: &str) {
    if !need("unshare") {
        return;
    }
    let itself = std::env::current_exe().expect("this program");
    let output = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount"])
        .arg(itself)
        .args([test, "--exact", "--ignored", "--nocapture", "--test-threads=1"])
        .env(INSIDE, "1")
        .env("USNEA_BIN", binary())
        .output()
        .expect("unshare");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{said}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Whether we are the process that [`inside`] started; an ignored test that is run by hand does nothing.
fn is_inside() -> bool {
    std::env::var_os(INSIDE).is_some()
}
