//! Devices of the Container Device Interface (CDI) in a container, and `usnea cdi`.

use std::path::PathBuf;

use oci_spec::runtime::Spec;

use crate::cdi::{CdiRegistry, Edits};
use crate::cdi_name::{CdiKind, CdiName};
use crate::config::user_folder;
use crate::error::{Context, Error, ErrorKind, Result, Setting};
use crate::spec::{ContainerOptions, DeviceFlag, GpuChoice, GpusFlag, KEEP_GROUPS};

/// Kinds that `--gpus` stands for, and their drivers: the first one that this machine has.
const GPU_KINDS: [(&str, &str); 2] = [("nvidia", "nvidia.com/gpu"), ("amd", "amd.com/gpu")];

/// Reads the specifications of this machine: those of the system, of this boot, and of the user, which go before the
/// others.
pub fn registry() -> CdiRegistry {
    let user = user_folder().map(|folder| folder.join("cdi"));
    let system = ["/etc/cdi", "/var/run/cdi"].map(PathBuf::from);
    CdiRegistry::read(system.into_iter().chain(user).collect())
}

/// Puts the edits of the devices in `options` into a config. Errors: an unknown device; a file, a device or a hook that
/// this machine lacks.
pub(super) fn add(options: &ContainerOptions, spec: &mut Spec) -> Result<()> {
    let named = options.device.iter().filter_map(|flag| match flag {
        DeviceFlag::Cdi(name) => Some(name.clone()),
        DeviceFlag::Host(_) => None,
    });
    let named: Vec<CdiName> = named.collect();
    if named.is_empty() && options.gpus.is_none() {
        return Ok(());
    }
    let registry = registry();
    let edits = match &options.gpus {
        None => registry.resolve(&named).context(|| Setting::Device)?,
        Some(flag) => {
            let gpus = gpus(flag, &registry).context(|| Setting::Gpus.with(&flag.text))?;
            registry.resolve(&[gpus, named].concat())?
        }
    };
    edits.apply(spec)?;
    keep_groups(&edits, options, spec);
    Ok(())
}

/// Returns the names of the devices that `--gpus` asks for.
fn gpus(flag: &GpusFlag, registry: &CdiRegistry) -> Result<Vec<CdiName>> {
    let devices: Vec<_> = registry.devices().collect();
    let is_asked = |driver: &str| flag.driver.as_deref().is_none_or(|asked| asked == driver);
    let kinds = GPU_KINDS.iter().filter(|(driver, _)| is_asked(driver));
    let found = kinds
        .map(|(_, kind)| *kind)
        .find(|kind| devices.iter().any(|device| device.name.kind.as_str() == *kind));
    let Some(kind) = found else {
        return Err(Error::new("no specification has graphics processors")
            .of_kind(ErrorKind::NotFound)
            .hint("for NVIDIA's: nvidia-ctk cdi generate > ~/.config/cdi/nvidia.yaml; 'usnea cdi list' lists all devices"));
    };
    let kind: CdiKind = kind.parse().map_err(Error::new)?;
    let names = match &flag.choice {
        GpuChoice::All => vec!["all".to_owned()],
        GpuChoice::First(count) => (0..*count).map(|number| number.to_string()).collect(),
        GpuChoice::Named(names) => names.clone(),
    };
    names.iter().map(|name| kind.device(name).map_err(Error::invalid)).collect()
}

/// Lets the container keep the caller's groups where they give access to the devices. Groups of the host are no groups
/// of a user namespace: they cannot be added by number.
fn keep_groups(edits: &Edits, options: &ContainerOptions, spec: &mut Spec) {
    let ours = nix::unistd::getgroups().unwrap_or_default();
    let ours: Vec<u32> = ours.into_iter().map(nix::unistd::Gid::as_raw).collect();
    let missing: Vec<String> = edits
        .groups()
        .iter()
        .filter(|group| !ours.contains(group))
        .map(ToString::to_string)
        .collect();
    if !missing.is_empty() {
        log::warn!(
            "the specification gives its devices to the groups {}: you are not a member of them",
            missing.join(", ")
        );
    }
    if missing.len() < edits.groups().len() && options.group_add.is_empty() {
        let mut annotations = spec.annotations().clone().unwrap_or_default();
        annotations.insert(KEEP_GROUPS.to_owned(), "1".to_owned());
        spec.set_annotations(Some(annotations));
    }
}
