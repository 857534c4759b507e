//! Devices of the Container Device Interface (CDI) in a container, and `usnea cdi`.

pub mod host_gpus;
pub mod native_hook;

use std::path::PathBuf;

use oci_spec::runtime::Spec;

use self::host_gpus::GpuVendor;
use crate::cdi::{CdiRegistry, Edits};
use crate::cdi_name::{CdiKind, CdiName};
use crate::config::user_folder;
use crate::error::{Context, Error, ErrorKind, Result, Setting};
use crate::spec::{ContainerOptions, DeviceFlag, GpuChoice, GpusFlag, KEEP_GROUPS};

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
    let mut registry = registry();
    let edits = match &options.gpus {
        None => registry.resolve(&named).context(|| Setting::Device)?,
        Some(flag) => {
            let gpus = gpus(flag, &mut registry).context(|| Setting::Gpus.with(&flag.text))?;
            registry.resolve(&[gpus, named].concat())?
        }
    };
    edits.apply(spec)?;
    keep_groups(&edits, options, spec);
    Ok(())
}

/// Returns the names of the devices that `--gpus` asks for: of the first vendor with a specification, else of the first
/// one whose devices this machine has. Their specification is then added to the registry.
fn gpus(flag: &GpusFlag, registry: &mut CdiRegistry) -> Result<Vec<CdiName>> {
    let is_asked =
        |vendor: &GpuVendor| flag.driver.as_deref().is_none_or(|asked| asked == vendor.driver());
    let vendors: Vec<GpuVendor> = GpuVendor::ALL.into_iter().filter(is_asked).collect();
    let is_described = |vendor: &GpuVendor| {
        registry.devices().any(|device| device.name.kind.as_str() == vendor.kind())
    };
    let vendor = match vendors.iter().copied().find(is_described) {
        Some(vendor) => vendor,
        None => described_by_host(&vendors, registry)?,
    };
    let kind = vendor.kind();
    let kind: CdiKind = kind.parse().map_err(Error::new)?;
    let names = match &flag.choice {
        GpuChoice::All => vec!["all".to_owned()],
        GpuChoice::First(count) => (0..*count).map(|number| number.to_string()).collect(),
        GpuChoice::Named(names) => names.clone(),
    };
    names.iter().map(|name| kind.device(name).map_err(Error::invalid)).collect()
}

/// Adds a specification of the processors that this machine has, of the first of these vendors.
fn described_by_host(vendors: &[GpuVendor], registry: &mut CdiRegistry) -> Result<GpuVendor> {
    for vendor in vendors {
        if let Some(text) = host_gpus::specification(*vendor)? {
            registry.add_text("the devices of this machine", &text)?;
            return Ok(*vendor);
        }
    }
    let error =
        Error::new("this machine has no graphics processors, and no specification names any");
    Err(error
        .of_kind(ErrorKind::NotFound)
        .hint("'usnea cdi list' lists the devices of specifications"))
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
