//! Output of the generator: unit files and links in a folder of systemd (systemd.generator(7)).

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::Path;

use super::Generated;

impl Generated {
    /// Writes all services and their links into `folder`. Errors: the first file that cannot be written; the others are
    /// written.
    pub fn write(&self, folder: &Path) -> io::Result<()> {
        let mut written = Ok(());
        for unit in self.units.values() {
            let text = format!("# Made by usnea's Quadlet generator.\n\n{}", unit.text);
            written = written.and(fs::write(folder.join(&unit.file_name), text));
            for link in &unit.links {
                written = written.and(make_link(&folder.join(&link.path), &link.target));
            }
        }
        written
    }
}

fn make_link(path: &Path, target: &str) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    match symlink(target, path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        answer => answer,
    }
}
