//! Random trees are unpacked unchanged; random bytes are harmless.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::image::extract::tests::archive::gzip;

fn names() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => "[a-d]".prop_map(String::into_bytes),
        1 => proptest::collection::vec(any::<u8>(), 1..20),
        1 => "[a-z]{100,255}".prop_map(String::into_bytes),
    ]
    .prop_filter("a name", |name| {
        !name.contains(&b'/') && !name.contains(&0) && !name.starts_with(b".")
    })
}

fn items() -> impl Strategy<Value = Item> {
    let path = proptest::collection::vec(names(), 1..5).prop_map(|names| names.join(&b'/'));
    let content = proptest::collection::vec(any::<u8>(), 0..2000);
    let time = 0..4_000_000_000u64;
    (path, content, 0..0o1000u32, time, 0..5u8).prop_map(|(path, content, mode, mtime, kind)| {
        let item = match kind {
            0 => Item::folder(path),
            1 => Item::symlink(path, content.split(|byte| *byte == 0).next().unwrap()),
            _ => Item::file(path, content),
        };
        item.mode(mode).mtime(mtime)
    })
}

/// The expected result of a sequence of entries: path -> the entry, `None` for a folder made without an entry.
fn expected(items: &[Item]) -> BTreeMap<Vec<u8>, Option<Item>> {
    let mut all = BTreeMap::<Vec<u8>, Option<Item>>::new();
    for item in items {
        let slashes = item.name.iter().enumerate().filter(|(_, byte)| **byte == b'/');
        for (slash, _) in slashes {
            all.entry(item.name[..slash].to_vec()).or_insert(None);
        }
        if item.kind != b'5' {
            let below = [&item.name[..], b"/"].concat();
            all.retain(|path, _| !path.starts_with(&below));
        }
        all.insert(item.name.clone(), Some(item.clone()));
    }
    all
}

/// True if an entry's path leads through a file, which is refused, or a link (`kinds`), which leads elsewhere.
fn goes_through(kinds: &[u8], items: &[Item]) -> bool {
    (0..items.len()).any(|at| {
        let before = expected(&items[..at]);
        let name = &items[at].name;
        before.iter().any(|(path, item)| {
            item.as_ref().is_some_and(|item| kinds.contains(&item.kind))
                && name.starts_with(&[&path[..], b"/"].concat())
        })
    })
}

fn check(place: &Place, items: &[Item]) {
    let mut tree = place.tree();
    tree.remove(".");
    let expected = expected(items);
    assert_eq!(tree.len(), expected.len());
    for (path, item) in expected {
        let node = &tree[&path.escape_ascii().to_string()];
        let Some(item) = item else {
            assert_eq!((node.kind.as_str(), node.mode), ("folder", 0o755));
            continue;
        };
        assert_eq!(node.mtime.0, item.mtime as i64);
        match item.kind {
            b'5' => assert_eq!((node.kind.as_str(), node.mode), ("folder", item.mode | 0o700)),
            b'2' => assert_eq!((node.kind.as_str(), &node.content), ("link", &item.link)),
            _ => {
                assert_eq!((node.kind.as_str(), &node.content), ("file", &item.content));
                assert_eq!(node.mode, item.mode);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_tree_comes_back_as_it_was(items in proptest::collection::vec(items(), 0..40)) {
        let items: Vec<_> =
            items.into_iter().filter(|item| item.kind != b'2' || !item.link.is_empty()).collect();
        let place = Place::new();
        let answer = place.unpack(&gzip(&Tar::of(items.iter().cloned()).end()));
        // Other tests check the targets of links; this test checks that random links are harmless.
        if goes_through(b"2", &items) {
            return Ok(());
        }
        prop_assert_eq!(answer.is_err(), goes_through(b"0", &items));
        if answer.is_ok() {
            check(&place, &items);
        }
    }
}

fn valid() -> Vec<u8> {
    Tar::of([
        Item::folder("a"),
        Item::file("a/b", "some content").pax("mtime", "1.5").xattr("user.x", "1"),
        Item::symlink("a/out", "../../outside"),
        Item::hard_link("c", "a/b"),
        Item::file("a/.wh.d", ""),
        Item::file("e", "xx").pax("GNU.sparse.map", "1,1,9,1").pax("GNU.sparse.size", "20"),
        Item::pipe("f").owner(1, 2),
        Item::device("g", b'3', (1, 3)),
    ])
    .extension(b'L', b"a/long/name/that/is/none\0")
    .and(Item::file("h", "y"))
    .end()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Changes bytes and repairs the headers' checksums, so that the parser reads on.
    #[test]
    fn changed_bytes_do_no_harm(
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..8),
        is_mended in any::<bool>(),
    ) {
        let mut bytes = valid();
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if is_mended {
            mend(&mut bytes);
        }
        let _ = Place::new().unpack(&bytes);
    }

    #[test]
    fn changed_packed_bytes_do_no_harm(
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..4),
    ) {
        for mut packed in [gzip(&valid()), super::archive::zstd(&valid())] {
            for (at, value) in &changes {
                let at = at.index(packed.len());
                packed[at] = *value;
            }
            let _ = Place::new().unpack(&packed);
        }
    }
}

fn mend(bytes: &mut [u8]) {
    let whole = valid();
    for (block, old) in bytes.chunks_exact_mut(512).zip(whole.chunks_exact(512)) {
        if &old[257..262] == b"ustar" {
            let mut header = *tar_core::Header::from_bytes((&*block).try_into().unwrap());
            header.set_checksum();
            block.copy_from_slice(header.as_bytes());
        }
    }
}
