//! Job of a cluster as its environment tells it: number of this process, number of all, address of the first.

use crate::error::{Context, Error, Result};
use crate::hint;
use crate::image::spread::SpreadShape;
use crate::image::spread::host_list;

/// First port for jobs, and the number of ports: below those that the kernel gives out (ip_local_port_range, ip(7)).
const PORTS: [u16; 2] = [20_000, 12_000];

/// Variables of the rank and, in the order of preference, of the number of ranks: of Slurm, Open MPI, and PMI.
const VARIABLES: [(&str, &[&str]); 4] = [
    ("SLURM_PROCID", &["SLURM_STEP_NUM_TASKS", "SLURM_NTASKS"]),
    ("OMPI_COMM_WORLD_RANK", &["OMPI_COMM_WORLD_SIZE"]),
    ("PMI_RANK", &["PMI_SIZE"]),
    ("PMIX_RANK", &["PMIX_SIZE"]),
];

/// Settings of the job from the command line, each stronger than the environment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JobFlags {
    /// Number of this process.
    pub rank: Option<u32>,
    /// Number of processes.
    pub ranks: Option<u32>,
    /// Address of rank 0: `HOST[:PORT]`.
    pub address: Option<String>,
}

/// Job, from its environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpreadJob {
    /// Number of this process.
    pub rank: u32,
    /// Number of processes.
    pub ranks: u32,
    /// Host of rank 0.
    pub host: String,
    /// Port of rank 0.
    pub port: u16,
}

impl SpreadJob {
    /// Finds the job by `flags`, else by variables of the environment. Errors name what is missing.
    pub fn find(flags: &JobFlags, variable: &dyn Fn(&str) -> Option<String>) -> Result<Self> {
        let text = |name: &str| variable(name).filter(|text| !text.is_empty());
        let known = VARIABLES.iter().find(|(rank, _)| text(rank).is_some());
        let number = |name: &str| text(name).map(|text| parse(name, &text)).transpose();
        let rank = match (flags.rank, known) {
            (Some(rank), _) => rank,
            (None, Some((name, _))) => number(name)?.unwrap_or_default(),
            (None, None) => return Err(unknown("the rank of this process is unknown")),
        };
        let sizes = known.map(|(_, sizes)| *sizes).unwrap_or_default();
        let size = sizes.iter().find(|name| text(name).is_some());
        let ranks = match (flags.ranks, size) {
            (Some(ranks), _) => ranks,
            (None, Some(name)) => number(name)?.unwrap_or_default(),
            (None, None) => return Err(unknown("the number of ranks is unknown")),
        };
        if rank >= ranks {
            return Err(unknown(&format!("rank {rank} is not one of {ranks} ranks")));
        }
        // A batch script has the variables of a task too, and is none of a step.
        let is_script = text("SLURM_JOB_ID").is_some() && text("SLURM_STEP_ID").is_none();
        let is_given = flags.rank.is_some() && flags.ranks.is_some();
        if is_script && !is_given && ranks > 1 {
            return Err(unknown("this is the script of a job, which is one process"));
        }
        let (host, port) = match &flags.address {
            Some(address) => split(address)?,
            None => (None, None),
        };
        let ids = [text("SLURM_JOB_ID"), text("SLURM_STEP_ID")];
        let port = match (port, ids) {
            (Some(port), _) => port,
            (None, [Some(job), Some(step)]) => port_of(&job, &step),
            (None, _) if ranks == 1 => 0,
            (None, _) => return Err(no_address("the port of rank 0 is unknown")),
        };
        let list = text("SLURM_STEP_NODELIST").or_else(|| text("SLURM_JOB_NODELIST"));
        let host = match (host, list) {
            (Some(host), _) => host,
            (None, Some(list)) => {
                let hosts = host_list::expand(&list).context(|| "the nodes of the job")?;
                hosts.into_iter().next().unwrap_or_default()
            }
            (None, None) if ranks == 1 => String::new(),
            (None, None) => return Err(no_address("the address of rank 0 is unknown")),
        };
        Ok(Self { rank, ranks, host, port })
    }

    /// Position of this process in a tree of this width.
    pub fn shape(&self, fanout: u32) -> SpreadShape {
        SpreadShape { rank: self.rank, ranks: self.ranks, fanout }
    }
}

fn unknown(cause: &str) -> Error {
    Error::invalid(cause).hint(hint::SPREAD_RANK)
}

fn no_address(cause: &str) -> Error {
    Error::invalid(cause).hint(hint::SPREAD_ADDRESS)
}

fn parse(name: &str, text: &str) -> Result<u32> {
    let shown: String = text.chars().take(40).collect();
    let bad = || Error::invalid(format!("{name}: '{}' is not a number", shown.escape_debug()));
    text.parse().map_err(|_| bad())
}

/// Splits `HOST[:PORT]`, where an IPv6 address with a port is in brackets.
fn split(text: &str) -> Result<(Option<String>, Option<u16>)> {
    let bad = || {
        let shown = text.escape_debug();
        no_address(&format!("'{shown}' is not an address such as HOST:PORT"))
    };
    let is_bare = text.parse::<std::net::Ipv6Addr>().is_ok();
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !is_bare && !text.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    };
    let port = port.map(str::parse::<u16>).transpose().map_err(|_| bad())?;
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let is_known = |c: char| c.is_ascii_alphanumeric() || "-_.:%".contains(c);
    let is_ipv6 = host.parse::<std::net::Ipv6Addr>().is_ok();
    let is_host = !host.is_empty() && host.chars().all(is_known) && !host.starts_with('-');
    if !is_host || port == Some(0) || (host.contains(':') && !is_ipv6) {
        return Err(bad());
    }
    Ok((Some(host.to_owned()), port))
}

/// Port of a step of a job: steps that run at one time on one node should have different ones.
fn port_of(job: &str, step: &str) -> u16 {
    // FNV-1a, 32 bits: spreads near numbers.
    let hash = job
        .bytes()
        .chain([b'.'])
        .chain(step.bytes())
        .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    let [first, count] = PORTS;
    first + u16::try_from(hash % u32::from(count)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLURM: [(&str, &str); 5] = [
        ("SLURM_PROCID", "3"),
        ("SLURM_NTASKS", "4"),
        ("SLURM_STEP_NODELIST", "n[07-10]"),
        ("SLURM_JOB_ID", "123"),
        ("SLURM_STEP_ID", "0"),
    ];

    fn find(flags: &JobFlags, variables: &[(&str, &str)]) -> Result<SpreadJob, String> {
        let of = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        SpreadJob::find(flags, &of).map_err(|error| error.to_string())
    }

    fn flags(rank: u32, ranks: u32, address: &str) -> JobFlags {
        JobFlags { rank: Some(rank), ranks: Some(ranks), address: Some(address.into()) }
    }

    #[test]
    fn a_job_of_slurm_is_found_by_its_variables() {
        let job = find(&JobFlags::default(), &SLURM).unwrap();
        assert_eq!((job.rank, job.ranks, &*job.host), (3, 4, "n07"));
        assert!((20_000..32_000).contains(&job.port));
        let mut other = SLURM;
        other[4].1 = "1";
        assert_ne!(find(&JobFlags::default(), &other).unwrap().port, job.port);
        let given = JobFlags { address: Some("m1:7000".into()), ..JobFlags::default() };
        let job = find(&given, &SLURM).unwrap();
        assert_eq!((job.rank, &*job.host, job.port), (3, "m1", 7000));
    }

    #[test]
    fn other_launchers_need_an_address() {
        for (rank, size) in
            [("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"), ("PMI_RANK", "PMI_SIZE")]
        {
            let variables = [(rank, "1"), (size, "2")];
            let error = find(&JobFlags::default(), &variables).unwrap_err();
            assert!(error.contains("port of rank 0"), "{error}");
            let given = JobFlags { address: Some("[::1]:7".into()), ..JobFlags::default() };
            let job = find(&given, &variables).unwrap();
            assert_eq!(job, SpreadJob { rank: 1, ranks: 2, host: "::1".into(), port: 7 });
        }
        assert_eq!(find(&flags(0, 2, "::1:7"), &[]).unwrap_err(), "the port of rank 0 is unknown");
        assert_eq!(find(&flags(0, 2, "127.0.0.1:7"), &[]).unwrap().host, "127.0.0.1");
    }

    #[test]
    fn missing_and_odd_settings_are_named() {
        let without = |name: &str| -> Vec<_> {
            SLURM.into_iter().filter(|(known, _)| *known != name).collect()
        };
        for (name, word) in [
            ("SLURM_PROCID", "rank of this process"),
            ("SLURM_NTASKS", "number of ranks"),
            ("SLURM_STEP_NODELIST", "address of rank 0"),
            ("SLURM_STEP_ID", "script of a job"),
        ] {
            let error = find(&JobFlags::default(), &without(name)).unwrap_err();
            assert!(error.contains(word), "{name}: {error}");
        }
        for (rank, ranks, address, word) in [
            (2, 2, "a:1", "not one of 2"),
            (0, 2, "a", "port"),
            (0, 2, "a:0", "not an address"),
            (0, 2, ":1", "not an address"),
            (0, 2, "-a:1", "not an address"),
            (0, 2, "a b:1", "not an address"),
            (0, 2, "a:70000", "not an address"),
        ] {
            let error = find(&flags(rank, ranks, address), &[]).unwrap_err();
            assert!(error.contains(word), "{address}: {error}");
        }
        assert!(find(&JobFlags::default(), &[("SLURM_PROCID", "x")]).unwrap_err().contains("'x'"));
    }
}
