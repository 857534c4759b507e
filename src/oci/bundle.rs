//! Bundle: a folder with config.json, made ready for the engine.

use std::path::{Path, PathBuf};

use oci_spec::runtime::{LinuxNamespaceType, LinuxResources, Root, Spec};

use super::runtime::{CgroupManager, Rootless, Runtime};
use crate::cgroup::{self, CgroupLimits, ParentSource};
use crate::error::{Context, Result};
use crate::fail;
use crate::host::{self, cgroup::CgroupVersion};
use crate::spec::parse_config;

/// Name of the configuration in a bundle.
pub const CONFIG: &str = "config.json";
/// Folder of the host's cgroups.
const CGROUPS: &str = "/sys/fs/cgroup";
/// cpu.shares of each new cgroup of version 1. containerd sets it in every config.json.
const DEFAULT_SHARES: u64 = 1024;

/// Reads a config, and makes the path of its root absolute. Errors: the file cannot be read, or is no config; names the JSON path.
pub fn read(path: &Path, bundle: &Path) -> Result<Spec> {
    let text = std::fs::read(path).context(|| path.display().to_string())?;
    parse(&text, bundle)
}

/// Parses a config, and makes the path of its root absolute. The engine resolves the sources of mounts. Errors name the JSON path.
pub fn parse(text: &[u8], bundle: &Path) -> Result<Spec> {
    let mut spec = parse_config(text)?;
    let Some(root) = spec.root() else { fail!(Invalid: "{CONFIG}: no root") };
    let mut absolute = Root::default();
    let path = bundle.join(root.path());
    absolute.set_path(path.canonicalize().unwrap_or(path));
    absolute.set_readonly(root.readonly());
    spec.set_root(Some(absolute));
    Ok(spec)
}

/// Returns the absolute path of a bundle. Errors: no such folder.
pub fn folder(bundle: &Path) -> Result<PathBuf> {
    bundle.canonicalize().context(|| format!("the bundle {}", bundle.display()))
}

/// Adapts the cgroup of a config to this machine. Drops the rules for devices, which the kernel refuses in a user
/// namespace. Drops a cgroup that cannot be made, if there are no limits. Errors: limits, but no cgroup.
pub fn fit_cgroup(spec: &mut Spec, runtime: &Runtime) -> Result<()> {
    let Some(linux) = spec.linux_mut() else { return Ok(()) };
    if let Some(resources) = linux.resources_mut() {
        resources.set_devices(None);
    }
    let limits = linux.resources().as_ref().map(CgroupLimits::of).transpose()?.unwrap_or_default();
    let has_limits = match linux.resources() {
        Some(resources) => !limits_beyond_default(resources)?.are_none(),
        None => false,
    };
    let path =
        linux.cgroups_path().clone().filter(|_| runtime.cgroup_manager != CgroupManager::Disabled);
    let Some(path) = path else {
        if has_limits {
            fail!(Refused: "{CONFIG}: linux.resources: the container gets no cgroup");
        }
        linux.set_resources(None);
        linux.set_cgroups_path(None);
        return Ok(());
    };
    let path = match runtime.cgroup_manager {
        CgroupManager::Systemd => path_of_unit(&path)?,
        _ => path,
    };
    let is_needed = has_limits || runtime.rootless == Rootless::No;
    let found = cgroup::find(&path, limits, ParentSource::Config);
    let there = match found {
        Err(error) if !is_needed => {
            log::debug!("no cgroup: {error}");
            None
        }
        answer => answer.context(|| format!("{CONFIG}: linux.cgroupsPath"))?,
    };
    if there.is_none() && is_needed {
        fail!(Refused: "{CONFIG}: linux.cgroupsPath: no cgroup can be made at {}", path.display());
    }
    if there.is_none() {
        linux.set_resources(None);
    }
    linux.set_cgroups_path(there.map(|_| path));
    Ok(())
}

/// Returns the limits of `resources` without those that a process has in any cgroup.
fn limits_beyond_default(resources: &LinuxResources) -> Result<CgroupLimits> {
    let mut resources = resources.clone();
    if let Some(cpu) = resources.cpu_mut()
        && cpu.shares() == Some(DEFAULT_SHARES)
    {
        cpu.set_shares(None);
    }
    CgroupLimits::of(&resources)
}

/// Replaces a new cgroup file system by a recursive bind mount of the host's, where the kernel would refuse a new one.
/// That is without cgroup version 2, or in the host's cgroup namespace. Same as in runc and crun.
pub fn fit_cgroup_mounts(spec: &mut Spec) {
    let namespaces = spec.linux().as_ref().and_then(|linux| linux.namespaces().as_ref());
    let is_new = namespaces.into_iter().flatten().any(|namespace| {
        namespace.typ() == LinuxNamespaceType::Cgroup && namespace.path().is_none()
    });
    if is_new && host::cgroup::version() == CgroupVersion::V2 {
        return;
    }
    for mount in spec.mounts_mut().iter_mut().flatten() {
        if !mount.typ().as_deref().is_some_and(|kind| ["cgroup", "cgroup2"].contains(&kind)) {
            continue;
        }
        const ATTRIBUTES: [&str; 7] =
            ["ro", "rw", "nosuid", "nodev", "noexec", "noatime", "relatime"];
        let options = mount.options().iter().flatten();
        let options = options.filter(|option| ATTRIBUTES.contains(&option.as_str())).cloned();
        let options = options.chain(["rbind".to_owned()]).collect();
        mount.set_typ(Some("bind".to_owned()));
        mount.set_source(Some(CGROUPS.into()));
        mount.set_options(Some(options));
    }
}

/// Converts SLICE:PREFIX:NAME into a path whose first part is the slice. Errors: another form.
fn path_of_unit(path: &Path) -> Result<PathBuf> {
    let text = path.to_string_lossy();
    let parts: Vec<&str> = text.split(':').collect();
    let [slice, prefix, name] = parts[..] else {
        fail!(Invalid: "{CONFIG}: linux.cgroupsPath: '{}': with systemd its form is SLICE:PREFIX:NAME", text.escape_debug());
    };
    let unit = if prefix.is_empty() { name.to_owned() } else { format!("{prefix}-{name}") };
    Ok(if slice.is_empty() { unit.into() } else { Path::new(slice).join(unit) })
}

/// Returns a config to begin with. `user`: IDs of an ordinary user; `None`: root.
pub fn template(user: Option<(u32, u32)>) -> Spec {
    let mut spec = match user {
        Some((uid, gid)) => Spec::rootless(uid, gid),
        None => Spec::default(),
    };
    if user.is_some() {
        // Mounting a cgroup file system is refused to an ordinary user here.
        let mounts = spec.mounts().clone().unwrap_or_default();
        let is_cgroup = |mount: &oci_spec::runtime::Mount| {
            mount.typ().as_deref().is_some_and(|kind| kind.starts_with("cgroup"))
        };
        spec.set_mounts(Some(mounts.into_iter().filter(|mount| !is_cgroup(mount)).collect()));
    }
    spec
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_name_the_path_in_the_config() {
        let wrong = |text: &str| parse(text.as_bytes(), Path::new("/b")).unwrap_err().to_string();
        let text = wrong(r#"{"ociVersion": "1.0.2", "root": {"path": 7}}"#);
        assert!(text.starts_with("config.json: root.path: "), "{text}");
        let text = wrong(
            r#"{"ociVersion": "1.0.2", "root": {"path": "r"}, "mounts": [{"destination": "/a", "options": 1}]}"#,
        );
        assert!(text.starts_with("config.json: mounts[0].options: "), "{text}");
        assert!(wrong(r#"{"ociVersion": "2.0.0", "root": {"path": "r"}}"#).contains("ociVersion"));
        assert!(wrong(r#"{"ociVersion": "1.0.0"}"#).contains("no root"));
    }

    #[test]
    fn the_share_that_each_process_has_is_no_limit() {
        let resources = |text: &str| serde_json::from_str::<LinuxResources>(text).unwrap();
        let has_limits = |text| !limits_beyond_default(&resources(text)).unwrap().are_none();
        assert!(!has_limits(r#"{"cpu": {"shares": 1024}}"#));
        assert!(has_limits(r#"{"cpu": {"shares": 1023}}"#));
        assert!(has_limits(r#"{"cpu": {"shares": 1024, "quota": 1000}}"#));
    }

    #[test]
    fn the_root_is_in_the_bundle() {
        let text = r#"{"ociVersion": "1.0.2", "root": {"path": "r"}, "unknown": 1}"#;
        let spec = parse(text.as_bytes(), Path::new("/b")).unwrap();
        assert_eq!(spec.root().as_ref().unwrap().path(), Path::new("/b/r"));
    }

    #[test]
    fn units_have_a_slice_a_prefix_and_a_name() {
        let path =
            |text: &str| path_of_unit(Path::new(text)).map(|path| path.display().to_string());
        assert_eq!(path("user.slice:libpod:1").unwrap(), "user.slice/libpod-1");
        assert_eq!(path(":a:b").unwrap(), "a-b");
        assert!(path("/a/b").is_err());
    }
}
