//! Sockets of socket activation (sd_listen_fds(3)): descriptors from 3 on, which the command gets with the same
//! numbers.

use std::ffi::{CStr, CString};
use std::os::fd::RawFd;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::sys::fd::{self, AtExec};

/// Number of the first descriptor (SD_LISTEN_FDS_START).
const FIRST: RawFd = 3;
/// Variable with the number of sockets.
pub const LISTEN_FDS: &str = "LISTEN_FDS";
/// Variable with the PID that the sockets are for.
const LISTEN_PID: &str = "LISTEN_PID";
/// Variable with the names of the sockets.
const LISTEN_FDNAMES: &str = "LISTEN_FDNAMES";
/// Largest number of descriptors of a process (`fs.nr_open`), without the standard streams.
const MOST: u32 = 1_048_573;

/// Sockets that a service manager has handed to this process for its command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListenSockets {
    /// Number of sockets.
    pub count: u32,
    /// Names of the sockets, separated by colons.
    pub names: Option<String>,
}

impl ListenSockets {
    /// Reads the variables of the process with this PID. `None`: the sockets are for another process, or there are
    /// none. Errors: LISTEN_FDS is not a valid number of descriptors.
    pub fn of_process(pid: u32) -> Result<Option<Self>> {
        match variable(LISTEN_PID) {
            Some(listener) if listener == pid.to_string() => Self::of_environment(),
            _ => Ok(None),
        }
    }

    /// Reads the variables, and ignores LISTEN_PID (runc's rule).
    pub fn of_environment() -> Result<Option<Self>> {
        let Some(text) = variable(LISTEN_FDS) else { return Ok(None) };
        let count = text.parse().ok().filter(|count| *count <= MOST).ok_or_else(|| {
            let number = text.escape_debug();
            Error::invalid(format!("{LISTEN_FDS}: '{number}' is no number of descriptors"))
        })?;
        Ok((count > 0).then(|| Self { count, names: variable(LISTEN_FDNAMES) }))
    }

    /// Numbers of the descriptors.
    pub fn numbers(&self) -> std::ops::Range<RawFd> {
        FIRST..FIRST + self.count as RawFd
    }

    /// Makes the sockets survive the next exec, or close at it. Errors: a socket that is not open.
    pub fn at_exec(&self, fate: AtExec) -> std::result::Result<(), (RawFd, std::io::Error)> {
        self.numbers()
            .try_for_each(|number| fd::set_at_exec(number, fate).map_err(|error| (number, error)))
    }

    /// Closes the sockets in this process: the address is free when the command closes its copies.
    pub fn close(&self) {
        fd::close_numbers(self.numbers());
    }

    /// Returns the environment of a command: `variables`, and those of the sockets. `pid`: PID of the command in its
    /// own PID namespace.
    pub(in crate::engine) fn environment(&self, variables: &[CString], pid: u32) -> Vec<CString> {
        let names = [LISTEN_FDS, LISTEN_PID, LISTEN_FDNAMES];
        let is_other = |text: &CStr| {
            let name = text.to_bytes().split(|byte| *byte == b'=').next().unwrap_or_default();
            !names.iter().any(|listen| listen.as_bytes() == name)
        };
        let mut all: Vec<_> = variables.iter().filter(|text| is_other(text)).cloned().collect();
        let mut add = |name: &str, value: &str| {
            all.extend(CString::new(format!("{name}={value}")));
        };
        add(LISTEN_FDS, &self.count.to_string());
        add(LISTEN_PID, &pid.to_string());
        self.names.iter().for_each(|names| add(LISTEN_FDNAMES, names));
        all
    }
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variables_of_the_sockets_replace_those_of_the_container() {
        let variables = ["A=1", "LISTEN_PID=99", "LISTEN_FDS=7", "LISTEN_FDNAMES=x", "LISTEN_=2"];
        let variables = variables.map(|text| CString::new(text).unwrap());
        let environment = |names: Option<&str>| {
            let sockets = ListenSockets { count: 2, names: names.map(str::to_owned) };
            let all = sockets.environment(&variables, 5);
            all.into_iter().map(|text| text.into_string().unwrap()).collect::<Vec<_>>()
        };
        let all = ["A=1", "LISTEN_=2", "LISTEN_FDS=2", "LISTEN_PID=5"];
        assert_eq!(environment(None), all);
        assert_eq!(environment(Some("a:b")), [&all[..], &["LISTEN_FDNAMES=a:b"]].concat());
    }

    #[test]
    fn the_numbers_begin_after_the_standard_streams() {
        let sockets = ListenSockets { count: 2, names: None };
        assert_eq!(sockets.numbers().collect::<Vec<_>>(), [3, 4]);
    }
}
