//! Table of the files that programs need besides their libraries. A row names a program or library (by file name, `*`
//! stands for any text) and the files to take where the host has them. To support another program, add a row.
//!
//! In a path, `{dir}` is the folder of the file that matched and `{prefix}` the one above it (links followed). `{*}` is
//! the text that the pattern's `*` matched. `{term}` and `{t}` are the terminal's name ($TERM) and its first letter.
//! Other `*` match names in a folder. ELF files among the taken files (plugins) bring their libraries, and those
//! libraries their rows.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::pattern::matches;
use super::tree::names_in;

/// File that a row is for.
#[derive(Clone, Copy, Debug)]
pub enum ExtraTrigger {
    /// Program or interpreter, by the name of its file, links followed.
    Program(&'static str),
    /// Library or loader, by the name under which it was found.
    Library(&'static str),
}

/// Files that a row adds.
#[derive(Clone, Copy, Debug)]
pub enum Extra {
    /// File, or folder with everything in it.
    All(&'static str),
    /// Folder without the entries of these names (with `*`).
    Without(&'static str, &'static [&'static str]),
    /// Library that is opened at run time, searched as if the program needed it.
    Library(&'static str),
}

use Extra::{All, Library as Dlopened, Without};
use ExtraTrigger::{Library, Program};

/// Parts of Python that are left out: test suites, the editor, packages from pip, and the objects for building a
/// Python. A program with packages from pip brings its own environment.
const PYTHON_LEAVES_OUT: &[&str] =
    &["test", "tests", "idlelib", "turtledemo", "site-packages", "dist-packages", "libpython*.a"];

const TERMINALS: &[Extra] = &[
    All("/etc/terminfo"),
    All("/lib/terminfo"),
    All("/usr/share/terminfo/{t}/{term}"),
    All("/usr/share/terminfo/a/ansi"),
    All("/usr/share/terminfo/a/alacritty*"),
    All("/usr/share/terminfo/d/dumb"),
    All("/usr/share/terminfo/f/foot*"),
    All("/usr/share/terminfo/l/linux"),
    All("/usr/share/terminfo/r/rxvt*"),
    All("/usr/share/terminfo/s/screen*"),
    All("/usr/share/terminfo/t/tmux*"),
    All("/usr/share/terminfo/v/vt100"),
    All("/usr/share/terminfo/v/vt220"),
    All("/usr/share/terminfo/x/xterm*"),
];

/// The table.
const TABLE: &[(ExtraTrigger, &[Extra])] = &[
    // glibc: names of users and hosts, conversions between character sets, the one locale that needs no choice, and the
    // library that pthread_exit(3) and backtrace(3) open.
    (
        Library("libc.so.6"),
        &[
            All("{dir}/libnss_files.so.2"),
            All("{dir}/libnss_dns.so.2"),
            All("{dir}/libnss_compat.so.2"),
            All("{dir}/gconv"),
            All("/usr/lib/locale/C.utf8"),
            All("/etc/ld.so.cache"),
            Dlopened("libgcc_s.so.1"),
        ],
    ),
    (Library("ld-musl-*"), &[All("/etc/ld-musl-*.path")]),
    (Library("libtinfo*.so.*"), TERMINALS),
    (Library("libncurses*.so.*"), TERMINALS),
    // Programs with TLS need the trusted certificates (never /etc/ssl/private).
    (
        Library("libcrypto.so.*"),
        &[
            All("/etc/ssl/openssl.cnf"),
            All("/etc/ssl/cert.pem"),
            All("/etc/ssl/certs"),
            All("/etc/pki/tls/cert.pem"),
            All("/etc/pki/tls/certs/ca-bundle.crt"),
            All("/etc/pki/tls/openssl.cnf"),
            All("/usr/lib/ssl/cert.pem"),
            All("/usr/lib/ssl/certs"),
            All("/usr/lib/ssl/openssl.cnf"),
            All("{dir}/ossl-modules"),
        ],
    ),
    (Library("libgnutls.so.*"), &[All("/etc/ssl/certs"), All("/etc/pki/tls/certs/ca-bundle.crt")]),
    (
        Program("python3.*"),
        &[
            Without("{prefix}/lib/python3.{*}", PYTHON_LEAVES_OUT),
            Without("{prefix}/lib64/python3.{*}", PYTHON_LEAVES_OUT),
            All("/etc/python3.{*}"),
        ],
    ),
    (
        Program("perl*"),
        &[
            All("/etc/perl"),
            All("{prefix}/lib/*/perl-base"),
            Without("{prefix}/lib/*/perl", &["CORE"]),
            Without("{prefix}/lib/*/perl5", &["CORE"]),
            Without("{prefix}/lib/perl5", &["CORE"]),
            Without("{prefix}/lib64/perl5", &["CORE"]),
            All("{prefix}/share/perl"),
            All("{prefix}/share/perl5"),
        ],
    ),
    (
        Program("git"),
        &[
            All("{prefix}/lib/git-core"),
            All("{prefix}/libexec/git-core"),
            All("{prefix}/share/git-core"),
            All("/etc/gitconfig"),
        ],
    ),
    (Program("java"), &[All("{prefix}/lib"), All("{prefix}/conf"), All("/etc/java-*-openjdk")]),
    (
        Program("zsh*"),
        &[
            All("{prefix}/lib/*/zsh"),
            All("{prefix}/lib/zsh"),
            All("{prefix}/share/zsh"),
            All("/etc/zsh"),
        ],
    ),
    (Program("vim*"), &[All("{prefix}/share/vim"), All("/etc/vim")]),
    (
        Program("file"),
        &[
            All("/etc/magic"),
            All("{prefix}/share/misc/magic*"),
            All("{prefix}/share/file"),
            All("{prefix}/lib/file"),
        ],
    ),
    (
        Program("gawk"),
        &[All("{prefix}/lib/*/gawk"), All("{prefix}/lib/gawk"), All("{prefix}/share/awk")],
    ),
];

/// Entry of a row with its placeholders filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FilledExtra {
    /// Path to take (with `*`), except these names.
    Path(PathBuf, &'static [&'static str]),
    /// Library to search.
    Library(OsString),
}

/// Returns the needs of the program in the file `real` (links followed).
pub fn of_program(real: &Path, term: Option<&str>) -> Vec<FilledExtra> {
    let name = real.file_name().unwrap_or_default();
    let matched = TABLE.iter().filter_map(|(trigger, wants)| match trigger {
        Program(pattern) => Some((matches(pattern, name)?, *wants)),
        Library(_) => None,
    });
    matched.flat_map(|(star, wants)| fill(wants, real, &star, term)).collect()
}

/// Returns the needs of the library found as `name`, in the file `real` (links followed).
pub fn of_library(name: &OsStr, real: &Path, term: Option<&str>) -> Vec<FilledExtra> {
    let matched = TABLE.iter().filter_map(|(trigger, wants)| match trigger {
        Library(pattern) => Some((matches(pattern, name)?, *wants)),
        Program(_) => None,
    });
    matched.flat_map(|(star, wants)| fill(wants, real, &star, term)).collect()
}

fn fill(wants: &[Extra], real: &Path, star: &str, term: Option<&str>) -> Vec<FilledExtra> {
    let folder = real.parent().unwrap_or(Path::new("/"));
    let path = |text: &str| {
        // A terminal name with a slash or a leading dot would lead to another folder.
        let term =
            term.filter(|term| !term.contains('/') && !term.starts_with('.') && !term.is_empty());
        if text.contains("{t") && term.is_none() {
            return None;
        }
        let term = term.unwrap_or_default();
        let first: String = term.chars().take(1).collect();
        let text = text.replace("{*}", star).replace("{term}", term).replace("{t}", &first);
        Some(match (text.strip_prefix("{dir}/"), text.strip_prefix("{prefix}/")) {
            (Some(below), _) => folder.join(below),
            (_, Some(below)) => folder.parent().unwrap_or(folder).join(below),
            _ => text.into(),
        })
    };
    wants
        .iter()
        .filter_map(|want| match want {
            All(text) => Some(FilledExtra::Path(path(text)?, &[])),
            Without(text, names) => Some(FilledExtra::Path(path(text)?, names)),
            Dlopened(name) => Some(FilledExtra::Library(name.into())),
        })
        .collect()
}

/// Returns the paths that `pattern` stands for; a pattern without `*` need not exist. Calls `listed` with every folder
/// that was listed for a `*`.
pub fn paths(pattern: &Path, mut listed: impl FnMut(&Path)) -> Vec<PathBuf> {
    let mut found = vec![PathBuf::from("/")];
    for component in pattern.components().skip(1) {
        let name = component.as_os_str();
        if !name.as_bytes().contains(&b'*') {
            found.iter_mut().for_each(|path| path.push(name));
            continue;
        }
        let pattern = name.to_str().unwrap_or_default();
        found = found
            .iter()
            .flat_map(|folder| {
                {
                    listed(folder);
                    let names = if folder.is_dir() { names_in(folder, &[]) } else { Vec::new() };
                    names
                        .into_iter()
                        .filter(|name| matches(pattern, name).is_some())
                        .map(|name| folder.join(name))
                }
                .collect::<Vec<_>>()
            })
            .collect();
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_filled_in() {
        let wanted = of_program(Path::new("/opt/py/bin/python3.12"), None);
        assert_eq!(
            wanted[0],
            FilledExtra::Path("/opt/py/lib/python3.12".into(), PYTHON_LEAVES_OUT)
        );
        let term =
            |term| of_library(OsStr::new("libtinfo.so.6"), Path::new("/lib/libtinfo.so.6.4"), term);
        assert!(
            term(Some("foot"))
                .contains(&FilledExtra::Path("/usr/share/terminfo/f/foot".into(), &[]))
        );
        assert_eq!(term(Some("../x")), term(None));
    }

    #[test]
    fn paths_with_stars_are_listed() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a1/x", "a2/x", "b/x"] {
            std::fs::create_dir_all(folder.path().join(name)).unwrap();
        }
        let mut listed = 0;
        let found = paths(&folder.path().join("a*/x"), |_| listed += 1);
        assert_eq!(found, [folder.path().join("a1/x"), folder.path().join("a2/x")]);
        assert_eq!(listed, 1);
    }
}
