//! A root directory of 2 MB: one static busybox under many names. Shared by the tests and the bench, so it panics and
//! uses nothing but the standard library.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

const COMMANDS: &[&str] = &[
    "awk", "cat", "chown", "cmp", "cp", "dd", "df", "echo", "env", "false", "find", "grep", "head",
    "hostname", "id", "ip", "kill", "ln", "ls", "mkdir", "mknod", "mount", "od", "printf", "ps",
    "pwd", "readlink", "rm", "sed", "setsid", "sh", "sleep", "sort", "stat", "stty", "test",
    "touch", "tr", "true", "tty", "umount", "unshare", "wc",
];

const FOLDERS: &[&str] = &["bin", "dev", "etc", "proc", "root", "sys", "tmp"];

/// The host's static busybox, if it has one.
pub fn static_busybox() -> Option<PathBuf> {
    ["/bin/busybox", "/usr/bin/busybox", "/bin/busybox.static", "/bin/busybox-static"]
        .iter()
        .map(PathBuf::from)
        .find(|path| fs::read(path).is_ok_and(|program| !names_an_interpreter(&program)))
}

// A static program has no PT_INTERP; looking for the loader's name spares reading the program headers.
fn names_an_interpreter(program: &[u8]) -> bool {
    let head = &program[..program.len().min(4096)];
    head.windows(7).any(|bytes| bytes == b"/ld-lin" || bytes == b"/ld-mus")
}

/// Makes the root directory in `place`, which must not exist, owned by the caller.
pub fn make(place: &Path) {
    let busybox = static_busybox().expect("a static busybox (Debian: busybox-static)");
    fs::create_dir(place).expect("the folder of a new root");
    for folder in FOLDERS {
        fs::create_dir(place.join(folder)).expect("a folder of the new root");
    }
    let copy = place.join("bin/busybox");
    fs::copy(busybox, &copy).expect("a copy of busybox");
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o755)).expect("busybox made executable");
    for command in COMMANDS {
        symlink("busybox", place.join("bin").join(command)).expect("a name of busybox");
    }
    let write = |name: &str, text: &str| {
        fs::write(place.join("etc").join(name), text).expect("a file in etc")
    };
    write("passwd", "root:x:0:0:root:/root:/bin/sh\nworker:x:1000:1001:worker:/tmp:/bin/sh\n");
    fs::write(place.join("root/.profile"), "umask 022\n").expect("a file in root");
    write("group", "root:x:0:\nworker:x:1001:\nextra:x:1002:worker\n");
}
