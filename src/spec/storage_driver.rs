//! `--storage-driver`, and its encoding in config.json.

use std::path::PathBuf;

use oci_spec::runtime::Mount;

use crate::layer::LowerLayer;
use crate::layer::override_stat::Records;
use crate::layer::squashfs::{FileIdentity, ImageFile};
use crate::layer::whiteout::Whiteouts;

/// Storage driver: stacks the layers of a root.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum StorageDriver {
    /// The kernel's overlay.
    #[default]
    Overlay,
    /// usnea's own overlay, by FUSE.
    Fuse,
    /// Layers are copied.
    Copy,
}

/// Mount type of usnea's own FUSE overlay, as shown by mount(8).
pub const FUSE: &str = "fuse.usnea";
/// Mount type of layers that are copied into the writable one.
pub const COPIED: &str = "copy.usnea";
/// Flag of the kernel's overlay: its marks are attributes that users may write.
const USERXATTR: &str = "userxattr";
/// Overlay flag for a disposable upper layer: no sync to the disk, and no second mount.
pub const VOLATILE: &str = "volatile";

impl StorageDriver {
    /// Name of the driver on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Overlay => "overlay",
            Self::Fuse => "fuse",
            Self::Copy => "copy",
        }
    }

    /// Returns the driver whose mounts have this type.
    pub fn of_mount_type(kind: &str) -> Option<Self> {
        [Self::Overlay, Self::Fuse, Self::Copy].into_iter().find(|one| one.mount_type() == kind)
    }

    /// Type of the driver's mounts.
    pub fn mount_type(self) -> &'static str {
        match self {
            Self::Overlay => "overlay",
            Self::Fuse => FUSE,
            Self::Copy => COPIED,
        }
    }
}

/// Stacking of a root's layers: driver and properties of the layers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stacking {
    /// Storage driver.
    pub driver: StorageDriver,
    /// True if the layers' IDs are those inside, whatever the container's map. With the kernel's overlay, only the
    /// host's root can have this.
    pub idmapped: bool,
    /// Place where the layers' owners are recorded.
    pub records: Records,
    /// Meaning of names that begin with `.wh.` in the read-only layers: the kernel's overlay has no such setting.
    pub whiteouts: Whiteouts,
    /// True if the read-only layers are in another user's store: that user may replace them by links at any time.
    pub is_foreign: bool,
    /// Number of read-only layers, from the topmost on, whose owners are not in records.
    pub real_lowers: usize,
    /// Owner of the writable layer.
    pub upper: UpperOwner,
}

/// Owner of a writable layer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UpperOwner {
    /// The container: the layer may become a copy of the whole root.
    #[default]
    Container,
    /// The user, who uses it above several images (`--overlay`): the layer has changes alone.
    User,
}

/// Option of a mount of layers ([`Stacking::idmapped`]), and of a bind mount.
pub const IDMAP: &str = "idmap";
/// Option of a mount of layers: [`Records::InLowers`].
pub const RECORDED_LOWERS: &str = "recorded_lowers";
/// Option of a mount of layers: [`Whiteouts::Names`].
const WHITEOUT_NAMES: &str = "whiteout_names";
/// Option of a mount of layers ([`Stacking::is_foreign`]).
const FOREIGN_LOWERS: &str = "foreign_lowers";
/// Option of a mount of layers: [`Stacking::real_lowers`].
const REAL_LOWERS: &str = "real_lowers";
/// Option of a mount of layers: [`UpperOwner::User`].
const USERS_UPPER: &str = "users_upper";

/// Replaces the driver of a mount of layers, and its flags, by those of the kernel's overlay: mounts of the same layers
/// are then equal whichever driver was chosen for them.
pub fn forget_driver(mount: &mut Mount) {
    if !matches!(mount.typ().as_deref(), Some("overlay" | FUSE | COPIED)) {
        return;
    }
    let is_flag = |option: &String| option == USERXATTR || option == VOLATILE;
    let kept = mount.options().iter().flatten().filter(|option| !is_flag(option));
    let kept = kept.cloned().collect();
    mount.set_typ(Some("overlay".to_owned())).set_options(Some(kept));
}

impl Stacking {
    /// Mount options beside those for the layers.
    pub(super) fn options(self) -> impl Iterator<Item = String> {
        let kernel = (self.driver == StorageDriver::Overlay).then_some(USERXATTR);
        let idmapped = self.idmapped.then_some(IDMAP);
        let recorded = (self.records == Records::InLowers).then_some(RECORDED_LOWERS);
        let names = (self.whiteouts == Whiteouts::Names).then_some(WHITEOUT_NAMES);
        let foreign = self.is_foreign.then_some(FOREIGN_LOWERS);
        let users = (self.upper == UpperOwner::User).then_some(USERS_UPPER);
        let real = (self.real_lowers > 0).then(|| format!("{REAL_LOWERS}={}", self.real_lowers));
        let words = [kernel, idmapped, recorded, names, foreign, users];
        words.into_iter().flatten().map(str::to_owned).chain(real)
    }

    /// Takes the options of a mount that [`Stacking::options`] writes, `xattr_permissions` of fuse-overlayfs, and `idmap`
    /// of the OCI runtime spec: a mount with the container's map.
    pub fn take(driver: StorageDriver, options: &mut Vec<(String, Option<String>)>) -> Self {
        let mut takes = |name: &str, value: Option<&str>| {
            let before = options.len();
            options.retain(|option| (option.0.as_str(), option.1.as_deref()) != (name, value));
            options.len() < before
        };
        let is_ours = driver == StorageDriver::Fuse;
        let records = match () {
            () if is_ours && takes("xattr_permissions", Some("2")) => Records::Everywhere,
            () if takes(RECORDED_LOWERS, None) => Records::InLowers,
            () => Records::Nowhere,
        };
        let names = takes(WHITEOUT_NAMES, None);
        let users = takes(USERS_UPPER, None);
        let idmapped = takes(IDMAP, None);
        let is_foreign = takes(FOREIGN_LOWERS, None);
        let real = options.iter().position(|(name, _)| name == REAL_LOWERS);
        let real = real.and_then(|index| options.remove(index).1);
        Self {
            driver,
            idmapped,
            records,
            whiteouts: if names { Whiteouts::Names } else { Whiteouts::Overlay },
            is_foreign,
            real_lowers: real.and_then(|number| number.parse().ok()).unwrap_or(0),
            upper: if users { UpperOwner::User } else { UpperOwner::Container },
        }
    }
}

/// True if the writable layer of a mount belongs to the user ([`UpperOwner::User`]).
pub(super) fn has_users_upper(mount: &Mount) -> bool {
    mount.options().iter().flatten().any(|option| option == USERS_UPPER)
}

/// Option of a mount of layers: index of a lower layer whose path is that of a file with an image, and the
/// image's offset and identity.
pub const IMAGE_LOWER: &str = "image_lower";

/// Mount options that tell which lower layers are images in files.
pub(super) fn image_options(lowers: &[LowerLayer]) -> Vec<String> {
    let option = |(index, lower): (usize, &LowerLayer)| {
        let ImageFile { offset, identity, .. } = lower.image()?;
        let identity = identity.map(|identity| format!(":{identity}")).unwrap_or_default();
        Some(format!("{IMAGE_LOWER}={index}:{offset}{identity}"))
    };
    lowers.iter().enumerate().filter_map(option).collect()
}

/// Returns the layers of a mount: paths of its `lowerdir`, and the values of its options [`IMAGE_LOWER`]. `None`: a
/// malformed value.
pub fn lower_layers<'a>(
    paths: Vec<PathBuf>,
    images: impl IntoIterator<Item = &'a str>,
) -> Option<Vec<LowerLayer>> {
    let mut lowers: Vec<LowerLayer> = paths.into_iter().map(LowerLayer::Folder).collect();
    for image in images {
        let mut words = image.splitn(3, ':');
        let (index, offset) = (words.next()?.parse::<usize>().ok()?, words.next()?.parse().ok()?);
        let identity = words.next().map(str::parse::<FileIdentity>).transpose().ok()?;
        let lower = lowers.get_mut(index)?;
        let path = lower.path().to_owned();
        *lower = LowerLayer::Image(ImageFile { identity, ..ImageFile::new(path, offset) });
    }
    Some(lowers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_of_the_same_layers_are_equal_without_their_drivers() {
        let made = |kind: &str, flags: &[&str]| {
            let options = ["lowerdir=/l", "upperdir=/u"].iter().chain(flags);
            let options = options.map(|option| (*option).to_owned()).collect::<Vec<_>>();
            let mut mount = Mount::default();
            mount.set_typ(Some(kind.to_owned())).set_options(Some(options));
            forget_driver(&mut mount);
            mount
        };
        let overlay = made("overlay", &[USERXATTR, VOLATILE]);
        assert_eq!(overlay, made(FUSE, &[VOLATILE]));
        assert_eq!(overlay, made(COPIED, &[]));
        assert_ne!(overlay, made(FUSE, &["lowerdir=/other"]));
        assert_ne!(overlay, made("tmpfs", &[]));
    }

    #[test]
    fn lower_layers_survive_their_options() {
        let identity = FileIdentity { device: 1, inode: 2, size: 3, seconds: -4, nanoseconds: 5 };
        let image = ImageFile { identity: Some(identity), ..ImageFile::new("/a:b", 40_960) };
        let lowers = [
            LowerLayer::Folder("/top".into()),
            LowerLayer::Image(image),
            LowerLayer::Image(ImageFile::new("/plain", 0)),
        ];
        let options = image_options(&lowers);
        assert_eq!(options, ["image_lower=1:40960:1:2:3:-4.5", "image_lower=2:0"]);
        let values = options.iter().filter_map(|option| option.strip_prefix("image_lower="));
        let paths = lowers.iter().map(|lower| lower.path().to_owned()).collect();
        assert_eq!(lower_layers(paths, values).unwrap(), lowers);
    }

    #[test]
    fn a_stacking_survives_its_options() {
        let all = Stacking {
            driver: StorageDriver::Fuse,
            idmapped: true,
            records: Records::InLowers,
            whiteouts: Whiteouts::Names,
            is_foreign: true,
            real_lowers: 2,
            upper: UpperOwner::User,
        };
        for stacking in [all, Stacking::default()] {
            let option = |text: String| match text.split_once('=') {
                Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
                None => (text, None),
            };
            let mut options: Vec<_> = stacking.options().map(option).collect();
            assert_eq!(Stacking::take(stacking.driver, &mut options), stacking);
            options.retain(|(name, _)| name != USERXATTR);
            assert_eq!(options, []);
        }
    }

    #[test]
    fn malformed_images_among_lower_layers_are_none() {
        for value in ["", "0", "1:0", "x:0", "0:x", "0:-1", "0:0:1:2:3", "0:0:"] {
            assert_eq!(lower_layers(vec!["/only".into()], [value]), None, "{value}");
        }
    }
}
