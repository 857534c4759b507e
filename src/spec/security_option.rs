//! `--security-opt`. Unknown options are refused, never ignored: a requested protection that is silently missing is
//! worse than an error (CVE-2025-65105).

use std::path::PathBuf;
use std::str::FromStr;

use super::switch::parse_switch;
use crate::seccomp_source::SeccompSource;

/// Parsed value of `--security-opt`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecurityOption {
    /// exec(2) raises no privileges: set-user-ID programs and file capabilities have no effect.
    NoNewPrivileges,
    /// exec(2) may raise privileges (the default).
    NewPrivileges,
    /// Filter of system calls.
    Seccomp(SeccompSource),
    /// Declines a protection that no container has here: a profile, a label.
    AlreadySo,
    /// AppArmor profile of the command.
    Apparmor(String),
    /// Mount options of /proc, such as `hidepid=2`.
    ProcOptions(Vec<String>),
    /// No process of the container can make a user namespace.
    NoUserns,
    /// Landlock domain of the container's root and all that is mounted in it.
    Landlock,
    /// Landlock domain by the rules of a file.
    LandlockFile(PathBuf),
    /// No path of /proc and /sys is hidden or read-only.
    UnmaskAll,
    /// Unmasked paths, neither hidden nor read-only. A last part `*` stands for any name.
    Unmask(Vec<String>),
    /// Masked paths, hidden in addition to the default ones.
    Mask(Vec<String>),
}

impl FromStr for SecurityOption {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, value) = match text.split_once(['=', ':']) {
            Some((name, value)) => (name, Some(value)),
            None => (text, None),
        };
        match (name, value) {
            ("no-new-privileges", value) => match value.map_or(Ok(true), parse_switch)? {
                true => Ok(Self::NoNewPrivileges),
                false => Ok(Self::NewPrivileges),
            },
            ("no-userns", value) => match value.map_or(Ok(true), parse_switch)? {
                true => Ok(Self::NoUserns),
                // The default.
                false => Ok(Self::AlreadySo),
            },
            ("landlock", Some("on")) => Ok(Self::Landlock),
            ("landlock", Some(file)) if !file.is_empty() => Ok(Self::LandlockFile(file.into())),
            ("proc-opts", Some(options)) => proc_options(options).map(Self::ProcOptions),
            ("seccomp", Some("")) | ("seccomp", None) => {
                Err("seccomp: needs builtin, unconfined or the path of a profile".into())
            }
            ("seccomp", Some(source)) => source.parse().map(Self::Seccomp).map_err(|never| match never {}),
            ("apparmor", Some("unconfined")) | ("label", Some("disable")) => Ok(Self::AlreadySo),
            ("systempaths", Some("unconfined")) | ("unmask", Some("ALL" | "all")) => {
                Ok(Self::UnmaskAll)
            }
            ("unmask", Some(value)) => paths(value).map(Self::Unmask),
            ("mask", Some(value)) => paths(value).map(Self::Mask),
            ("apparmor", Some(profile)) => apparmor(profile).map(Self::Apparmor),
            ("label", _) => Err("SELinux labels are not applied: label=disable alone is known".into()),
            _ => Err("unknown: there are no-new-privileges, no-userns, landlock, apparmor, mask, unmask, proc-opts, \
                 systempaths=unconfined, seccomp and label=disable"
                .into()),
        }
    }
}

/// Checks the name of a profile: it becomes a word of a command to the kernel.
fn apparmor(profile: &str) -> Result<String, String> {
    match profile.is_empty() || profile.contains(|byte: char| byte.is_control()) {
        true => Err(format!("{profile:?} is not the name of a profile")),
        false => Ok(profile.to_owned()),
    }
}

/// Checks mount options of /proc: those of proc(5), and flags that restrict the mount further.
fn proc_options(text: &str) -> Result<Vec<String>, String> {
    const HIDE: [&str; 8] = ["0", "1", "2", "4", "off", "noaccess", "invisible", "ptraceable"];
    let one = |option: &str| {
        let is_known = match option.split_once('=') {
            Some(("hidepid", value)) => HIDE.contains(&value),
            Some(("gid", value)) => value.parse::<u32>().is_ok(),
            Some(("subset", value)) => value == "pid",
            None => matches!(option, "ro" | "nosuid" | "nodev" | "noexec"),
            Some(_) => false,
        };
        let known = "hidepid=, gid=, subset=pid, ro, nosuid, nodev and noexec";
        is_known.then(|| option.to_owned()).ok_or_else(|| format!("'{option}': there are {known}"))
    };
    text.split(',').map(one).collect()
}

fn paths(text: &str) -> Result<Vec<String>, String> {
    let path = |path: &str| match path.starts_with('/') && !path.split('/').any(|part| part == "..")
    {
        true => Ok(path.to_owned()),
        false => Err(format!("'{path}' is not an absolute path")),
    };
    text.split(':').map(path).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_new_privileges_takes_dockers_forms_and_what_is_so_already_is_taken() {
        for text in [
            "no-new-privileges",
            "no-new-privileges:true",
            "no-new-privileges=true",
            "no-new-privileges=1",
        ] {
            assert_eq!(text.parse(), Ok(SecurityOption::NoNewPrivileges), "{text}");
        }
        assert_eq!("no-new-privileges:false".parse(), Ok(SecurityOption::NewPrivileges));
        for (text, source) in [
            ("seccomp=unconfined", SeccompSource::Unconfined),
            ("seccomp:unconfined", SeccompSource::Unconfined),
            ("seccomp=builtin", SeccompSource::Builtin),
            ("seccomp=profile.json", SeccompSource::File("profile.json".into())),
            ("seccomp:/a=b:c", SeccompSource::File("/a=b:c".into())),
        ] {
            assert_eq!(text.parse(), Ok(SecurityOption::Seccomp(source)), "{text}");
        }
        for text in ["label=disable", "label:disable", "apparmor=unconfined"] {
            assert_eq!(text.parse(), Ok(SecurityOption::AlreadySo), "{text}");
        }
        for text in ["unmask=ALL", "unmask:all", "systempaths=unconfined"] {
            assert_eq!(text.parse(), Ok(SecurityOption::UnmaskAll), "{text}");
        }
        let paths = vec!["/proc/acpi".to_owned(), "/sys/*".to_owned()];
        assert_eq!("unmask=/proc/acpi:/sys/*".parse(), Ok(SecurityOption::Unmask(paths)));
    }

    #[test]
    fn options_of_proc_profiles_and_domains_are_taken() {
        let options = vec!["hidepid=2".to_owned(), "subset=pid".to_owned()];
        assert_eq!(
            "proc-opts=hidepid=2,subset=pid".parse(),
            Ok(SecurityOption::ProcOptions(options))
        );
        assert_eq!("no-userns".parse(), Ok(SecurityOption::NoUserns));
        assert_eq!("no-userns=false".parse(), Ok(SecurityOption::AlreadySo));
        assert_eq!("landlock=on".parse(), Ok(SecurityOption::Landlock));
        let file = SecurityOption::LandlockFile("rules.toml".into());
        assert_eq!("landlock=rules.toml".parse(), Ok(file));
        assert_eq!("apparmor:site".parse(), Ok(SecurityOption::Apparmor("site".into())));
    }

    #[test]
    fn a_protection_that_cannot_be_given_is_refused() {
        for wrong in [
            "",
            "no-new-privileges=",
            "no-new-privileges:maybe",
            "No-New-Privileges",
            "seccomp",
            "seccomp=",
            "apparmor=",
            "apparmor=a\nb",
            "landlock",
            "landlock=",
            "no-userns=maybe",
            "proc-opts",
            "proc-opts=",
            "proc-opts=hidepid=3",
            "proc-opts=rw",
            "proc-opts=subset=pid,suid",
            "label=type:container_t",
            "label=level:s0",
            "mask=",
            "mask=proc",
            "unmask=/proc/../sys",
        ] {
            assert!(wrong.parse::<SecurityOption>().is_err(), "{wrong}");
        }
    }
}
