//! Minimal /etc, and the folders that programs expect: accounts, name resolution, mount points and writable folders.
//! Last in the plan: a shell is named only if it is in the plan.

use std::path::Path;

use super::tree::{HostTree, NoteScope};

const PASSWD: &str = "/etc/passwd";
const GROUP: &str = "/etc/group";
const RESOLV: &str = "/etc/resolv.conf";

/// Folders of the root. Mount points have no content of their own; sticky folders are for every user inside.
const FOLDERS: &[(&str, u32)] = &[
    ("/dev", 0o755),
    ("/etc", 0o755),
    ("/home", 0o755),
    ("/proc", 0o755),
    ("/root", 0o700),
    ("/run", 0o755),
    ("/sys", 0o755),
    ("/tmp", 0o1777),
    ("/var", 0o755),
    ("/var/tmp", 0o1777),
];

/// Links of a merged /usr: taken even if no program used them, for users who expect /bin.
const MERGED: &[&str] = &["/bin", "/sbin", "/lib", "/lib64"];

const HOSTS: &str = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n";
const NSSWITCH: &str = "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\nnetworks: files\nprotocols: files\nservices: files\n";

/// User who starts the container, from the environment. The values count where /etc/passwd does not list the user
/// (LDAP).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Invoker {
    /// User ID.
    pub uid: u32,
    /// Group ID.
    pub gid: u32,
    /// USER.
    pub name: Option<String>,
    /// HOME.
    pub home: Option<String>,
    /// SHELL.
    pub shell: Option<String>,
}

/// Adds the folders and the files of /etc to the plan.
pub fn add(tree: &mut HostTree, invoker: &Invoker) {
    for (path, mode) in FOLDERS {
        tree.make_folder(path, *mode);
    }
    for link in MERGED.iter().map(Path::new).filter(|link| link.is_symlink()) {
        if let Err(error) = tree.take(link, NoteScope::Each) {
            log::debug!("left out {}: {error}", link.display());
        }
    }
    let _ = tree.take(Path::new("/etc/localtime"), NoteScope::Each);
    let passwd = passwd(tree, invoker);
    let group = group(&read(tree, GROUP), invoker);
    let resolv = read(tree, RESOLV);
    tree.write(PASSWD, passwd);
    tree.write(GROUP, group);
    tree.write("/etc/hosts", HOSTS.into());
    tree.write("/etc/nsswitch.conf", NSSWITCH.into());
    tree.write(RESOLV, resolv);
}

/// Returns the host's file, or an empty text. Notes the file and its link's target (resolv.conf is often a link).
fn read(tree: &mut HostTree, path: &str) -> String {
    let path = Path::new(path);
    tree.seen.note_state_of(path);
    if let Ok(real) = path.canonicalize() {
        tree.seen.note_state_of(&real);
    }
    std::fs::read(path)
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .unwrap_or_default()
}

fn passwd(tree: &mut HostTree, invoker: &Invoker) -> String {
    let host = read(tree, PASSWD);
    let shell = |wanted: Option<&str>| {
        let there =
            wanted.into_iter().chain(["/bin/bash"]).find(|shell| tree.has(Path::new(shell)));
        there.unwrap_or("/bin/sh").to_owned()
    };
    let mut lines = format!("root:x:0:0:root:/root:{}\n", shell(None));
    if invoker.uid != 0 && invoker.uid != NOBODY {
        let known = entry(&host, 2, invoker.uid);
        let field = |number: usize| known.as_ref().and_then(|fields| fields.get(number).copied());
        let with_phrase = |text: &'_ Option<String>| text.clone().filter(|text| is_field(text));
        let name = field(0)
            .map(str::to_owned)
            .or_else(|| with_phrase(&invoker.name))
            .unwrap_or_else(|| "user".into());
        let home = field(5)
            .map(str::to_owned)
            .or_else(|| with_phrase(&invoker.home))
            .unwrap_or_else(|| "/".into());
        let shell =
            shell(field(6).map(str::to_owned).or_else(|| with_phrase(&invoker.shell)).as_deref());
        let (uid, gid) = (invoker.uid, invoker.gid);
        lines.push_str(&format!(
            "{name}:x:{uid}:{gid}:{}:{home}:{shell}\n",
            field(4).unwrap_or_default()
        ));
    }
    lines + "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"
}

/// ID of the user `nobody`, which the kernel shows for an ID without a counterpart in the namespace (overflowuid).
const NOBODY: u32 = 65534;

fn group(host: &str, invoker: &Invoker) -> String {
    let mut lines = String::from("root:x:0:\n");
    if invoker.gid != 0 && invoker.gid != NOBODY {
        let known = entry(host, 2, invoker.gid).and_then(|fields| fields.first().copied());
        let name =
            known.or(invoker.name.as_deref().filter(|name| is_field(name))).unwrap_or("users");
        lines.push_str(&format!("{name}:x:{}:\n", invoker.gid));
    }
    lines + "nogroup:x:65534:\n"
}

/// Returns the fields of the first line whose field `number` is `id`.
fn entry(host: &str, number: usize, id: u32) -> Option<Vec<&str>> {
    let id = id.to_string();
    let mut lines = host.lines().map(|line| line.split(':').collect::<Vec<_>>());
    lines.find(|fields| fields.get(number).is_some_and(|field| *field == id))
}

/// True if a text of the environment can stand in a field.
fn is_field(text: &str) -> bool {
    !text.is_empty() && !text.contains([':', '\n', '\0'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_whom_only_the_environment_knows_is_written_down() {
        let invoker = Invoker {
            uid: 4_000_000_000,
            gid: 4_000_000_001,
            name: Some("ada".into()),
            home: Some("/home:/evil".into()),
            shell: Some("/bin/nosuch".into()),
        };
        let passwd = passwd(&mut HostTree::default(), &invoker);
        assert!(passwd.contains("\nada:x:4000000000:4000000001::/:/bin/sh\n"), "{passwd}");
        assert!(group("", &invoker).contains("\nada:x:4000000001:\n"));
    }

    #[test]
    fn the_hosts_names_win() {
        let host = "root:x:0:\nstaff:x:50:\nada:x:1000:bob\n";
        let invoker =
            Invoker { uid: 1000, gid: 1000, name: Some("other".into()), ..Invoker::default() };
        assert_eq!(group(host, &invoker), "root:x:0:\nada:x:1000:\nnogroup:x:65534:\n");
        assert_eq!(group(host, &Invoker::default()), "root:x:0:\nnogroup:x:65534:\n");
    }
}
