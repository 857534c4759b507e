//! Libraries: the same that the loader finds, by `ldd`.

use std::collections::BTreeSet;
use std::os::unix::fs::symlink;
use std::process::Command;

use super::super::closure::Surroundings;
use super::super::tree::HostNode;
use super::*;

/// Returns the libraries and the loader that `ldd` names, links followed. `None`: `ldd` reports a missing one.
fn by_ldd(program: &Path) -> Option<BTreeSet<PathBuf>> {
    // Through a link ldd takes the link's folder for $ORIGIN; the kernel and the program do not.
    let output = Command::new("ldd")
        .arg(program.canonicalize().unwrap())
        .env_remove("LD_LIBRARY_PATH")
        .env("LC_ALL", "C")
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    if text.contains("not found") {
        return None;
    }
    let paths = text.lines().filter_map(|line| {
        let place = line.split_once(" => ").map_or(line, |(_, place)| place).trim();
        place
            .starts_with('/')
            .then(|| Path::new(place.split(" (").next().unwrap()).canonicalize().unwrap())
    });
    Some(paths.collect())
}

fn by_us(program: &Path) -> Result<BTreeSet<PathBuf>> {
    let mut closure = Closure::new(Surroundings::default());
    closure.add_program(program, 0)?;
    let real = program.canonicalize().unwrap();
    let files = closure.tree.nodes().filter(|(_, node)| matches!(node, HostNode::File { .. }));
    let files = files.map(|(path, _)| path.to_owned()).filter(|path| *path != real);
    // ldd names the one variant that fits this processor; usnea takes all of them and the ordinary library.
    Ok(files.filter(|path| !path.to_string_lossy().contains("hwcaps")).collect())
}

fn is_elf(path: &Path) -> bool {
    std::fs::read(path).is_ok_and(|bytes| bytes.starts_with(b"\x7fELF"))
}

#[test]
fn the_libraries_are_those_that_ldd_finds() {
    let named = [
        "bash",
        "ls",
        "python3",
        "git",
        "perl",
        "ps",
        "java",
        "systemd-analyze",
        "curl",
        "gdb",
        "expr",
    ];
    let mut programs: BTreeSet<PathBuf> =
        named.iter().map(|name| Path::new("/usr/bin").join(name)).collect();
    programs.retain(|path| path.exists());
    assert!(programs.contains(Path::new("/usr/bin/bash")));
    let mut all: Vec<PathBuf> = std::fs::read_dir("/usr/bin")
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
        .collect();
    all.sort();
    let step = (all.len() / 100).max(1);
    programs.extend(all.into_iter().step_by(step));
    programs.retain(|path| is_elf(path));
    for program in programs {
        match by_ldd(&program) {
            Some(theirs) => assert_eq!(by_us(&program).unwrap(), theirs, "{}", program.display()),
            None => assert!(by_us(&program).is_err(), "{}", program.display()),
        }
    }
}

/// Compiles an empty library or program with these arguments of cc.
fn compile(folder: &Path, output: &str, arguments: &[&str]) -> PathBuf {
    let output = folder.join(output);
    std::fs::create_dir_all(output.parent().unwrap()).unwrap();
    let is_library = output.to_string_lossy().contains(".so");
    std::fs::write(
        folder.join("source.c"),
        if is_library { "" } else { "int main(void) { return 0; }" },
    )
    .unwrap();
    let mut cc = Command::new("cc");
    cc.current_dir(folder).arg("source.c").arg("-o").arg(&output).arg("-Wl,--no-as-needed");
    if is_library {
        cc.arg("-shared").arg(format!("-Wl,-soname,{}", output.file_name().unwrap().display()));
    }
    let done = cc.args(arguments).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    output
}

#[test]
fn run_paths_lead_where_the_loader_goes() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| compile(folder.path(), name, &[]);
    at("deep/libdeep.so");
    at("private/libdeep.so");
    // Needs libdeep without a path: the program's RPATH serves it, its RUNPATH must not.
    compile(folder.path(), "private/libmid.so", &["deep/libdeep.so"]);
    compile(
        folder.path(),
        "private/libown.so",
        &["deep/libdeep.so", "-Wl,--enable-new-dtags,-rpath,$ORIGIN/../deep"],
    );
    compile(
        folder.path(),
        "private/libold.so",
        &["deep/libdeep.so", "-Wl,--disable-new-dtags,-rpath,$ORIGIN/../deep"],
    );
    symlink("private", folder.path().join("linked")).unwrap();
    let rpath = |tags: &str, list: &str| format!("-Wl,--{tags}-new-dtags,-rpath,{list}");
    let cases = [
        ("mid", "disable", "$ORIGIN/../private"),
        ("mid", "enable", "$ORIGIN/../private"),
        ("own", "enable", "${ORIGIN}/../linked"),
        ("own", "disable", "$ORIGIN/../private"),
        ("old", "disable", "/nonexistent:$ORIGIN/../linked"),
        ("old", "enable", "relative:$ORIGIN/../private"),
        ("deep", "disable", "$ORIGIN/../$PLATFORM:$ORIGIN/../deep:$ORIGIN/../private"),
    ];
    for (library, tags, list) in cases {
        let library = format!("private/lib{library}.so");
        let program = compile(
            folder.path(),
            "bin/program",
            &[
                &library,
                &rpath(tags, list),
                "-Wl,--allow-shlib-undefined",
                "-Lprivate",
                "-Wl,-rpath-link,private",
            ],
        );
        let theirs = by_ldd(&program);
        assert_eq!(by_us(&program).ok(), theirs, "{library} {tags} {list}");
        let through_link = folder.path().join("elsewhere");
        let _ = std::fs::remove_file(&through_link);
        symlink(&program, &through_link).unwrap();
        assert_eq!(by_us(&through_link).ok(), theirs, "through a link: {library} {tags} {list}");
    }
}

#[test]
fn a_missing_library_is_named_with_who_needs_it() {
    let folder = tempfile::tempdir().unwrap();
    compile(folder.path(), "libabsent.so", &[]);
    let program = compile(folder.path(), "program", &["libabsent.so"]);
    std::fs::remove_file(folder.path().join("libabsent.so")).unwrap();
    let requested = program.to_str().unwrap();
    let error = plan(&request(&[requested])).err().unwrap();
    let real = program.canonicalize().unwrap();
    let wanted = format!(
        "host:{requested}: library libabsent.so (needed by {}) is not found",
        real.display()
    );
    assert_eq!(error.to_string(), wanted);
    assert!(error.hint_text().is_some());
}
