//! Spreads in one process: each rank is a thread with a store of its own, and fetches two blobs.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::channel::{self, ChannelPurpose, SpreadChannel};
use super::frame::{HEADER, SpreadFrame};
use super::ledger::{Ledger, SpreadEnd, SpreadImage};
use super::*;
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::image::manifest::{Descriptor, Platform};
use crate::image::source::{BlobReader, FetchedManifest, ImageSource};
use crate::image::store::{BlobClaim, ImageLayer, ImageRecord, Store};

const TOKEN: &str = "a token of the test";
const SECONDS: Duration = Duration::from_secs(60);

/// Registry in memory, which counts the bytes that it sends.
struct MemorySource {
    blobs: Vec<Vec<u8>>,
    sent: Mutex<u64>,
}

impl MemorySource {
    /// Blobs of these sizes.
    fn new(sizes: &[usize]) -> Self {
        let content = |(number, size): (usize, &usize)| -> Vec<u8> {
            (0..*size).map(|at| (at / 7 + at / 251 + number) as u8).collect()
        };
        let blobs = sizes.iter().enumerate().map(content).collect();
        Self { blobs, sent: Mutex::new(0) }
    }

    fn descriptors(&self) -> Vec<Descriptor> {
        let of = |blob: &Vec<u8>| Descriptor {
            media_type: String::new(),
            digest: Digest::of(blob),
            size: blob.len() as u64,
            platform: None,
            annotations: BTreeMap::new(),
            urls: Vec::new(),
        };
        self.blobs.iter().map(of).collect()
    }

    fn bytes(&self) -> u64 {
        self.blobs.iter().map(|blob| blob.len() as u64).sum()
    }
}

impl ImageSource for MemorySource {
    fn describe(&self) -> String {
        "memory".to_owned()
    }

    fn manifest(&self, _: Option<&Digest>) -> Result<FetchedManifest> {
        Ok(FetchedManifest { bytes: b"no manifest".to_vec(), media_type: None })
    }

    fn blob(&self, descriptor: &Descriptor, from: u64) -> Result<BlobReader> {
        let blob = self.blobs.iter().find(|blob| Digest::of(blob) == descriptor.digest);
        let rest = blob.expect("a blob").get(from as usize..).expect("an offset").to_vec();
        *self.sent.lock().unwrap() += rest.len() as u64;
        Ok(Box::new(std::io::Cursor::new(rest)))
    }
}

/// Fetches all blobs, one after the other.
fn fetch(store: &Store, source: &dyn ImageSource, all: &[Descriptor]) -> Result<ImageRecord> {
    for descriptor in all {
        if let BlobClaim::Ours(partial) = store.claim_blob(&descriptor.digest, &|| ())? {
            partial.finish(
                store,
                descriptor.size,
                &|from| source.blob(descriptor, from),
                &|_| (),
            )?;
        }
    }
    let layers = all.iter().map(|layer| ImageLayer {
        blob: layer.digest.clone(),
        packed: layer.size,
        diff_id: layer.digest.clone(),
        size: 0,
    });
    Ok(ImageRecord {
        manifest: Digest::of(b"no manifest"),
        index: None,
        config: all[0].digest.clone(),
        layers: layers.collect(),
        platform: Platform::host(),
        names: Vec::new(),
        digests: Vec::new(),
        created: None,
        added: jiff::Timestamp::UNIX_EPOCH,
    })
}

/// Job on loopback: stores in one folder.
struct TestJob {
    folder: tempfile::TempDir,
    source: MemorySource,
    settings: SpreadSettings,
}

impl TestJob {
    fn new(ranks: u32, fanout: u32, sizes: &[usize]) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let settings = SpreadSettings {
            shape: SpreadShape { rank: 0, ranks, fanout },
            token: SpreadToken::new(TOKEN).unwrap(),
            image: "x:1".to_owned(),
            host: "127.0.0.1".to_owned(),
            port,
            listen: None,
            tempo: SpreadTempo {
                patience: Duration::from_millis(1500),
                grace: Duration::from_secs(30),
                linger: Duration::from_millis(300),
                ..SpreadTempo::new(SECONDS)
            },
        };
        Self { folder: tempfile::tempdir().unwrap(), source: MemorySource::new(sizes), settings }
    }

    fn store(&self, rank: u32) -> Store {
        Store::open(&self.folder.path().join(rank.to_string())).unwrap()
    }

    fn rank(&self, rank: u32) -> SpreadSettings {
        let shape = SpreadShape { rank, ..self.settings.shape.clone() };
        SpreadSettings { shape, ..self.settings.clone() }
    }

    fn run_root(&self) -> Result<ImageRecord> {
        let (store, all) = (self.store(0), self.source.descriptors());
        run_root(&self.rank(0), &store, |root| {
            let source = root.share(&self.source);
            source.manifest(None)?;
            // No manifest of this digest is known: nothing is taken from the store.
            source.announce("q.io/x:1", &Digest::of(b""))?;
            let image = fetch(&store, &source, &all)?;
            root.add_stored(&image)?;
            Ok(image)
        })
    }

    fn run_member(&self, rank: u32) -> Result<ImageRecord> {
        let (store, all) = (self.store(rank), self.source.descriptors());
        run_member(&self.rank(rank), &store, |source, image| {
            assert_eq!(image.reference, "q.io/x:1");
            fetch(&store, source, &all)
        })
    }

    fn has_all(&self, rank: u32) -> bool {
        let store = self.store(rank);
        let has = |one: &Descriptor| {
            store.open_blob(&one.digest).is_ok() && !store.is_damaged(&one.digest)
        };
        self.source.descriptors().iter().all(has)
    }

    fn address(&self) -> SocketAddr {
        SocketAddr::new("127.0.0.1".parse().unwrap(), self.settings.port)
    }

    /// Connects as soon as rank 0 listens.
    fn stream(&self) -> TcpStream {
        let deadline = Instant::now() + SECONDS;
        loop {
            match TcpStream::connect(self.address()) {
                Ok(stream) => return stream,
                Err(error) => assert!(Instant::now() < deadline, "{error}"),
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Joins as `rank`, which serves at this port.
    fn join(&self, rank: u32, port: u16) -> SpreadChannel {
        let token = SpreadToken::new(TOKEN).unwrap();
        let mut channel = channel::connect(self.stream(), &token, ChannelPurpose::Control).unwrap();
        let (ranks, image) = (self.settings.shape.ranks, "x:1".to_owned());
        channel.sender.send(&SpreadFrame::Hello { rank, ranks, port, image }).unwrap();
        channel
    }
}

const SIZES: [usize; 3] = [100, 2 * BLOCK as usize + 5, BLOCK as usize];

#[test]
fn the_registry_sends_one_image_whatever_the_tree() {
    for fanout in [1, 3] {
        let job = TestJob::new(5, fanout, &SIZES);
        std::thread::scope(|scope| {
            let root = scope.spawn(|| job.run_root());
            let others: Vec<_> = (1..5)
                .map(|rank| {
                    scope.spawn({
                        let job = &job;
                        move || job.run_member(rank)
                    })
                })
                .collect();
            root.join().unwrap().unwrap();
            for other in others {
                other.join().unwrap().unwrap();
            }
        });
        assert!((0..5).all(|rank| job.has_all(rank)));
        assert_eq!(*job.source.sent.lock().unwrap(), job.source.bytes());
    }
}

/// Serves requests for blobs as rank 1 by `serve`, until a byte comes at `stop`.
fn false_rank(job: &TestJob, serve: impl Fn(&mut SpreadChannel) + Send + Sync) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut control = job.join(1, listener.local_addr().unwrap().port());
    listener.set_nonblocking(true).unwrap();
    let token = SpreadToken::new(TOKEN).unwrap();
    let mut served = 0;
    // Rank 0 ends the connection when the other rank is done.
    control.sender.send(&SpreadFrame::Done).unwrap();
    let deadline = Instant::now() + SECONDS;
    while Instant::now() < deadline {
        match control.receiver.receive(Duration::from_millis(20)) {
            Ok(Some(SpreadFrame::Finish)) => break,
            Ok(_) => {}
            Err(error) => panic!("{error}"),
        }
        control.sender.send(&SpreadFrame::Ping).unwrap();
        let Ok((stream, _)) = listener.accept() else { continue };
        stream.set_nonblocking(false).unwrap();
        let (_, mut channel) = channel::accept(stream, &token).unwrap();
        serve(&mut channel);
        served += 1;
    }
    assert!(served > 0, "nobody asked the false rank");
}

/// Runs rank 0, the false rank 1, and rank 2 below it.
fn beside_a_false_rank(serve: impl Fn(&mut SpreadChannel) + Send + Sync) -> TestJob {
    let job = TestJob::new(3, 1, &SIZES);
    std::thread::scope(|scope| {
        let root = scope.spawn(|| job.run_root());
        let false_one = scope.spawn(|| false_rank(&job, serve));
        let other = scope.spawn(|| job.run_member(2));
        other.join().unwrap().unwrap();
        root.join().unwrap().unwrap();
        false_one.join().unwrap();
    });
    job
}

#[test]
fn a_rank_that_sends_wrong_blocks_is_replaced() {
    let job = beside_a_false_rank(|channel| {
        let _ = channel.receiver.receive(Duration::from_secs(5));
        let _ = channel.sender.send(&SpreadFrame::Block(vec![0; 100]));
    });
    assert!(job.has_all(2) && !job.has_all(1));
}

#[test]
fn a_rank_that_only_says_that_it_lives_is_replaced() {
    let job = beside_a_false_rank(|channel| {
        while channel.sender.send(&SpreadFrame::Ping).is_ok() {
            std::thread::sleep(Duration::from_millis(100));
        }
    });
    assert!(job.has_all(2));
}

#[test]
fn strangers_change_nothing() {
    let job = TestJob::new(2, 2, &SIZES);
    std::thread::scope(|scope| {
        let root = scope.spawn(|| job.run_root());
        // Silent ones stay open to the end.
        let silent: Vec<_> = (0..20).map(|_| job.stream()).collect();
        for bytes in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0xff; 4096], b"x"] {
            let _ = job.stream().write_all(bytes);
        }
        let other = SpreadToken::new("another token of another job").unwrap();
        for purpose in [ChannelPurpose::Control, ChannelPurpose::Data] {
            let error = channel::connect(job.stream(), &other, purpose).unwrap_err();
            assert_eq!(error.kind(), crate::error::ErrorKind::Refused, "{error}");
        }
        // A rank that came before, none of the job, one of another image.
        let refused = |rank, ranks, image: &str| {
            let token = SpreadToken::new(TOKEN).unwrap();
            let mut channel =
                channel::connect(job.stream(), &token, ChannelPurpose::Control).unwrap();
            let image = image.to_owned();
            channel.sender.send(&SpreadFrame::Hello { rank, ranks, port: 1, image }).unwrap();
            let answer = channel.receiver.receive(SECONDS).unwrap();
            assert!(matches!(answer, Some(SpreadFrame::Failed(_))), "{answer:?}");
        };
        refused(0, 2, "x:1");
        refused(2, 2, "x:1");
        refused(1, 3, "x:1");
        refused(1, 2, "y:1");
        job.run_member(1).unwrap();
        root.join().unwrap().unwrap();
        drop(silent);
    });
    assert!(job.has_all(1));
}

#[test]
fn a_rank_with_another_token_is_told() {
    let job = TestJob::new(2, 2, &SIZES);
    std::thread::scope(|scope| {
        let root = scope.spawn(|| job.run_root());
        let token = SpreadToken::new("another token of another job").unwrap();
        let settings = SpreadSettings { token, ..job.rank(1) };
        let error = run_member::<()>(&settings, &job.store(1), |_, _| unreachable!()).unwrap_err();
        assert!(error.to_string().contains("does not accept the token"), "{error}");
        job.run_member(1).unwrap();
        root.join().unwrap().unwrap();
    });
    assert!(SpreadToken::new("short").is_err());
    assert!(!format!("{:?}", job.settings).contains(TOKEN));
}

#[test]
fn a_frame_that_is_changed_or_repeated_is_refused() {
    let token = SpreadToken::new(TOKEN).unwrap();
    for (purpose, is_sealed) in [(ChannelPurpose::Control, true), (ChannelPurpose::Data, false)] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let mut raw = stream.try_clone().unwrap();
        let client = std::thread::spawn({
            let token = token.clone();
            move || channel::connect(stream, &token, purpose).unwrap()
        });
        let (_, mut server) = channel::accept(listener.accept().unwrap().0, &token).unwrap();
        let mut client = client.join().unwrap();
        client.sender.send(&SpreadFrame::Done).unwrap();
        let got = server.receiver.receive(SECONDS).unwrap();
        assert_eq!(got, Some(SpreadFrame::Done));
        // The same bytes again, as somebody in between would send them.
        let mut forged = SpreadFrame::Done.encode();
        assert_eq!(forged.len(), HEADER);
        if is_sealed {
            forged.extend([0; 32]);
        }
        raw.write_all(&forged).unwrap();
        assert_eq!(server.receiver.receive(SECONDS).is_err(), is_sealed);
        // A length beyond all limits is refused before its bytes come.
        raw.write_all(&[1, 0xff, 0xff, 0xff, 0xff]).unwrap();
        assert!(server.receiver.receive(SECONDS).is_err());
        let _ = raw.read(&mut [0]);
    }
}

#[test]
fn a_download_from_before_is_used_and_a_damaged_one_is_passed_to_nobody() {
    let job = TestJob::new(3, 1, &SIZES);
    let large = &job.source.descriptors()[1];
    let begin = |rank: u32, bytes: &[u8]| {
        let store = job.store(rank);
        let name = format!("downloads/sha256-{}", large.digest.hex());
        std::fs::write(store.root().join(name), bytes).unwrap();
    };
    let half = job.source.blobs[1].len() / 2;
    begin(0, &job.source.blobs[1][..half]);
    // Rank 1 is the parent of rank 2.
    begin(1, &vec![1; half]);
    begin(2, &job.source.blobs[1][..BLOCK as usize]);
    std::thread::scope(|scope| {
        let root = scope.spawn(|| job.run_root());
        let damaged = scope.spawn(|| job.run_member(1));
        job.run_member(2).unwrap();
        let error = damaged.join().unwrap().unwrap_err().to_string();
        assert!(error.contains("what came is"), "{error}");
        root.join().unwrap().unwrap();
    });
    assert!(job.has_all(0) && job.has_all(2) && !job.has_all(1));
    assert_eq!(*job.source.sent.lock().unwrap(), job.source.bytes() - half as u64);
}

#[test]
fn a_failure_of_rank_0_reaches_all() {
    let job = TestJob::new(2, 2, &SIZES);
    std::thread::scope(|scope| {
        let root = scope.spawn(|| {
            run_root::<()>(&job.rank(0), &job.store(0), |_| Err(Error::new("no such image")))
        });
        let error = job.run_member(1).unwrap_err().to_string();
        assert_eq!(error, "rank 0 failed: no such image");
        assert_eq!(root.join().unwrap().unwrap_err().to_string(), "no such image");
    });
}

#[test]
fn frames_that_contradict_each_other_are_refused() {
    let ledger = Ledger::default();
    let digest = Digest::of(b"x");
    let image = |name: &str| SpreadFrame::Image { reference: name.into(), top: digest.clone() };
    let blocks = |blob, first, digests: &[[u8; 32]]| SpreadFrame::Blocks {
        blob,
        first,
        digests: digests.to_vec(),
    };
    let blob = |size| SpreadFrame::Blob { digest: digest.clone(), size };
    for frame in [image("a"), image("a"), blob(BLOCK + 1), blocks(0, 0, &[[1; 32]; 2])] {
        ledger.enter(frame).unwrap();
    }
    for frame in [
        image("b"),
        blob(BLOCK),
        blocks(0, 0, &[[2; 32]]),
        blocks(0, 2, &[[1; 32]]),
        blocks(1, 0, &[[1; 32]]),
        SpreadFrame::Blob { digest: Digest::of(b"y"), size: u64::MAX },
        SpreadFrame::Done,
    ] {
        assert!(ledger.enter(frame.clone()).is_err(), "{frame:?}");
    }
    assert!(ledger.is_whole(&digest));
    assert_eq!(ledger.wait_block(&digest, 1, Duration::ZERO).unwrap(), Some([1; 32]));
    ledger.set_end(SpreadEnd::Lost("x".into()));
    assert!(ledger.wait_block(&digest, 2, SECONDS).is_err());
    let known = ledger.wait_image(SECONDS).unwrap();
    assert_eq!(known, Some(SpreadImage { reference: "a".into(), top: digest }));
}

#[test]
fn candidates_are_the_ancestors_then_the_children_of_rank_0() {
    let of = |rank, fanout| SpreadShape { rank, ranks: 20, fanout }.candidates();
    assert_eq!(of(11, 2), [5, 2, 0, 1]);
    assert_eq!(of(1, 2), [0, 2]);
    assert_eq!(of(3, 1), [2, 1, 0]);
    assert_eq!(SpreadShape { rank: 1, ranks: 2, fanout: 8 }.candidates(), [0]);
}
