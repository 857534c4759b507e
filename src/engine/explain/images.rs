//! Images that are lower layers of a stack, as commands of a shell.

use std::path::PathBuf;

use super::ShellScript;
use super::quote::quote;
use crate::layer::{LayerFolder, LowerLayer};

impl ShellScript {
    /// Mounts images in the folder of the container, and returns the folders of all lower layers.
    pub(super) fn lower_folders(&mut self, lowers: &[LowerLayer]) -> Vec<PathBuf> {
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

/// Returns the paths of all lower layers as they are, and the options of `usnea mount overlay` with the starts of images
/// in their files.
pub(super) fn as_layers(lowers: &[LowerLayer]) -> (Vec<PathBuf>, Vec<String>) {
    let offset = |(index, lower): (usize, &LowerLayer)| {
        let offset = lower.image().map(|image| image.offset).filter(|offset| *offset > 0)?;
        Some(format!("image_offset={index}:{offset}"))
    };
    let offsets = lowers.iter().enumerate().filter_map(offset).collect();
    (lowers.iter().map(|lower| lower.path().to_owned()).collect(), offsets)
}

/// Returns the mode of a layer's root folder, for chmod(1); `None` where it cannot be read.
pub(super) fn root_mode(lower: &LowerLayer) -> Option<String> {
    let stat = lower.open().ok()?.own_stat().ok()?;
    Some(format!("{:o}", stat.st_mode & 0o7777))
}
