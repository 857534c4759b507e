//! Checks of FUSE: whether usnea's own overlay server could serve here, and whether its mounts can be idmapped.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use crate::error::{Context, Result};
use crate::fail;
use crate::hint;
use crate::host::finding::Finding;
use crate::host::fuse::open;
use crate::host::hint::Hint;
use crate::host::kernel::{self, KernelVersion};
use crate::host::trial;
use crate::sys::mount::{self, Attributes};
use crate::sys::namespace::Namespaces;
use crate::sys::process::{self, Forked, Parentage};

/// First kernel that idmaps FUSE mounts of a user namespace.
const IDMAPS: KernelVersion = KernelVersion(6, 12);

pub(super) fn device() -> Finding {
    let name = "FUSE";
    match open() {
        Ok(_) => Finding::ok(name, "/dev/fuse opens for reading and writing"),
        Err(error) => Finding::missing(name, error.to_string())
            .costs(
                "without a kernel overlay the layers of an image must be copied for each container",
            )
            .fix(Hint::Fuse.to_string()),
    }
}

pub(super) fn idmapped() -> Finding {
    let name = "idmapped FUSE";
    match trial::run(Namespaces::USER.with(Namespaces::MOUNT), trial::map_own_ids, mount_and_idmap)
    {
        Ok(found) => Finding::ok(name, found),
        Err(error) => {
            let fix = (kernel::version() < IDMAPS).then(|| Hint::Kernel(IDMAPS).to_string());
            Finding::degraded(name, format!("{error} (kernel {}; {IDMAPS} can)", kernel::version()))
                .costs(hint::COST_NO_IDMAPS)
                .fix(fix)
        }
    }
}

fn mount_and_idmap() -> Result<String> {
    // Opened in here: a descriptor from outside belongs to another user namespace, and the mount fails with EINVAL.
    let mut device = open()?;
    let options = [
        ("fd", Some(device.as_raw_fd().to_string())),
        ("rootmode", Some("40000".into())),
        ("user_id", Some("0".into())),
        ("group_id", Some("0".into())),
        // Without this option the kernel refuses a server that allows idmaps (process_init_reply).
        ("default_permissions", None),
    ]
    .map(|(name, value)| (name.to_owned(), value));
    let mount =
        mount::make("fuse", "usnea", &options, Attributes::NONE).context(|| "cannot mount FUSE")?;
    greet(&mut device).context(|| "FUSE does not start")?;
    let userns = another_namespace()?;
    mount::idmap(mount.as_fd(), userns.as_fd())
        .context(|| "FUSE mounts, but cannot be idmapped")?;
    Ok("mounted and idmapped".into())
}

/// Answers FUSE_INIT, allowing idmaps (linux/fuse.h: fuse_in_header, fuse_init_in; fuse_out_header, fuse_init_out).
fn greet(device: &mut File) -> Result<()> {
    const FUSE_INIT: u32 = 26;
    const FUSE_INIT_EXT: u32 = 1 << 30;
    /// Bit 40 of both words of flags.
    const FUSE_ALLOW_IDMAP_HIGH: u32 = 1 << 8;
    let mut request = vec![0; 8192 + 4096]; // FUSE_MIN_READ_BUFFER at least, or read is EINVAL
    let length = device.read(&mut request)?;
    let word = |index: usize| {
        let bytes = request[..length].get(index * 4..index * 4 + 4);
        bytes.map_or(0, |bytes| u32::from_ne_bytes(bytes.try_into().expect("four bytes")))
    };
    if word(1) != FUSE_INIT {
        fail!("the kernel's first request is {}, not FUSE_INIT", word(1));
    }
    let mut reply = [0u32; 4 + 16];
    reply[0] = size_of_val(&reply) as u32;
    (reply[2], reply[3]) = (word(2), word(3)); // which request
    (reply[4], reply[5]) = (word(10), word(11)); // the kernel's own major and minor version
    reply[7] = FUSE_INIT_EXT;
    reply[9] = 4096; // max_write, its lowest value
    reply[12] = FUSE_ALLOW_IDMAP_HIGH;
    device.write_all(&reply.map(u32::to_ne_bytes).concat())?;
    Ok(())
}

/// Makes a user namespace below this one, held by its descriptor alone.
fn another_namespace() -> Result<OwnedFd> {
    match process::clone(Namespaces::USER, Parentage::Ours)
        .context(|| "cannot nest user namespaces")?
    {
        Forked::Child => {
            // The child must exist only until the parent has opened its namespace; then the parent kills it.
            let _ = process::set_parent_death_signal(libc::SIGKILL);
            std::thread::sleep(trial::PATIENCE);
            process::exit_now(0)
        }
        Forked::Parent(child) => {
            let opened = trial::map_own_ids(child.pid).and_then(|()| {
                File::open(format!("/proc/{}/ns/user", child.pid))
                    .context(|| "cannot open a user namespace")
            });
            let _ = child.signal(libc::SIGKILL);
            let _ = child.wait();
            Ok(opened?.into())
        }
    }
}
