//! Checks of the store's location, and of the ways to stack layers there.

use std::fs;
use std::os::fd::AsFd;
use std::path::Path;

use crate::error::{Context, Error, ErrorKind, Result};
use crate::hint;
use crate::host::finding::{Finding, FindingStatus};
use crate::host::hint::Hint;
use crate::host::kernel::{self, KernelVersion};
use crate::host::scratch::ScratchFolder;
use crate::host::{filesystem, fuse, idmap, overlay, trial, userns};
use crate::layer::{self, whiteout::Whiteouts};
use crate::sys::namespace::Namespaces;

const STORE: &str = "store";
const OVERLAY: &str = "kernel overlay";
const WHITEOUTS: &str = "whiteouts";
const WITHOUT_OVERLAY: &str =
    "layers are stacked by usnea itself (FUSE) or copied: slower with many files";

/// Free space, in bytes, below which an image hardly fits.
const ENOUGH_BYTES: u64 = 1 << 30;

pub(super) fn all(store: Option<&Path>) -> Vec<Finding> {
    let Some(store) = store else {
        return vec![
            unusable("no folder for the store is known: neither HOME nor USNEA_ROOT is set"),
            overlay_not_tried(),
        ];
    };
    match answers(store) {
        Ok(()) => vec![location(store), whiteouts(store), kernel_overlay(store)],
        Err(error) => vec![unusable(format!("{}: {error}", store.display())), overlay_not_tried()],
    }
}

fn unusable(found: impl Into<String>) -> Finding {
    Finding::missing(STORE, found)
        .costs("nothing can be kept: no images, no stopped containers")
        .fix(Hint::StoreElsewhere.to_string())
}

/// Writes to the store, first in a child: a write to a file server that is gone never returns.
fn answers(store: &Path) -> Result<()> {
    let write = || {
        ScratchFolder::new(store).context(|| "cannot write there")?;
        Ok(String::new())
    };
    trial::run(Namespaces::default(), |_| Ok(()), write).map(drop)
}

fn location(store: &Path) -> Finding {
    let kind = filesystem::kind(store);
    let free = free_bytes(store);
    let free_text = format!("{:.1} GiB free", free as f64 / (1 << 30) as f64);
    let found = format!("{} on {}, {free_text}", store.display(), kind.name);
    let costs = match kind.name {
        _ if kind.network => {
            "images unpack slowly, the kernel overlay may refuse it, and other machines see it too"
        }
        "tmpfs" | "ramfs" => "images and containers take memory, and are gone after a restart",
        "ecryptfs" => "long file names are refused, and the kernel overlay too",
        _ if free < ENOUGH_BYTES => "hardly an image fits",
        _ => return Finding::ok(STORE, found),
    };
    Finding::degraded(STORE, found).costs(costs).fix(Hint::StoreElsewhere.to_string())
}

fn free_bytes(store: &Path) -> u64 {
    let stat = rustix::fs::statvfs(filesystem::nearest_existing(store));
    stat.map_or(0, |stat| stat.f_bavail.saturating_mul(stat.f_frsize))
}

fn overlay_not_tried() -> Finding {
    Finding::degraded(OVERLAY, "not tried: the store cannot be written").costs(WITHOUT_OVERLAY)
}

/// Tries the whiteout format, as for the first layer that is unpacked.
fn whiteouts(store: &Path) -> Finding {
    let tried = || -> Result<Whiteouts> {
        let scratch = ScratchFolder::new(store)?;
        Ok(layer::find_whiteout_form(fs::File::open(scratch.path())?.as_fd())?)
    };
    match tried() {
        Ok(Whiteouts::Overlay) => Finding::ok(WHITEOUTS, "devices 0:0, as in the kernel's overlay"),
        Ok(form) => Finding::degraded(
            WHITEOUTS,
            match form {
                Whiteouts::Attributes => {
                    "attributes of usnea: the file system keeps no devices 0:0, and no names .wh.*"
                }
                _ => "names: the file system keeps no devices 0:0, or no attributes",
            },
        )
        .costs("images with several layers are stacked by usnea itself (FUSE) or copied")
        .fix(Hint::StoreElsewhere.to_string()),
        Err(error) => Finding::degraded(WHITEOUTS, format!("not tried: {error}")),
    }
}

fn kernel_overlay(store: &Path) -> Finding {
    let Ok(scratch) = ScratchFolder::new(store) else {
        return overlay_not_tried();
    };
    match overlay::try_in(&scratch) {
        Ok(found) => {
            overlay::forget(store);
            Finding::ok(OVERLAY, found)
        }
        Err(error) => Finding::degraded(OVERLAY, error.to_string())
            .costs(WITHOUT_OVERLAY)
            .fix(overlay_fix(scratch.path(), &error)),
    }
}

/// Reports the storage driver that a run chooses by default, from the same probes.
pub(super) fn driver(findings: &[Finding], store: Option<&Path>) -> Finding {
    let name = "storage driver";
    let overlay = findings.iter().find(|finding| finding.name == OVERLAY);
    if overlay.is_some_and(|finding| finding.status == FindingStatus::Ok) {
        let is_idmapped =
            store.is_some_and(|store| idmap::serves(filesystem::nearest_existing(store)).is_ok());
        let own = if is_idmapped { "its layers are idmapped" } else { "fuse" };
        let is_named =
            |finding: &&Finding| finding.name == WHITEOUTS && finding.status != FindingStatus::Ok;
        let own = match findings.iter().any(|finding| is_named(&finding)) {
            true => "fuse for images with whiteouts, and",
            false => own,
        };
        let text = format!("overlay: the kernel's works here; {own} for {}", hint::OWN_IDS);
        return Finding::ok(name, text);
    }
    match fuse::usable() {
        Ok(()) => {
            Finding::ok(name, "fuse: usnea's own overlay, since the kernel's does not work here")
        }
        Err(error) => Finding::degraded(name, format!("copy: no kernel overlay, and {error}"))
            .costs("each container begins with a copy of its image"),
    }
}

fn overlay_fix(scratch: &Path, error: &Error) -> Option<String> {
    // An error before the mount is not the overlay's fault; AppArmor refuses at the mount.
    if error.kind() != ErrorKind::Refused || userns::apparmor_restricts() {
        return userns::forbidden_hint();
    }
    let kind = filesystem::kind(scratch);
    let refused_as_upper =
        kind.network || ["ecryptfs", "overlay", "fuse", "vfat", "exfat"].contains(&kind.name);
    let known = fs::read_to_string("/proc/filesystems").unwrap_or_default();
    let hint = if kernel::version() < KernelVersion(5, 11) {
        Hint::Kernel(KernelVersion(5, 11))
    } else if refused_as_upper {
        Hint::StoreElsewhere
    } else if !known.contains("\toverlay\n") {
        Hint::LoadModule("overlay")
    } else {
        return None;
    };
    Some(hint.into())
}
