//! Request for a container: what `run`, `create` and `spec` have in common.

use super::root_source::RootSource;
use crate::spec::ContainerOptions;

/// Container to create: its root, its command and the settings of its spec.
#[derive(Debug)]
pub struct ContainerRequest {
    /// Source of the root: IMAGE.
    pub source: RootSource,
    /// Command and its arguments: COMMAND [ARG...].
    pub command: Vec<String>,
    /// Settings of the spec.
    pub options: ContainerOptions,
}
