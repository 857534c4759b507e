//! `--storage-driver`, and how config.json says it.

use crate::override_stat::Records;
use crate::whiteout::Whiteouts;

/// Who stacks the layers of a root.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum StorageDriver {
    /// The kernel's overlay.
    #[default]
    Overlay,
    /// usnea's own overlay, by FUSE.
    Fuse,
    /// Nobody: the layers are copied.
    Copy,
}

/// The type of a mount that our own FUSE overlay makes, as mount(8) has it.
pub const FUSE: &str = "fuse.usnea";
/// The type of a mount of layers that are copied into the writable one.
pub const COPIED: &str = "copy.usnea";

impl StorageDriver {
    /// As it is asked for.
    pub fn name(self) -> &'static str {
        match self {
            Self::Overlay => "overlay",
            Self::Fuse => "fuse",
            Self::Copy => "copy",
        }
    }

    /// Whose mounts are of this type.
    pub fn of_mount_type(kind: &str) -> Option<Self> {
        [Self::Overlay, Self::Fuse, Self::Copy].into_iter().find(|one| one.mount_type() == kind)
    }

    /// The type of its mounts.
    pub fn mount_type(self) -> &'static str {
        match self {
            Self::Overlay => "overlay",
            Self::Fuse => FUSE,
            Self::Copy => COPIED,
        }
    }
}

/// How a root's layers are stacked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stacking {
    /// By whom.
    pub driver: StorageDriver,
    /// IDs of the layers are those inside, whatever the container's map. Under the kernel's overlay, what the root of the
    /// host alone can have.
    pub idmapped: bool,
    /// Where the layers' owners are kept.
    pub records: Records,
    /// What names that begin with `.wh.` are in the layers that are only read: the kernel's overlay cannot be told.
    pub whiteouts: Whiteouts,
    /// The layers that are only read are in a store of another user, who may put links in their places at any time.
    pub is_foreign: bool,
}

/// Option of a mount of layers ([`Stacking::idmapped`]), and of a bind mount.
pub const IDMAP: &str = "idmap";
/// Option of a mount of layers: [`Records::InLowers`].
pub const RECORDED_LOWERS: &str = "recorded_lowers";
/// Option of a mount of layers: [`Whiteouts::Names`].
pub const WHITEOUT_NAMES: &str = "whiteout_names";
/// Option of a mount of layers ([`Stacking::is_foreign`]).
pub const FOREIGN_LOWERS: &str = "foreign_lowers";

impl Stacking {
    /// The options of the mount beside its layers.
    pub(super) fn options(self) -> impl Iterator<Item = &'static str> {
        let kernel = (self.driver == StorageDriver::Overlay).then_some("userxattr");
        let idmapped = self.idmapped.then_some(IDMAP);
        let recorded = (self.records == Records::InLowers).then_some(RECORDED_LOWERS);
        let names = (self.whiteouts == Whiteouts::Names).then_some(WHITEOUT_NAMES);
        let foreign = self.is_foreign.then_some(FOREIGN_LOWERS);
        kernel.into_iter().chain(idmapped).chain(recorded).chain(names).chain(foreign)
    }
}
