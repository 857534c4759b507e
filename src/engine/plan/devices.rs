//! Devices of config.json. A process in a user namespace cannot make device nodes (user_namespaces(7)): the host's node
//! is bind-mounted. A FIFO is made.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use oci_spec::runtime::{LinuxDevice, LinuxDeviceType, Spec};

use crate::engine::plan::mount::PlannedMount;
use crate::engine::plan::step::Step;
use crate::error::Result;
use crate::fail;

/// Function that maps user and group ID of a host file to those that the container sees; `None`: the container lacks
/// that ID.
pub type InnerOwner<'a> = &'a dyn Fn(u32, u32) -> (Option<u32>, Option<u32>);

/// Adds the steps of the devices. `given`: paths of devices that every container has. Errors: a node that this machine
/// lacks; an owner or a mode other than the node's.
pub fn device_steps(
    spec: &Spec,
    given: &[&str],
    owner: InnerOwner<'_>,
    steps: &mut Vec<Step>,
) -> Result<()> {
    let list = spec.linux().as_ref().and_then(|linux| linux.devices().as_ref());
    for (index, device) in list.into_iter().flatten().enumerate() {
        let place = format!("config.json: linux.devices[{index}]");
        let path = device.path();
        if !path.is_absolute() {
            fail!(Invalid: "{place}.path: '{}' is not absolute", path.display());
        }
        if device.typ() == LinuxDeviceType::P {
            steps.push(fifo(device, &place)?);
            continue;
        }
        if device.typ() == LinuxDeviceType::A {
            fail!(Invalid: "{place}.type: 'a' is not a type of device nodes");
        }
        let is_given = given.iter().any(|given| Path::new(given) == path);
        let node = match (is_given, is_same(path, device)) {
            (true, true) => continue,
            (true, false) => {
                fail!(Invalid: "{place}: {} of every container is another device", path.display())
            }
            (false, true) => path.clone(),
            (false, false) => match host_node(device) {
                Some(node) => node,
                None => {
                    let (kind, major, minor) = (kind(device), device.major(), device.minor());
                    fail!(Refused: "{place}: this machine has no node of {kind} {major}:{minor} to bind, and making one needs root");
                }
            },
        };
        check_attributes(device, &node, owner, &place)?;
        let mut mount = PlannedMount::bind_file(&node.to_string_lossy());
        mount.target = path.clone();
        steps.push(Step::Mount(mount));
    }
    Ok(())
}

fn fifo(device: &LinuxDevice, place: &str) -> Result<Step> {
    let owners = [device.uid(), device.gid()];
    if owners.iter().any(|id| id.unwrap_or(0) != 0) {
        fail!(Refused: "{place}: a FIFO belongs to the container's root");
    }
    let mode = device.file_mode().unwrap_or(0o666) & 0o7777;
    Ok(Step::Fifo { path: device.path().clone(), mode })
}

fn kind(device: &LinuxDevice) -> &'static str {
    match device.typ() {
        LinuxDeviceType::B => "block",
        _ => "char",
    }
}

/// True if the host has this device at this path.
fn is_same(path: &Path, device: &LinuxDevice) -> bool {
    let Ok(metadata) = fs::metadata(path) else { return false };
    let is_kind = match device.typ() {
        LinuxDeviceType::B => metadata.file_type().is_block_device(),
        _ => metadata.file_type().is_char_device(),
    };
    let number = metadata.rdev();
    let (major, minor) = (rustix::fs::major(number), rustix::fs::minor(number));
    is_kind && (i64::from(major), i64::from(minor)) == (device.major(), device.minor())
}

/// Returns the host's node for the device's number, by its name in sysfs.
fn host_node(device: &LinuxDevice) -> Option<PathBuf> {
    let (kind, major, minor) = (kind(device), device.major(), device.minor());
    let event = fs::read_to_string(format!("/sys/dev/{kind}/{major}:{minor}/uevent")).ok()?;
    let name = event.lines().find_map(|line| line.strip_prefix("DEVNAME="))?;
    let node = Path::new("/dev").join(name);
    is_same(&node, device).then_some(node)
}

/// Refuses a mode or an owner other than the node's: a bind mount shows those of the host.
fn check_attributes(
    device: &LinuxDevice,
    node: &Path,
    owner: InnerOwner<'_>,
    place: &str,
) -> Result<()> {
    let Ok(metadata) = fs::metadata(node) else { return Ok(()) };
    let mode = metadata.mode() & 0o7777;
    if let Some(asked) = device.file_mode().map(|mode| mode & 0o7777)
        && asked != mode
    {
        fail!(Refused: "{place}.fileMode: {} has the mode {mode:04o}, which only root can change to {asked:04o}", node.display());
    }
    let (uid, gid) = owner(metadata.uid(), metadata.gid());
    for (name, asked, has) in [("uid", device.uid(), uid), ("gid", device.gid(), gid)] {
        if let Some(asked) = asked
            && has != Some(asked)
        {
            let has = has.map_or("an ID of the host".to_owned(), |id| id.to_string());
            fail!(Refused: "{place}.{name}: {} belongs to {has}, which only root can change to {asked}", node.display());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn steps(device: Value) -> Result<Vec<Step>> {
        let config = json!({ "ociVersion": "1.2.0", "linux": { "devices": [device] } });
        let spec: Spec = serde_json::from_value(config).unwrap();
        let mut steps = Vec::new();
        device_steps(&spec, &["/dev/zero"], &|uid, gid| (Some(uid), Some(gid)), &mut steps)?;
        Ok(steps)
    }

    #[test]
    fn a_node_is_bound_by_its_number_and_refused_by_its_path() {
        let null = |rest: Value| {
            let mut device = json!({ "path": "/dev/nothing", "type": "c", "major": 1, "minor": 3 });
            let (Value::Object(all), Value::Object(rest)) = (&mut device, rest) else { panic!() };
            all.extend(rest);
            steps(device)
        };
        assert_eq!(null(json!({ "path": "/dev/null" })).unwrap().len(), 1);
        assert!(null(json!({ "path": "/dev/zero", "minor": 5 })).unwrap().is_empty());
        for (rest, path) in [
            (json!({ "path": "dev/null" }), ".path: "),
            (json!({ "path": "/dev/zero" }), ": /dev/zero of every container"),
            (json!({ "major": 4000 }), ": this machine has no node of char 4000:3"),
            (
                json!({ "path": "/dev/null", "type": "b", "major": 4000 }),
                ": this machine has no node of block",
            ),
            (json!({ "path": "/dev/null", "fileMode": 0o600 }), ".fileMode: "),
            (json!({ "path": "/dev/null", "uid": 7 }), ".uid: "),
            (json!({ "path": "/dev/null", "gid": 7 }), ".gid: "),
            (json!({ "type": "a" }), ".type: "),
        ] {
            let error = null(rest).unwrap_err().to_string();
            assert!(error.starts_with(&format!("config.json: linux.devices[0]{path}")), "{error}");
        }
    }
}
