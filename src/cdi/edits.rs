//! Edits of several devices, merged, and put into a config.json.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use oci_spec::runtime::{Hook, HookBuilder, Hooks, Mount, MountBuilder, Spec};

use super::document::{CdiDeviceNode, CdiHook, CdiMount, ContainerEdits};
use super::nvidia_hook::{self, HookSubstitute};
use crate::error::{Context, Error, ErrorKind, Result};
use crate::fail;
use crate::hook_point::HookPoint;

/// Options of the mount of a device file.
const DEVICE_OPTIONS: [&str; 3] = ["bind", "nosuid", "noexec"];

/// Merged edits.
#[derive(Clone, Debug, Default)]
pub struct Edits {
    env: Vec<String>,
    nodes: Vec<CdiDeviceNode>,
    mounts: Vec<CdiMount>,
    hooks: Vec<CdiHook>,
    groups: BTreeSet<u32>,
}

impl Edits {
    /// Adds edits. A device file or a mount replaces one at the same path. Errors: an edit that needs root.
    pub(super) fn merge(&mut self, edits: &ContainerEdits) -> Result<()> {
        if edits.intel_rdt.is_some() {
            return Err(needs_root("intelRdt"));
        }
        if !edits.net_devices.is_empty() {
            return Err(needs_root("netDevices"));
        }
        self.env.extend(edits.env.iter().cloned());
        for node in &edits.device_nodes {
            self.nodes.retain(|other| other.path != node.path);
            self.nodes.push(node.clone());
        }
        for mount in &edits.mounts {
            self.mounts.retain(|other| other.container_path != mount.container_path);
            self.mounts.push(mount.clone());
        }
        self.hooks.extend(edits.hooks.iter().cloned());
        self.groups.extend(edits.additional_gids.iter().filter(|group| **group != 0));
        Ok(())
    }

    /// Groups of the host that may open the devices.
    pub fn groups(&self) -> &BTreeSet<u32> {
        &self.groups
    }

    /// Puts the edits into a config: variables replace those of the same name, mounts those on the same path. Errors: a
    /// file, device or hook that this machine lacks.
    pub fn apply(&self, spec: &mut Spec) -> Result<()> {
        self.set_variables(spec);
        let mut mounts = Vec::new();
        for node in &self.nodes {
            mounts.push(
                device_mount(node)
                    .context(|| format!("device file {}", node.source().display()))?,
            );
        }
        for mount in &self.mounts {
            mounts.push(
                oci_mount(mount).context(|| format!("mount of {}", mount.host_path.display()))?,
            );
        }
        let mut all = spec.mounts().clone().unwrap_or_default();
        all.retain(|old| mounts.iter().all(|new| new.destination() != old.destination()));
        mounts.sort_by_key(|mount| mount.destination().components().count());
        all.extend(mounts);
        spec.set_mounts(Some(all));
        self.add_hooks(spec)
    }

    fn set_variables(&self, spec: &mut Spec) {
        let Some(process) = spec.process_mut().as_mut() else { return };
        let mut env = process.env().clone().unwrap_or_default();
        let name = |variable: &str| variable.split('=').next().unwrap_or_default().to_owned();
        for variable in &self.env {
            env.retain(|other| name(other) != name(variable));
            env.push(variable.clone());
        }
        process.set_env(Some(env));
    }

    #[allow(deprecated, reason = "prestart hooks are deprecated, and in use")]
    fn add_hooks(&self, spec: &mut Spec) -> Result<()> {
        if self.hooks.is_empty() {
            return Ok(());
        }
        let mut hooks = spec.hooks().clone().unwrap_or_default();
        for hook in &self.hooks {
            let made = oci_hook(hook).context(|| format!("hook {}", hook.path.display()))?;
            let Some(made) = made else { continue };
            let add = |list: &Option<Vec<Hook>>| {
                let mut list = list.clone().unwrap_or_default();
                list.push(made);
                Some(list)
            };
            match hook.hook_name {
                HookPoint::Prestart => hooks.set_prestart(add(hooks.prestart())),
                HookPoint::CreateRuntime => hooks.set_create_runtime(add(hooks.create_runtime())),
                HookPoint::CreateContainer => {
                    hooks.set_create_container(add(hooks.create_container()))
                }
                HookPoint::StartContainer => {
                    hooks.set_start_container(add(hooks.start_container()))
                }
                HookPoint::Poststart => hooks.set_poststart(add(hooks.poststart())),
                HookPoint::Poststop => hooks.set_poststop(add(hooks.poststop())),
            };
        }
        spec.set_hooks(Some::<Hooks>(hooks));
        Ok(())
    }
}

fn needs_root(field: &str) -> Error {
    Error::new(format!("{field} needs root")).of_kind(ErrorKind::Refused)
}

fn device_mount(node: &CdiDeviceNode) -> Result<Mount> {
    let stat = rustix::fs::stat(node.source())?;
    if !node.is(&stat) {
        fail!(Invalid: "another file than the specification describes");
    }
    mount(&node.path, "bind", node.source().clone(), DEVICE_OPTIONS.map(str::to_owned).to_vec())
}

fn oci_mount(asked: &CdiMount) -> Result<Mount> {
    let kind = asked.kind.as_deref().filter(|kind| !kind.is_empty());
    let mut options = asked.options.clone();
    let is_bind = options.iter().any(|option| option == "bind" || option == "rbind");
    if kind.is_none_or(|kind| kind == "bind") || is_bind {
        rustix::fs::stat(&asked.host_path)?;
        if !is_bind {
            options.push("rbind".to_owned());
        }
    }
    mount(&asked.container_path, kind.unwrap_or("bind"), asked.host_path.clone(), options)
}

fn mount(target: &Path, kind: &str, source: PathBuf, options: Vec<String>) -> Result<Mount> {
    MountBuilder::default()
        .destination(target)
        .typ(kind)
        .source(source)
        .options(options)
        .build()
        .map_err(Error::new)
}

/// Returns the hook for config.json. `None`: a hook of NVIDIA's that has nothing to do here.
fn oci_hook(hook: &CdiHook) -> Result<Option<Hook>> {
    let builder = HookBuilder::default().env(hook.env.clone());
    let builder = match rustix::fs::access(&hook.path, rustix::fs::Access::EXEC_OK) {
        Ok(()) => builder.path(&hook.path).args(hook.args.clone()),
        Err(missing) => match nvidia_hook::substitute(hook)? {
            Some(HookSubstitute::Native(words)) => builder.path(nvidia_hook::PROGRAM).args(words),
            Some(HookSubstitute::Skipped) => return Ok(None),
            None => return Err(missing.into()),
        },
    };
    let builder = match hook.timeout.filter(|seconds| *seconds > 0) {
        Some(seconds) => builder.timeout(seconds),
        None => builder,
    };
    builder.build().map(Some).map_err(Error::new)
}
