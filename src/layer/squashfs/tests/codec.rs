//! Inflation: right results, and an end to bombs and broken streams.

use std::io::{Read, Write};

use rustix::io::Errno;

use super::super::codec::Inflaters;
use super::super::format::SquashfsCodec;
use super::*;

const CODECS: [SquashfsCodec; 4] =
    [SquashfsCodec::Gzip, SquashfsCodec::Zstd, SquashfsCodec::Lz4, SquashfsCodec::Xz];

fn compress(codec: SquashfsCodec, bytes: &[u8]) -> Vec<u8> {
    match codec {
        SquashfsCodec::Gzip => {
            let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), Default::default());
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        }
        SquashfsCodec::Zstd => zstd::bulk::compress(bytes, 3).unwrap(),
        SquashfsCodec::Lz4 => lz4_flex::block::compress(bytes),
        SquashfsCodec::Xz => {
            let mut compressed = Vec::new();
            liblzma::read::XzEncoder::new(bytes, 3).read_to_end(&mut compressed).unwrap();
            compressed
        }
        SquashfsCodec::Lzma | SquashfsCodec::Lzo => panic!("{codec}"),
    }
}

#[test]
fn every_codec_inflates_up_to_the_limit_and_no_further() {
    for codec in CODECS {
        let inflaters = Inflaters::new(codec);
        for size in [1, 100, 8191, 8192, 131_072, 1 << 20] {
            for content in [text(size), noise(size), vec![0; size]] {
                let stored = compress(codec, &content);
                for limit in [size, size + 1, 1 << 20] {
                    let inflated = inflaters.inflate(&stored, limit);
                    assert!(inflated.as_ref() == Ok(&content), "{codec} {size} of {limit}");
                }
                let bomb = inflaters.inflate(&stored, size - 1);
                assert!(bomb == Err(Errno::IO), "{codec} {size}");
            }
        }
    }
}

#[test]
fn broken_streams_are_errors_and_harm_no_later_one() {
    for codec in CODECS {
        let inflaters = Inflaters::new(codec);
        let content = text(20_000);
        let stored = compress(codec, &content);
        for size in 0..stored.len() {
            let _ = inflaters.inflate(&stored[..size], 20_000);
        }
        for at in 0..stored.len() {
            let mut broken = stored.clone();
            broken[at] ^= 0xff;
            let inflated = inflaters.inflate(&broken, 20_000);
            assert!(inflated.is_err() || inflated.is_ok_and(|bytes| bytes.len() <= 20_000));
        }
        assert!(inflaters.inflate(&stored, 20_000) == Ok(content), "{codec}");
        assert_eq!(inflaters.inflate(&[], 8192), Err(Errno::IO), "{codec}");
    }
}

#[test]
fn a_truncated_stream_is_an_error() {
    for codec in CODECS {
        let stored = compress(codec, &noise(20_000));
        let cut = Inflaters::new(codec).inflate(&stored[..stored.len() / 2], 20_000);
        // LZ4 blocks have no end: the caller compares the size.
        assert!(cut.is_err() || cut.is_ok_and(|bytes| bytes.len() < 20_000), "{codec}");
    }
}
