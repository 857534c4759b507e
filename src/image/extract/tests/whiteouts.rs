//! Whiteouts and opaque folders.

use super::*;

const OPAQUE: &str = "user.overlay.opaque";

fn is_whiteout(node: &Node) -> bool {
    node.kind == "character" && node.content == b"0"
}

#[test]
fn whiteouts_become_overlayfss() {
    let (place, unpacked) = unpacked(Tar::of([
        Item::file(".wh.top", ""),
        Item::file("a/.wh.b", "with content, which is nobody's"),
        Item::folder("c/.wh.d"),
        Item::symlink("e/.wh.f", "x"),
        Item::file("g/.wh..wh..opq", ""),
        Item::file("after", "x"),
    ]));
    let tree = place.tree();
    for name in ["top", "a/b", "c/d", "e/f"] {
        assert!(is_whiteout(&tree[name]), "{name}");
    }
    assert_eq!(tree["g"].xattrs[OPAQUE], b"y");
    assert_eq!((unpacked.whiteouts, unpacked.opaque_root), (4, false));
    assert_eq!(tree.len(), 10);
}

#[test]
fn files_of_a_layer_win_over_its_whiteouts_in_any_order() {
    let (place, unpacked) = unpacked(Tar::of([
        Item::file(".wh.a", ""),
        Item::file("a", "a"),
        Item::file("b", "b"),
        Item::file(".wh.b", ""),
        Item::symlink("c", "x"),
        Item::file(".wh.c", ""),
        Item::file(".wh.d", ""),
        Item::file(".wh.d", ""),
    ]));
    let tree = place.tree();
    assert_eq!((read(place.path("a")), read(place.path("b"))), ("a".into(), "b".into()));
    assert_eq!(tree["c"].kind, "link");
    assert!(is_whiteout(&tree["d"]));
    assert_eq!(unpacked.whiteouts, 2);
}

#[test]
fn a_folder_in_the_place_of_what_is_gone_is_opaque() {
    let (place, _) = unpacked(Tar::of([
        Item::file(".wh.a", ""),
        Item::folder("a"),
        Item::file("a/x", "x"),
        Item::folder("b"),
        Item::file("b/x", "x"),
        Item::file(".wh.b", ""),
        Item::file(".wh.c", ""),
        Item::file("c/x", "x"),
        Item::folder("d"),
    ]));
    let tree = place.tree();
    for name in ["a", "b", "c"] {
        assert_eq!(tree[name].xattrs[OPAQUE], b"y", "{name}");
        assert_eq!(read(place.path(&format!("{name}/x"))), "x");
    }
    assert!(tree["d"].xattrs.is_empty());
}

#[test]
fn an_opaque_root_is_reported() {
    let (_, unpacked) = unpacked(Tar::of([Item::file("/.wh..wh..opq", "")]));
    assert!(unpacked.opaque_root);
}

#[test]
fn aufss_own_files_are_left_out() {
    let (place, _) = unpacked(Tar::of([
        Item::file(".wh..wh.aufs", ""),
        Item::folder(".wh..wh.orph"),
        Item::file(".wh..wh.plnk/1.2", "x"),
        Item::file("a", "x"),
    ]));
    assert_eq!(names(&place.tree()), [".", "a"]);
}

#[test]
fn whiteouts_of_nothing_are_refused() {
    for name in [".wh.", ".wh..", ".wh...", "a/.wh.", "a/.wh..", "/.wh...", "./.wh.."] {
        let error = refused(Tar::of([Item::file(name, "")]));
        assert!(error.ends_with("a whiteout of no file"), "{error}");
    }
    let error = refused(Tar::of([Item::file(".wh.a/b", "")]));
    assert!(error.ends_with("a whiteout is no folder"), "{error}");
    let error = refused(Tar::of([Item::symlink("l", ".wh.a"), Item::file("l/b", "")]));
    assert!(error.ends_with("a whiteout is no folder"), "{error}");
}

#[test]
fn a_whiteout_of_overlayfs_is_not_a_layers_to_forge() {
    let (place, _) = unpacked(Tar::of([Item::device("a", b'3', (0, 0)), Item::file("b", "")]));
    assert_eq!(names(&place.tree()), [".", "b"]);
}

/// Unpacks layers, the topmost last, with whiteouts of this form, and returns the merged tree as a tar.
fn merged(layers: &[Vec<Item>], whiteouts: Whiteouts) -> Vec<u8> {
    use crate::image::diff::{LayerSource, merged_tar};
    let places: Vec<(Place, Unpacked)> = layers
        .iter()
        .map(|items| {
            let place = Place::new();
            let (owners, limits) = (&Owners::Recorded, &LayerLimits::default());
            let tar = Tar::of(items.iter().cloned()).end();
            let unpacked = place.unpack_how(&tar, &rules(owners, limits, whiteouts)).unwrap();
            set_new_folders_back(&place.fs());
            (place, unpacked)
        })
        .collect();
    let seen = places.iter().rev().scan(false, |is_hidden, (place, unpacked)| {
        let names = unpacked.whiteouts_form;
        let folder = LayerSource { whiteouts: names, ..LayerSource::from(place.fs()) };
        (!std::mem::replace(is_hidden, unpacked.opaque_root)).then_some(folder)
    });
    merged_tar(&seen.collect::<Vec<_>>(), &Owners::Recorded, Vec::new()).unwrap()
}

/// Resets the time of folders made without an entry, which have the current time.
fn set_new_folders_back(folder: &Path) {
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_dir() {
            set_new_folders_back(&entry.path());
        }
    }
    let open = std::fs::File::open(folder).unwrap();
    if open.metadata().unwrap().modified().unwrap()
        > std::time::UNIX_EPOCH + std::time::Duration::from_secs(1000)
    {
        open.set_modified(std::time::UNIX_EPOCH).unwrap();
    }
}

/// A random entry of a layer: whiteouts and files of a few names, in any order.
fn entry() -> impl proptest::strategy::Strategy<Value = Item> {
    use proptest::prelude::*;
    let folder = prop::sample::select(vec!["", "a/", "b/", "a/b/"]);
    let last = prop::sample::select(vec!["a", "b", "c", ".wh.a", ".wh.b", ".wh.c", ".wh..wh..opq"]);
    (folder, last, any::<bool>(), 0u64..100).prop_map(|(folder, last, is_folder, mtime)| {
        let name = format!("{folder}{last}");
        let item = match is_folder && !last.starts_with(".wh.") {
            true => Item::folder(name),
            false => Item::file(name, format!("{mtime}")),
        };
        item.mtime(mtime)
    })
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(200))]

    #[test]
    fn both_forms_of_whiteouts_show_the_same_tree(
        layers in proptest::collection::vec(proptest::collection::vec(entry(), 0..12), 1..4)
    ) {
        // A file in the way of a folder is refused, in either form.
        let is_taken = |items: &Vec<Item>| {
            let place = Place::new();
            place.unpack(&Tar::of(items.iter().cloned()).end()).is_ok()
        };
        proptest::prop_assume!(layers.iter().all(is_taken));
        let (overlay, names) =
            (merged(&layers, Whiteouts::Overlay), merged(&layers, Whiteouts::Names));
        proptest::prop_assert!(overlay == names);
    }
}
