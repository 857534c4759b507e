//! Request for a container: what `run`, `create` and `spec` have in common.

use super::root_source::RootSource;
use crate::error::{Error, Phrase, Result, Setting};
use crate::hint;
use crate::spec::ContainerOptions;
use crate::sys::fd;

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

/// Marks descriptors close-on-exec, except 0 to 2 and the preserved ones: `count` from 3 on, and those of `preserved`.
/// Errors: a preserved descriptor is not open.
pub(super) fn keep_descriptors(count: u32, preserved: &[u32]) -> Result<()> {
    fd::keep_only(count, preserved).map_err(|(number, error)| {
        let setting: Phrase =
            match u32::try_from(number).is_ok_and(|number| preserved.contains(&number)) {
                true => Setting::PreserveFd.into(),
                false => Setting::PreserveFds.with(count),
            };
        Error::from(error)
            .within(format!("descriptor {number}"))
            .within(setting)
            .hint(hint::PRESERVED_DESCRIPTORS)
    })
}
