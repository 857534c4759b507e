//! What the server of a FUSE overlay keeps in memory for the files that the kernel knows.

use crate::fuse_overlay::script;
use crate::support::{Place, need};

/// Bytes that a server may have of its own for each file, and besides. A million files: 200 MB.
const A_FILE: u64 = 192;
const BESIDES: u64 = 8 << 20;

/// `USNEA_TEST_WALK=1000000` walks over a million files, which takes a minute and 2 GB of memory.
#[test]
fn a_walk_over_many_files_leaves_the_server_small() {
    if !need("unshare") || !need("pgrep") {
        return;
    }
    let files: u64 =
        std::env::var("USNEA_TEST_WALK").map_or(20_000, |given| given.parse().expect("a number"));
    let place = Place::new();
    let ran = script(
        &place,
        &format!(
            "mount -t tmpfs -o nr_inodes=0,size=8g many lower
             for folder in $(seq {}); do
                 mkdir lower/$folder; (cd lower/$folder; seq 1000 | xargs touch)
             done
             $usnea mount overlay --foreground -o lowerdir=lower,upperdir=upper,workdir=work m & command=$!
             until mountpoint -q m; do sleep 0.01; done
             # Asks for what each file is, so that the kernel knows all of them.
             is $(find m -type f -perm 7777 | wc -l) 0
             echo server $(sed -n 's/^RssAnon:[^0-9]*\\([0-9]*\\) kB/\\1/p' /proc/$(pgrep -P $command)/status)
             is $(find m -type f | wc -l) {files}
             umount m; wait $command; umount -l lower",
            files / 1000
        ),
    );
    let said = ran.works();
    let kilobytes = said.lines().find_map(|line| line.strip_prefix("server "));
    let bytes = 1024 * kilobytes.expect("a size").parse::<u64>().expect("a number");
    assert!(bytes < BESIDES + files * A_FILE, "{bytes} bytes for {files} files");
    assert!(bytes > files * 32, "{bytes} bytes: not the server, or not all files were asked for");
}
