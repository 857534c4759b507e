//! User namespaces of a bundle's container, for the OCI runtime's command line.
//!
//! ```text
//! config.json          caller is root of its namespace        ordinary user
//! no user namespace    the caller's                           an error
//! a new one            below the caller's, mapped by usnea    below the caller's, mapped by itself or newuidmap
//! one with a path      the one at the path                    the one at the path
//! ```
//!
//! The outer IDs of a map are those that this process sees. They are the host's, or those of the user namespace in
//! which podman, buildah or unshare(1) started the runtime.

use oci_spec::runtime::{Process, Spec};

use crate::engine::plan::Plan;
use crate::engine::plan::mount::has_server;
use crate::engine::plan::namespace::{ContainerNamespaces, Namespace, NamespacesToJoin};
use crate::engine::plan::step::Step;
use crate::error::{Context, Error, Result};
use crate::fail;
use crate::hint;
use crate::ids::{ContainerIds, HostIds, IdMaps};
use crate::sys::namespace::Namespaces;
use crate::userns::{self, Base, Levels, Setgroups, Writer};

/// Decisions on a container's namespaces: which are made, which are joined, and the ID maps.
pub struct NamespacePlan {
    /// User namespaces.
    pub levels: Levels,
    /// Permission for setgroups(2).
    pub setgroups: Setgroups,
    /// Namespaces to make.
    pub new: Namespaces,
    /// Namespaces to enter.
    pub join: Option<NamespacesToJoin>,
}

impl NamespacePlan {
    /// Decides on the namespaces of a bundle's container. `maps`: those of its config. Errors: this process may not map
    /// these IDs, or may not enter a namespace.
    pub fn of_bundle(spec: &Spec, maps: &IdMaps<ContainerIds, HostIds>) -> Result<Self> {
        let namespaces = ContainerNamespaces::of_config(spec)?;
        let new = namespaces.new_ones();
        let is_root = caps::has_cap(None, caps::CapSet::Effective, caps::Capability::CAP_SYS_ADMIN);
        let is_root = is_root.unwrap_or(false);
        let levels = match namespaces.user() {
            Namespace::Join(joined) => {
                let path = || format!("config.json: the user namespace {}", joined.path.display());
                let base = Base::present_in(&joined.namespace).context(path)?;
                Levels { base, container: None }
            }
            Namespace::Host if is_root => Levels { base: Base::present()?, container: None },
            Namespace::Host => {
                return Err(Error::refused(
                    "config.json: linux.namespaces has no user namespace, and you are not root",
                )
                .hint(hint::ROOTLESS_BUNDLE));
            }
            Namespace::New => {
                check_maps(maps)?;
                match is_root {
                    true => Base::present()?.above(maps)?,
                    false => Levels { base: Base::with_maps(maps.clone())?, container: None },
                }
            }
        };
        let levels = match spec.mounts().iter().flatten().any(has_server) {
            true => with_servers(levels)?,
            false => levels,
        };
        let setgroups = match namespaces.user() {
            Namespace::Join(joined) => userns::setgroups_in(&joined.namespace)?,
            Namespace::Host | Namespace::New => levels.base.setgroups(),
        };
        let is_ours = is_root || matches!(namespaces.user(), Namespace::Join(_));
        let (join, levels) = match is_ours {
            true => (namespaces.into_joined_from_here(&levels.base.maps), levels),
            false => {
                let join = namespaces.into_joined(new)?;
                let levels = match &join {
                    Some(join) => join.levels(levels)?,
                    None => levels,
                };
                (join, levels)
            }
        };
        Ok(Self { levels, setgroups, new, join })
    }
}

/// Returns the levels of a container with file servers: those run in base, out of the container's sight. Errors: the
/// container has no user namespace of its own.
fn with_servers(levels: Levels) -> Result<Levels> {
    if levels.container.is_none() && levels.base.writer == Writer::Nobody {
        fail!(Refused: "config.json: mounts: a squashfs image is served to a new user namespace only");
    }
    Ok(levels.apart())
}

fn check_maps(maps: &IdMaps<ContainerIds, HostIds>) -> Result<()> {
    for (name, map) in [("uidMappings", &maps.uids), ("gidMappings", &maps.gids)] {
        if map.is_empty() {
            fail!(Invalid: "config.json: linux.{name}: a new user namespace, and no IDs for it");
        }
        userns::check_disjoint(map).context(|| format!("config.json: linux.{name}"))?;
    }
    Ok(())
}

/// Adapts a plan to OCI runtimes: the command inherits resource limits that the config does not set, and the session
/// keyring of the options.
pub fn adjust(plan: &mut Plan, process: &Process) {
    keep_limits(process, &mut plan.steps);
    for step in &mut plan.steps {
        if let Step::Credentials(who) = step {
            who.keyring = plan.options.keyring;
        }
    }
}

/// Removes the steps for resource limits that the config does not set: the command inherits the caller's.
pub fn keep_limits(process: &Process, steps: &mut Vec<Step>) {
    let asked = || process.rlimits().iter().flatten().map(|limit| limit.typ().to_string());
    steps.retain(|step| match step {
        Step::Limit(limit) => asked().any(|name| name == limit.name),
        _ => true,
    });
}
