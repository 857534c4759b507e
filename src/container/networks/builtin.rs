//! Built-in networks, which have no definition, by docker's names.

use crate::digest::Digest;
use crate::net::Mode;

/// Network without a definition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BuiltinNetwork {
    /// Separate network namespace of each container, connected by a helper.
    Bridge,
    /// The host's network.
    Host,
    /// No network but the loopback interface.
    None,
}

impl BuiltinNetwork {
    /// All built-in networks, by name.
    pub const ALL: [Self; 3] = [Self::Bridge, Self::Host, Self::None];

    /// docker's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bridge => "bridge",
            Self::Host => "host",
            Self::None => "none",
        }
    }

    /// docker's name of the driver.
    pub fn driver(self) -> &'static str {
        match self {
            Self::Bridge => "bridge",
            Self::Host => "host",
            Self::None => "null",
        }
    }

    /// ID: the same in each store.
    pub fn id(self) -> String {
        Digest::of(format!("built-in network {}", self.name()).as_bytes()).hex().to_owned()
    }

    /// True if containers with this mode are in the network.
    pub fn is_mode(self, mode: Mode) -> bool {
        match self {
            Self::Bridge => mode == Mode::Helper,
            Self::Host => mode == Mode::Host,
            Self::None => mode == Mode::None,
        }
    }
}
