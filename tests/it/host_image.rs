//! `host:PROGRAM,...`: a root directory of the host's own programs. What they need is inside, as `ldd` tells it, and
//! nothing else is.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use crate::support::{Place, Ran, need, need_that, text};

/// `usnea run host:PROGRAMS COMMAND`
fn run(place: &Place, programs: &str, command: &[&str]) -> Ran {
    let image = format!("host:{programs}");
    place.usnea(&[&["run", "--rm", image.as_str()], command].concat())
}

#[test]
fn the_command_of_the_readme_works() {
    let place = Place::new();
    let ran = run(&place, "bash,ls,id,ps,hostname", &["bash", "-c", "id; hostname; ls /; ps"]);
    assert!(ran.works().starts_with("uid=0(root) gid=0(root)"), "{ran:?}");
    let processes = ran.stdout.lines().skip_while(|line| !line.contains("PID")).count();
    // bash becomes the last command of its line where it can.
    assert!((2..=3).contains(&processes), "the heading, maybe bash, and ps: {ran:?}");
    assert_eq!(ran.stderr, "");
}

#[test]
fn only_what_was_named_is_inside() {
    let place = Place::new();
    let ran =
        run(&place, "sh", &["sh", "-c", "command -v ls || command -v python3 || echo neither"]);
    assert_eq!(ran.works(), "neither");
}

#[test]
fn all_libraries_that_ldd_names_are_inside() {
    for program in ["bash", "ls", "git", "python3", "ps", "id"] {
        if !need(program) {
            continue;
        }
        let place = Place::new();
        let libraries = libraries_by_ldd(program);
        assert!(!libraries.is_empty(), "ldd says nothing about {program}");
        let script = "for file; do test -r \"$file\" || echo \"$file\"; done; echo checked";
        let libraries: Vec<&str> = libraries.iter().map(String::as_str).collect();
        let ran = run(
            &place,
            &format!("sh,{program}"),
            &[&["sh", "-c", script, "sh"], &libraries[..]].concat(),
        );
        assert_eq!(ran.works(), "checked", "{program} lacks these");
    }
}

fn libraries_by_ldd(program: &str) -> BTreeSet<String> {
    let script = "ldd \"$(readlink -f \"$(command -v \"$0\")\")\"";
    let output = Command::new("sh")
        .args(["-c", script, program])
        .env_remove("LD_LIBRARY_PATH")
        .output()
        .expect("ldd");
    let output = String::from_utf8_lossy(&output.stdout).into_owned();
    output.split_whitespace().filter(|word| word.starts_with('/')).map(str::to_owned).collect()
}

#[test]
fn programs_with_parts_that_are_loaded_later_work() {
    let place = Place::new();
    for (program, command, expected) in [
        ("python3", &["python3", "-c", "import json, hashlib; print(json.dumps(6 * 7))"][..], "42"),
        ("git", &["git", "--version"], "git version"),
        ("ls", &["ls", "-ld", "/root"], " root root "),
        ("id", &["id"], "uid=0(root) gid=0(root)"),
        ("bash", &["bash", "-c", "echo ~ ${BASH_VERSION:+bash}"], "/root bash"),
    ] {
        if need(program) {
            let ran = run(&place, program, command);
            assert!(ran.works().contains(expected), "{program}: {ran:?}");
        }
    }
}

#[test]
fn a_script_brings_its_interpreter() {
    let place = Place::new();
    let script = place.write("tool", "#!/bin/sh\necho \"from $0 with $1\"\n");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("executable");
    let script = text(&script);
    assert_eq!(run(&place, script, &[script, "word"]).works(), format!("from {script} with word"));
}

#[test]
fn a_program_by_its_path_is_inside_under_that_path() {
    let place = Place::new();
    let path = ["/usr/bin/env", "/bin/env"]
        .into_iter()
        .find(|path| Path::new(path).exists())
        .expect("env");
    let ran = run(&place, path, &[path, "printenv-is-not-inside"]);
    assert_eq!(ran.status, 127, "env itself ran and did not find it: {ran:?}");
    assert_eq!(run(&place, path, &["env", "-i", "A=b", path]).works(), "A=b");
}

#[test]
fn symbolic_links_of_the_host_stay_links() {
    let Ok(link) = fs::read_link("/bin") else {
        return assert!(need_that(Path::new("/bin").is_dir(), "/bin"));
    };
    let place = Place::new();
    assert_eq!(run(&place, "sh,readlink", &["readlink", "/bin"]).works(), text(&link));
}

#[test]
fn libraries_are_found_beside_the_program_as_its_runpath_says() {
    if !need("gcc") {
        return;
    }
    for tags in ["--enable-new-dtags", "--disable-new-dtags"] {
        let place = Place::new();
        place.write("lib.c", "int answer(void) { return 42; }\n");
        place.write("main.c", "int answer(void); int main(void) { return answer(); }\n");
        place.folder("private");
        gcc(&place, &["-shared", "-fPIC", "-o", "private/libanswer.so", "lib.c"]);
        let runpath = format!("-Wl,{tags},-rpath,$ORIGIN/private");
        gcc(&place, &["-o", "program", "main.c", "-Lprivate", "-lanswer", &runpath]);
        let program = place.path("program");
        assert_eq!(run(&place, text(&program), &[text(&program)]).status, 42, "{tags}");
    }
}

fn gcc(place: &Place, arguments: &[&str]) {
    let mut command = Command::new("gcc");
    place.prepare(command.args(arguments));
    assert!(command.status().expect("gcc").success(), "gcc {arguments:?}");
}

#[test]
fn the_root_is_complete_in_small() {
    let place = Place::new();
    let script = "for file in passwd group hosts nsswitch.conf resolv.conf; do test -f /etc/$file || echo $file; done; \
                  stat -c %a /tmp; stat -c %u:%g /root";
    let ran = run(&place, "sh,stat", &["sh", "-c", script]);
    assert_eq!(ran.works().lines().collect::<Vec<_>>(), ["1777", "0:0"]);
}

#[test]
fn the_second_run_assembles_nothing() {
    let place = Place::new();
    run(&place, "sh,ls", &["true"]).exits(127);
    run(&place, "sh,ls", &["ls", "/"]).works();
    let first = files(&place.store());
    assert!(!first.is_empty(), "nothing is kept");
    run(&place, "sh,ls", &["ls", "/"]).works();
    assert_eq!(files(&place.store()), first);
}

fn files(folder: &Path) -> BTreeSet<String> {
    let entries = walkdir::WalkDir::new(folder).into_iter().flatten();
    entries
        .map(|entry| format!("{} {:?}", entry.path().display(), modified(entry.path())))
        .collect()
}

// Of files alone: a folder's time changes whenever something is born in it and renamed away.
fn modified(path: &Path) -> Option<std::time::SystemTime> {
    let metadata = path.symlink_metadata().ok().filter(fs::Metadata::is_file)?;
    metadata.modified().ok()
}

#[test]
fn a_program_that_changed_is_assembled_anew() {
    let place = Place::new();
    for answer in ["one", "two"] {
        let script = place.write("tool", format!("#!/bin/sh\necho {answer}\n"));
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("executable");
        assert_eq!(run(&place, text(&script), &[text(&script)]).works(), answer);
    }
}

#[test]
fn changes_inside_reach_neither_the_host_s_files_nor_the_next_run() {
    let place = Place::new();
    let script = place.write("tool", "#!/bin/sh\necho here\n");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("executable");
    let tool = text(&script);
    let inside = format!("echo changed >> {tool}; rm {tool} && echo gone");
    let programs = format!("sh,rm,{tool}");
    assert_eq!(run(&place, &programs, &["sh", "-c", &inside]).works(), "gone");
    assert_eq!(place.read("tool"), "#!/bin/sh\necho here\n");
    assert_eq!(run(&place, &programs, &[tool]).works(), "here");
}

#[test]
fn several_first_runs_at_once_assemble_one_root() {
    let place = Place::new();
    let words = ["run", "--rm", "host:sh,ls", "ls", "/"];
    let runs: Vec<_> =
        (0..5).map(|_| crate::support::Started::new(&mut place.command(&words), "")).collect();
    let outputs: BTreeSet<String> =
        runs.into_iter().map(|run| run.end().works().to_owned()).collect();
    assert!(
        outputs.len() == 1 && outputs.iter().all(|output| output.contains("usr")),
        "{outputs:?}"
    );
}
