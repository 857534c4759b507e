//! The rules of the house that a program can check: who may import whom, where `unsafe` may stand, how a file begins
//! and how long it may grow, what lies at the top of the tree.
//!
//! The source is read as text: comments are cut off, strings are not, so no rule's word may stand in a string of ours.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::support::source;

/// The layers, the highest first. A module may import those of lower rows; those of its own row do not know each other.
const ROWS: &[&[&str]] = &[
    &["cli"],
    &["container", "oci", "quadlet"],
    &["documents"],
    &["monitor"],
    &["engine"],
    &["userns", "image", "rootfs", "cgroup", "net", "readiness", "spec", "security", "cdi"],
    &["config", "host"],
    &["layer"],
    &[
        "ids",
        "files",
        "amount",
        "digest",
        "duration",
        "capability",
        "expression",
        "forward",
        "go_json",
        "cdi_name",
        "host_entry",
        "network_attachment",
        "network_name",
        "hook_point",
        "object_id",
        "seccomp_source",
    ],
    &["error", "hint"],
    &["sys"],
];

/// Names at the top of the source that are no modules: the map, the program, the macros of `error`.
const NO_MODULES: &[&str] = &["lib", "main", "fail", "phrase"];

/// What may lie at the top beside dot-files; `target` is what cargo builds.
const TOP: &[&str] = &[
    "Cargo.toml",
    "Cargo.lock",
    "LICENSE",
    "README.md",
    "src",
    "tests",
    "packaging",
    "man",
    "target",
];

const LONGEST_FILE: usize = 600;

#[test]
fn imports_point_down_and_siblings_do_not_know_each_other() {
    let mut wrong = Vec::new();
    for file in rust_files("src") {
        let module = top_module(&file);
        if NO_MODULES.contains(&module.as_str()) {
            continue;
        }
        let own =
            row(&module).unwrap_or_else(|| panic!("src/{module} has no row in tests/it/house.rs"));
        for import in imports(&file) {
            if import == module || NO_MODULES.contains(&import.as_str()) {
                continue;
            }
            match row(&import) {
                Some(other) if other > own => {}
                Some(_) => wrong.push(format!("{} imports {import}", file.display())),
                None => {
                    wrong.push(format!("{} imports {import}, which has no row", file.display()))
                }
            }
        }
    }
    assert!(wrong.is_empty(), "imports must point down:\n  {}", wrong.join("\n  "));
}

#[test]
fn imports_are_found_however_they_are_written() {
    let text = "use crate::ids::{IdMap, x};\nuse crate::{fail, error::{Error, Result},\n  sys};\n// crate::no\nlet x = crate::net::y();";
    let names: Vec<_> = crate_paths(&code_of(text)).into_iter().collect();
    assert_eq!(names, ["error", "fail", "ids", "net", "sys"]);
    assert_eq!(
        above_crate("use super::cgroup::x; use super::super::y;", 1),
        BTreeSet::from(["cgroup".into()])
    );
    assert_eq!(above_crate("use super::super::y; use super::z;", 2), BTreeSet::from(["y".into()]));
}

#[test]
fn only_sys_is_unsafe() {
    let word = concat!("un", "safe");
    let files = rust_files("src").into_iter().chain(rust_files("tests"));
    for file in files.filter(|file| !file.starts_with(source().join("src/sys"))) {
        let code = code_of(&read(&file));
        let mut words = code.split(|c: char| !c.is_alphanumeric() && c != '_');
        assert!(!words.any(|found| found == word), "{} is {word}", file.display());
    }
}

/// A name leads elsewhere a moment later where somebody else may write to its folder (CVE-2018-15664): what follows links is
/// for descriptors, or for folders that nobody else can reach.
#[test]
fn calls_that_follow_a_name_are_made_where_nobody_can_exchange_it() {
    // Folders in tmp/, which are ours alone.
    const OURS_ALONE: [&str; 5] = [
        "src/container/volumes/record.rs",
        "src/image/store/check/mod.rs",
        "src/image/store/layers.rs",
        "src/image/store/mod.rs",
        "src/rootfs/host/layer.rs",
    ];
    const BY_DESCRIPTOR: &str = "src/sys/inode.rs";
    let mut wrong = Vec::new();
    for file in rust_files("src") {
        let name = file.strip_prefix(source()).expect("below the source").display().to_string();
        if name.contains("/tests") || name == BY_DESCRIPTOR {
            continue;
        }
        let code = code_of(&read(&file));
        let code = code.split("#[cfg(test)]").next().unwrap_or_default();
        let mut refuse = |what: &str| wrong.push(format!("{name}: {what}"));
        if !arguments_of(code, "chmodat").is_empty() {
            refuse("chmodat follows links: sys::inode::change_mode");
        }
        if !arguments_of(code, "remove_dir_all").is_empty() {
            refuse("remove_dir_all opens a descriptor a level: sys::tree::remove");
        }
        if !OURS_ALONE.contains(&&*name) && !arguments_of(code, "set_permissions").is_empty() {
            refuse("set_permissions follows links: sys::inode::change_mode");
        }
        let follows = |arguments: &&String| {
            // Flags that are decided elsewhere, and names in /proc/self/fd.
            let known = ["NOFOLLOW", "EMPTY_PATH", "flags", "path_of("];
            !known.iter().any(|known| arguments.contains(known))
        };
        for call in ["chownat", "utimensat"] {
            if let Some(arguments) = arguments_of(code, call).iter().find(follows) {
                refuse(&format!("{call}({arguments}) follows links"));
            }
        }
        let followed = |arguments: &&String| arguments.contains("SYMLINK_FOLLOW");
        if !name.starts_with("src/rootfs/fuse/")
            && arguments_of(code, "linkat").iter().any(|arguments| followed(&arguments))
        {
            refuse("linkat follows links: sys::inode::link");
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The arguments of each call of a function whose name ends so.
fn arguments_of(code: &str, function: &str) -> Vec<String> {
    let call = format!("{function}(");
    let starts = code.match_indices(&call).filter(|(at, _)| {
        !code[..*at].ends_with("fn ") && !code[..*at].ends_with(|c: char| c.is_alphanumeric())
    });
    let arguments = starts.map(|(at, _)| {
        let mut depth = 1;
        let inside = code[at + call.len()..].chars().take_while(move |c| {
            match c {
                '(' => depth += 1,
                ')' => depth -= 1,
                _ => {}
            }
            depth > 0
        });
        inside.collect()
    });
    arguments.collect()
}

#[test]
fn every_file_opens_with_what_it_is() {
    for file in rust_files("src").into_iter().chain(rust_files("tests")) {
        assert!(read(&file).starts_with("//! "), "{} does not open with //!", file.display());
    }
    for script in ["tests/run", ".ci/run"].map(|name| source().join(name)) {
        let text = read(&script);
        assert!(
            text.lines().nth(1).is_some_and(|line| line.starts_with("# ")),
            "{}",
            script.display()
        );
    }
}

/// First words of a sentence that has no noun: the reader would have to guess what is meant.
const RIDDLES: [&str; 14] = [
    "What", "Who", "How", "It", "They", "One", "Of", "Those", "Which", "Whose", "These", "That",
    "He", "Them",
];

#[test]
fn doc_comments_begin_with_a_noun_or_a_verb() {
    let mut wrong = Vec::new();
    for file in rust_files("src") {
        let text = read(&file);
        let mut above = "";
        for (number, line) in text.lines().enumerate() {
            let line = line.trim_start();
            let comment = line.strip_prefix("///").or_else(|| line.strip_prefix("//!"));
            let begins = !above.starts_with(line.get(..3).unwrap_or_default());
            if let Some(comment) = comment.filter(|_| begins)
                && RIDDLES.contains(&word(comment.trim_start()).as_str())
            {
                wrong.push(format!("{}:{}:{comment}", file.display(), number + 1));
            }
            above = line;
        }
    }
    assert!(wrong.is_empty(), "{} comments:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn no_file_outgrows_its_reader() {
    for file in rust_files("src").into_iter().chain(rust_files("tests")) {
        let lines = read(&file).lines().count();
        assert!(lines < LONGEST_FILE, "{} has {lines} lines", file.display());
    }
}

#[test]
fn a_file_is_named_for_what_is_in_it() {
    for file in rust_files("src").into_iter().chain(rust_files("tests")) {
        for part in file.strip_prefix(source()).expect("below the source").components() {
            let name = Path::new(part.as_os_str()).file_stem().and_then(|name| name.to_str());
            let vague =
                ["utils", "util", "common", "helpers", "helper", "misc", "types", "manager"];
            assert!(!vague.contains(&name.expect("a name")), "{}", file.display());
        }
    }
}

#[test]
fn nothing_else_lies_at_the_top() {
    for entry in fs::read_dir(source()).expect("the source tree").flatten() {
        let name = entry.file_name().into_string().expect("a UTF-8 name");
        assert!(
            name.starts_with('.') || TOP.contains(&name.as_str()),
            "{name} at the top of the tree"
        );
    }
}

#[test]
fn both_licences_are_in_the_one_file() {
    let licence = read(&source().join("LICENSE"));
    for phrase in
        ["MIT License", "Apache License", "at your option", "Permission is hereby granted"]
    {
        assert!(licence.contains(phrase), "LICENSE lacks '{phrase}'");
    }
}

#[test]
fn no_test_file_is_forgotten() {
    let main = read(&source().join("tests/it/main.rs"));
    for file in rust_files("tests/it") {
        let name = file.file_stem().and_then(|name| name.to_str()).expect("a name");
        let declared = main.lines().any(|line| line == format!("mod {name};"));
        assert!(name == "main" || declared, "tests/it/main.rs does not declare {name}");
    }
}

#[test]
fn every_flag_is_in_the_manual() {
    check_flags(&usnea::cli::command(), "usnea");
}

#[test]
fn every_setting_of_an_error_is_a_flag() {
    let grammar = usnea::cli::command();
    for setting in usnea::error::Setting::ALL {
        let name = setting.name();
        let is_meant = |flag: &str| match name.strip_suffix('*') {
            Some(beginning) => flag.starts_with(beginning),
            None => flag == name,
        };
        assert!(has_flag(&grammar, &is_meant), "{name} is no flag");
    }
}

fn has_flag(command: &clap::Command, is_meant: &dyn Fn(&str) -> bool) -> bool {
    command.get_arguments().filter_map(clap::Arg::get_long).any(is_meant)
        || command.get_subcommands().any(|below| has_flag(below, is_meant))
}

/// An error names a setting by its type, and a hint is in the table: what a server answers is not about flags.
#[test]
fn flags_are_named_by_cli_alone() {
    // Tables of hints; arguments of other programs, of Dockerfile instructions, and of usnea started by usnea or systemd.
    const EXEMPT: [&str; 14] = [
        "src/hint.rs",
        "src/host/hint.rs",
        "src/engine/explain",
        "src/net/pasta.rs",
        "src/net/program.rs",
        "src/net/slirp.rs",
        "src/host/lifetime.rs",
        "src/host/network_helper.rs",
        "src/sys/namespace_set.rs",
        "src/container/journal_log.rs",
        "src/host/systemctl.rs",
        "src/image/instruction/health.rs",
        "src/container/health.rs",
        "src/quadlet",
    ];
    let mut wrong = Vec::new();
    for file in rust_files("src") {
        let name = file.strip_prefix(source()).expect("below the source").display().to_string();
        let is_test = name.contains("/tests") || name.contains("/scenarios/");
        if is_test
            || name.starts_with("src/cli/")
            || EXEMPT.iter().any(|exempt| name.starts_with(exempt))
        {
            continue;
        }
        let text = read(&file);
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        let named = literals(code).into_iter().filter(|literal| names_flag(literal));
        wrong.extend(named.map(|literal| format!("{name}: {literal}")));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// True if `--` before a letter begins the text or a word of it.
fn names_flag(text: &str) -> bool {
    text.match_indices("--").any(|(at, dashes)| {
        let begins = !text[..at].ends_with(|c: char| c.is_alphanumeric() || c == '-' || c == '_');
        begins && text[at + dashes.len()..].starts_with(|c: char| c.is_ascii_lowercase())
    })
}

#[test]
fn literals_are_found_between_comments_characters_and_quotes() {
    let code =
        "f(\"a --b\", '\"', r#\"x \" --y\"#, \"\\\"--z\") // \"--c\"\n'\\''; g::<'a>(\"--d\")";
    let found = literals(code);
    assert_eq!(found, ["a --b", "x \" --y", "\\\"--z", "--d"]);
    let named: Vec<_> = found.into_iter().filter(|literal| names_flag(literal)).collect();
    assert_eq!(named.len(), 4);
    assert!(!names_flag("a---b x-- --- i--j"));
}

/// The string literals of the code.
fn literals(code: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut rest = code;
    while let Some(at) = rest.find(['"', '\'', '/']) {
        let (before, from) = rest.split_at(at);
        rest = if let Some(comment) = from.strip_prefix("//") {
            comment.split_once('\n').map_or("", |(_, next)| next)
        } else if let Some(text) = from.strip_prefix('"') {
            let hashes = before.len() - before.trim_end_matches('#').len();
            let is_raw = before.trim_end_matches('#').ends_with('r');
            let end = match is_raw {
                true => text.find(&format!("\"{}", "#".repeat(hashes))),
                false => end_of_text(text),
            };
            let (literal, next) = text.split_at(end.expect("the end of a string"));
            found.push(literal);
            &next[1..]
        } else if let Some(escape) = from.strip_prefix("'\\") {
            &escape[1..]
        } else {
            // A character, or a lifetime, or a division.
            let mut characters = from.chars();
            match (characters.next(), characters.next(), characters.next()) {
                (Some('\''), Some(_), Some('\'')) => characters.as_str(),
                _ => &from[1..],
            }
        };
    }
    found
}

/// The place of the quote that ends a string.
fn end_of_text(text: &str) -> Option<usize> {
    let mut is_escaped = false;
    text.find(|c: char| {
        let ends = c == '"' && !is_escaped;
        is_escaped = c == '\\' && !is_escaped;
        ends
    })
}

fn check_flags(command: &clap::Command, page: &str) {
    let text = read(&source().join(format!("man/{page}.1")));
    let text = text.replace("\\fR", " ").replace("\\fB", " ").replace('\\', "");
    for argument in command.get_arguments().filter(|argument| !argument.is_hide_set()) {
        if let Some(long) = argument.get_long() {
            // "-" alone would find --net in --network.
            let flag = format!("--{long}");
            let ends = |rest: &str| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '-');
            let named = text.match_indices(&flag).any(|(at, _)| ends(&text[at + flag.len()..]));
            assert!(named, "man/{page}.1 lacks {flag}");
        }
    }
    for below in command.get_subcommands().filter(|below| !below.is_hide_set()) {
        check_flags(below, &format!("{page}-{}", below.get_name()));
    }
}

fn row(module: &str) -> Option<usize> {
    ROWS.iter().position(|row| row.contains(&module))
}

/// `src/engine/child.rs` and `src/engine.rs` are both of `engine`.
fn top_module(file: &Path) -> String {
    let below = file.strip_prefix(source().join("src")).expect("a file of src");
    let first = below.components().next().expect("a name");
    Path::new(first.as_os_str())
        .file_stem()
        .and_then(|name| name.to_str())
        .expect("a name")
        .to_owned()
}

fn imports(file: &Path) -> BTreeSet<String> {
    let code = code_of(&read(file));
    let below = file.strip_prefix(source().join("src")).expect("a file of src");
    let is_folder = below.file_name().is_some_and(|name| name == "mod.rs");
    let depth = below.components().count() - usize::from(is_folder);
    // What a file's own tests call `super` is the file itself.
    let without_tests = code.split("#[cfg(test)]").next().unwrap_or_default();
    let mut names = crate_paths(&code);
    names.extend(above_crate(without_tests, depth));
    names
}

/// Names that follow `super::` repeated `depth` times: from a file that deep, the modules at the top.
fn above_crate(code: &str, depth: usize) -> BTreeSet<String> {
    let climb = "super::".repeat(depth);
    let starts = code.match_indices(&climb).filter(|(at, _)| !code[..*at].ends_with("super::"));
    let rests =
        starts.map(|(at, _)| &code[at + climb.len()..]).filter(|rest| !rest.starts_with("super::"));
    rests.flat_map(names_at).collect()
}

fn crate_paths(code: &str) -> BTreeSet<String> {
    let starts = code.match_indices("crate::");
    // `$crate::` is what a macro says where it is used, not where it stands.
    let own = starts.filter(|(at, _)| {
        !code[..*at].ends_with(|c: char| c == '$' || c.is_alphanumeric() || c == '_')
    });
    own.flat_map(|(at, word)| names_at(&code[at + word.len()..])).collect()
}

/// The first names of the path or the `{group}` that `rest` begins with.
fn names_at(rest: &str) -> Vec<String> {
    let Some(group) = rest.strip_prefix('{') else {
        return vec![word(rest)];
    };
    let (mut depth, mut names, mut starts) = (0, Vec::new(), true);
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => starts = true,
            c if starts && c.is_alphabetic() => {
                names.push(word(&group[at..]));
                starts = false;
            }
            _ => {}
        }
    }
    names
}

fn word(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

/// The text without its comments.
pub fn code_of(text: &str) -> String {
    let lines = text.lines().map(|line| line.split("//").next().unwrap_or_default());
    lines.collect::<Vec<_>>().join("\n")
}

pub fn rust_files(folder: &str) -> Vec<PathBuf> {
    let files = walkdir::WalkDir::new(source().join(folder))
        .into_iter()
        .flatten()
        .map(|entry| entry.into_path());
    let files: Vec<_> =
        files.filter(|path| path.extension().is_some_and(|end| end == "rs")).collect();
    assert!(!files.is_empty(), "no source in {folder}");
    files
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
