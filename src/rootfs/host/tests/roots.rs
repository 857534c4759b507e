//! Programs started inside assembled roots.

use std::process::{Command, Output};

use super::*;

/// Runs a command inside as root of a new user namespace, with the mounts of an engine.
fn run_in(root: &HostRoot, command: &[&str]) -> Output {
    let script = "mount --rbind /dev $0/dev && mount --rbind /proc $0/proc && mount -t tmpfs none $0/run && \
                  exec /usr/sbin/chroot $0 \"$@\"";
    Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "sh", "-c", script])
        .arg(&root.path)
        .args(command)
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("TERM", "xterm-256color")
        .env_remove("LD_LIBRARY_PATH")
        .output()
        .unwrap()
}

pub fn says(root: &HostRoot, command: &[&str]) -> String {
    let output = run_in(root, command);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{command:?}: {errors}");
    String::from_utf8(output.stdout).unwrap() + &errors
}

#[test]
fn programs_work_inside() {
    let store = new_store();
    let root =
        assemble_for(store.path(), &request(&["bash", "ls", "id", "hostname", "ps"])).unwrap();
    let bash = root.programs[0].to_str().unwrap();
    let text = says(
        &root,
        &[
            bash,
            "-c",
            "id; ls -l /; hostname; echo $BASH_VERSION; sh -c 'echo from sh'; ls -ld /tmp",
        ],
    );
    for part in ["uid=0(root) gid=0(root)", "from sh", "drwxrwxrwt"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    if Path::new("/bin").is_symlink() {
        assert!(text.contains("bin -> usr/bin"), "{text}");
    }
    assert!(says(&root, &["ps", "-e"]).contains("ps"));
}

#[test]
fn interpreters_find_their_data_inside() {
    let requested: Vec<&str> = ["/usr/bin/python3", "/usr/bin/git", "/usr/bin/perl"]
        .into_iter()
        .filter(|path| Path::new(path).exists())
        .collect();
    let store = new_store();
    let root = assemble_for(store.path(), &request(&requested)).unwrap();
    let code = "import json, sqlite3, ssl, curses, threading, decimal, socket\n\
                print('python', json.dumps([1]), sqlite3.sqlite_version, ssl.create_default_context().cert_store_stats())\n\
                print(socket.getaddrinfo('localhost', 80)[0][0], 'aä'.encode('utf-16').decode('utf-16'))\n\
                curses.setupterm()";
    for path in requested {
        let text = match path {
            "/usr/bin/python3" => says(&root, &[path, "-c", code]),
            "/usr/bin/git" => {
                says(&root, &[path, "--version"])
                    + &says(
                        &root,
                        &[
                            "/bin/sh",
                            "-c",
                            "cd /run && git init -q x && git -C x status && git --exec-path && ! git remote-https x",
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
