//! Links, and files that replace other files.

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
        (Tar::of([Item::hard_link("a", "/../outside/secret")]), "No such file"),
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
fn links_on_the_way_are_followed_within_the_layer() {
    for (tar, path, content) in [
        (Tar::of([Item::symlink("a", "b"), Item::folder("b"), Item::file("a/x", "1")]), "b/x", "1"),
        (
            Tar::of([
                Item::folder("usr/lib/"),
                Item::symlink("lib", "/usr/lib"),
                Item::file("lib/x", "1"),
            ]),
            "usr/lib/x",
            "1",
        ),
        // The target of a link is created, and the root is its own parent.
        (
            Tar::of([Item::symlink("a", "../outside"), Item::file("a/secret", "1")]),
            "outside/secret",
            "1",
        ),
        (
            Tar::of([Item::symlink("d/a", "../../../outside"), Item::file("d/a/x", "1")]),
            "outside/x",
            "1",
        ),
        (
            Tar::of([Item::symlink("a", "b"), Item::symlink("b", "c"), Item::file("a/x", "1")]),
            "c/x",
            "1",
        ),
        // `..` goes up from the link's target, not from the link.
        (
            Tar::of([
                Item::folder("u/v"),
                Item::symlink("l", "u/v"),
                Item::symlink("k", "l/../w"),
                Item::file("k/x", "1"),
            ]),
            "u/w/x",
            "1",
        ),
        (Tar::of([Item::symlink("l", "."), Item::file("l/l/x", "1")]), "x", "1"),
        (
            Tar::of([
                Item::folder("u"),
                Item::file("u/x", "1"),
                Item::symlink("l", "u"),
                Item::hard_link("y", "l/x"),
            ]),
            "y",
            "1",
        ),
        (
            Tar::of([
                Item::folder("u"),
                Item::file("u/x", "1"),
                Item::symlink("l", "/u"),
                Item::hard_link("l/x", "u/x"),
            ]),
            "u/x",
            "1",
        ),
        (
            Tar::of([
                Item::folder("u"),
                Item::file("u/x", "1"),
                Item::symlink("l", "u"),
                Item::hard_link("u/x", "l/x"),
            ]),
            "u/x",
            "1",
        ),
        (Tar::of([Item::folder("a"), Item::file("usr/share/../x", "1")]), "usr/x", "1"),
        (
            Tar::of([
                Item::folder("deep"),
                Item::symlink("l", format!("deep/{}..", "d/".repeat(60))),
                Item::file("l/x", "1"),
            ]),
            &format!("deep/{}x", "d/".repeat(59)),
            "1",
        ),
        // The folder was open when the link replaced it.
        (
            Tar::of([
                Item::folder("a"),
                Item::file("a/x", "x"),
                Item::symlink("a", "../outside"),
                Item::file("a/new", "1"),
            ]),
            "outside/new",
            "1",
        ),
    ] {
        let (place, _) = unpacked(tar);
        assert_eq!(read(place.path(path)), content, "{path}");
    }
    let (place, _) = unpacked(Tar::of([
        Item::folder("usr/lib"),
        Item::symlink("lib", "usr/lib"),
        Item::file("lib/.wh.gone", ""),
        Item::file("lib/.wh..wh..opq", ""),
    ]));
    assert!(place.path("usr/lib/gone").symlink_metadata().is_ok());
}

#[test]
fn links_that_go_in_a_circle_and_too_deep_are_refused() {
    let error = refused(Tar::of([
        Item::symlink("a", "b"),
        Item::symlink("b", "a"),
        Item::file("a/x", "!"),
    ]));
    assert!(error.contains("too many symbolic links"), "{error}");
    let error = refused(Tar::of([Item::symlink("a", "a/b"), Item::file("a/x", "!")]));
    assert!(error.contains("too many symbolic links"), "{error}");
    // Each link leads a thousand folders deeper.
    let deep = "d/".repeat(900);
    let error = refused(Tar::of([
        Item::symlink("a", format!("{deep}b")),
        Item::symlink(format!("{deep}b"), deep.as_str()),
        Item::file("a/x", "!"),
    ]));
    assert!(error.contains("folders deep"), "{error}");
    let error = refused(Tar::of([Item::symlink("a", "n".repeat(300)), Item::file("a/x", "!")]));
    assert!(error.contains("more than 255 bytes"), "{error}");
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
