//! Rules to read and write layers.

use super::owner::ShownIds;
use crate::layer::override_stat::Records;
use crate::layer::whiteout::Whiteouts;

/// Rules to read and write layers.
#[derive(Clone, Debug, Default)]
pub struct OverlayRules {
    /// Map of IDs on disk to the shown ones.
    pub ids: ShownIds,
    /// Layers where `user.containers.override_stat` is the real owner and mode.
    pub records: Records,
    /// Number of lower layers, from the topmost on, with real owners in spite of [`Records::InLowers`].
    pub real_lowers: usize,
    /// True in a namespace of one user and one group: they own all files of images, and with [`Records::InLowers`] those of
    /// all lower layers.
    pub has_one_id: bool,
    /// Meaning of names that begin with `.wh.`, in all layers: other tools may have unpacked them.
    pub whiteouts: Whiteouts,
    /// True if the upper layer is disposable: copy-up then does not wait for the disk.
    pub is_disposable: bool,
    /// Largest number of folders open at once.
    pub open_folders: usize,
}
