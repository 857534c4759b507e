//! Points of a container's lifecycle at which hooks run (runtime-spec, config.md, "POSIX-platform Hooks").

use serde::Deserialize;

/// Point of a container's lifecycle at which hooks run.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub enum HookPoint {
    /// Namespaces exist (deprecated).
    Prestart,
    /// Namespaces exist.
    CreateRuntime,
    /// Mounts are made, and the host's files are visible.
    CreateContainer,
    /// Before the command, in the container.
    StartContainer,
    /// The command runs.
    Poststart,
    /// The command has ended.
    Poststop,
}

impl HookPoint {
    /// All points, in their order.
    pub const ALL: [Self; 6] = [
        Self::Prestart,
        Self::CreateRuntime,
        Self::CreateContainer,
        Self::StartContainer,
        Self::Poststart,
        Self::Poststop,
    ];

    /// Name in config.json.
    pub fn name(self) -> &'static str {
        match self {
            Self::Prestart => "prestart",
            Self::CreateRuntime => "createRuntime",
            Self::CreateContainer => "createContainer",
            Self::StartContainer => "startContainer",
            Self::Poststart => "poststart",
            Self::Poststop => "poststop",
        }
    }
}
