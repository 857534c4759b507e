//! Request for a container: what `run`, `create` and `spec` have in common.

use super::root_source::RootSource;
use crate::error::{Context, Error, Result};
use crate::spec::Options;
use crate::sys::fd;

/// Container to make: its root, its command and the settings of its spec.
#[derive(Debug)]
pub struct ContainerRequest {
    /// Source of the root: IMAGE.
    pub source: RootSource,
    /// Command and its arguments: COMMAND [ARG...].
    pub command: Vec<String>,
    /// Settings of the spec.
    pub options: Options,
}

/// Marks all descriptors but 0 to 2 and the preserved ones close-on-exec: `count` from 3 on, and those of `preserved`.
/// Errors: a preserved descriptor is not open.
pub(super) fn keep_descriptors(count: u32, preserved: &[u32]) -> Result<()> {
    fd::keep_only(count, preserved).map_err(|(number, error)| {
        let flag = match u32::try_from(number).is_ok_and(|number| preserved.contains(&number)) {
            true => "--preserve-fd".to_owned(),
            false => format!("--preserve-fds {count}"),
        };
        let error = Err::<(), _>(error).context(|| format!("{flag}: descriptor {number}"));
        let error: Error = error.unwrap_err();
        error.hint(
            "--preserve-fds N hands on the descriptors 3 to N+2, --preserve-fd those that it names: all must be open",
        )
    })
}
