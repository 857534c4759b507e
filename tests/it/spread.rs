//! `usnea image spread` on one machine: each rank is a process with a store of its own, the registry counts.

use std::net::TcpListener;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use rustix::process::Signal;

use crate::composed::{Composed, bytes, layer};
use crate::fault_registry::{FaultRegistry, Heard, Piece, Pieces, answer};
use crate::layout_registry;
use crate::stocked::Stocked;
use crate::support::{Ran, Started, need_that, within};

const TOKEN: &str = "0123456789abcdef0123456789abcdef";
pub const LIMIT: Duration = Duration::from_secs(60);
/// Bytes of a block.
const BLOCK: usize = 1 << 20;

/// A registry with an image of three layers, and ranks on this machine.
pub struct Cluster {
    pub place: Stocked,
    registry: FaultRegistry,
    ranks: usize,
    host: String,
    port: u16,
}

/// Bytes that no codec makes smaller, and that are others for each name.
pub fn noise(name: &str, length: usize) -> Vec<u8> {
    let mut state =
        name.bytes().fold(88_172_645_463_325_252_u64, |all, byte| all * 31 + u64::from(byte));
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    (0..length / 8).flat_map(|_| next().to_le_bytes()).collect()
}

/// A port that no other test has. Below those that the kernel gives out (ip(7), ip_local_port_range): a client that waits
/// for rank 0 could get the port of rank 0 itself.
pub fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let first = std::process::id().wrapping_mul(64);
    let number = || first.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % 12_000;
    let mut ports = std::iter::repeat_with(|| 20_000 + number() as u16).take(12_000);
    let is_free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    ports.find(is_free).expect("a port")
}

impl Cluster {
    pub fn new(ranks: usize) -> Self {
        Self::with(ranks, |_, pieces| pieces)
    }

    /// `change`: as of [`layout_registry::serve`].
    fn with(
        ranks: usize,
        change: impl Fn(&Heard, Pieces) -> Pieces + Send + Sync + 'static,
    ) -> Self {
        let place = Stocked::new();
        let of = |(name, length)| layer(&[bytes(name, &noise(name, length))]);
        let layers = [("a", 3 * BLOCK), ("b", BLOCK / 2), ("c", 2 * BLOCK)].map(of);
        Composed::of(&layers).write(&place, "image");
        let registry = layout_registry::serve(&place, change);
        let port = free_port();
        Self { place, registry, ranks, host: "127.0.0.1".to_owned(), port }
    }

    pub fn image(&self) -> String {
        format!("{}/image:1", self.registry.host)
    }

    /// The command of a rank, with more flags.
    pub fn rank(&self, rank: usize, more: &[&str]) -> Command {
        let (rank, ranks) = (rank.to_string(), self.ranks.to_string());
        let address = format!("{}:{}", self.host, self.port);
        let image = self.image();
        let words =
            ["image", "spread", "--tls-verify=false", "--address", &address, "--ranks", &ranks];
        let own = ["--rank", &rank, &image];
        let mut command = self.place.place.command(&[&words[..], more, &own].concat());
        self.place.at_home(&mut command);
        command.env("USNEA_ROOT", self.place.place.path(&format!("store{rank}")));
        command.env("USNEA_SPREAD_TOKEN", TOKEN);
        command
    }

    fn start(&self, ranks: impl IntoIterator<Item = usize>, more: &[&str]) -> Vec<Started> {
        // The files of their home are written before the first reads them.
        let commands: Vec<_> = ranks.into_iter().map(|rank| self.rank(rank, more)).collect();
        commands.into_iter().map(|mut command| Started::new(&mut command, "")).collect()
    }

    /// The store of a rank has the image and nothing else.
    fn has_image(&self, rank: usize) {
        let store = format!("store{rank}");
        let check = self.place.usnea_in(&store, &["check"]);
        assert_eq!((check.works(), check.stderr.as_str()), ("", ""), "{rank}");
        let image = self.image();
        self.place.usnea_in(&store, &["image", "inspect", &image]).works();
        for folder in ["tmp", "downloads", "containers"] {
            let left = std::fs::read_dir(self.place.place.path(&store).join(folder));
            let left: Vec<_> = left.into_iter().flatten().flatten().collect();
            assert!(left.is_empty(), "{rank}: {left:?}");
        }
    }

    /// Each blob came from the registry once, the config too. A stalled request goes on where it stopped.
    pub fn is_pulled_once(&self) {
        let heard = self.registry.heard();
        let whole = heard.iter().filter(|request| request.from().is_none());
        let mut asked: Vec<_> =
            whole.filter_map(|request| request.path.split_once("/blobs/")).collect();
        let count = asked.len();
        asked.sort();
        asked.dedup();
        assert_eq!((count, asked.len()), (4, 4), "{asked:?}");
    }
}

/// Ends all, with all processes below them.
pub fn end(all: Vec<Started>) -> Vec<Ran> {
    all.into_iter().map(Started::ends_whole).collect()
}

/// Asserts success of all.
pub fn all_work(all: &[Ran]) {
    for ran in all {
        ran.works();
    }
}

#[test]
fn the_registry_sends_the_image_once_for_all_ranks() {
    let cluster = Cluster::new(12);
    // Any order of starts.
    let ran = end(cluster.start((0..12).rev(), &["-q"]));
    let ids: Vec<&str> = ran.iter().map(Ran::works).collect();
    assert!(ran.iter().all(|ran| ran.stderr.is_empty()), "{ran:?}");
    assert_eq!(ids[11].len(), 64);
    assert!(ids[..11].iter().all(|id| id.is_empty()), "{ids:?}");
    cluster.is_pulled_once();
    (0..12).for_each(|rank| cluster.has_image(rank));
    // Stores that have the image ask the registry for no blob, and the rank that lost it fetches it again.
    let image = cluster.image();
    cluster.place.usnea_in("store5", &["rmi", &image]).works();
    all_work(&end(cluster.start(0..12, &["-q"])));
    cluster.is_pulled_once();
    cluster.has_image(5);
}

#[test]
fn ranks_meet_over_ipv6_and_a_name_too() {
    if !need_that(TcpListener::bind("[::1]:0").is_ok(), "IPv6 on loopback") {
        return;
    }
    for host in ["[::1]", "localhost"] {
        let mut cluster = Cluster::new(3);
        cluster.host = host.to_owned();
        all_work(&end(cluster.start(0..3, &["--fanout", "1"])));
        cluster.is_pulled_once();
        cluster.has_image(2);
    }
}

#[test]
fn ranks_of_slurm_need_no_flags() {
    let cluster = Cluster::new(2);
    let image = cluster.image();
    let start = |rank: usize| {
        let words = ["image", "spread", "--tls-verify=false", "-q", &image];
        let mut command = cluster.place.place.command(&words);
        cluster.place.at_home(&mut command);
        let job = std::process::id().to_string();
        let variables = [("SLURM_JOB_ID", &*job), ("SLURM_STEP_ID", "0"), ("SLURM_NTASKS", "2")];
        command.envs(variables).env("SLURM_STEP_NODELIST", "localhost,n[2-3]");
        command.env("SLURM_PROCID", rank.to_string()).env("USNEA_SPREAD_TOKEN", TOKEN);
        command.env("USNEA_ROOT", cluster.place.place.path(&format!("store{rank}")));
        command
    };
    let commands = [start(0), start(1)];
    let ran = end(commands.map(|mut command| Started::new(&mut command, "")).into());
    assert_eq!((ran[0].works().len(), ran[1].works()), (64, ""));
    cluster.is_pulled_once();
    cluster.has_image(1);
}

#[test]
fn a_rank_that_never_comes_is_named_and_the_others_have_the_image() {
    let cluster = Cluster::new(4);
    let mut ran = end(cluster.start([0, 2], &["--timeout", "2", "-q"]));
    ran.remove(1).works();
    ran[0].fails_with(125, &["ranks that never came: 1, 3"]);
    ran[0].hints();
    (0..4).filter(|rank| rank % 2 == 0).for_each(|rank| cluster.has_image(rank));
    // Nobody listens.
    let ran = end(cluster.start([1], &["--timeout", "1"])).remove(0);
    ran.fails_with(125, &["rank 0 at 127.0.0.1", "did not answer within 1 s"]);
}

#[test]
fn settings_that_are_missing_are_named() {
    let cluster = Cluster::new(2);
    let refuses = |command: &mut Command, phrase: &str| {
        let ran = crate::support::finish(command, "");
        ran.fails_with(125, &[phrase]);
        ran.hints();
        assert!(!ran.stderr.contains(TOKEN));
    };
    refuses(cluster.rank(0, &[]).env_remove("USNEA_SPREAD_TOKEN"), "USNEA_SPREAD_TOKEN is not set");
    refuses(cluster.rank(0, &[]).env("USNEA_SPREAD_TOKEN", "short"), "fewer than 16");
    let mut none = cluster.place.place.command(&["image", "spread", "x:1"]);
    for name in ["SLURM_PROCID", "PMI_RANK", "PMIX_RANK", "OMPI_COMM_WORLD_RANK"] {
        none.env_remove(name);
    }
    refuses(none.env("USNEA_SPREAD_TOKEN", TOKEN), "rank of this process is unknown");
    // A rank with another token ends at once; rank 0 goes on.
    let mut root = cluster.start([0], &["-q"]);
    let mut stranger = cluster.rank(1, &[]);
    refuses(
        stranger.env("USNEA_SPREAD_TOKEN", TOKEN.replace('0', "1")),
        "does not accept the token",
    );
    root.extend(cluster.start([1], &[]));
    all_work(&end(root));
    cluster.has_image(1);
}

/// A registry that holds the second half of each large blob back until `go`.
fn held_back(go: &Arc<AtomicBool>) -> impl Fn(&Heard, Pieces) -> Pieces + Send + Sync + 'static {
    let go = go.clone();
    move |_, mut pieces| {
        let is_large =
            matches!(&pieces.last(), Some(Piece::Send(bytes)) if bytes.len() > BLOCK / 2);
        if is_large && !go.load(Ordering::Relaxed) {
            pieces.insert(pieces.len() - 1, Piece::Until(go.clone()));
        }
        pieces
    }
}

/// Waits until the partial download of the largest layer has a block at `rank`.
fn has_begun(cluster: &Cluster, rank: usize) {
    let folder = cluster.place.place.path(&format!("store{rank}/downloads"));
    let begun = || {
        let entries = std::fs::read_dir(&folder).into_iter().flatten().flatten();
        entries.flat_map(|entry| entry.metadata()).any(|file| file.len() as usize >= BLOCK)
    };
    assert!(within(LIMIT, begun), "rank {rank} has nothing");
}

#[test]
fn blocks_are_passed_on_before_the_registry_has_sent_all_and_past_a_killed_rank() {
    let go = Arc::new(AtomicBool::new(false));
    let cluster = Cluster::with(6, held_back(&go));
    let all = cluster.start(0..6, &["-q"]);
    // Rank 3 and 4 fetch from rank 1.
    has_begun(&cluster, 4);
    all[1].signal(Signal::KILL);
    go.store(true, Ordering::Relaxed);
    let ran = end(all);
    for (rank, ran) in ran.iter().enumerate() {
        match rank {
            0 => assert!(ran.status == 0 && ran.stderr.contains("rank 1"), "{ran:?}"),
            1 => assert_eq!(ran.status, -9),
            _ => all_work(std::slice::from_ref(ran)),
        }
    }
    cluster.is_pulled_once();
    [0, 2, 3, 4, 5].into_iter().for_each(|rank| cluster.has_image(rank));
}

#[test]
fn an_interrupted_job_leaves_nothing_but_what_a_pull_resumes() {
    let go = Arc::new(AtomicBool::new(false));
    let cluster = Cluster::with(3, held_back(&go));
    let all = cluster.start(0..3, &["-q"]);
    has_begun(&cluster, 2);
    for started in &all {
        started.signal(Signal::TERM);
    }
    assert!(end(all).iter().all(|ran| ran.status == -15));
    go.store(true, Ordering::Relaxed);
    all_work(&end(cluster.start(0..3, &["-q"])));
    for rank in 0..3 {
        // A rank that ended between the move of a layer into its place and the next step leaves the layer's lock file.
        cluster.place.usnea_in(&format!("store{rank}"), &["image", "prune", "-f"]).works();
        cluster.has_image(rank);
    }
}

#[test]
fn the_end_of_rank_0_is_an_error_for_those_that_lack_blocks() {
    let go = Arc::new(AtomicBool::new(false));
    let cluster = Cluster::with(3, held_back(&go));
    let all = cluster.start(0..3, &["-q"]);
    // A rank that has not reached rank 0 yet waits for its start.
    [1, 2].into_iter().for_each(|rank| has_begun(&cluster, rank));
    all[0].signal(Signal::KILL);
    go.store(true, Ordering::Relaxed);
    let ran = end(all);
    ran[1].fails_with(125, &["rank 0 is gone"]);
    ran[2].fails_with(125, &["rank 0 is gone"]);
}

#[test]
fn a_registry_that_breaks_off_fails_all_and_one_that_is_done_is_not_needed() {
    let is_gone = Arc::new(AtomicBool::new(true));
    let flag = is_gone.clone();
    let cluster = Cluster::with(3, move |request, pieces| {
        match flag.load(Ordering::Relaxed) && request.path.contains("/blobs/") {
            true => answer("403 Forbidden", &[], b"{}"),
            false => pieces,
        }
    });
    let ran = end(cluster.start(0..3, &["-q"]));
    ran[0].fails_with(125, &["is denied"]);
    ran[1].fails_with(125, &["rank 0 failed"]);
    ran[2].fails_with(125, &["rank 0 failed"]);
    is_gone.store(false, Ordering::Relaxed);
    let mut all = cluster.start([0], &["-q"]);
    let is_here =
        || cluster.place.usnea_in("store0", &["image", "exists", &cluster.image()]).status == 0;
    assert!(within(LIMIT, is_here));
    is_gone.store(true, Ordering::Relaxed);
    all.extend(cluster.start(1..3, &[]));
    all_work(&end(all));
    cluster.has_image(2);
}
