//! Variables of systemd that `run` does not pass on by itself: a socket for READY, and sockets to listen on. Warnings
//! name the flags that pass them on.

use std::path::Path;

use crate::spec::{ContainerOptions, EnvChange};

const NOTIFY: &str = "NOTIFY_SOCKET";
const LISTEN: &str = "LISTEN_FDS";

/// Warnings about variables that systemd hands to this process.
pub fn warnings(options: &ContainerOptions) -> Vec<String> {
    let variable = |name: &str| std::env::var(name).ok();
    let is_for_us = variable("LISTEN_PID").is_some_and(|pid| pid == std::process::id().to_string());
    let notify = variable(NOTIFY).filter(|socket| is_socket(socket));
    warnings_for(options, notify.as_deref(), variable(LISTEN).filter(|_| is_for_us).as_deref())
}

fn is_socket(socket: &str) -> bool {
    socket.starts_with('@') || Path::new(socket).exists()
}

fn warnings_for(
    options: &ContainerOptions,
    notify: Option<&str>,
    listen: Option<&str>,
) -> Vec<String> {
    let is_given = |name: &str| options.env.iter().any(|change| sets(change, name));
    let mut warnings = Vec::new();
    if notify.is_some() && !is_given(NOTIFY) {
        warnings.push(format!(
            "{NOTIFY} is not handed on, so a unit with Type=notify does not become ready; with NotifyAccess=all: \
             -e {NOTIFY}=/run/notify -v ${NOTIFY}:/run/notify"
        ));
    }
    if let Some(count) = listen.filter(|_| !is_given(LISTEN)) {
        warnings.push(format!(
            "the {count} sockets of {LISTEN} are not handed on; these flags do: \
             --preserve-fds {count} -e {LISTEN}={count} -e LISTEN_PID=1"
        ));
    }
    warnings
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
        let count = |env: &[&str]| warnings_for(&with(env), Some("/run/x"), Some("2")).len();
        assert_eq!(count(&[]), 2);
        assert_eq!(count(&["NOTIFY_SOCKET=/run/notify"]), 1);
        assert_eq!(count(&["NOTIFY_SOCKET", "LISTEN_FDS=2"]), 0);
        assert_eq!(count(&["LISTEN*", "OTHER=1"]), 1);
        assert!(warnings_for(&with(&[]), None, None).is_empty());
        let both = warnings_for(&with(&[]), Some("/run/x"), Some("2"));
        assert!(both[0].contains("-v $NOTIFY_SOCKET:/run/notify"), "{both:?}");
        assert!(both[1].contains("--preserve-fds 2 -e LISTEN_FDS=2 -e LISTEN_PID=1"), "{both:?}");
    }
}
