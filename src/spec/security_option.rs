//! `--security-opt`. What is not known here is refused, never passed over: a protection that somebody asked for and did
//! not get is worse than an error (CVE-2025-65105).

use std::str::FromStr;

use super::switch::parse_switch;

/// One value of `--security-opt`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecurityOption {
    /// exec(2) raises no privileges: set-user-ID programs and file capabilities have no effect.
    NoNewPrivileges,
    /// exec(2) may raise privileges (the default).
    NewPrivileges,
}

impl FromStr for SecurityOption {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, value) = match text.split_once(['=', ':']) {
            Some((name, value)) => (name, Some(value)),
            None => (text, None),
        };
        if name != "no-new-privileges" {
            return Err("unknown: of docker's security options there is no-new-privileges".into());
        }
        match value.map_or(Ok(true), parse_switch)? {
            true => Ok(Self::NoNewPrivileges),
            false => Ok(Self::NewPrivileges),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_new_privileges_takes_dockers_forms_and_all_else_is_refused() {
        for text in [
            "no-new-privileges",
            "no-new-privileges:true",
            "no-new-privileges=true",
            "no-new-privileges=1",
        ] {
            assert_eq!(text.parse(), Ok(SecurityOption::NoNewPrivileges), "{text}");
        }
        assert_eq!("no-new-privileges:false".parse(), Ok(SecurityOption::NewPrivileges));
        for wrong in [
            "",
            "no-new-privileges=",
            "no-new-privileges:maybe",
            "No-New-Privileges",
            "seccomp=unconfined",
            "apparmor=x",
            "label=disable",
        ] {
            assert!(wrong.parse::<SecurityOption>().is_err(), "{wrong}");
        }
    }
}
