//! Names of the calling user. Does without getpwnam(3): a static program cannot load the modules of nsswitch.conf, and
//! in a dynamic one they may start threads before the launch.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::program;

/// Longest wait for a directory server.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Returns the names of `uid` in `/etc/passwd`: several accounts may share a number, and shadow's tools accept each
/// name. Where the file has none (LDAP, AD), returns `$USER`, else the answer of getent(1).
pub fn names_of(uid: u32) -> Vec<String> {
    let passwd = std::fs::read("/etc/passwd").unwrap_or_default();
    let passwd = String::from_utf8_lossy(&passwd);
    let names = names_in(&passwd, uid);
    if !names.is_empty() {
        return names;
    }
    // `su` without `-` leaves $USER unchanged: a name that the file gives to another number is not the caller's.
    let ours = |name: &String| !name.is_empty() && !is_listed(&passwd, name);
    let from_environment = std::env::var("USER").ok().filter(ours);
    from_environment.or_else(|| ask_getent(uid)).into_iter().collect()
}

/// Returns the calling user's name, for messages and paths: the first of [`names_of`], else the number.
pub fn own_name() -> String {
    let uid = rustix::process::getuid().as_raw();
    names_of(uid).into_iter().next().unwrap_or_else(|| uid.to_string())
}

/// Returns the name of a group in `/etc/group`.
pub fn group_name(gid: u32) -> Option<String> {
    let group = std::fs::read("/etc/group").unwrap_or_default();
    names_in(&String::from_utf8_lossy(&group), gid).into_iter().next()
}

/// Returns the number of a user in `/etc/passwd`.
pub fn user_id(name: &str) -> Option<u32> {
    number_in(&std::fs::read("/etc/passwd").ok()?, name)
}

/// Returns the number of a group in `/etc/group`.
pub fn group_id(name: &str) -> Option<u32> {
    number_in(&std::fs::read("/etc/group").ok()?, name)
}

fn number_in(file: &[u8], name: &str) -> Option<u32> {
    let number_of_line = |line: &str| {
        let mut fields = line.split(':');
        (fields.next()? == name).then(|| fields.nth(1)?.parse().ok()).flatten()
    };
    String::from_utf8_lossy(file).lines().find_map(number_of_line)
}

fn names_in(passwd: &str, uid: u32) -> Vec<String> {
    let name_of_line = |line: &str| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid) && !name.is_empty()).then(|| name.to_owned())
    };
    passwd.lines().filter_map(name_of_line).collect()
}

fn is_listed(passwd: &str, name: &str) -> bool {
    passwd.lines().any(|line| line.split(':').next() == Some(name))
}

fn ask_getent(uid: u32) -> Option<String> {
    let mut command = Command::new(program::find("getent", Path::is_file)?);
    let answer = program::ask(command.args(["passwd", &uid.to_string()]), PATIENCE).ok()?;
    names_in(&answer.output, uid).into_iter().next()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\n\nbroken\nalice:x:1001:1001::/home/alice:/bin/sh\ntoor:x:0:0::/:/bin/sh\n";

    #[test]
    fn every_account_with_the_number_is_a_name_of_the_user() {
        assert_eq!(names_in(PASSWD, 0), ["root", "toor"]);
        assert_eq!(names_in(PASSWD, 1001), ["alice"]);
        assert!(names_in(PASSWD, 1).is_empty());
    }

    #[test]
    fn a_name_has_the_number_of_its_line() {
        assert_eq!(number_in(PASSWD.as_bytes(), "alice"), Some(1001));
        assert_eq!(number_in(PASSWD.as_bytes(), "broken"), None);
        assert_eq!(number_in(PASSWD.as_bytes(), "ali"), None);
    }

    #[test]
    fn a_name_is_compared_whole() {
        assert!(is_listed(PASSWD, "alice"));
        assert!(!is_listed(PASSWD, "ali"));
    }
}
