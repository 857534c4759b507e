//! The rules of the house for functions and types, read as text as in `house`: signatures, lengths, descriptors, names.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use crate::house::{code_of, rust_files};
use crate::support::source;

const LONGEST_FUNCTION: usize = 60;

/// Functions that are a single flat match: each arm is a line of a table.
const TABLES: [(&str, &str); 3] = [
    ("src/host/hint.rs", "fmt"),
    ("src/engine/explain/mod.rs", "commands"),
    ("src/engine/plan/step.rs", "doing"),
];

/// The trait of fuser has these signatures.
const SIGNATURES_OF_OTHERS: [(&str, &str); 3] = [
    ("src/rootfs/fuse/serve.rs", "release"),
    ("src/rootfs/fuse/serve.rs", "fsync"),
    ("src/rootfs/fuse/serve.rs", "fsyncdir"),
];

/// The server's reports go to the terminal of its owner.
const STANDARD_STREAMS: [&str; 1] = ["src/rootfs/fuse/command.rs"];

/// Names that each room may give to a type of its own: `Arguments` is clap's word for those of a command.
const NAMES_OF_ALL: [&str; 2] = ["Arguments", "Error"];

/// A function of the source, outside tests.
struct Function {
    file: String,
    name: String,
    parameters: String,
    lines: usize,
}

#[test]
fn no_parameter_is_a_bool_or_a_tuple() {
    let offends = |function: &Function| {
        let is_ours = !is_in(&SIGNATURES_OF_OTHERS, function);
        let parameters = split(&function.parameters);
        is_ours
            && parameters.iter().any(|parameter| {
                let (pattern, kind) = parameter.split_once(':').unwrap_or((parameter, ""));
                pattern.trim_start().starts_with('(') || kind.trim() == "bool"
            })
    };
    let wrong = names(functions().into_iter().filter(offends));
    assert!(wrong.is_empty(), "an enum of two words, a struct:\n{}", wrong.join("\n"));
}

#[test]
fn no_function_outgrows_its_reader() {
    let offends =
        |function: &Function| function.lines > LONGEST_FUNCTION && !is_in(&TABLES, function);
    let wrong = names(functions().into_iter().filter(offends));
    assert!(wrong.is_empty(), "over {LONGEST_FUNCTION} lines:\n{}", wrong.join("\n"));
}

#[test]
fn nothing_below_cli_prints_or_uses_standard_streams() {
    let words = ["println!", "print!(", "io::stdin", "io::stdout", "io::stderr", "stdio::std"];
    let mut wrong = Vec::new();
    for (file, code) in code() {
        if file.starts_with("src/cli/") || STANDARD_STREAMS.contains(&file.as_str()) {
            continue;
        }
        wrong.extend(
            words.iter().filter(|word| code.contains(**word)).map(|word| (file.clone(), word)),
        );
    }
    assert!(wrong.is_empty(), "streams are parameters: {wrong:?}");
}

#[test]
fn a_type_has_a_name_of_its_own() {
    let mut files = BTreeMap::<String, Vec<String>>::new();
    for (file, code) in code() {
        for line in code.lines().map(str::trim_start) {
            let line = line
                .strip_prefix("pub ")
                .or_else(|| line.split_once(") ").map(|(_, rest)| rest))
                .unwrap_or(line);
            let name =
                ["struct ", "enum ", "trait "].iter().find_map(|word| line.strip_prefix(word));
            let name: String =
                name.unwrap_or_default().chars().take_while(|c| c.is_alphanumeric()).collect();
            if !name.is_empty() && !NAMES_OF_ALL.contains(&name.as_str()) {
                files.entry(name).or_default().push(file.clone());
            }
        }
    }
    let wrong: Vec<_> = files.iter().filter(|(_, files)| files.len() > 1).collect();
    assert!(wrong.is_empty(), "one name for a concept, one concept for a name: {wrong:#?}");
}

/// What a file takes through the `mod.rs` above it is not followed: that is the room's own list.
#[test]
fn no_files_of_a_room_import_each_other_in_a_circle() {
    let files: BTreeMap<String, String> =
        code().into_iter().map(|(file, code)| (module_of(&file), code)).collect();
    let modules: BTreeSet<&str> = files.keys().map(String::as_str).collect();
    let imports: BTreeMap<&str, BTreeSet<String>> = files
        .iter()
        .map(|(module, code)| {
            let mut taken = modules_taken(module, code, &modules);
            taken.retain(|other| is_beside(module, other));
            (module.as_str(), taken)
        })
        .collect();
    let circles: Vec<_> =
        modules.iter().filter(|module| reaches(module, module, &imports)).collect();
    assert!(circles.is_empty(), "these files import each other: {circles:#?}");
}

#[test]
fn modules_are_found_in_paths_of_any_form() {
    let modules = BTreeSet::from(["a", "a::b", "a::c", "a::c::d"]);
    let text =
        "use super::{c::{d::X, Y}, z};\nlet x = crate::a::c::y();\nuse super::super::a::c::d;";
    let found: Vec<_> = modules_taken("a::b", text, &modules).into_iter().collect();
    assert_eq!(found, ["a", "a::c", "a::c::d"]);
}

/// `src/engine/plan/mod.rs` is `engine::plan`.
fn module_of(file: &str) -> String {
    let name = file.trim_start_matches("src/").trim_end_matches(".rs");
    name.trim_end_matches("/mod").replace('/', "::")
}

/// True for two modules of one room, of which none contains the other.
fn is_beside(one: &str, other: &str) -> bool {
    let room = |module: &str| module.split("::").next().map(str::to_owned);
    let contains = |outer: &str, inner: &str| inner.starts_with(&format!("{outer}::"));
    one != other && room(one) == room(other) && !contains(one, other) && !contains(other, one)
}

fn reaches(from: &str, to: &str, imports: &BTreeMap<&str, BTreeSet<String>>) -> bool {
    let (mut seen, mut left) = (BTreeSet::new(), vec![from.to_owned()]);
    while let Some(module) = left.pop() {
        for next in imports.get(module.as_str()).into_iter().flatten() {
            if next == to {
                return true;
            }
            if seen.insert(next.clone()) {
                left.push(next.clone());
            }
        }
    }
    false
}

/// The modules whose items `code`, which is `module`'s, names by a path.
fn modules_taken(module: &str, code: &str, modules: &BTreeSet<&str>) -> BTreeSet<String> {
    let mut taken = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        if !code[..at].ends_with(['$', ':', '_']) {
            follow(&code[at + "crate::".len()..], "", modules, &mut taken);
        }
    }
    for (at, word) in code.match_indices("super::") {
        if code[..at].ends_with("super::") {
            continue;
        }
        let (mut rest, mut above) = (&code[at..], module);
        while let Some(inner) = rest.strip_prefix(word) {
            above = above.rsplit_once("::").map_or("", |(above, _)| above);
            rest = inner;
        }
        follow(rest, above, modules, &mut taken);
    }
    taken
}

/// Follows a path, or each of a `{group}`, from the module `at`.
fn follow(path: &str, at: &str, modules: &BTreeSet<&str>, taken: &mut BTreeSet<String>) {
    let path = path.trim_start();
    if path.starts_with('{') {
        let end = end_of(path, '{', '}').unwrap_or(path.len());
        let group = path.get(1..end).unwrap_or_default().replace('{', "(").replace('}', ")");
        for part in split(&group) {
            follow(&part.replace('(', "{").replace(')', "}"), at, modules, taken);
        }
        return;
    }
    let name: String = path.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    let next = if at.is_empty() { name.clone() } else { format!("{at}::{name}") };
    match path[name.len()..].strip_prefix("::") {
        Some(rest) if modules.contains(next.as_str()) => follow(rest, &next, modules, taken),
        _ if modules.contains(next.as_str()) => drop(taken.insert(next)),
        _ => drop(taken.insert(at.to_owned())),
    }
}

#[test]
fn functions_are_found_however_they_are_written() {
    let text = "fn a<T: Fn(bool)>(self: &T, b: (u8, u8)) -> u8 {\n {\n }\n}\nfn c(\n (d, e): (u8, u8),\n f: Vec<(u8, bool)>,\n) {}\n";
    let found = functions_of("x", text);
    let shown: Vec<_> = found.iter().map(|one| (one.name.as_str(), one.lines)).collect();
    assert_eq!(shown, [("a", 4), ("c", 4)]);
    assert_eq!(split(&found[1].parameters).len(), 2);
    assert_eq!(split(&found[0].parameters), ["self: &T", " b: (u8, u8)"]);
}

fn is_in(list: &[(&str, &str)], function: &Function) -> bool {
    list.contains(&(function.file.as_str(), function.name.as_str()))
}

fn names(functions: impl Iterator<Item = Function>) -> Vec<String> {
    functions.map(|one| format!("{}: {} ({} lines)", one.file, one.name, one.lines)).collect()
}

/// The files of src with their code: without comments, and without tests.
fn code() -> Vec<(String, String)> {
    let files = rust_files("src").into_iter().map(|path| {
        let name = path.strip_prefix(source()).expect("below the source").display().to_string();
        (name, text_of(&path))
    });
    files.filter(|(name, _)| !name.contains("/tests")).collect()
}

fn text_of(path: &Path) -> String {
    let text =
        fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let code = code_of(&text);
    code.split("#[cfg(test)]").next().unwrap_or_default().to_owned()
}

fn functions() -> Vec<Function> {
    code().iter().flat_map(|(file, code)| functions_of(file, code)).collect()
}

fn functions_of(file: &str, code: &str) -> Vec<Function> {
    let mut functions = Vec::new();
    for (at, _) in code.match_indices("fn ") {
        if code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let rest = &code[at + 3..];
        let name: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        let Some(open) = parameters_begin(&rest[name.len()..]) else { continue };
        let open = name.len() + open;
        let Some(close) = end_of(&rest[open..], '(', ')') else { continue };
        let parameters = rest[open + 1..open + close].to_owned();
        let after = &rest[open + close..];
        // A declaration in a trait ends before any body begins.
        let Some(body) = after.find(['{', ';']).filter(|at| after[*at..].starts_with('{')) else {
            continue;
        };
        let Some(end) = end_of(&after[body..], '{', '}') else { continue };
        let lines = rest[..open + close + body + end].matches('\n').count() + 1;
        functions.push(Function { file: file.to_owned(), name, parameters, lines });
    }
    functions
}

/// The place of the parenthesis that begins the parameters, behind the generic ones.
fn parameters_begin(text: &str) -> Option<usize> {
    match text.chars().next()? {
        '(' => Some(0),
        '<' => {
            let end = end_of(&text.replace("->", "  "), '<', '>')?;
            text[end + 1..].starts_with('(').then_some(end + 1)
        }
        _ => None,
    }
}

/// The place that closes the bracket with which the text begins.
fn end_of(text: &str, open: char, close: char) -> Option<usize> {
    let mut depth = 0;
    for (at, c) in text.char_indices() {
        depth += i32::from(c == open) - i32::from(c == close);
        if depth == 0 {
            return Some(at);
        }
    }
    None
}

/// The parameters: split at commas outside of brackets.
fn split(parameters: &str) -> Vec<String> {
    let (mut depth, mut parts) = (0, vec![String::new()]);
    for c in parameters.replace("->", "  ").chars() {
        depth += i32::from("(<[".contains(c)) - i32::from(")>]".contains(c));
        match c {
            ',' if depth == 0 => parts.push(String::new()),
            c => parts.last_mut().expect("a part").push(c),
        }
    }
    parts.retain(|part| !part.trim().is_empty());
    parts
}
