//! Where containers' files can lie, and how layers can be stacked there.

use std::fs;
use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::{AtFlags, Mode, OFlags};

use crate::error::{Context, Result};
use crate::host::finding::Finding;
use crate::host::hint::Hint;
use crate::host::kernel::{self, Version};
use crate::host::scratch::Scratch;
use crate::host::{filesystem, trial, userns};
use crate::sys::mount::{self, Attributes, Overlay};
use crate::sys::namespace::Namespaces;

/// Below this an image hardly fits.
const ENOUGH_BYTES: u64 = 1 << 30;

pub(super) fn store(store: Option<&Path>) -> Finding {
    let name = "store";
    let Some(store) = store else {
        return Finding::missing(name, "no place is known: neither HOME nor USNEA_ROOT is set")
            .costs("nothing can be kept: no images, no stopped containers")
            .fix(Hint::StoreElsewhere.to_string());
    };
    let kind = filesystem::kind(store);
    let found = format!("{} on {}", store.display(), kind.name);
    if let Err(error) = Scratch::new(store).context(|| "cannot write there") {
        return Finding::missing(name, format!("{found}: {error}"))
            .costs("nothing can be kept: no images, no stopped containers")
            .fix(Hint::StoreElsewhere.to_string());
    }
    let free = free_bytes(store);
    let found = format!("{found}, {:.1} GiB free", free as f64 / (1 << 30) as f64);
    let costs = match kind.name {
        _ if kind.network => {
            "images unpack slowly, the kernel overlay may refuse it, and other machines see it too"
        }
        "tmpfs" | "ramfs" => "images and containers take memory, and are gone after a restart",
        "ecryptfs" => "long file names are refused, and the kernel overlay too",
        _ if free < ENOUGH_BYTES => "hardly an image fits",
        _ => return Finding::ok(name, found),
    };
    Finding::degraded(name, found)
        .costs(costs)
        .fix(Hint::StoreElsewhere.to_string())
}

fn free_bytes(store: &Path) -> u64 {
    let stat = rustix::fs::statvfs(filesystem::nearest_existing(store));
    stat.map_or(0, |stat| stat.f_bavail.saturating_mul(stat.f_frsize))
}

pub(super) fn kernel_overlay(store: Option<&Path>) -> Finding {
    let name = "kernel overlay";
    let costs = "layers are stacked by usnea itself (FUSE) or copied: slower with many files";
    let scratch = store.map(Scratch::new);
    let Some(Ok(scratch)) = scratch else {
        return Finding::degraded(name, "not tried: the store cannot be written").costs(costs);
    };
    match try_overlay(&scratch) {
        Ok(found) => Finding::ok(name, found),
        Err(error) => Finding::degraded(name, error.to_string())
            .costs(costs)
            .fix(overlay_fix(scratch.path())),
    }
}

fn overlay_fix(scratch: &Path) -> Option<String> {
    userns::forbidden_hint().or_else(|| {
        let kind = filesystem::kind(scratch);
        // An overlay on these is refused whatever the kernel.
        let unsuitable =
            kind.network || ["ecryptfs", "overlay", "fuse", "vfat", "exfat"].contains(&kind.name);
        let hint = if kernel::version() < Version(5, 11) {
            Hint::Kernel(Version(5, 11))
        } else if unsuitable {
            Hint::StoreElsewhere
        } else {
            Hint::LoadModule("overlay")
        };
        Some(hint.into())
    })
}

/// Mounts one and does in it what containers do to layers: change, delete, and make a folder anew over a deleted one,
/// which needs extended attributes on the upper layer.
fn try_overlay(scratch: &Scratch) -> Result<String> {
    trial::run(
        Namespaces::USER.with(Namespaces::MOUNT),
        trial::map_own_ids,
        || {
            let folder = |name| scratch.folder(name).context(|| format!("cannot make {name}"));
            let (lower, upper, work) = (folder("lower")?, folder("upper")?, folder("work")?);
            fs::write(lower.join("file"), "x").context(|| "cannot write a file")?;
            fs::create_dir(lower.join("folder")).context(|| "cannot make a folder")?;
            let layers = Overlay {
                lowers: vec![&lower],
                upper: Some((&upper, &work)),
                flags: vec!["userxattr"],
            };
            let merged = mount::overlay(&layers, Attributes::NONE).context(|| "cannot mount it")?;
            exercise(merged.as_fd())?;
            Ok(format!(
                "mounted on {} and written to",
                filesystem::kind(&upper).name
            ))
        },
    )
}

fn exercise(merged: impl AsFd + Copy) -> Result<()> {
    let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CLOEXEC;
    rustix::fs::openat(merged, "file", flags, Mode::empty())
        .context(|| "mounted, but cannot change a file")?;
    rustix::fs::unlinkat(merged, "file", AtFlags::empty()).context(|| "mounted, but cannot delete a file")?;
    rustix::fs::unlinkat(merged, "folder", AtFlags::REMOVEDIR)
        .context(|| "mounted, but cannot delete a folder")?;
    rustix::fs::mkdirat(merged, "folder", Mode::from_raw_mode(0o755))
        .context(|| "mounted, but cannot make a folder in place of another")
}
