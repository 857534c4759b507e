//! The whole of it against real oracles: `ldd` for the libraries, `chroot` for whether programs start.

use std::collections::BTreeSet;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::process::{Command, Output};

use super::closure::Surroundings;
use super::tree::Node;
use super::*;

/// A request by names, in a PATH that does not depend on who runs the tests.
fn request(programs: &[&str]) -> Request {
    let programs: Vec<String> = programs.iter().map(|name| (*name).to_owned()).collect();
    let mut request = Request::new(&programs);
    request.surroundings.search = Some("/usr/sbin:/usr/bin:/sbin:/bin".into());
    request.surroundings.term = Some("xterm-256color".into());
    request
}

fn store() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn error_of(programs: &[&str]) -> String {
    plan(&request(programs)).err().unwrap().to_string()
}

/// The libraries and the loader that `ldd` names, links followed. None: it says that something is missing.
fn by_ldd(program: &Path) -> Option<BTreeSet<PathBuf>> {
    let output = Command::new("ldd")
        .arg(program)
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
        place.starts_with('/').then(|| {
            Path::new(place.split(" (").next().unwrap())
                .canonicalize()
                .unwrap()
        })
    });
    Some(paths.collect())
}

fn by_us(program: &Path) -> Result<BTreeSet<PathBuf>> {
    let mut closure = Closure::new(Surroundings::default());
    closure.add_program(program, 0)?;
    let real = program.canonicalize().unwrap();
    let files = closure
        .tree
        .nodes()
        .filter(|(_, node)| matches!(node, Node::File { .. }));
    let files = files
        .map(|(path, _)| path.to_owned())
        .filter(|path| *path != real);
    // ldd names the one variant that fits this processor; we take all and the ordinary one.
    Ok(files
        .filter(|path| !path.to_string_lossy().contains("hwcaps"))
        .collect())
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
    let mut programs: BTreeSet<PathBuf> = named
        .iter()
        .map(|name| Path::new("/usr/bin").join(name))
        .collect();
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
        if is_library {
            ""
        } else {
            "int main(void) { return 0; }"
        },
    )
    .unwrap();
    let mut cc = Command::new("cc");
    cc.current_dir(folder)
        .arg("source.c")
        .arg("-o")
        .arg(&output)
        .arg("-Wl,--no-as-needed");
    if is_library {
        cc.arg("-shared")
            .arg(format!("-Wl,-soname,{}", output.file_name().unwrap().display()));
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
    // Needs libdeep and says nothing of where: the program's RPATH serves it, its RUNPATH must not.
    compile(folder.path(), "private/libmid.so", &["deep/libdeep.so"]);
    compile(
        folder.path(),
        "private/libown.so",
        &["deep/libdeep.so", "-Wl,--enable-new-dtags,-rpath,$ORIGIN/../deep"],
    );
    compile(
        folder.path(),
        "private/libold.so",
        &[
            "deep/libdeep.so",
            "-Wl,--disable-new-dtags,-rpath,$ORIGIN/../deep",
        ],
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
        (
            "deep",
            "disable",
            "$ORIGIN/../$PLATFORM:$ORIGIN/../deep:$ORIGIN/../private",
        ),
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
        assert_eq!(
            by_us(&through_link).ok(),
            theirs,
            "through a link: {library} {tags} {list}"
        );
    }
}

#[test]
fn a_missing_library_is_named_with_who_needs_it() {
    let folder = tempfile::tempdir().unwrap();
    compile(folder.path(), "libabsent.so", &[]);
    let program = compile(folder.path(), "program", &["libabsent.so"]);
    std::fs::remove_file(folder.path().join("libabsent.so")).unwrap();
    let asked = program.to_str().unwrap();
    let error = plan(&request(&[asked])).err().unwrap();
    let real = program.canonicalize().unwrap();
    let wanted = format!(
        "host:{asked}: library libabsent.so (needed by {}) is not found",
        real.display()
    );
    assert_eq!(error.to_string(), wanted);
    assert!(error.way_out().is_some());
}

#[test]
fn what_is_no_program_is_refused_in_one_line() {
    assert_eq!(error_of(&[]), "host: names no program");
    assert_eq!(error_of(&["bash", ""]), "host:: the name of a program is empty");
    assert_eq!(error_of(&["nosuch"]), "host:nosuch: not found in PATH");
    assert_eq!(
        error_of(&["bin/ls"]),
        "host:bin/ls: neither a name nor an absolute path"
    );
    assert_eq!(
        error_of(&["/nosuch/ls"]),
        "host:/nosuch/ls: No such file or directory"
    );

    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let shell = std::fs::read("/bin/sh").unwrap();

    let mut other = shell.clone();
    other[18] = if other[18] == 243 { 62 } else { 243 };
    let foreign = write("foreign", &other);
    assert!(
        error_of(&[&foreign]).contains("is a program for "),
        "{}",
        error_of(&[&foreign])
    );
    let cut = write("cut", &shell[..100]);
    assert!(
        error_of(&[&cut]).contains("broken ELF file"),
        "{}",
        error_of(&[&cut])
    );
    assert!(
        error_of(&[&write("text", b"hello\n")])
            .ends_with("neither an ELF program nor a script with a #! line")
    );
    assert!(
        error_of(&[&write("empty", b"")]).ends_with("neither an ELF program nor a script with a #! line")
    );
    assert!(
        error_of(&[&write("lost", b"#!/nosuch/shell\n")]).contains("interpreter /nosuch/shell (needed by ")
    );
    assert!(
        error_of(&[&write("by_env", b"#!/usr/bin/env nosuch\n")]).contains("interpreter nosuch (needed by ")
    );
    let deep = write("d0", b"#!/bin/sh\n");
    for level in 1..8 {
        write(
            &format!("d{level}"),
            format!("#!{}\n", path(&format!("d{}", level - 1))).as_bytes(),
        );
    }
    assert!(plan(&request(&[&deep])).is_ok());
    assert!(error_of(&[&path("d7")]).contains("is a script of a script"));
    // A script that interprets itself ends the search; the kernel's ELOOP will tell.
    let circle = write("circle", format!("#!{}\n", path("circle")).as_bytes());
    assert!(plan(&request(&[&circle])).is_ok());
}

#[test]
fn scripts_bring_their_interpreters() {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("script");
    std::fs::write(&script, "#!/usr/bin/env -S bash -e\n").unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    let plan = plan(&request(&[script.to_str().unwrap()])).unwrap();
    for path in [
        "/usr/bin/env",
        "/usr/bin/bash",
        "/bin/sh",
        "/etc/passwd",
        "/etc/ld.so.cache",
    ] {
        assert!(plan.tree.has(Path::new(path)), "{path}");
    }
}

/// Runs a command inside as root of a user namespace of its own.
fn run_in(root: &HostRoot, command: &[&str]) -> Output {
    Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "chroot"])
        .arg(&root.path)
        .args(command)
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("TERM", "xterm-256color")
        .env_remove("LD_LIBRARY_PATH")
        .output()
        .unwrap()
}

fn says(root: &HostRoot, command: &[&str]) -> String {
    let output = run_in(root, command);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{command:?}: {errors}");
    String::from_utf8(output.stdout).unwrap() + &errors
}

#[test]
fn programs_work_inside() {
    let store = store();
    let root = assemble_for(store.path(), &request(&["bash", "ls", "id", "hostname", "ps"])).unwrap();
    let bash = root.programs[0].to_str().unwrap();
    let text = says(
        &root,
        &[
            bash,
            "-c",
            "id; ls -l /; hostname; echo $BASH_VERSION; sh -c 'echo from sh'; ls -ld /tmp ~",
        ],
    );
    for part in ["uid=0(root) gid=0(root)", "from sh", "drwxrwxrwt"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    if Path::new("/bin").is_symlink() {
        assert!(text.contains("bin -> usr/bin"), "{text}");
    }
    assert!(String::from_utf8_lossy(&run_in(&root, &["ps"]).stderr).contains("/proc"));
}

#[test]
fn interpreters_find_their_data_inside() {
    let asked: Vec<&str> = ["/usr/bin/python3", "/usr/bin/git", "/usr/bin/perl"]
        .into_iter()
        .filter(|path| Path::new(path).exists())
        .collect();
    let store = store();
    let root = assemble_for(store.path(), &request(&asked)).unwrap();
    let code = "import json, sqlite3, ssl, curses, threading, decimal, socket\n\
                print('python', json.dumps([1]), sqlite3.sqlite_version, ssl.create_default_context().cert_store_stats())\n\
                print(socket.getaddrinfo('localhost', 80)[0][0], 'aä'.encode('utf-16').decode('utf-16'))\n\
                curses.setupterm()";
    for path in asked {
        let text = match path {
            "/usr/bin/python3" => says(&root, &[path, "-c", code]),
            "/usr/bin/git" => {
                says(&root, &[path, "--version"])
                    + &says(
                        &root,
                        &[
                            "/bin/sh",
                            "-c",
                            "cd /tmp && git init -q x 2>&1 && git -C x status; rm() { :; }; git --exec-path; git remote-https 2>&1 || true",
                        ],
                    )
            }
            _ => says(
                &root,
                &[
                    path,
                    "-MPOSIX",
                    "-MList::Util=sum",
                    "-MEncode",
                    "-e",
                    "use strict; use warnings; print 'perl ', sum(1, 2)",
                ],
            ),
        };
        println!("{text}");
        assert!(!text.contains("error while loading"), "{text}");
    }
}

#[test]
fn the_name_of_a_layer_is_the_listing_of_what_is_in_it() {
    let store = store();
    let root = assemble_for(store.path(), &request(&["bash"])).unwrap();
    let planned = plan(&request(&["bash"])).unwrap();
    for (path, node) in planned.tree.nodes() {
        let inside = root.path.join(path.strip_prefix("/").unwrap());
        let metadata = inside.symlink_metadata().unwrap();
        match node {
            Node::Folder(mode) => assert_eq!(metadata.mode() & 0o7777, *mode, "{}", path.display()),
            Node::Link(target) => assert_eq!(std::fs::read_link(&inside).unwrap(), *target),
            Node::Text(text) => assert_eq!(std::fs::read_to_string(&inside).unwrap(), *text),
            Node::File { mode, .. } => {
                assert_eq!(metadata.mode() & 0o7777, *mode, "{}", path.display());
                assert_eq!(std::fs::read(&inside).unwrap(), std::fs::read(path).unwrap());
                let host = path.metadata().unwrap();
                assert_eq!(
                    (metadata.mtime(), metadata.mtime_nsec()),
                    (host.mtime(), host.mtime_nsec())
                );
                assert_ne!(
                    (metadata.dev(), metadata.ino()),
                    (host.dev(), host.ino()),
                    "never a hard link"
                );
            }
        }
    }
    let inside = walkdir::WalkDir::new(&root.path).min_depth(1).into_iter().count();
    assert_eq!(inside, planned.tree.nodes().count(), "nothing else is inside");
    let (_, name) = named_plan(&request(&["bash"])).unwrap();
    assert_eq!(name.folder(store.path()).join("fs"), root.path);
}

#[test]
fn set_user_id_bits_are_not_inherited() {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("su");
    std::fs::copy("/bin/sh", &program).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o6755)).unwrap();
    let store = store();
    let root = assemble_for(store.path(), &request(&[program.to_str().unwrap()])).unwrap();
    let inside = root.path.join(root.programs[0].strip_prefix("/").unwrap());
    assert_eq!(inside.metadata().unwrap().mode() & 0o7777, 0o755);
}

/// Every path below with its times, for telling whether anything was touched.
fn times(store: &Path) -> Vec<(PathBuf, i64, i64)> {
    let entries = walkdir::WalkDir::new(store)
        .sort_by_file_name()
        .into_iter()
        .map(|entry| entry.unwrap());
    entries
        .map(|entry| {
            (
                entry.path().to_owned(),
                entry.metadata().unwrap().mtime_nsec(),
                entry.metadata().unwrap().ctime_nsec(),
            )
        })
        .collect()
}

#[test]
fn a_second_call_touches_nothing() {
    let store = store();
    let request = request(&["bash", "ls", "id", "ps", "hostname"]);
    let first = assemble_for(store.path(), &request).unwrap();
    let before = times(store.path());
    let start = std::time::Instant::now();
    for _ in 0..100 {
        let second = assemble_for(store.path(), &request).unwrap();
        assert_eq!((&second.path, &second.programs), (&first.path, &first.programs));
    }
    println!("a second call takes {:?}", start.elapsed() / 100);
    assert_eq!(times(store.path()), before);
    assert!(
        std::fs::read_dir(store.path().join("tmp"))
            .unwrap()
            .next()
            .is_none()
    );
}

#[test]
fn a_changed_program_makes_a_new_layer_and_the_old_one_goes_when_unused() {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("tool");
    let write = |text: &str| {
        let new = folder.path().join("new");
        std::fs::write(&new, text).unwrap();
        std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o755)).unwrap();
        std::fs::rename(&new, &program).unwrap();
    };
    let store = store();
    let request = request(&[program.to_str().unwrap()]);
    write("#!/bin/sh\necho one\n");
    let first = assemble_for(store.path(), &request).unwrap();
    write("#!/bin/sh\necho two\n");
    let second = assemble_for(store.path(), &request).unwrap();
    assert_ne!(first.path, second.path);
    assert!(first.path.exists(), "somebody runs on it");
    assert_eq!(says(&second, &[program.to_str().unwrap()]), "two\n");
    let old = second.path.clone();
    drop(second);
    write("#!/bin/sh\necho three\n");
    let third = assemble_for(store.path(), &request).unwrap();
    assert!(!old.exists() && third.path.exists());
    // A layer that somebody removed is made again.
    std::fs::remove_dir_all(third.path.parent().unwrap()).unwrap();
    assert!(assemble_for(store.path(), &request).unwrap().path.exists());
}

#[test]
fn a_program_that_comes_first_in_path_later_is_noticed() {
    let (first, second, store) = (
        tempfile::tempdir().unwrap(),
        tempfile::tempdir().unwrap(),
        store(),
    );
    symlink("/bin/sh", second.path().join("tool")).unwrap();
    let mut request = request(&["tool"]);
    let search = format!("relative::{}:{}", first.path().display(), second.path().display());
    request.surroundings.search = Some(search.into());
    assert_eq!(
        assemble_for(store.path(), &request).unwrap().programs,
        [second.path().join("tool")]
    );
    symlink("/bin/sh", first.path().join("tool")).unwrap();
    assert_eq!(
        assemble_for(store.path(), &request).unwrap().programs,
        [first.path().join("tool")]
    );
}

#[test]
fn several_at_once_make_one_layer() {
    let store = store();
    let paths: BTreeSet<PathBuf> = std::thread::scope(|scope| {
        let all: Vec<_> = (0..8)
            .map(|number| {
                let path = store.path();
                scope.spawn(move || {
                    assemble_for(
                        path,
                        &request(if number % 2 == 0 {
                            &["bash", "ls"]
                        } else {
                            &["ls", "bash", "ls"]
                        }),
                    )
                    .unwrap()
                    .path
                })
            })
            .collect();
        all.into_iter().map(|one| one.join().unwrap()).collect()
    });
    assert_eq!(paths.len(), 1);
    assert_eq!(std::fs::read_dir(store.path().join("layers")).unwrap().count(), 1);
    assert_eq!(std::fs::read_dir(store.path().join("tmp")).unwrap().count(), 0);
}

#[test]
fn what_a_killed_process_left_is_removed_and_what_a_living_one_makes_is_not() {
    let store = store();
    std::fs::create_dir_all(store.path().join("tmp/host-dead/fs")).unwrap();
    std::fs::create_dir_all(store.path().join("tmp/host-alive/fs")).unwrap();
    std::fs::create_dir_all(store.path().join("tmp/pull-1")).unwrap();
    let alive = File::open(store.path().join("tmp/host-alive")).unwrap();
    alive.lock().unwrap();
    assemble_for(store.path(), &request(&["sh"])).unwrap();
    let left: BTreeSet<_> = std::fs::read_dir(store.path().join("tmp"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left, BTreeSet::from(["host-alive".into(), "pull-1".into()]));
}

#[test]
fn a_description_makes_nothing() {
    let store = store();
    let programs = ["/bin/sh".to_owned()];
    let before = describe(store.path(), &programs).unwrap();
    assert!(!before.is_made);
    assert_eq!(std::fs::read_dir(store.path()).unwrap().count(), 0);
    let root = assemble(store.path(), &programs).unwrap();
    assert_eq!(root.path, before.path);
    assert_eq!(
        describe(store.path(), &programs).unwrap(),
        Description {
            is_made: true,
            ..before
        }
    );
}

/// The child of the next test: assembles where the environment says and prints what came of it.
#[test]
#[ignore = "started by a_full_disk_leaves_nothing inside a namespace of its own"]
fn assemble_on_a_full_disk() {
    let Some(store) = std::env::var_os("USNEA_TEST_STORE") else {
        return;
    };
    let error = assemble_for(Path::new(&store), &request(&["bash"])).unwrap_err();
    println!("ERROR {error} HINT {}", error.way_out().unwrap_or_default());
    println!(
        "LEFT {}",
        walkdir::WalkDir::new(store).min_depth(2).into_iter().count()
    );
}

#[test]
fn a_full_disk_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let script = "mount -t tmpfs -o size=3m none \"$USNEA_TEST_STORE\" && exec \"$0\" --exact rootfs::host::tests::assemble_on_a_full_disk --ignored --nocapture";
    let output = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "sh", "-c", script])
        .arg(std::env::current_exe().unwrap())
        .env("USNEA_TEST_STORE", folder.path())
        .output()
        .unwrap();
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(
        text.contains("ERROR cannot assemble host:bash: cannot write "),
        "{text}"
    );
    assert!(
        text.contains("No space left on device HINT free some space"),
        "{text}"
    );
    assert!(text.contains("LEFT 0"), "{text}");
}
