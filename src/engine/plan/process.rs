//! Attributes of the command's process: limits, user, groups, capabilities, arguments.

use std::ffi::CString;

use oci_spec::runtime::Spec;

use crate::engine::plan::SessionKeyring;
use crate::spec::RUN_INIT;

/// A resource limit.
#[derive(Debug)]
pub struct Limit {
    /// Name as in config.json, such as `RLIMIT_NOFILE`.
    pub name: String,
    /// Resource of setrlimit(2).
    pub resource: nix::sys::resource::Resource,
    /// Soft limit.
    pub soft: u64,
    /// Hard limit.
    pub hard: u64,
}

/// Size of a terminal in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TerminalSize {
    /// Number of lines.
    pub rows: u16,
    /// Number of characters in a line.
    pub columns: u16,
}

/// Label of a security module for the next exec of the process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecurityLabel {
    /// Files below `/proc/PID/attr`: the value is written to the first that exists.
    pub files: &'static [&'static str],
    /// Value to write.
    pub value: String,
    /// JSON path in config.json.
    pub place: &'static str,
}

/// Supplementary groups of the command.
#[derive(Debug, PartialEq, Eq)]
pub enum Groups {
    /// Listed group IDs.
    Set(Vec<u32>),
    /// Groups of the user who runs usnea (`--group-add keep-groups`, or where setgroups(2) is denied).
    Keep,
}

/// User, groups and capabilities of the command.
#[derive(Debug)]
pub struct ProcessCredentials {
    /// User ID in the container.
    pub uid: u32,
    /// Group ID in the container.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Groups,
    /// Bounding set.
    pub bounding: caps::CapsHashSet,
    /// Permitted set.
    pub permitted: caps::CapsHashSet,
    /// Effective set.
    pub effective: caps::CapsHashSet,
    /// Inheritable set.
    pub inheritable: caps::CapsHashSet,
    /// Ambient set.
    pub ambient: caps::CapsHashSet,
    /// Session keyring.
    pub keyring: SessionKeyring,
}

/// Command to execute.
#[derive(Debug)]
pub struct ExecCommand {
    /// `argv`
    pub arguments: Vec<CString>,
    /// `KEY=value`
    pub environment: Vec<CString>,
    /// Process 1 of the container.
    pub reaper: Reaper,
    /// True if the command has a terminal of its own.
    pub terminal: bool,
    /// Device and inode of usnea's own program, which is refused as the command (CVE-2019-5736).
    pub own_program: (u64, u64),
}

/// Process 1 of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reaper {
    /// usnea's reaper, whose child is the command (`--init`).
    Usnea,
    /// The command itself.
    None,
}

impl Reaper {
    /// Reads the annotation of a config.
    pub fn of_config(spec: &Spec) -> Self {
        let annotations = spec.annotations().as_ref();
        match annotations.is_some_and(|all| all.contains_key(RUN_INIT)) {
            true => Self::Usnea,
            false => Self::None,
        }
    }
}
