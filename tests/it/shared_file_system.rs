//! Images on a file system that is slow in metadata, as those of clusters are: requests are counted, not timed.

use crate::composed::{Composed, small_root};
use crate::counted_folder::{CountedFolder, metadata};
use crate::stocked::Stocked;
use crate::support::{need, text};

/// Most requests for metadata of one start.
const MOST: usize = 10;

/// A place with `disk/app.sqsh` and `disk/extra.sqsh`.
fn place() -> Stocked {
    let place = Stocked::new();
    place.place.folder("disk/extra/opt");
    Composed::of(&[small_root(&place)]).write(&place, "layout");
    place
        .shell(
            "usnea pull -q --to disk/app.sqsh oci:layout > /dev/null
            mksquashfs disk/extra disk/extra.sqsh -quiet -no-progress; rm -r disk/extra",
        )
        .works();
    place
}

#[test]
fn a_start_costs_the_metadata_server_few_requests() {
    if !need("mksquashfs") {
        return;
    }
    let place = place();
    let Some(shared) = CountedFolder::mount(&place.place, "disk") else { return };
    let app = shared.path.join("app.sqsh");
    let extra = shared.path.join("extra.sqsh");
    let (app, extra) = (text(&app), text(&extra));
    // The first start makes the store.
    place.usnea(&["run", "--rm", app, "true"]).works();
    assert!(metadata(&shared.take()) > 0);
    let kept = ["create", "--name", "web", "--overlay", extra, app, "true"];
    place.usnea(&kept).works();
    shared.take();
    for words in [
        &["run", "--rm", app, "true"][..],
        &["run", "--rm", "--read-only", &format!("sqsh:{app}"), "true"],
        &["run", "--rm", "-u", "0", "-w", "/tmp", "--storage-driver", "fuse", app, "true"],
        &["run", app, "true"],
    ] {
        place.usnea(words).works();
        let counts = shared.take();
        assert!(metadata(&counts) <= MOST, "{words:?}: {counts:?}");
    }
    // Each further file costs as much.
    for words in [&["run", "--rm", "--overlay", extra, app, "true"][..], &["start", "-a", "web"]] {
        place.usnea(words).works();
        let counts = shared.take();
        assert!(metadata(&counts) <= 2 * MOST, "{words:?}: {counts:?}");
    }
    place.usnea(&["rm", "-a", "-f"]).works();
}
