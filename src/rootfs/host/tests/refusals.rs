//! Refused requests and their messages; and scripts.

use std::os::unix::fs::PermissionsExt;

use super::*;

#[test]
fn a_file_that_is_no_program_is_refused_in_one_line() {
    assert_eq!(error_of(&[]), "host: names no program");
    assert_eq!(error_of(&["bash", ""]), "host:: the name of a program is empty");
    assert_eq!(error_of(&["nosuch"]), "host:nosuch: not found in PATH");
    assert_eq!(error_of(&["bin/ls"]), "host:bin/ls: neither a name nor an absolute path");
    assert_eq!(error_of(&["/nosuch/ls"]), "host:/nosuch/ls: No such file or directory");

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
    assert!(error_of(&[&foreign]).contains("is a program for "), "{}", error_of(&[&foreign]));
    let cut = write("cut", &shell[..100]);
    assert!(error_of(&[&cut]).contains("broken ELF file"), "{}", error_of(&[&cut]));
    assert!(
        error_of(&[&write("text", b"hello\n")])
            .ends_with("neither an ELF program nor a script with a #! line")
    );
    assert!(
        error_of(&[&write("empty", b"")])
            .ends_with("neither an ELF program nor a script with a #! line")
    );
    assert!(
        error_of(&[&write("lost", b"#!/nosuch/shell\n")])
            .contains("interpreter /nosuch/shell (needed by ")
    );
    assert!(
        error_of(&[&write("by_env", b"#!/usr/bin/env nosuch\n")])
            .contains("interpreter nosuch (needed by ")
    );
    let deep = write("d0", b"#!/bin/sh\n");
    for level in 1..8 {
        write(&format!("d{level}"), format!("#!{}\n", path(&format!("d{}", level - 1))).as_bytes());
    }
    assert!(plan(&request(&[&deep])).is_ok());
    assert!(error_of(&[&path("d7")]).contains("is a script of a script"));
    // A script that interprets itself ends the search; the kernel reports ELOOP at exec.
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
    for path in ["/usr/bin/env", "/usr/bin/bash", "/bin/sh", "/etc/passwd", "/etc/ld.so.cache"] {
        assert!(plan.tree.has(Path::new(path)), "{path}");
    }
}
