//! `--security-opt`. Unknown options are refused, never ignored: a requested protection that is silently missing is
//! worse than an error (CVE-2025-65105).

use std::str::FromStr;

use super::switch::parse_switch;

/// Parsed value of `--security-opt`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecurityOption {
    /// exec(2) raises no privileges: set-user-ID programs and file capabilities have no effect.
    NoNewPrivileges,
    /// exec(2) may raise privileges (the default).
    NewPrivileges,
    /// Declines a protection that no container has here: a filter of system calls, a profile, a label.
    AlreadySo,
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
            ("seccomp" | "apparmor", Some("unconfined")) | ("label", Some("disable")) => {
                Ok(Self::AlreadySo)
            }
            ("systempaths", Some("unconfined")) | ("unmask", Some("ALL" | "all")) => {
                Ok(Self::UnmaskAll)
            }
            ("unmask", Some(value)) => paths(value).map(Self::Unmask),
            ("mask", Some(value)) => paths(value).map(Self::Mask),
            ("seccomp" | "apparmor" | "label", _) => Err(format!(
                "{name}: a container has none here, and none can be given to it"
            )),
            _ => Err("unknown: there are no-new-privileges, mask, unmask, systempaths=unconfined, seccomp=unconfined, \
                 apparmor=unconfined and label=disable"
                .into()),
        }
    }
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
        for text in [
            "seccomp=unconfined",
            "seccomp:unconfined",
            "label=disable",
            "label:disable",
            "apparmor=unconfined",
        ] {
            assert_eq!(text.parse(), Ok(SecurityOption::AlreadySo), "{text}");
        }
        for text in ["unmask=ALL", "unmask:all", "systempaths=unconfined"] {
            assert_eq!(text.parse(), Ok(SecurityOption::UnmaskAll), "{text}");
        }
        let paths = vec!["/proc/acpi".to_owned(), "/sys/*".to_owned()];
        assert_eq!("unmask=/proc/acpi:/sys/*".parse(), Ok(SecurityOption::Unmask(paths)));
    }

    #[test]
    fn a_protection_that_cannot_be_given_is_refused() {
        for wrong in [
            "",
            "no-new-privileges=",
            "no-new-privileges:maybe",
            "No-New-Privileges",
            "seccomp=profile.json",
            "apparmor=x",
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
