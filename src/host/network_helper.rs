//! Helper programs that give a container's own network its uplink: their paths and versions, and the pasta that can be
//! trusted.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::{Deserialize, Serialize};

use super::distribution::Package;
use super::{program, routes, trial};

/// Helper program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NetworkHelper {
    /// passt.top
    Pasta,
    /// github.com/rootless-containers/slirp4netns
    Slirp4netns,
}

/// First release, as a date, whose pasta is trusted more than slirp4netns. The pasta of Debian 12 (2023_03_09) sends
/// bytes twice, and no end, where the other side closes at once.
const MATURE: u32 = 20_240_220;

/// Version of a helper that succeeds with an empty answer.
const SILENT: &str = "a version that it does not tell";

impl NetworkHelper {
    /// All helpers, the better first.
    pub const ALL: [Self; 2] = [Self::Pasta, Self::Slirp4netns];

    /// Returns the program's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pasta => "pasta",
            Self::Slirp4netns => "slirp4netns",
        }
    }

    /// Returns the package that contains the program.
    pub fn package(self) -> Package {
        match self {
            Self::Pasta => Package::Passt,
            Self::Slirp4netns => Package::Slirp4netns,
        }
    }

    /// Returns the program's path, if installed.
    pub fn find(self) -> Option<PathBuf> {
        let can_be_run = |path: &Path| {
            path.is_file() && rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok()
        };
        program::find(self.name(), can_be_run)
    }
}

/// Returns the installed helpers, the one to try first at the front; `wanted`: this one alone. `note`: a file that keeps
/// the version of pasta.
pub fn installed(
    wanted: Option<NetworkHelper>,
    note: Option<&Path>,
) -> Vec<(NetworkHelper, PathBuf)> {
    let is_wanted = |program: &NetworkHelper| wanted.is_none_or(|wanted| wanted == *program);
    let all = NetworkHelper::ALL.into_iter().filter(is_wanted);
    let mut here: Vec<_> = all.filter_map(|one| Some((one, one.find()?))).collect();
    // pasta fails on a host without a default route, or (from 2024_10_30 on) takes addresses of its own.
    if let [(NetworkHelper::Pasta, pasta), _] = &here[..]
        && !(routes::has_default() && is_mature(&noted_version(pasta, note)))
    {
        here.reverse();
    }
    here
}

/// Returns the [`version`] of a program that is asked again when its file has changed: asking takes milliseconds, as
/// long as a launch.
fn noted_version(path: &Path, note: Option<&Path>) -> String {
    let identity = path.metadata().ok().map(|file| {
        let changed = format!("{}.{:09}", file.mtime(), file.mtime_nsec());
        format!("{} {} {} {} {changed}\n", path.display(), file.dev(), file.ino(), file.size())
    });
    let Some((note, identity)) = note.zip(identity) else { return version(path) };
    let noted = std::fs::read_to_string(note).unwrap_or_default();
    // The line end comes last: a note that another process is writing has none.
    let noted = noted.strip_prefix(&identity).and_then(|rest| rest.strip_suffix('\n'));
    if let Some(version) = noted {
        return version.to_owned();
    }
    match ask_version(path) {
        Ok(version) => {
            if let Err(error) = std::fs::write(note, format!("{identity}{version}\n")) {
                log::debug!("{}: {error}", note.display());
            }
            version
        }
        Err(why) => why,
    }
}

/// Returns the version of the program at `path`, or the reason why the version is unknown.
pub fn version(path: &Path) -> String {
    ask_version(path).unwrap_or_else(|why| why)
}

fn ask_version(path: &Path) -> Result<String, String> {
    let answer = program::ask(Command::new(path).arg("--version"), trial::PATIENCE);
    match answer {
        // Debian 13's pasta, and all since, lose at their exit the text that they write to a pipe; older ones answer.
        Ok(answer) if answer.status.success() && answer.output.is_empty() => Ok(SILENT.to_owned()),
        Ok(answer) if answer.status.success() => {
            Ok(version_in(&answer.output).unwrap_or("unknown version").to_owned())
        }
        Ok(_) => Err("fails when asked for its version".into()),
        Err(error) => Err(format!("cannot be run: {}", crate::error::Error::from(error))),
    }
}

/// Finds the first word with a digit: `pasta 0.0~git20230309.7c7625d-1`, `slirp4netns version 1.2.0`.
fn version_in(output: &str) -> Option<&str> {
    let mut words = output.lines().next()?.split_whitespace().skip(1);
    words.find(|word| word.starts_with(|letter: char| letter.is_ascii_digit()))
}

/// True if the pasta of this version is of February 2024 or later.
pub fn is_mature(version: &str) -> bool {
    version == SILENT || released(version).is_some_and(|date| date >= MATURE)
}

/// Returns the date in `2025_05_03.587980c` or `0.0~git20230309.7c7625d-1` as one number.
fn released(version: &str) -> Option<u32> {
    let version = version.replace('_', "");
    let groups = version.split(|letter: char| !letter.is_ascii_digit());
    let mut dates = groups.filter(|digits| digits.len() == 8 && digits.starts_with("20"));
    dates.next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_what_the_programs_print() {
        for (output, version, is_new) in [
            ("pasta 2025_05_03.587980c\nCopyright\n", "2025_05_03.587980c", true),
            ("pasta 0.0~git20230309.7c7625d-1\nCopyright\n", "0.0~git20230309.7c7625d-1", false),
            (
                "pasta 0^20240806.gee36266-2.fc40.x86_64\n",
                "0^20240806.gee36266-2.fc40.x86_64",
                true,
            ),
            ("slirp4netns version 1.2.0\ncommit: x\n", "1.2.0", false),
        ] {
            assert_eq!(version_in(output), Some(version));
            assert_eq!(is_mature(version), is_new, "{version}");
        }
        assert_eq!(version_in(""), None);
        assert!(!is_mature("unknown version"));
    }

    #[test]
    fn a_program_is_asked_again_when_its_file_has_changed() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let (path, note) = (folder.path().join("pasta"), folder.path().join("note"));
        let install = |script: &str| {
            std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
            std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
        };
        let version = || noted_version(&path, Some(&note));
        install("echo pasta 2024_02_20.1");
        assert_eq!((version(), version()), ("2024_02_20.1".into(), "2024_02_20.1".into()));
        let text = std::fs::read_to_string(&note).unwrap();
        std::fs::write(&note, text.replace("20.1", "20.2")).unwrap();
        assert_eq!(version(), "2024_02_20.2", "the note counts");
        std::fs::write(&note, text.trim_end()).unwrap();
        assert_eq!(version(), "2024_02_20.1", "but not half of one");
        install("echo pasta 2025_05_03.12");
        assert_eq!(version(), "2025_05_03.12");
        install("echo nothing here; exit 1");
        assert!(version().contains("fails"));
        assert!(!std::fs::read_to_string(&note).unwrap().contains("fails"));
    }

    #[test]
    fn a_program_that_tells_a_pipe_nothing_is_a_new_one() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let program = |name: &str, script: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
            std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
            version(&path)
        };
        for (script, is_new) in [
            ("exit 0", true),
            ("exit 1", false),
            ("echo pasta of nobody knows when", false),
            ("echo pasta 2025_05_03.587980c", true),
            ("echo pasta 0.0~git20230309.7c7625d-1", false),
        ] {
            assert_eq!(is_mature(&program("pasta", script)), is_new, "{script}");
        }
    }
}
