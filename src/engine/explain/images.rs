//! Images that are lower layers of a stack, as commands of a shell.

use std::path::{Path, PathBuf};

use super::ShellScript;
use super::quote::quote;
use crate::layer::{LayerFolder, LowerLayer};
use crate::spec::StorageDriver;

impl ShellScript {
    /// Returns the paths of lower layers, and options of `usnea mount overlay` with the starts of images in their files.
    /// Mounts images for the other drivers.
    pub(super) fn lower_paths(
        &mut self,
        driver: StorageDriver,
        lowers: &[LowerLayer],
    ) -> (Vec<PathBuf>, Vec<String>) {
        if driver != StorageDriver::Fuse {
            return (self.lower_folders(lowers), Vec::new());
        }
        let offset = |(index, lower): (usize, &LowerLayer)| {
            let offset = lower.image().map(|image| image.offset).filter(|offset| *offset > 0)?;
            Some(format!("image_offset={index}:{offset}"))
        };
        let offsets = lowers.iter().enumerate().filter_map(offset).collect();
        (lowers.iter().map(|lower| lower.path().to_owned()).collect(), offsets)
    }

    /// Gives the upper folder the mode of the root of `lower`, whose path in the script is `shown`.
    pub(super) fn root_mode(&mut self, lower: &LowerLayer, shown: &Path, upper: &Path) {
        let mode = match lower {
            // An image without a mount: its file is at the path.
            LowerLayer::Image(image) if image.path == shown => match lower.open() {
                Ok(root) => root.own_stat().map(|stat| format!("{:o}", stat.st_mode & 0o7777)).ok(),
                Err(_) => None,
            },
            _ => Some(format!("--reference={}", quote(&shown.to_string_lossy()))),
        };
        if let Some(mode) = mode {
            self.line(&format!("chmod {mode} {}", quote(&upper.to_string_lossy())));
        }
    }

    /// Mounts images in the folder of the container, and returns the folders of all lower layers.
    fn lower_folders(&mut self, lowers: &[LowerLayer]) -> Vec<PathBuf> {
        let mut folders = Vec::new();
        for (index, lower) in lowers.iter().enumerate() {
            let LowerLayer::Image(image) = lower else {
                folders.push(lower.path().to_owned());
                continue;
            };
            let folder = self.folder.join(format!("image-{index}"));
            let (file, place) =
                (quote(&image.path.to_string_lossy()), quote(&folder.to_string_lossy()));
            let offset = match image.offset {
                0 => String::new(),
                offset => format!(" -o offset={offset}"),
            };
            self.line(&format!("mkdir -p {place}"));
            self.line(&format!("usnea mount squashfs{offset} {file} {place}"));
            folders.push(folder);
        }
        folders
    }
}
