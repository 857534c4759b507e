//! Streams: compressed and plain, whole and cut off.

use super::*;
use crate::digest::Digest;
use crate::image::extract::tests::archive::{gzip, zstd};

fn some() -> Tar {
    let large: Vec<u8> = (0..700_000u32).flat_map(|n| (n % 251).to_le_bytes()).collect();
    Tar::of([
        Item::folder("etc").mode(0o700),
        Item::file("etc/passwd", "root:x:0:0::/:/bin/sh\n"),
        Item::file("large", large),
        Item::symlink("link", "etc"),
        Item::hard_link("hard", "etc/passwd"),
    ])
}

#[test]
fn the_diff_id_is_of_all_bytes_whatever_the_compression() {
    let plain = [some().end(), vec![7; 10_000]].concat();
    let parts = plain.split_at(1_000_000);
    let members = [gzip(parts.0), gzip(b""), gzip(parts.1)].concat();
    let skippable = [&b"\x5a\x2a\x4d\x18\x03\0\0\0abc"[..]].concat();
    let frames = [&skippable[..], &zstd(parts.0), &skippable, &zstd(parts.1), &skippable].concat();
    for packed in [plain.clone(), gzip(&plain), zstd(&plain), members, frames] {
        let place = Place::new();
        let unpacked = place.unpack(&packed).unwrap();
        assert_eq!(unpacked.diff_id, Digest::of(&plain));
        assert_eq!((unpacked.stream, unpacked.entries), (plain.len() as u64, 5));
        assert_eq!(unpacked.bytes, 2_800_022);
        assert_eq!(read(place.path("hard")), "root:x:0:0::/:/bin/sh\n");
    }
}

/// Yields a single byte a time, like the slowest network.
struct Drops<'a>(&'a [u8]);

impl std::io::Read for Drops<'_> {
    fn read(&mut self, room: &mut [u8]) -> std::io::Result<usize> {
        let most = room.len().min(1);
        std::io::Read::read(&mut self.0, &mut room[..most])
    }
}

#[test]
fn the_stream_is_read_to_its_end_in_drops() {
    let plain = Tar::of([Item::file("a", "x")]).end();
    for packed in [plain.clone(), gzip(&plain), zstd(&plain)] {
        let place = Place::new();
        let into = std::fs::File::open(place.fs()).unwrap();
        let limits = LayerLimits::default();
        let rules = UnpackRules {
            owners: &Owners::Recorded,
            limits: &limits,
            whiteouts: Default::default(),
            content: Default::default(),
        };
        let mut drops = Drops(&packed);
        let unpacked = layer(&mut drops, packed.len() as u64, into.as_fd(), &rules).unwrap();
        assert!(drops.0.is_empty());
        assert_eq!(unpacked.diff_id, Digest::of(&plain));
    }
}

#[test]
fn an_empty_layer_is_one() {
    for tar in [vec![], vec![0; 1024], vec![0; 10_240], vec![0; 512]] {
        let place = Place::new();
        let unpacked = place.unpack(&gzip(&tar)).unwrap();
        assert_eq!((unpacked.entries, unpacked.diff_id), (0, Digest::of(&tar)));
        assert_eq!(names(&place.tree()), ["."]);
    }
    Place::new().unpack(&[]).unwrap();
}

#[test]
fn garbage_after_the_last_member_is_an_error() {
    let plain = some().end();
    for packed in [[gzip(&plain), vec![7; 100]].concat(), [zstd(&plain), vec![7; 100]].concat()] {
        let error = Place::new().unpack(&packed).unwrap_err().to_string();
        assert!(error.contains("stream is no good"), "{error}");
    }
}

#[test]
fn a_truncated_stream_is_an_error() {
    let plain = Tar::of([Item::file("a", vec![1; 3000]), Item::file("b", vec![2; 700])]);
    let entries = [0, 512 + 3072, plain.0.len()];
    let whole = plain.end();
    for length in (0..whole.len()).step_by(512).chain([1, 100, 511, 513, 1025, 4000, 4999]) {
        let answer = Place::new().unpack(&whole[..length]);
        // A cut between entries shows only in the digest.
        let is_fine = entries.contains(&length) || length >= entries[2] && length % 512 == 0;
        assert_eq!(answer.is_ok(), is_fine, "{length}");
    }
    for packed in [gzip(&whole), zstd(&whole)] {
        for length in 1..packed.len() {
            // Two bytes are gzip's signature; a shorter stream is a truncated tar.
            let error = Place::new().unpack(&packed[..length]).unwrap_err().to_string();
            assert!(error.contains("cut off"), "{length}: {error}");
        }
    }
}

#[test]
fn a_wrong_checksum_is_an_error() {
    let mut packed = gzip(&some().end());
    let at = packed.len() - 6;
    packed[at] ^= 1;
    let error = Place::new().unpack(&packed).unwrap_err().to_string();
    assert!(error.starts_with("layer: its gzip stream is no good"), "{error}");
    let mut plain = some().end();
    plain[0] = b'f';
    let error = Place::new().unpack(&plain).unwrap_err().to_string();
    assert_eq!(error, "layer: a header is not one of tar's");
}

#[test]
fn other_compressions_are_named() {
    for (head, name) in [(&b"BZh91AY&SY"[..], "bzip2"), (b"\xfd7zXZ\0\0\x04", "xz")] {
        let error = Place::new().unpack(head).unwrap_err().to_string();
        assert!(error.contains(name), "{error}");
    }
}

#[test]
fn the_error_of_the_source_is_reported() {
    struct Broken;
    impl std::io::Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            let ours = crate::error::Error::new("the registry is gone").hint("wait");
            Err(std::io::Error::other(ours))
        }
    }
    use std::io::Read;
    let (gzip, zstd) = (gzip(&some().end()), zstd(&some().end()));
    for head in [&b""[..], b"12", &gzip[..100], &zstd[..50]] {
        let place = Place::new();
        let into = std::fs::File::open(place.fs()).unwrap();
        let limits = LayerLimits::default();
        let rules = UnpackRules {
            owners: &Owners::Recorded,
            limits: &limits,
            whiteouts: Default::default(),
            content: Default::default(),
        };
        let error = layer(head.chain(Broken), 1000, into.as_fd(), &rules).unwrap_err();
        assert_eq!(error.to_string(), "layer: the registry is gone");
        assert_eq!(error.hint_text(), Some("wait"));
    }
}

#[test]
fn a_layer_that_unpacks_to_too_much_is_refused_on_the_way() {
    let zeros = vec![0; 20 << 20];
    let limits = LayerLimits { layer_bytes: 1 << 20, ..LayerLimits::default() };
    let bombs = [
        Tar::of([Item::file("bomb", &zeros)]).end(),
        // After the tar's end, where no byte would be written to a file.
        [Tar::new().end(), zeros.clone()].concat(),
    ];
    for bomb in bombs {
        for packed in [gzip(&bomb), zstd(&bomb)] {
            let place = Place::new();
            let error = place.unpack_with(&packed, &Owners::Recorded, &limits).unwrap_err();
            assert!(error.to_string().contains("more than 1048576 bytes"), "{error}");
            assert!(error.hint_text().unwrap().contains("layer-bytes"));
            let written: u64 = place.tree().values().map(|node| node.content.len() as u64).sum();
            assert!(written <= 2 << 20, "{written}");
        }
    }
}

#[test]
fn a_layer_that_is_refused_is_not_read_to_its_end() {
    let place = Place::new();
    let into = std::fs::File::open(place.fs()).unwrap();
    let limits = LayerLimits::default();
    let rules = UnpackRules {
        owners: &Owners::Recorded,
        limits: &limits,
        whiteouts: Default::default(),
        content: Default::default(),
    };
    let endless = std::io::repeat(b'x');
    let error = layer(endless, u64::MAX, into.as_fd(), &rules).unwrap_err();
    assert_eq!(error.to_string(), "layer: a header is not one of tar's");
}
