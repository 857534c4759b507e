//! podman's generator, which reads the same files. Two generators that write one unit file would race.

use std::fs;
use std::path::{Path, PathBuf};

use super::service::UnitScope;

/// Returns the path of podman's generator of `scope`, if systemd runs it.
pub fn active(scope: UnitScope) -> Option<PathBuf> {
    // systemd.generator(7), highest priority first; the last one is where /lib is no link to /usr/lib.
    let folders = [
        "/run/systemd",
        "/etc/systemd",
        "/usr/local/lib/systemd",
        "/usr/lib/systemd",
        "/lib/systemd",
    ];
    let (kind, name) = match scope {
        UnitScope::User => ("user-generators", "podman-user-generator"),
        UnitScope::System => ("system-generators", "podman-system-generator"),
    };
    active_in(folders.iter().map(|folder| Path::new(folder).join(kind)), name)
}

/// The first entry of this name counts: a link to /dev/null or an empty file masks those in later `folders`.
fn active_in(folders: impl Iterator<Item = PathBuf>, name: &str) -> Option<PathBuf> {
    let mut paths = folders.map(|folder| folder.join(name));
    let first = paths.find(|path| fs::symlink_metadata(path).is_ok())?;
    let file = fs::metadata(&first).ok()?;
    (file.is_file() && file.len() > 0).then_some(first)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_generator_counts_unless_a_folder_of_higher_priority_masks_it() {
        let place = tempfile::tempdir().unwrap();
        let folder = |name: &str| {
            let path = place.path().join(name);
            fs::create_dir_all(&path).unwrap();
            path
        };
        let active = |folders: [&str; 2]| active_in(folders.map(folder).into_iter(), "generator");
        assert_eq!(active(["etc", "usr"]), None);
        fs::write(folder("usr").join("generator"), "program").unwrap();
        assert_eq!(active(["etc", "usr"]), Some(place.path().join("usr/generator")));
        symlink("/dev/null", folder("etc").join("generator")).unwrap();
        assert_eq!(active(["etc", "usr"]), None);
        fs::write(folder("run").join("generator"), "").unwrap();
        assert_eq!(active(["run", "usr"]), None);
    }
}
