//! Links, and what takes the place of what.

use super::*;

#[test]
fn links_are_made_as_they_are() {
    let (place, _) = unpacked(Tar::of([
        Item::file("dir/file", "x"),
        Item::hard_link("hard", "./dir//file"),
        Item::hard_link("dir/beside", "dir/file"),
        Item::symlink("absolute", "/etc/passwd"),
        Item::symlink("out", "../../outside/secret"),
        Item::hard_link("out-too", "out"),
        Item::pipe("pipe"),
        Item::hard_link("dir/file", "dir/file"),
    ]));
    let tree = place.tree();
    assert_eq!((tree["hard"].links, tree["dir/beside"].links), (3, 3));
    assert_eq!(tree["absolute"].content, b"/etc/passwd");
    assert_eq!(
        (tree["out"].content.as_slice(), tree["out"].links),
        (&b"../../outside/secret"[..], 2)
    );
    assert_eq!((tree["out-too"].kind.as_str(), tree["pipe"].kind.as_str()), ("link", "pipe"));
}

#[test]
fn a_hard_link_is_to_a_file_of_the_layer() {
    for (tar, why) in [
        (Tar::of([Item::hard_link("a", "b")]), "no file of this layer"),
        (Tar::of([Item::hard_link("a", "a")]), "no file of this layer"),
        (Tar::of([Item::hard_link("a", "/")]), "folder"),
        (Tar::of([Item::folder("b"), Item::hard_link("a", "b")]), "folder"),
        (Tar::of([Item::hard_link("a", "../outside/secret")]), "'..'"),
        (Tar::of([Item::hard_link("a", "/../outside/secret")]), "'..'"),
        (Tar::of([Item::hard_link("a", "/etc/passwd")]), "No such file"),
        (Tar::of([Item::file(".wh.b", ""), Item::hard_link("a", "b")]), "no file of this layer"),
        (
            Tar::of([Item::symlink("l", "../outside"), Item::hard_link("a", "l/secret")]),
            "hard link",
        ),
        (Tar::of([Item::folder("a"), Item::file("a/b", ""), Item::hard_link("a", "a/b")]), "hard"),
    ] {
        let error = refused(tar);
        assert!(error.starts_with("layer: a: hard link to ") && error.contains(why), "{error}");
    }
}

#[test]
fn nothing_goes_through_a_symbolic_link() {
    for tar in [
        Tar::of([Item::symlink("a", "../outside"), Item::file("a/secret", "!")]),
        Tar::of([Item::symlink("a", "../outside"), Item::folder("a/b")]),
        Tar::of([Item::symlink("a", "../outside"), Item::file("a/.wh.secret", "")]),
        Tar::of([Item::symlink("a", "../outside"), Item::file("a/.wh..wh..opq", "")]),
        Tar::of([Item::symlink("a", "../outside"), Item::symlink("a/secret", "!")]),
        Tar::of([Item::folder("b"), Item::symlink("a", "b"), Item::file("a/x", "!")]),
        // A folder that was open when the link took its place.
        Tar::of([
            Item::folder("a"),
            Item::file("a/x", "x"),
            Item::symlink("a", "../outside"),
            Item::file("a/secret", "!"),
        ]),
        Tar::of([
            Item::file("a/b/x", "x"),
            Item::symlink("a/b", "../../outside"),
            Item::file("a/b/secret", "!"),
        ]),
        // The link by another name.
        Tar::of([
            Item::symlink("l", "../outside"),
            Item::hard_link("a", "l"),
            Item::file("a/secret", "!"),
        ]),
    ] {
        let error = refused(tar);
        assert!(error.contains("on the way is no folder"), "{error}");
    }
}

#[test]
fn a_link_gives_way_to_a_file_of_its_name_and_leads_it_nowhere() {
    let (place, _) = unpacked(Tar::of([
        Item::symlink("a", "../outside/secret"),
        Item::file("a", "mine"),
        Item::symlink("b", "../outside"),
        Item::folder("b/"),
        Item::file("b/secret", "mine"),
        Item::symlink("c", "../outside/secret"),
        Item::hard_link("c", "a"),
        Item::symlink("d", "../outside/new"),
        Item::pipe("d"),
    ]));
    let tree = place.tree();
    assert_eq!(
        (read(place.path("a")), read(place.path("b/secret"))),
        ("mine".into(), "mine".into())
    );
    assert_eq!([&tree["b"].kind, &tree["d"].kind], ["folder", "pipe"]);
    assert_eq!(tree["c"].links, 2);
}

#[test]
fn the_later_entry_counts() {
    let (place, unpacked) = unpacked(Tar::of([
        Item::file("file", "one"),
        Item::file("file", "two").mode(0o600),
        Item::folder("folder"),
        Item::file("folder/kept", "x"),
        Item::folder("folder").mode(0o700),
        Item::folder("gone"),
        Item::file("gone/a/b/c", "x"),
        Item::file("gone/d", "x"),
        Item::file("gone", "a file now"),
        Item::file("up", "a file"),
        Item::folder("up"),
        Item::file("up/x", "x"),
        Item::folder("again"),
        Item::file("again/old", "x"),
        Item::symlink("again", "x"),
        Item::folder("again"),
        Item::file("again/new", "x"),
    ]));
    let tree = place.tree();
    assert_eq!(
        names(&tree),
        [".", "again", "again/new", "file", "folder", "folder/kept", "gone", "up", "up/x"]
    );
    assert_eq!((read(place.path("file")), tree["file"].mode), ("two".into(), 0o600));
    assert_eq!((tree["folder"].mode, read(place.path("gone"))), (0o700, "a file now".into()));
    assert_eq!(unpacked.entries, 19);
}

#[test]
fn a_file_on_the_way_is_no_folder() {
    let error = refused(Tar::of([Item::file("a", "x"), Item::file("a/b", "x")]));
    assert_eq!(error, "layer: a/b: 'a' on the way is no folder");
}

#[test]
fn a_wide_and_deep_tree_gives_way_too() {
    let mut items = vec![Item::folder("t")];
    for wide in 0..50 {
        for name in ["1", "2", "x"] {
            items.push(Item::file(format!("t/{wide}/{name}/{name}/3/f"), "x"));
        }
    }
    items.push(Item::file(format!("t/{}f", "d/".repeat(900)), "x"));
    items.push(Item::file("t", "x"));
    let (place, _) = unpacked(Tar::of(items));
    assert_eq!(names(&place.tree()), [".", "t"]);
}
