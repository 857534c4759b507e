//! `--env-file`: docker's format. A line is NAME=VALUE, NAME, empty, or a comment. The value is literal: no quotes, no
//! expansion. NAME alone takes the host's value, if the host has one.
//!
//! A file with a zero byte has the format of `/proc/PID/environ`, which Slurm writes with `CreateEnvFile=null`: entries
//! NAME=VALUE, each ended by a zero byte. Line feeds are part of a value.

use std::io::Read;
use std::path::Path;

use super::env::{EnvChange, host_value};
use super::options::ContainerOptions;
use crate::error::{Context, Error, Result, Setting};
use crate::fail;

/// Size limit of the file in bytes.
const LARGEST: u64 = 1 << 20;

/// Reads the changes of a file, in order. Errors: a malformed line, reported with file and line.
pub(super) fn read(path: &Path) -> Result<Vec<EnvChange>> {
    let failed = || Setting::EnvFile.with(path.display());
    let mut content = Vec::new();
    // Any file, not only a regular one: --env-file <(command) is a pipe.
    std::fs::File::open(path)
        .and_then(|file| file.take(LARGEST + 1).read_to_end(&mut content))
        .context(failed)?;
    if content.len() as u64 > LARGEST {
        return Err(Error::invalid("larger than 1 MiB")).context(failed);
    }
    if content.contains(&0) {
        return parse_entries(&content, path);
    }
    let content = content.strip_prefix("\u{feff}".as_bytes()).unwrap_or(&content);
    let mut changes = Vec::new();
    for (index, line) in content.split(|byte| *byte == b'\n').enumerate() {
        let here = || Setting::EnvFile.with(format!("{}:{}", path.display(), index + 1));
        if let Some(change) = parse_line(line).context(here)? {
            changes.push(change);
        }
    }
    Ok(changes)
}

/// Returns the variables that the options set, in their order: of the files, and then those with a value. Leaves out
/// pipes, which can be read only once.
pub fn given_variables(options: &ContainerOptions) -> Result<Vec<(String, String)>> {
    let mut changes = Vec::new();
    for path in options.env_file.iter().filter(|path| path.is_file()) {
        changes.extend(read(path)?);
    }
    changes.extend(options.env.iter().cloned());
    let set = changes.into_iter().filter_map(|change| match change {
        EnvChange::Set(name, value) => Some((name, value)),
        EnvChange::FromHost(_) | EnvChange::AllFromHost(_) => None,
    });
    Ok(set.collect())
}

fn parse_entries(content: &[u8], path: &Path) -> Result<Vec<EnvChange>> {
    let entries = content.split(|byte| *byte == 0).enumerate();
    let changes = entries.filter(|(_, entry)| !entry.is_empty()).map(|(index, entry)| {
        let here = || Setting::EnvFile.with(format!("{}: entry {}", path.display(), index + 1));
        parse_entry(entry).context(here)
    });
    changes.collect()
}

fn parse_entry(entry: &[u8]) -> Result<EnvChange> {
    let Ok(entry) = std::str::from_utf8(entry) else { fail!(Invalid: "not UTF-8") };
    match entry.split_once('=') {
        Some((name, value)) if !name.is_empty() => {
            Ok(EnvChange::Set(name.to_owned(), value.to_owned()))
        }
        _ => fail!(Invalid: "not NAME=VALUE: '{}'", entry.escape_debug()),
    }
}

fn parse_line(line: &[u8]) -> Result<Option<EnvChange>> {
    let Ok(line) = std::str::from_utf8(line.strip_suffix(b"\r").unwrap_or(line)) else {
        fail!(Invalid: "not UTF-8");
    };
    let line = line.trim_start();
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let (name, value) = match line.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (line.trim_end(), None),
    };
    if name.is_empty() {
        fail!(Invalid: "no variable name in '{line}'");
    }
    if name.contains(char::is_whitespace) {
        fail!(Invalid: "variable '{name}' contains white space");
    }
    let value = match value {
        Some(value) => Some(value.to_owned()),
        // Unlike with --env, a name unknown to the host is skipped (docker).
        None => host_value(name)?,
    };
    Ok(value.map(|value| EnvChange::Set(name.to_owned(), value)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read_text(text: &[u8]) -> Result<Vec<String>> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, text).unwrap();
        let changes = read(&path).map_err(|error| {
            crate::error::Error::new(
                error.to_string().replace(folder.path().to_str().unwrap(), "DIR"),
            )
        })?;
        Ok(changes
            .into_iter()
            .map(|change| match change {
                EnvChange::Set(name, value) => format!("{name}={value}"),
                other => panic!("{other:?}"),
            })
            .collect())
    }

    #[test]
    fn an_env_file_is_read_as_docker_reads_it() {
        let text = "\u{feff}A=1\n# comment\n\n   \n  B = 2 # kept \r\nC=\"quoted\"\nD=\nUSNEA_TEST_UNKNOWN\n#E=1\nA=3";
        // "B " has white space before the sign: docker refuses such a line.
        assert!(read_text(text.as_bytes()).is_err());
        let text = text.replace("B = 2", "B= 2");
        assert_eq!(
            read_text(text.as_bytes()).unwrap(),
            ["A=1", "B= 2 # kept ", "C=\"quoted\"", "D=", "A=3"]
        );
        assert!(read_text(b"PATH  ").unwrap()[0].starts_with("PATH=/"));
    }

    #[test]
    fn a_malformed_line_is_an_error_with_file_and_line() {
        for (text, said) in [
            (&b"A=1\nB C=2"[..], "--env-file DIR/file:2: variable 'B C' contains white space"),
            (b"=1", "--env-file DIR/file:1: no variable name in '=1'"),
            (b"A=1\0B", "--env-file DIR/file: entry 2: not NAME=VALUE: 'B'"),
            (b"=1\0", "--env-file DIR/file: entry 1: not NAME=VALUE: '=1'"),
            (b"A=\xff\0", "--env-file DIR/file: entry 1: not UTF-8"),
            (b"A=\xff", "--env-file DIR/file:1: not UTF-8"),
        ] {
            assert_eq!(read_text(text).unwrap_err().to_string(), said);
        }
        assert!(read_text(&vec![b'\n'; LARGEST as usize + 1]).is_err());
        assert!(read_text(&vec![b'\n'; LARGEST as usize]).is_ok());
        assert_eq!(
            read(Path::new("/nope")).unwrap_err().to_string(),
            "--env-file /nope: No such file or directory"
        );
    }

    #[test]
    fn entries_that_zero_bytes_end_are_literal() {
        let text = b"A=1\0# no=comment\0B=two\nlines\r\n\0 C =\"x\"=y\0\0D=";
        let entries = ["A=1", "# no=comment", "B=two\nlines\r\n", " C =\"x\"=y", "D="];
        assert_eq!(read_text(text).unwrap(), entries);
        // Exported functions of bash.
        assert_eq!(read_text(b"BASH_FUNC_f%%=() {  :\n}\0").unwrap(), ["BASH_FUNC_f%%=() {  :\n}"]);
    }

    proptest! {
        #[test]
        fn no_line_is_a_panic(line in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _ = parse_line(&line);
            let _ = parse_entries(&line, Path::new("/x"));
        }
    }
}
