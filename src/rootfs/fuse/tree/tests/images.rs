//! Images as lower layers: the same tests as over folders, and those of content that only an image has.

use std::cell::Cell;
use std::os::unix::fs::{FileExt, symlink};
use std::process::Command;

use super::*;
use crate::layer::squashfs::{CacheLimits, ImageFile};

thread_local! {
    static WANTED: Cell<bool> = const { Cell::new(false) };
}

/// Limits of small caches.
pub const LIMITS: CacheLimits =
    CacheLimits { data_bytes: 1 << 20, metadata_bytes: 1 << 20, workers: 1 };

/// True if this test has images for lower layers.
pub fn are_wanted() -> bool {
    WANTED.get()
}

/// Packs a folder into an image beside it, unless that was done before. Fails without mksquashfs: these tests are
/// nothing without it.
pub fn packed(root: &Path) -> LowerImage {
    let image = root.with_extension("sqsh");
    if !image.exists() {
        let words = ["-quiet", "-no-progress", "-noappend", "-b", "16384"];
        let made = Command::new("mksquashfs").arg(root).arg(&image).args(words).output();
        let made = made.expect("mksquashfs is needed (squashfs-tools)");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    }
    LowerImage::open_file(&ImageFile::new(image, 0)).expect("an image")
}

/// Runs a test with images for lower layers, in its own thread.
fn over_images(test: fn()) {
    std::thread::scope(|scope| {
        let run = || {
            WANTED.set(true);
            test();
        };
        assert!(scope.spawn(run).join().is_ok());
    });
}

/// Writes tests of the parent over images.
macro_rules! over_images {
    ($($test:ident)*) => {$(
        #[test]
        fn $test() {
            over_images(super::$test);
        }
    )*};
}

over_images! {
    the_topmost_layer_decides_and_folders_are_one
    whiteouts_of_every_form_hide_what_is_below
    a_write_copies_up_and_the_number_stays
    removed_files_stay_removed_and_open_ones_stay
    hard_links_stay_one_file_also_in_the_next_life
    a_folder_of_a_lower_layer_is_not_moved_and_one_of_ours_is
    nodes_are_kept_as_long_as_the_kernel_or_a_child_needs_them
    a_list_stays_as_it_was_while_the_folder_changes
    reading_goes_on_in_a_list_made_anew_and_misses_nothing_that_stayed
    recorded_owners_are_shown_and_remembered
    recorded_owners_of_lower_layers_are_real_above
    marks_of_the_kernels_overlay_that_usnea_does_not_know_are_refused
    one_upper_layer_has_one_server
}

fn attribute(path: &Path, name: &str, value: &[u8]) {
    rustix::fs::lsetxattr(path, name, value, rustix::fs::XattrFlags::empty()).expect("attribute");
}

/// Bytes that no codec makes shorter than a block.
fn noise(size: usize) -> Vec<u8> {
    let mut state = 7u64;
    let next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    };
    std::iter::repeat_with(next).take(size).collect()
}

fn touch(tree: &OverlayTree, path: &str) {
    let id = walk(tree, path).expect(path);
    let change = AttributeChange { modified: Some(NewTime::Now), ..AttributeChange::default() };
    tree.change(id, change, None, us()).expect(path);
}

#[test]
fn a_copy_from_an_image_has_all_of_the_file() {
    over_images(|| {
        let ground = Ground::new(1);
        let lower = ground.path("lower0");
        let whole = noise(1 << 20);
        fs::write(lower.join("noise"), &whole).unwrap();
        let holes = fs::File::create(lower.join("holes")).unwrap();
        holes.set_len(8 << 20).unwrap();
        holes.write_all_at(b"middle", 4 << 20).unwrap();
        fs::set_permissions(lower.join("noise"), fs::Permissions::from_mode(0o4751)).unwrap();
        attribute(&lower.join("noise"), "user.mine", b"value");
        symlink("to/where", lower.join("link")).unwrap();
        let fifo = rustix::fs::FileType::Fifo;
        let mode = Mode::from_raw_mode(0o640);
        rustix::fs::mknodat(rustix::fs::CWD, lower.join("fifo"), fifo, mode, 0).unwrap();
        ground.write("lower0/d/e/empty", "");
        let tree = ground.tree();
        let before = tree.attributes(walk(&tree, "noise").unwrap()).unwrap();
        for path in ["noise", "holes", "link", "fifo", "d/e/empty"] {
            touch(&tree, path);
        }
        let upper = ground.path("upper");
        assert_eq!(fs::read(upper.join("noise")).unwrap(), whole);
        assert_eq!(fs::metadata(upper.join("noise")).unwrap().mode() & 0o7777, 0o4751);
        let mut value = [0; 16];
        let length = rustix::fs::lgetxattr(upper.join("noise"), "user.mine", &mut value).unwrap();
        assert_eq!(&value[..length], b"value");
        let copied = fs::metadata(upper.join("holes")).unwrap();
        assert_eq!(fs::read(upper.join("holes")).unwrap(), fs::read(lower.join("holes")).unwrap());
        assert!(copied.blocks() < 1024, "holes are holes in the copy");
        assert_eq!(fs::read_link(upper.join("link")).unwrap(), Path::new("to/where"));
        let fifo = fs::symlink_metadata(upper.join("fifo")).unwrap();
        assert!(fifo.file_type().is_fifo() && fifo.mode() & 0o777 == 0o640);
        assert_eq!(fs::metadata(upper.join("d/e/empty")).unwrap().len(), 0);
        let after = tree.attributes(walk(&tree, "noise").unwrap()).unwrap();
        assert_eq!((after.number, after.size), (before.number, before.size));
        // Access to the copy of a folder goes on in all of its layers.
        assert_eq!(names(&tree, "d/e", Detail::Entries), ["empty"]);
    });
}

#[test]
fn content_of_an_image_is_read_sought_and_copied_by_ranges() {
    over_images(|| {
        let ground = Ground::new(1);
        let holes = fs::File::create(ground.path("lower0/holes")).unwrap();
        holes.set_len(1 << 20).unwrap();
        holes.write_all_at(&noise(40_000), 512 << 10).unwrap();
        let tree = ground.tree();
        let file = tree.open(walk(&tree, "holes").unwrap(), libc::O_RDONLY, us()).unwrap();
        let expected = fs::read(ground.path("lower0/holes")).unwrap();
        for size in [1, 16_384, 100_000, 1 << 20, 2 << 20] {
            assert_eq!(bytes(&tree, &file, size), expected[..size.min(1 << 20)]);
        }
        assert_eq!(tree.seek(&file, 0, libc::SEEK_DATA), Ok(512 << 10));
        assert_eq!(tree.seek(&file, 0, libc::SEEK_HOLE), Ok(0));
        assert_eq!(tree.seek(&file, 1 << 20, libc::SEEK_DATA), Err(Errno::NXIO));
        assert!(!file.may_be_written() && tree.sync(&file, Synced::All).is_ok());
        assert_eq!(tree.write(&file, 0, b"x", WritePrivileges::Kept), Err(Errno::BADF));
        let (_, copy) = tree.create(ROOT, "copy".as_ref(), 0o644, libc::O_RDWR, us()).unwrap();
        let mut done = 500 << 10;
        while done < 600 << 10 {
            let at = |file, offset| FilePosition { file, offset };
            let left = (600 << 10) - done;
            let count = tree.copy_range(at(&file, done), at(&copy, done), left, us()).unwrap();
            assert!((1..=left).contains(&(count as u64)));
            done += count as u64;
        }
        assert_eq!(
            fs::read(ground.path("upper/copy")).unwrap()[500 << 10..],
            expected[500 << 10..600 << 10]
        );
    });
}

#[test]
fn images_and_folders_are_layers_of_one_stack() {
    let ground = Ground::new(4);
    for (layer, names) in [("lower0", ["a", "b"]), ("lower1", ["b", "c"]), ("lower3", ["d", "e"])] {
        names.iter().for_each(|name| ground.write(&format!("{layer}/dir/{name}"), layer));
    }
    ground.write("lower2/dir/hidden", "lower2");
    ground.write("lower3/dir/c", "lower3");
    ground.write("lower3/other/f", "lower3");
    attribute(&ground.path("lower1/dir"), "user.overlay.opaque", b"y");
    let kind = rustix::fs::FileType::CharacterDevice;
    let whiteout = ground.path("lower2/other");
    rustix::fs::mknodat(rustix::fs::CWD, whiteout, kind, Mode::empty(), 0).expect("a whiteout");
    let source = |number: usize| {
        let root = ground.path(&lower(number));
        match number % 2 {
            0 => LowerSource::Folder(folder(&root)),
            _ => LowerSource::Image(packed(&root)),
        }
    };
    let lowers = (0..4).map(source).collect();
    let upper = Some((folder(&ground.path("upper")), folder(&ground.path("work"))));
    let layers = OverlayLayers { lowers, upper };
    assert_eq!((layers.count_images(), layers.descriptors().len()), (2, 6));
    let tree = OverlayTree::new(layers.open(|| LIMITS).unwrap(), OverlayRules::default()).unwrap();
    assert_eq!(names(&tree, "dir", Detail::Entries), ["a", "b", "c"]);
    assert_eq!(
        (content(&tree, "dir/b"), content(&tree, "dir/c")),
        ("lower0".into(), "lower1".into())
    );
    assert_eq!(walk(&tree, "other"), None, "a whiteout in a folder hides a folder of an image");
    let numbers: std::collections::HashSet<u64> =
        ["dir", "dir/a", "dir/b", "dir/c"].iter().filter_map(|path| walk(&tree, path)).collect();
    assert_eq!(numbers.len(), 4);
}

#[test]
fn an_image_alone_is_an_overlay_that_is_only_read() {
    over_images(|| {
        let ground = Ground::new(1);
        ground.write("lower0/file", "lower");
        let layers = OpenLayers { upper: None, ..ground.layers() };
        let tree = OverlayTree::new(layers, OverlayRules::default()).unwrap();
        let id = walk(&tree, "file").unwrap();
        assert_eq!(content(&tree, "file"), "lower");
        assert!(matches!(tree.open(id, libc::O_RDWR, us()), Err(Errno::ROFS)));
        assert_eq!(tree.unlink(ROOT, "file".as_ref()), Err(Errno::ROFS));
        assert_eq!(tree.flags(id), Err(Errno::NOTTY));
        let space = tree.space().unwrap();
        assert!(space.blocks > 0 && space.free == 0 && space.name_max == 255);
    });
}

#[test]
fn one_user_of_a_namespace_owns_all_files_of_an_image() {
    over_images(|| {
        let ground = Ground::new(1);
        ground.write("lower0/file", "lower");
        let chown = |id| std::os::unix::fs::chown(ground.path("lower0/file"), Some(id), Some(id));
        if chown(77).is_err() {
            return; // only root can give files away
        }
        let shown = |has_one_id| {
            let tree = ground.tree_reading(OverlayRules { has_one_id, ..OverlayRules::default() });
            let shown = tree.attributes(walk(&tree, "file").unwrap()).unwrap();
            (shown.uid, shown.gid)
        };
        assert_eq!((shown(false), shown(true)), ((77, 77), (us().uid, us().gid)));
    });
}

#[test]
fn broken_content_is_an_error_of_its_file_alone() {
    over_images(|| {
        let ground = Ground::new(1);
        for number in 0..8 {
            let path = ground.path(&format!("lower0/f{number}"));
            // Of other sizes: mksquashfs stores equal files once.
            fs::write(path, noise(200_000 + number * 1000)).unwrap();
        }
        let tree = ground.tree();
        let image = ground.path("lower0.sqsh");
        let open =
            |name: &str| tree.open(walk(&tree, name).unwrap(), libc::O_RDONLY, us()).unwrap();
        let files: Vec<OpenFile> = (0..8).map(|number| open(&format!("f{number}"))).collect();
        let whole = fs::metadata(&image).unwrap().len();
        fs::OpenOptions::new().write(true).open(&image).unwrap().set_len(whole / 2).unwrap();
        // The tail of a file may lie far behind its blocks.
        let read = |file| tree.read(file, 0, 100_000, &mut Vec::new()).map(drop);
        let broken: Vec<_> =
            files.iter().map(read).filter(|read| *read == Err(Errno::IO)).collect();
        assert!((1..8).contains(&broken.len()), "{}", broken.len());
        // A failed copy-up leaves no part of a file.
        let last = walk(&tree, "f7").unwrap();
        assert!(matches!(tree.open(last, libc::O_RDWR, us()), Err(Errno::IO)));
        assert!(!ground.path("upper/f7").exists());
        assert_eq!(fs::read_dir(ground.path("work/work")).unwrap().count(), 0);
        tree.unlink(ROOT, "f7".as_ref()).unwrap();
        assert_eq!(walk(&tree, "f7"), None);
    });
}
