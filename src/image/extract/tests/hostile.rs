//! Malicious layers.

use super::*;
use crate::image::extract::tests::archive::record;

#[test]
fn names_do_not_lead_out() {
    for name in ["..", "../outside/secret", "a/../../outside/x", "a/b/../../../x"] {
        for item in [Item::file(name, "!"), Item::folder(name), Item::symlink(name, "x")] {
            let error = refused(Tar::of([Item::folder("a/b"), item]));
            assert!(error.contains("'..'"), "{name}: {error}");
        }
    }
}

#[test]
fn files_of_unmapped_owners_become_roots() {
    for item in [
        Item::file("a", "").owner(u64::from(u32::MAX), u64::from(u32::MAX)),
        Item::file("a", "").pax("uid", "4294967295").pax("gid", "-1"),
    ] {
        let (place, _) = unpacked(Tar::of([item]));
        assert!(place.tree()["a"].xattrs.is_empty());
    }
}

#[test]
fn absolute_names_are_below_the_root() {
    let name = format!("layer-{}", std::process::id());
    let (place, _) = unpacked(Tar::of([
        Item::file(format!("/tmp/{name}"), "x"),
        Item::hard_link("///hard", format!("/tmp/{name}")),
    ]));
    assert_eq!(names(&place.tree()), [".", "hard", "tmp", &format!("tmp/{name}")]);
    assert!(!Path::new("/tmp").join(name).exists());
}

#[test]
fn long_names_are_names_and_too_long_ones_an_error() {
    let long = [&b"x".repeat(255)[..], &b"/y".repeat(16), b"/", &b"z".repeat(255)].concat();
    let deeper = [b"n".repeat(255), b"/".to_vec()].concat().repeat(17);
    assert!(deeper.len() > 4096);
    let target = b"t".repeat(4095);
    // The kernel does not accept the whole path at once, so the test checks the file by its other name.
    let (place, _) = unpacked(Tar::of([
        Item::file(&long, "long"),
        Item::file(deeper.strip_suffix(b"/").unwrap(), "deep"),
        Item::hard_link("again", &deeper),
        Item::symlink("link", &target),
    ]));
    assert_eq!(std::fs::read(place.fs().join(String::from_utf8(long).unwrap())).unwrap(), b"long");
    assert_eq!(std::fs::read_link(place.path("link")).unwrap().as_os_str().len(), 4095);
    assert_eq!(read(place.path("again")), "deep");
    let error = refused(Tar::of([Item::file(b"x".repeat(300), "")]));
    assert!(error.contains("255 bytes") && error.contains("..."), "{error}");
    let error = refused(Tar::of([Item::file(b"x".repeat(4096), "")]));
    assert!(error.contains("255 bytes"), "{error}");
    let error = refused(Tar::of([Item::symlink("link", b"t".repeat(4096))]));
    assert!(error.contains("link: File name too long"), "{error}");
}

#[test]
fn a_tower_of_folders_is_an_error() {
    let error = refused(Tar::of([Item::folder("d/".repeat(10_000))]));
    assert!(error.ends_with("more than 1000 folders deep"), "{error}");
    // Descends level by level, each folder one level deeper than the last.
    let items = (1..1100).map(|depth| Item::folder("d/".repeat(depth)));
    let place = Place::new();
    let error = place.unpack(&Tar::of(items).end()).unwrap_err();
    assert!(error.to_string().ends_with("more than 1000 folders deep"), "{error}");
    crate::sys::tree::remove(std::fs::File::open(place.fs()).unwrap().as_fd(), b"d").unwrap();
    assert_eq!(names(&place.tree()), ["."]);
}

#[test]
fn to_and_fro_in_the_depth_stays_where_it_belongs() {
    let deep = "d/".repeat(100);
    let (place, _) = unpacked(Tar::of([
        Item::file(format!("{deep}one"), "1"),
        Item::file("two", "2"),
        Item::file(format!("{deep}three"), "3"),
        Item::file(format!("{}four", "d/".repeat(40)), "4"),
        Item::file(format!("{deep}five"), "5"),
        Item::file("d/six", "6"),
    ]));
    let at = |name: &str| read(place.path(name));
    let all = [at(&format!("{deep}one")), at("two"), at(&format!("{deep}three")), at("d/six")];
    assert_eq!(all.concat(), "1236");
    assert_eq!(at(&format!("{}four", "d/".repeat(40))), "4");
}

#[test]
fn ids_are_ids() {
    for (item, what) in [
        (Item::file("a", "").owner(1 << 32, 0), "owner"),
        (Item::file("a", "").pax("gid", "4294967296"), "group"),
    ] {
        let error = refused(Tar::of([item]));
        assert!(error.starts_with(&format!("layer: a: {what}: ID 4294967")), "{error}");
    }
    for value in ["-2", "x", "1.5", "99999999999999999999"] {
        let error = refused(Tar::of([Item::file("a", "").pax("uid", value)]));
        assert!(error.contains("'uid' is malformed"), "{error}");
    }
    unpacked(Tar::of([Item::file("a", "").owner(4_294_967_294, 4_294_967_294)]));
    // A PAX record makes the header's field unnecessary.
    let mut header = Item::file("a", "").header();
    header.as_ustar_mut().uid = *b"nonsense";
    header.set_checksum();
    let tar = Tar::new().extension(b'x', &record("uid", b"7")).raw(&header, b"");
    unpacked(tar);
}

fn with_field(edit: impl Fn(&mut tar_core::UstarHeader)) -> Tar {
    let mut header = Item::file("a", "x").header();
    edit(header.as_ustar_mut());
    header.set_checksum();
    Tar::new().raw(&header, b"x")
}

#[test]
fn numbers_that_do_not_fit_are_refused() {
    let base_256 = |first: u8, fill: u8| {
        let mut field = [fill; 12];
        field[0] = first;
        field
    };
    for (first, fill) in [(0xff, 0xff), (0x80, 0xff), (0xff, 0), (0x80, 1), (0xc0, 0)] {
        let error = refused(with_field(|fields| fields.size = base_256(first, fill)));
        assert!(error.contains("number"), "{error}");
    }
    refused(with_field(|fields| fields.size = *b"-0000000001\0"));
    refused(with_field(|fields| fields.size = *b"9999999999 \0"));
    refused(with_field(|fields| fields.mode = [0xff; 8]));
    refused(with_field(|fields| fields.uid = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe]));
    // A time before 1970, in GNU's format.
    let place = Place::new();
    place.unpack(&with_field(|fields| fields.mtime = [0xff; 12]).end()).unwrap();
    assert_eq!(place.tree()["a"].mtime, (-1, 0));
}

#[test]
fn the_size_of_the_pax_record_holds() {
    let (place, _) = unpacked(
        Tar::new()
            .extension(b'x', &record("size", b"5"))
            .raw(&Item::file("a", "").header(), b"12345")
            .and(Item::file("b", "x")),
    );
    assert_eq!((read(place.path("a")), read(place.path("b"))), ("12345".into(), "x".into()));
    // A size beyond the end of the stream: an error, and no read beyond.
    let tar = Tar::new().extension(b'x', &record("size", b"9223372036854775807"));
    let error = refused(tar.raw(&Item::file("a", "x").header(), b"x"));
    assert!(error.contains("unpacks to more than"), "{error}");
    let tar = Tar::new().extension(b'x', &record("size", b"100000"));
    assert!(refused(tar.raw(&Item::file("a", "x").header(), b"x")).contains("cut off"));
    for size in ["-1", "18446744073709551616", "0x5"] {
        let error = refused(Tar::of([Item::file("a", "x").pax("size", size)]));
        assert!(error.contains("'size' is malformed"), "{error}");
    }
}

#[test]
fn only_files_have_content() {
    let (place, _) = unpacked(
        // Go's archive/tar reads the next header where the "content" would be.
        Tar::new()
            .extension(b'x', &record("size", b"512"))
            .and(Item::symlink("link", "x"))
            .and(Item::file("a", "x")),
    );
    assert_eq!(names(&place.tree()), [".", "a", "link"]);
}

#[test]
fn extensions_are_of_a_bounded_size_and_number() {
    let huge = vec![b'x'; (1 << 20) + 1];
    for kind in [b'x', b'L', b'K'] {
        let error = refused(Tar::new().extension(kind, &huge).and(Item::file("a", "")));
        assert!(error.contains("extended header of 1048577 bytes"), "{error}");
    }
    // The last of two counts, as in Go.
    let two = Tar::new().extension(b'L', b"a\0").extension(b'L', b"b\0").and(Item::file("c", ""));
    assert_eq!(names(&unpacked(two).0.tree()), [".", "b"]);
    let records = [record("path", b"a"), record("path", b"b")];
    let two = Tar::new().extension(b'x', &records[0]).extension(b'x', &records[1]);
    assert_eq!(names(&unpacked(two.and(Item::file("c", ""))).0.tree()), [".", "b"]);
    assert!(refused(Tar::new().extension(b'L', b"a\0")).contains("no entry"));
    // A global header applies to all entries, and contains nothing relevant.
    let global = record("path", b"evil");
    let (place, _) = unpacked(Tar::new().extension(b'g', &global).and(Item::file("a", "x")));
    assert_eq!(names(&place.tree()), [".", "a"]);
    unpacked(Tar::new().extension(b'g', &global));
}

#[test]
fn attributes_are_of_a_bounded_size_and_number() {
    let many = (0..200).fold(Item::file("a", ""), |item, at| item.xattr(&format!("user.{at}"), ""));
    assert!(refused(Tar::of([many])).contains("more than 128 extended attributes"));
    let large = Item::file("a", "").xattr("user.a", vec![0; 300 << 10]);
    assert!(refused(Tar::of([large])).contains("extended attributes"));
    let long = Item::file("a", "").xattr(&format!("user.{}", "n".repeat(300)), "");
    assert!(refused(Tar::of([long])).contains("malformed"));
}

#[test]
fn maps_of_holes_are_of_a_bounded_size_and_in_the_file() {
    let map = |map: &str, size: &str| {
        Item::file("a", "xxxx")
            .pax("GNU.sparse.size", size)
            .pax("GNU.sparse.numblocks", "2")
            .pax("GNU.sparse.map", map)
    };
    let (place, unpacked) = unpacked(Tar::of([map("1,2,5,2", "1000000")]));
    assert_eq!(
        (unpacked.bytes, &place.tree()["a"].content[..8]),
        (1_000_000, &b"\0xx\0\0xx\0"[..])
    );
    for (wrong, size) in [
        ("1,2,2,2", "10"),
        ("1,2,5,2", "6"),
        ("1,2,5,3", "10"),
        ("1,2,5", "10"),
        ("5,2,1,2", "10"),
        ("18446744073709551615,2,1,2", "10"),
        ("-1,2,1,2", "10"),
        ("a", "10"),
    ] {
        let error = refused(Tar::of([map(wrong, size)]));
        assert!(error.contains("malformed"), "{wrong}: {error}");
    }
    let error = refused(Tar::of([map("1,2,5,2", "9223372036854775807")]));
    assert!(error.contains("more than 137438953472 bytes"), "{error}");
    let many = "0,0,".repeat(140_000);
    assert!(refused(Tar::of([map(&many, "10")])).contains("more than 131072 regions"));
}

#[test]
fn pax_1_0_maps_with_a_pax_size_count_from_the_header() {
    let mut content = b"1\n4\n3\n".to_vec();
    content.resize(512, 0);
    content.extend_from_slice(b"abc");
    let item = Item::file("GNUSparseFile.0/a", content)
        .pax("GNU.sparse.major", "1")
        .pax("GNU.sparse.minor", "0")
        .pax("GNU.sparse.name", "a")
        .pax("GNU.sparse.realsize", "9");
    for item in [item.clone(), item.clone().pax("size", "515")] {
        let (place, _) = unpacked(Tar::of([item, Item::file("b", "x")]));
        assert_eq!(place.tree()["a"].content, b"\0\0\0\0abc\0\0");
        assert_eq!(read(place.path("b")), "x");
    }
    refused(Tar::of([item.clone().pax("size", "514")]));
    refused(Tar::of([item.pax("GNU.sparse.minor", "1")]));
}

#[test]
fn types_that_are_not_known_are_an_error() {
    for kind in [b'V', b'M', b'D', b'N', b's', 0xff] {
        let error = refused(Tar::of([Item::file("a", "x").kind(kind)]));
        assert!(error.contains("entries of type"), "{error}");
    }
    assert!(refused(Tar::of([Item::file("/", "x")])).contains("the root is a folder"));
    assert!(refused(Tar::of([Item::symlink("./", "x")])).contains("the root is a folder"));
    // A folder in the format before POSIX.
    let (place, _) =
        unpacked(Tar::of([Item::file("a/", "").kind(0), Item::file("b", "x").kind(0)]));
    assert_eq!([&place.tree()["a"].kind, &place.tree()["b"].kind], ["folder", "file"]);
}

#[test]
fn names_in_errors_cannot_steer_a_terminal() {
    let error = refused(Tar::of([Item::file("a\x1b[31m/..", "")]));
    assert!(error.starts_with("layer: a\\u{1b}[31m/..: "), "{error}");
}

#[test]
fn nul_in_a_pax_name_is_refused() {
    assert!(refused(Tar::of([Item::file("a", "").pax("path", "b\0c")])).contains("malformed"));
    assert!(
        refused(Tar::of([Item::symlink("a", "b").pax("linkpath", "b\0c")])).contains("malformed")
    );
}

#[test]
fn entries_are_limited() {
    let limits = LayerLimits { layer_entries: 100, ..LayerLimits::default() };
    let unpack = |tar: Tar| Place::new().unpack_with(&tar.end(), &Owners::Recorded, &limits);
    let files = |count: usize| Tar::of((0..count).map(|at| Item::file(at.to_string(), "")));
    assert!(unpack(files(100)).is_ok());
    let error = unpack(files(101)).unwrap_err();
    assert!(error.to_string().contains("more than 100 entries"), "{error}");
    assert!(error.hint_text().unwrap().contains("layer-entries"));
    // Folders made without an entry count.
    let deep = |first: &str| Item::folder(format!("{first}/{}", "d/".repeat(60)));
    assert!(unpack(Tar::of([deep("a"), deep("b"), Item::file("c", "")])).is_err());
}
