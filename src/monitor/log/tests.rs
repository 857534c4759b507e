//! Tests that a reader gets the written bytes, over rotations, full disks and torn lines.

use jiff::Timestamp;
use proptest::prelude::*;

use super::{FILE, LogLine, LogWriter, Reader, Source};
use crate::monitor::record::LogSettings;

fn all(reader: &mut Reader) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut each = |line: &[u8]| {
        let line = LogLine::parse(line).expect("a line of a log");
        if line.source != Source::Ourselves {
            bytes.extend(line.bytes);
            bytes.extend(line.is_whole.then_some(b'\n'));
        }
        Ok(())
    };
    while reader.read(&mut each).expect("a log") {}
    bytes
}

fn limited(max_size: u64, max_file: u32) -> LogSettings {
    LogSettings { max_size: Some(max_size), max_file: Some(max_file), ..LogSettings::default() }
}

#[test]
fn the_form_is_cri() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = LogWriter::open(folder.path(), &LogSettings::default());
    let time: Timestamp = "2026-11-24T23:28:18.5Z".parse().unwrap();
    writer.write(Source::Output, b"one\ntw", time);
    writer.write(Source::Error, b"o\n", time);
    assert_eq!(
        std::fs::read_to_string(folder.path().join(FILE)).unwrap(),
        "2026-11-24T23:28:18.500000000Z stdout F one\n\
         2026-11-24T23:28:18.500000000Z stdout P tw\n\
         2026-11-24T23:28:18.500000000Z stderr F o\n"
    );
}

proptest! {
    #[test]
    fn what_was_written_is_read(chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..200), 0..40)) {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = LogWriter::open(folder.path(), &LogSettings::default());
        for chunk in &chunks {
            writer.write(Source::Output, chunk, Timestamp::now());
        }
        prop_assert_eq!(all(&mut Reader::open(folder.path(), FILE).unwrap()), chunks.concat());
    }
}

#[test]
fn a_reader_that_follows_misses_nothing_when_files_are_changed() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = LogWriter::open(folder.path(), &limited(400, 5));
    let mut reader = Reader::open(folder.path(), FILE).unwrap();
    let (mut written, mut seen) = (Vec::new(), Vec::new());
    for number in 0..200 {
        let line = format!("line {number}\n");
        writer.write(Source::Output, line.as_bytes(), Timestamp::now());
        written.extend(line.as_bytes());
        if number % 7 == 0 {
            seen.extend(all(&mut reader));
        }
    }
    seen.extend(all(&mut reader));
    assert_eq!(String::from_utf8(seen), String::from_utf8(written));
}

#[test]
fn rotation_keeps_so_many_files_and_no_more() {
    let folder = tempfile::tempdir().unwrap();
    for (files, names) in [(1, &["log"][..]), (3, &["log", "log.1", "log.2"])] {
        let mut writer = LogWriter::open(folder.path(), &limited(300, files));
        for number in 0..100 {
            writer.write(Source::Output, format!("{number}\n").as_bytes(), Timestamp::now());
        }
        let mut there: Vec<_> = std::fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        there.sort();
        assert_eq!(there, names);
        let read = String::from_utf8(all(&mut Reader::open(folder.path(), FILE).unwrap())).unwrap();
        assert!(read.ends_with("98\n99\n"), "{read}");
        for name in names {
            assert!(folder.path().join(name).metadata().unwrap().len() <= 300);
        }
    }
}

#[test]
fn many_short_lines_at_once_stay_within_the_limit() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = LogWriter::open(folder.path(), &limited(1000, 100));
    let lines: String = (0..1000).map(|number| format!("{number}\n")).collect();
    writer.write(Source::Output, lines.as_bytes(), Timestamp::now());
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        assert!(entry.unwrap().metadata().unwrap().len() <= 1000);
    }
    assert_eq!(all(&mut Reader::open(folder.path(), FILE).unwrap()), lines.as_bytes());
}

#[test]
fn a_torn_line_ends_where_the_next_begins() {
    let folder = tempfile::tempdir().unwrap();
    let time = "2026-11-24T23:28:18.5Z";
    std::fs::write(folder.path().join(FILE), format!("{time} stdout F who")).unwrap();
    let mut writer = LogWriter::open(folder.path(), &LogSettings::default());
    writer.write(Source::Output, b"next\n", Timestamp::now());
    assert_eq!(all(&mut Reader::open(folder.path(), FILE).unwrap()), b"who\nnext\n");
}

#[test]
fn bytes_lost_on_a_full_disk_are_counted_and_no_line_is_torn() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = LogWriter::open(folder.path(), &LogSettings::default());
    writer.write(Source::Output, b"before\n", Timestamp::now());
    let path = folder.path().join(FILE);
    // Opened read-only: every write fails, as on a full disk.
    writer.file = std::fs::File::open("/dev/full").ok();
    writer.write(Source::Output, b"lost\n", Timestamp::now());
    writer.write(Source::Output, b"lost too\n", Timestamp::now());
    writer.file = None;
    writer.write(Source::Output, b"after\n", Timestamp::now());
    let text = std::fs::read_to_string(path).unwrap();
    let lines: Vec<&str> = text.lines().map(|line| line.split_once(' ').unwrap().1).collect();
    assert_eq!(lines.len(), 3, "{text}");
    assert_eq!((lines[0], lines[2]), ("stdout F before", "stdout F after"));
    assert!(lines[1].starts_with("usnea F 14 bytes were lost: "), "{}", lines[1]);
}

#[test]
fn a_place_in_the_log_can_be_gone_back_to() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = LogWriter::open(folder.path(), &limited(300, 9));
    for number in 0..40 {
        writer.write(Source::Output, format!("{number}\n").as_bytes(), Timestamp::now());
    }
    let mut reader = Reader::open(folder.path(), FILE).unwrap();
    let mut places = Vec::new();
    while reader
        .read_placed(|position, line| {
            places.push((position, line.to_vec()));
            Ok(())
        })
        .unwrap()
    {}
    assert_eq!(places.len(), 40);
    for (position, line) in places {
        reader.seek(position);
        let mut first = None;
        reader
            .read(|line| {
                first.get_or_insert_with(|| line.to_vec());
                Ok(())
            })
            .unwrap();
        assert_eq!(first, Some(line));
    }
}
