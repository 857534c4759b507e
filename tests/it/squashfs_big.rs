//! Images with very many files: the start reads little of them, and the server stays small.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::Command;

use usnea::layer::squashfs::{CacheLimits, SquashfsImage};

use crate::shared_images::{Sharing, servers_of};
use crate::support::{Place, Process, finish, need, text};

/// Folders of the image, each with as many files.
const FOLDERS: usize = 450;

/// Packs an image of [`FOLDERS`] folders. Devices need no data and, unlike files of mksquashfs's pseudo format, no
/// process each.
fn many(place: &Place) -> PathBuf {
    let mut pseudo = String::new();
    for folder in 0..FOLDERS {
        pseudo.push_str(&format!("d{folder} d 755 0 0\n"));
        for file in 0..FOLDERS {
            pseudo.push_str(&format!("d{folder}/n{file} c 644 0 0 1 3\n"));
        }
    }
    place.write("pseudo", &pseudo);
    place.folder("empty");
    let mut make = Command::new("mksquashfs");
    make.args(["empty", "many.sqsh", "-quiet", "-no-progress", "-noappend", "-comp", "lz4"]);
    finish(make.args(["-pf", "pseudo"]).current_dir(place.path("")), "").works();
    place.path("many.sqsh")
}

/// Bytes that this thread has read, and its calls (proc(5), `/proc/PID/io`).
fn reads() -> (u64, u64) {
    let io = fs::read_to_string("/proc/thread-self/io").expect("the counts of this thread");
    let count = |name: &str| {
        let line = io.lines().find_map(|line| line.strip_prefix(name)).expect("a count");
        line.trim().parse::<u64>().expect("a number")
    };
    (count("rchar:"), count("syscr:"))
}

#[test]
fn an_image_of_many_files_is_opened_without_a_walk() {
    if !need("mksquashfs") {
        return;
    }
    let place = Place::new();
    let path = many(&place);
    let size = fs::metadata(&path).expect("the image").len();
    let limits = CacheLimits { workers: 0, ..CacheLimits::default() };
    let file = File::open(&path).expect("the image").into();
    let before = reads();
    let image = SquashfsImage::open(file, 0, limits).expect("an image");
    let root = image.inode(image.root()).expect("the root");
    let after = reads();
    assert!(image.space().inodes > (FOLDERS * FOLDERS) as u64);
    assert_eq!(root.nlink as usize, FOLDERS + 2);
    let (bytes, calls) = (after.0 - before.0, after.1 - before.1);
    assert!(bytes < 128 << 10 && size > 16 * bytes, "{bytes} of {size} bytes were read");
    assert!(calls < 30, "{calls} reads");
}

#[test]
fn the_server_stays_small_when_all_of_many_files_are_looked_at() {
    let Some(sharing) = Sharing::new() else { return };
    let path = many(&sharing.place);
    let volume = format!("{}:/many:squashfs", text(&path));
    sharing.start("keeper");
    let root = sharing.place.image();
    let words = ["run", "-d", "--name", "one", "-v", &volume, &root, "sleep", "1000"];
    sharing.usnea(&words).works();
    let count = sharing.exec("one", "find /many -type c | wc -l").works().to_owned();
    assert_eq!(count, (FOLDERS * FOLDERS).to_string());
    let servers = servers_of(&path);
    assert_eq!(servers.len(), 1);
    let status = Process { number: servers[0] }.text("status");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    let kib: u64 = peak.trim().trim_end_matches(" kB").parse().expect("a number");
    assert!(kib < 96 << 10, "the server took {kib} KiB");
    sharing.remove("one");
    sharing.remove("keeper");
    sharing.ends();
}
