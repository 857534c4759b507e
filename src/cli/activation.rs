//! Variables of systemd that `run` does not pass on by itself: sockets to listen on. A warning names the flags that pass
//! them on.

use crate::spec::{ContainerOptions, EnvChange};

const LISTEN: &str = "LISTEN_FDS";

/// Warning about sockets that systemd hands to this process.
pub fn warning(options: &ContainerOptions) -> Option<String> {
    let variable = |name: &str| std::env::var(name).ok();
    let is_for_us = variable("LISTEN_PID").is_some_and(|pid| pid == std::process::id().to_string());
    warning_for(options, variable(LISTEN).filter(|_| is_for_us).as_deref())
}

fn warning_for(options: &ContainerOptions, listen: Option<&str>) -> Option<String> {
    let is_given = |name: &str| options.env.iter().any(|change| sets(change, name));
    let count = listen.filter(|_| !is_given(LISTEN))?;
    Some(format!(
        "the {count} sockets of {LISTEN} are not handed on; these flags do: \
         --preserve-fds {count} -e {LISTEN}={count} -e LISTEN_PID=1"
    ))
}

fn sets(change: &EnvChange, name: &str) -> bool {
    match change {
        EnvChange::Set(set, _) | EnvChange::FromHost(set) => set == name,
        EnvChange::AllFromHost(start) => name.starts_with(start.as_str()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_handed_on_by_flags_is_no_reason_for_a_warning() {
        let with = |env: &[&str]| {
            let env = env.iter().map(|text| text.parse().unwrap()).collect();
            ContainerOptions { env, ..ContainerOptions::default() }
        };
        let warned = |env: &[&str]| warning_for(&with(env), Some("2")).is_some();
        assert!(warned(&[]) && warned(&["OTHER=1"]));
        assert!(!warned(&["LISTEN_FDS=2"]) && !warned(&["LISTEN*"]));
        assert!(warning_for(&with(&[]), None).is_none());
        let warning = warning_for(&with(&[]), Some("2")).unwrap();
        assert!(warning.contains("--preserve-fds 2 -e LISTEN_FDS=2 -e LISTEN_PID=1"), "{warning}");
    }
}
