//! Process Management Interface (PMI-1, PMI-2) of MPI: its client talks to the step's process manager through an
//! inherited socket, whose number is in the variable PMI_FD. PMIx uses a socket of its own, and folders.

use std::path::PathBuf;

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

/// Returns the folders that PMIx clients share with their server, if they exist: the server's, and that of a Slurm step
/// with the segments of shared memory. Slurm makes the latter beside the server's for a container, else in its TmpFS.
/// `variable`: reads the environment of the clients.
pub fn pmix_folders(variable: impl Fn(&str) -> Option<String>) -> Vec<PathBuf> {
    let server = variable("PMIX_SERVER_TMPDIR").map(PathBuf::from);
    let of_step = || {
        let namespace = variable("PMIX_NAMESPACE")?;
        let step = namespace.strip_prefix("slurm.pmix.")?.to_owned();
        let user = rustix::process::getuid().as_raw();
        Some(server.as_ref()?.parent()?.join(format!("spmix_appdir_{user}_{step}")))
    };
    let of_step = of_step();
    server.into_iter().chain(of_step).filter(|folder| folder.is_dir()).collect()
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use super::*;

    #[test]
    fn folders_of_pmix_are_the_server_s_and_the_step_s() {
        let spool = tempfile::tempdir().unwrap();
        let server = spool.path().join("pmix.7.1");
        let user = rustix::process::getuid().as_raw();
        let of_step = spool.path().join(format!("spmix_appdir_{user}_7.1"));
        let found = |namespace: &str| {
            pmix_folders(|name| match name {
                "PMIX_NAMESPACE" => Some(namespace.to_owned()),
                _ => Some(format!("{}//pmix.7.1/", spool.path().display())),
            })
        };
        assert_eq!(found("slurm.pmix.7.1"), Vec::<PathBuf>::new());
        std::fs::create_dir(&server).unwrap();
        std::fs::create_dir(&of_step).unwrap();
        assert_eq!(found("slurm.pmix.7.1"), [server.clone(), of_step]);
        assert_eq!(found("prterun-n-5@1"), [server]);
        assert_eq!(pmix_folders(|_| None), Vec::<PathBuf>::new());
    }

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
