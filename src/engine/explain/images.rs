//! Images that are lower layers of a stack, as commands of a shell.

use std::path::PathBuf;

use super::ShellScript;
use super::quote::quote;
use crate::layer::LowerLayer;

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
