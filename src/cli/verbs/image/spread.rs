//! `usnea image spread`: pulls an image once for all ranks of a job.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::cli::flags::pull::{PULL_WORDS, SAVE_WORDS, SourceFlags};
use crate::cli::output::print;
use crate::cli::output::progress::{LayerProgress, Verbosity};
use crate::container::Usnea;
use crate::container::images::{
    FileProgress, FileSpread, JobFlags, Spread, SpreadJob, SpreadRank, SpreadSource, spread,
    spread_file_to,
};
use crate::error::{Error, Result};
use crate::hint;
use crate::image::spread::SpreadToken;

/// Variable with the secret of the job.
const TOKEN: &str = "USNEA_SPREAD_TOKEN";

/// Pull an image once for all ranks of a cluster job
///
/// All ranks (processes) of a job run this command, one on each node: 'export USNEA_SPREAD_TOKEN=$(openssl rand -hex 16)',
/// then 'srun --ntasks-per-node=1 usnea image spread IMAGE'. Rank 0 pulls from the registry; the others fetch from each
/// other, along a tree, while it arrives. At the end each has the image in its store, as after a pull, and nothing else is
/// left. Rank 0 prints the image's ID, and shows progress; the others print errors only.
///
/// Rank and number of ranks: --rank and --ranks, else $SLURM_PROCID and $SLURM_STEP_NUM_TASKS or $SLURM_NTASKS, else
/// $OMPI_COMM_WORLD_RANK and $OMPI_COMM_WORLD_SIZE, $PMI_RANK and $PMI_SIZE, $PMIX_RANK and $PMIX_SIZE. Address of rank 0:
/// --address, else the first node of $SLURM_STEP_NODELIST or $SLURM_JOB_NODELIST, which is resolved by /etc/hosts and DNS,
/// and a port from 20000 to 31999, computed from $SLURM_JOB_ID and $SLURM_STEP_ID.
///
/// The secret of the job is $USNEA_SPREAD_TOKEN, at least 16 characters; it is never sent. Both ends of each connection
/// prove it (HMAC-SHA-256), and a connection without it is closed. Name and digest of the image, and the digest of each
/// block of 1 MiB, come from rank 0 with a MAC; a rank writes and passes on a block only if it has that digest, and each
/// layer is verified as in every pull. So nobody without the token can change what is stored, and no rank other than 0
/// can. Not promised: secrecy (there is no TLS: whoever sees the network sees the image), and service against floods of
/// connections. Whoever can read the token can be any rank. Signatures (policy.json) are verified by rank 0; the other
/// ranks accept its image unless their policy rejects the name.
///
/// Rank 0 listens at all addresses of its machine, unless --listen or an IP address in --address names one; the others
/// listen at the address that leads to rank 0. Connections are TCP, over IPv4 or IPv6.
///
/// With --to each rank ends with one squashfs file in place of an image in its store, for instance on a local disk: rank 0
/// pulls the image and writes the file as 'usnea pull --to' does, and the others fetch the file. No layer is unpacked there.
/// IMAGE may then also be an archive or a layout, or a single-file image (squashfs or SIF), which rank 0 alone reads: from a
/// parallel file system it is read once. The file appears when it is whole. A rank that has the same file already fetches
/// nothing. The file needs no room but its own, at rank 0 also that of the layers, as for 'usnea pull --to'.
///
/// A rank that sends nothing, or a wrong block, is replaced by another one. The exit status is 0 at each rank that has the
/// image; rank 0 also fails if a rank never came. If rank 0 dies, the others end well as far as they have all blocks among
/// them. A rank that is interrupted leaves partial downloads, which the next pull resumes.
#[derive(clap::Args)]
pub struct Arguments {
    /// Image of a registry: [docker://][REGISTRY/]NAME[:TAG][@DIGEST], the same at all ranks. With --to also oci:DIR[:NAME],
    /// oci-archive:FILE[:NAME], docker-archive:FILE[:NAME], sqsh:FILE, sif:FILE, /FILE or ./FILE.
    #[arg(value_name = "IMAGE")]
    image: String,

    #[command(flatten)]
    source: SourceFlags,

    /// Write the image to this squashfs file at each rank, instead of the store.
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,

    /// Number of this process, from 0 on.
    #[arg(long, value_name = "N")]
    rank: Option<u32>,

    /// Number of processes.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=65_536))]
    ranks: Option<u32>,

    /// Address of rank 0, the same at all ranks. Default: first node and a port of the Slurm job.
    #[arg(long, value_name = "HOST[:PORT]")]
    address: Option<String>,

    /// Address of this machine to listen at.
    #[arg(long, value_name = "IP")]
    listen: Option<IpAddr>,

    /// Number of ranks that fetch from one rank.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=1024))]
    fanout: u32,

    /// Seconds to wait for ranks that have not started.
    #[arg(long, value_name = "SECONDS", default_value_t = 600, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    timeout: u64,

    /// Print only the image's ID.
    #[arg(short, long)]
    quiet: bool,
}

/// Pulls the image as this rank.
pub fn run(arguments: Arguments, usnea: &Usnea) -> Result<u8> {
    let flags =
        JobFlags { rank: arguments.rank, ranks: arguments.ranks, address: arguments.address };
    let job = SpreadJob::find(&flags, &|name| std::env::var(name).ok())?;
    let number = job.rank;
    let rank = SpreadRank {
        job,
        token: token()?,
        listen: arguments.listen,
        fanout: arguments.fanout,
        timeout: Duration::from_secs(arguments.timeout),
    };
    // Progress of a thousand ranks on one terminal says nothing.
    let verbosity = match arguments.quiet || number > 0 {
        true => Verbosity::Quiet,
        false => Verbosity::Normal,
    };
    let progress = LayerProgress::new(PULL_WORDS, verbosity);
    let id = match (arguments.to, SpreadSource::path_in(&arguments.image)) {
        (None, None) => {
            let pull = arguments.source.pull(arguments.image.parse()?)?;
            Some(spread(usnea, &Spread { pull, rank }, &progress)?.config)
        }
        (None, Some(_)) => {
            let error = format!("'{}' is a file", arguments.image.escape_debug());
            return Err(Error::invalid(error).hint("--to FILE spreads it to a file at each rank"));
        }
        (Some(output), path) => {
            let source = match path {
                Some(path) => SpreadSource::File(path),
                None => {
                    SpreadSource::Image(Box::new(arguments.source.pull(arguments.image.parse()?)?))
                }
            };
            let save = LayerProgress::new(SAVE_WORDS, verbosity);
            let progress = FileProgress { pull: &progress, save: &save };
            spread_file_to(usnea, &FileSpread { source, output, rank }, progress)?
        }
    };
    match id {
        Some(id) if number == 0 => print(&format!("{}\n", id.hex())),
        _ => Ok(0),
    }
}

/// Reads the secret of the job.
fn token() -> Result<SpreadToken> {
    match std::env::var(TOKEN) {
        Ok(text) if !text.is_empty() => SpreadToken::new(&text),
        _ => Err(Error::invalid(format!("{TOKEN} is not set")).hint(hint::SPREAD_TOKEN)),
    }
}
