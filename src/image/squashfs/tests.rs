//! Files that are written from layers made by hand, as unsquashfs reads them.

use std::fs;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use proptest::prelude::*;
use rustix::fs::{AtFlags, CWD, FileType, Mode, Timespec, Timestamps, XattrFlags};

use super::workers::BLOCK;
use super::*;
use crate::error::ErrorKind;
use crate::files;

const TIME: i64 = 1_700_000_000;

struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn dir(&self, name: &str) -> PathBuf {
        fs::create_dir_all(self.path(name)).unwrap();
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o755)).unwrap();
        self.path(name)
    }

    fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        path
    }

    fn whiteout(&self, name: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        rustix::fs::mknodat(CWD, path, FileType::CharacterDevice, Mode::empty(), 0).unwrap();
    }

    /// Writes the file of these layers, the topmost first.
    fn written(&self, layers: &[&str], jobs: usize) -> PathBuf {
        let path = self.path(&format!("{jobs}.sqsh"));
        self.write(layers, jobs, &path, &|_| ()).unwrap();
        path
    }

    fn write(
        &self,
        layers: &[&str],
        jobs: usize,
        path: &Path,
        progress: &dyn Fn(u64),
    ) -> Result<u64> {
        let layers: Vec<LayerSource> = layers.iter().map(|name| self.path(name).into()).collect();
        let trailer = ImageTrailer { configuration: "{}".into(), ..ImageTrailer::default() };
        let image = NewSquashfs {
            layers: &layers,
            owners: &Owners::Recorded,
            time: TIME,
            trailer: &trailer,
            jobs: jobs.try_into().unwrap(),
            progress,
        };
        let file = fs::OpenOptions::new().write(true).create(true).truncate(true).open(path);
        let unwritable = |error| files::cannot_write_output(error, path);
        image.write(OutputFile { file: &file.unwrap(), unwritable: &unwritable })
    }

    /// Unpacks a file with unsquashfs.
    fn unpacked(&self, file: &Path) -> PathBuf {
        let into = self.path("unpacked");
        unsquashfs(&["-n", "-d", into.to_str().unwrap(), file.to_str().unwrap()]);
        into
    }
}

fn unsquashfs(words: &[&str]) -> String {
    let run =
        Command::new("unsquashfs").args(words).output().expect("unsquashfs of squashfs-tools");
    let both = [&run.stdout[..], &run.stderr[..]].concat();
    assert!(run.status.success(), "{words:?}: {}", String::from_utf8_lossy(&both));
    String::from_utf8(run.stdout).unwrap()
}

/// The listing of unsquashfs: mode, owner, size or device, name; without times.
fn listed(file: &Path) -> Vec<String> {
    let text = unsquashfs(&["-lln", file.to_str().unwrap()]);
    let lines = text.lines().filter(|line| line.contains("squashfs-root"));
    lines.map(without_time).collect()
}

fn without_time(line: &str) -> String {
    let mut words: Vec<&str> = line.split_whitespace().collect();
    // A device's numbers are two words.
    let at = words.iter().position(|word| word.starts_with("20") && word.len() == 10).unwrap();
    words.drain(at..at + 2);
    words.join(" ").replace("squashfs-root", "")
}

fn set(path: &Path, name: &str, value: &[u8]) {
    rustix::fs::lsetxattr(path, name, value, XattrFlags::empty()).unwrap();
}

/// Bytes that zstd cannot shorten.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    (0..length.div_ceil(8)).flat_map(|_| next()).take(length).collect()
}

fn text_of(length: usize) -> Vec<u8> {
    (0..length).map(|at| b"usnea, a lichen on trees\n"[at * at / 7 % 25]).collect()
}

#[test]
fn layers_are_merged_as_overlayfs_shows_them() {
    let place = Place::new();
    place.file("1/etc/a", "one");
    place.file("1/etc/b", "one");
    place.file("1/etc/c", "one");
    place.file("1/gone/x", "one");
    place.file("1/opaque/below", "one");
    place.file("1/file", "one");
    place.whiteout("2/etc/a");
    place.file("2/etc/b", "two, longer");
    place.whiteout("2/gone");
    place.file("2/opaque/own", "two");
    set(&place.path("2/opaque"), "user.overlay.opaque", b"y");
    place.whiteout("2/file");
    place.file("3/gone/again", "three");
    place.whiteout("3/etc/b");
    place.dir("3/file");
    for name in ["1/etc", "2/etc", "3/etc", "2/opaque", "3/gone", "1", "2", "3"] {
        place.dir(name);
    }
    let lines = listed(&place.written(&["3", "2", "1"], 2));
    let names: Vec<_> = lines.iter().map(|line| line.rsplit(' ').next().unwrap()).collect();
    let expected =
        ["", "/etc", "/etc/c", "/file", "/gone", "/gone/again", "/opaque", "/opaque/own"];
    assert_eq!(names[1..], expected[1..]);
    let unpacked = place.unpacked(&place.path("2.sqsh"));
    assert_eq!(fs::read(unpacked.join("gone/again")).unwrap(), b"three");
    assert!(
        rustix::fs::lgetxattr(unpacked.join("opaque"), "user.overlay.opaque", &mut [0; 9]).is_err()
    );
}

#[test]
fn owners_modes_links_and_kinds_are_the_images() {
    let place = Place::new();
    let tool = place.file("1/bin/tool", "#!");
    set(&tool, "user.containers.override_stat", b"12:34:04755:file");
    set(&tool, "user.note", b"kept");
    fs::hard_link(&tool, place.path("1/bin/again")).unwrap();
    fs::hard_link(&tool, place.path("1/other")).unwrap();
    let same = place.file("1/same", "x");
    set(&same, "user.note", b"kept");
    symlink("/bin/tool", place.path("1/link")).unwrap();
    let pipe = place.path("1/pipe");
    rustix::fs::mknodat(CWD, &pipe, FileType::Fifo, 0o600.into(), 0).unwrap();
    let device = place.file("1/null", "");
    set(&device, "user.containers.override_stat", b"0:5:0666:char-1-3");
    let disk = place.file("1/disk", "");
    set(&disk, "user.containers.override_stat", b"0:6:0660:block-259-70");
    place.dir("1/bin");
    place.dir("1");
    let file = place.written(&["1"], 2);
    let lines = listed(&file);
    for expected in [
        "-rwsr-xr-x 12/34 2 /bin/again",
        "-rwsr-xr-x 12/34 2 /bin/tool",
        "-rwsr-xr-x 12/34 2 /other",
        "crw-rw-rw- 0/5 1, 3 /null",
        "brw-rw---- 0/6 259, 70 /disk",
    ] {
        let squeezed = |line: &String| line.replace(", ", ",").replace(' ', "");
        let expected = squeezed(&expected.to_owned());
        assert!(lines.iter().any(|line| squeezed(line) == expected), "{expected}: {lines:#?}");
    }
    let kinds = |letter: char| lines.iter().filter(|line| line.starts_with(letter)).count();
    assert_eq!((kinds('p'), kinds('l')), (1, 1), "{lines:#?}");
    assert!(lines.iter().any(|line| line.ends_with("/link -> /bin/tool")), "{lines:#?}");
    if !rustix::process::geteuid().is_root() {
        // Devices need root: the other files are compared.
        for name in ["null", "disk"] {
            fs::remove_file(place.path("1").join(name)).unwrap();
        }
    }
    let unpacked = place.unpacked(&place.written(&["1"], 2));
    let inode = |name: &str| fs::symlink_metadata(unpacked.join(name)).unwrap().ino();
    assert_eq!((inode("bin/tool"), inode("bin/tool")), (inode("bin/again"), inode("other")));
    assert_eq!(fs::symlink_metadata(unpacked.join("other")).unwrap().nlink(), 3);
    let mut value = [0; 16];
    for name in ["other", "same"] {
        let length = rustix::fs::lgetxattr(unpacked.join(name), "user.note", &mut value).unwrap();
        assert_eq!(&value[..length], b"kept");
    }
    let mut list = [0; 256];
    let length = rustix::fs::llistxattr(unpacked.join("other"), &mut list).unwrap();
    assert!(!String::from_utf8_lossy(&list[..length]).contains("override"));
}

#[test]
fn contents_of_all_lengths_come_back() {
    let place = Place::new();
    let lengths = [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK, 3 * BLOCK + 77];
    for (at, length) in lengths.into_iter().enumerate() {
        place.file(&format!("1/noise{at}"), noise(at as u64, length));
        place.file(&format!("1/text{at}"), text_of(length));
        let mut mixed = vec![0; length];
        let half = length / 2;
        mixed[half..].copy_from_slice(&text_of(length - half));
        place.file(&format!("1/zeros{at}"), mixed);
    }
    let file = place.written(&["1"], 2);
    let unpacked = place.unpacked(&file);
    for entry in fs::read_dir(place.path("1")).unwrap() {
        let name = entry.unwrap().file_name();
        let (was, is) = (place.path("1").join(&name), unpacked.join(&name));
        assert!(fs::read(was).unwrap() == fs::read(is).unwrap(), "{name:?}");
    }
}

#[test]
fn the_bytes_do_not_depend_on_the_number_of_workers() {
    let place = Place::new();
    for at in 0..300 {
        let length = usize::try_from(at * at * 7 % 400_000).unwrap();
        let content = if at % 3 == 0 { noise(at, length) } else { text_of(length) };
        place.file(&format!("1/{}/{at}", at % 7), content);
    }
    let read = |path: PathBuf| fs::read(path).unwrap();
    let one = read(place.written(&["1"], 1));
    for jobs in [1, 2, 3, 8] {
        assert!(read(place.written(&["1"], jobs)) == one, "{jobs} jobs");
    }
    assert_eq!(one.len() % 4096, 0);
}

#[test]
fn the_same_content_is_in_the_file_once() {
    let place = Place::new();
    let large = noise(1, 5 * BLOCK + 1000);
    let small = noise(2, 9000);
    for at in 0..5 {
        place.file(&format!("1/large{at}"), &large);
        place.file(&format!("1/small{at}"), &small);
    }
    // Not the same: a part of the other.
    place.file("1/part", &large[..5 * BLOCK]);
    let file = place.written(&["1"], 2);
    let length = fs::metadata(&file).unwrap().len() as usize;
    assert!(length < large.len() + small.len() + 5 * BLOCK + 16_384, "{length}");
    let unpacked = place.unpacked(&file);
    for at in 0..5 {
        assert!(fs::read(unpacked.join(format!("large{at}"))).unwrap() == large);
        assert!(fs::read(unpacked.join(format!("small{at}"))).unwrap() == small);
    }
    assert!(fs::read(unpacked.join("part")).unwrap() == large[..5 * BLOCK]);
}

#[test]
fn a_large_folder_is_listed_whole() {
    let place = Place::new();
    let names: Vec<String> = (0..5000).map(|at| format!("a-name-of-some-length-{at:05}")).collect();
    for name in &names {
        place.file(&format!("1/large/{name}"), &name[18..]);
    }
    place.dir("1/large/sub");
    let unpacked = place.unpacked(&place.written(&["1"], 2));
    assert_eq!(fs::read_dir(unpacked.join("large")).unwrap().count(), 5001);
    for name in names.iter().step_by(97) {
        assert_eq!(fs::read_to_string(unpacked.join("large").join(name)).unwrap(), name[18..]);
    }
}

#[test]
fn holes_take_no_room() {
    let place = Place::new();
    let path = place.file("1/sparse", "");
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.set_len(1 << 30).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, b"in the middle", (1 << 29) + 5).unwrap();
    let written = place.written(&["1"], 2);
    assert!(fs::metadata(&written).unwrap().len() < 64 << 10);
    let unpacked = place.unpacked(&written).join("sparse");
    let metadata = fs::metadata(&unpacked).unwrap();
    assert_eq!(metadata.len(), 1 << 30);
    assert!(metadata.blocks() < 4096, "{} blocks", metadata.blocks());
    let mut bytes = vec![1; 40];
    let unpacked = fs::File::open(unpacked).unwrap();
    std::os::unix::fs::FileExt::read_exact_at(&unpacked, &mut bytes, 1 << 29).unwrap();
    assert_eq!(bytes[..20], *b"\0\0\0\0\0in the middle\0\0");
}

#[test]
fn times_are_those_of_the_layers_and_the_root_has_the_images() {
    let place = Place::new();
    let file = place.file("1/old", "x");
    let time = Timespec { tv_sec: 1_000_000_000, tv_nsec: 5 };
    let times = Timestamps { last_access: time, last_modification: time };
    rustix::fs::utimensat(CWD, file, &times, AtFlags::empty()).unwrap();
    let text = unsquashfs(&["-UTC", "-lln", place.written(&["1"], 1).to_str().unwrap()]);
    assert!(text.contains("2001-09-09 01:46 squashfs-root/old"), "{text}");
    assert!(text.contains("2023-11-14 22:13 squashfs-root\n"), "{text}");
}

#[test]
fn a_full_disk_ends_all_threads_with_its_error() {
    let place = Place::new();
    for at in 0..40 {
        place.file(&format!("1/{at}"), noise(at, 3 * BLOCK));
    }
    let error = place.write(&["1"], 2, Path::new("/dev/full"), &|_| ()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Full, "{error}");
    assert!(error.to_string().starts_with("cannot write /dev/full"), "{error}");
}

#[test]
fn a_file_that_changes_while_it_is_read_is_an_error() {
    let changes: [fn(&Path) -> std::io::Result<()>; 2] =
        [|path| fs::write(path, "shorter"), |path| fs::write(path, noise(2, 10 * BLOCK))];
    for change in changes {
        let place = Place::new();
        let path = place.file("1/a/b", noise(1, 9 * BLOCK));
        let has_changed = AtomicBool::new(false);
        let progress = |_| {
            if !has_changed.swap(true, Ordering::Relaxed) {
                change(&path).unwrap();
            }
        };
        let error = place.write(&["1"], 2, &place.path("x.sqsh"), &progress).unwrap_err();
        assert!(error.to_string().starts_with("/a/b: it "), "{error}");
    }
}

#[test]
fn the_configuration_is_behind_the_file_system() {
    let place = Place::new();
    place.file("1/x", "x");
    let path = place.written(&["1"], 1);
    let mut head = [0; Superblock::SIZE];
    let mut file = fs::File::open(path).unwrap();
    file.read_exact(&mut head).unwrap();
    let superblock = Superblock::parse(&head);
    assert_eq!((superblock.mtime, superblock.inode_count), (TIME as u32, 2));
    let end = superblock.bytes_used.next_multiple_of(END_ALIGNMENT);
    assert_eq!(ImageTrailer::read(&file, end).unwrap().unwrap().configuration, "{}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, ..ProptestConfig::default() })]

    #[test]
    fn any_tree_comes_back(
        files in proptest::collection::btree_map(
            "[a-c]{1,2}(/[d-f]{1,2}){0,3}/[x-z]{1,3}", (0..300_000usize, any::<u64>()), 1..25,
        ),
    ) {
        let place = Place::new();
        for (name, (length, seed)) in &files {
            let content = if seed % 2 == 0 { noise(*seed, *length) } else { text_of(*length) };
            place.file(&format!("1/{name}"), content);
        }
        let unpacked = place.unpacked(&place.written(&["1"], 2));
        let compared = Command::new("diff").arg("-r").arg(place.path("1")).arg(unpacked).output();
        let compared = compared.unwrap();
        prop_assert!(compared.status.success(), "{}", String::from_utf8_lossy(&compared.stdout));
    }
}
