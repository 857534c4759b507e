//! Process Management Interface (PMI-1, PMI-2) of MPI: its client talks to the step's process manager through an
//! inherited socket, whose number is in the variable PMI_FD.

/// Variable with the number of the socket.
pub const PMI_FD: &str = "PMI_FD";

/// Returns the number of the socket that an environment names. `None`: it names none, or no such descriptor is open.
pub fn descriptor<'a>(environment: impl IntoIterator<Item = &'a str>) -> Option<u32> {
    let variables = environment.into_iter().filter_map(|entry| entry.split_once('='));
    // The last value counts, as for the command.
    open_descriptor(variables.filter(|(name, _)| *name == PMI_FD).last()?.1)
}

/// Returns the number in a value of PMI_FD. `None`: no number of a descriptor above the standard streams that is open.
pub fn open_descriptor(value: &str) -> Option<u32> {
    let number = value.parse().ok().filter(|number| *number > 2)?;
    std::path::Path::new(&format!("/proc/self/fd/{number}")).exists().then_some(number)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use super::*;

    #[test]
    fn only_an_open_descriptor_is_handed_on() {
        let (ours, _theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        let open = format!("PMI_FD={}", ours.as_raw_fd());
        assert_eq!(descriptor([open.as_str()]), u32::try_from(ours.as_raw_fd()).ok());
        assert_eq!(descriptor(["PMI_FD=7", &open, "PATH=/bin"]), descriptor([open.as_str()]));
        for none in ["PMI_FD=1000000", "PMI_FD=2", "PMI_FD=-1", "PMI_FD=x", "PMI_FD", "A=3"] {
            assert_eq!(descriptor([none]), None, "{none}");
        }
    }
}
