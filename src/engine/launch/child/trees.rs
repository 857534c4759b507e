//! Detached mounts: each is made as early as possible, while its source can still be opened.

use std::os::fd::{AsFd, OwnedFd};

use crate::engine::command::read_ahead;
use crate::engine::launch::child::SetupProcess;
use crate::engine::plan::mount::{MountOwners, MountSource, PlannedMount};
use crate::engine::plan::step::Step;
use crate::engine::root::{bind_source, copyup, image_mount, layers, shared_memory};
use crate::engine::step_error::{OnObject, StepError, StepResult};
use crate::rootfs::chown;
use crate::sys::inroot;
use crate::sys::mount;

impl SetupProcess<'_> {
    /// Makes mounts that do not need base's mapped IDs, before the layers are mounted: a later bind mount could show
    /// the layers. Ignores failures: each mount's own step tries again.
    pub(super) fn mount_early(&mut self) {
        for (index, step) in self.input.plan.steps.iter().enumerate() {
            if let Step::Root(mount) | Step::Mount(mount) = step
                && (mount.is_made_in_base() || self.input.plan.levels.container.is_none())
                && !matches!(mount.source, MountSource::Overlay { .. } | MountSource::Image(_))
            {
                self.trees[index] =
                    self.input.idmapped.take_volume(index).or_else(|| self.make_tree(mount).ok());
            }
        }
    }

    /// Makes the mounts that need base's IDs, or the user's own permissions on the host's files.
    pub(super) fn mount_in_base(&mut self) -> StepResult {
        let plan = self.input.plan;
        let mut root = None;
        for (index, step) in plan.steps.iter().enumerate() {
            if let Step::Root(mount) | Step::Mount(mount) = step
                && mount.is_made_in_base()
            {
                self.step = index;
                if mount.images().next().is_some() {
                    self.receive_images()?;
                }
                if let Some(root) = root.and_then(|root: usize| self.trees[root].as_ref()) {
                    copyup::fill(root, mount, self.trees[index].as_ref(), plan.root_in_base())?;
                }
                let tree = match (step, self.trees[index].take()) {
                    (_, Some(early)) => early,
                    (Step::Root(_), None) => {
                        self.input.idmapped.cover_layers()?;
                        layers::make_root(mount, |mount| self.make_tree(mount))?
                    }
                    (_, None) => self.make_tree(mount)?,
                };
                if mount.owners == MountOwners::TheUsers {
                    self.chown_files(&tree, mount)?;
                }
                if matches!(step, Step::Root(_)) && plan.levels.container.is_some() {
                    self.make_mount_points(&tree);
                }
                if let (Step::Root(_), Some(Step::Exec(command))) = (step, plan.steps.last())
                    && mount.has_images()
                {
                    read_ahead::start(&tree, command);
                }
                self.trees[index] = Some(tree);
                root = root.or(matches!(step, Step::Root(_)).then_some(index));
            }
        }
        Ok(())
    }

    /// Gives the files of a bind mount to the user of the command.
    fn chown_files(&self, tree: &OwnedFd, mount: &PlannedMount) -> StepResult {
        let MountSource::Bind(path, _) = &mount.source else { return Ok(()) };
        let owner = self.input.plan.user_in_base();
        let owner =
            owner.ok_or_else(|| StepError::whole("the user of the command is not in base"))?;
        let (uid, gid) = (owner.uid.number(), owner.gid.number());
        chown::tree(tree.as_fd(), path, uid, gid).map_err(|error| StepError::of(&error))
    }

    /// Makes a mount, detached.
    pub(super) fn make_tree(&mut self, mount: &PlannedMount) -> StepResult<OwnedFd> {
        match &mount.source {
            MountSource::Bind(path, reach) => bind_source::tree(mount, path, *reach),
            MountSource::Overlay { .. } => {
                layers::stacked(self.input.plan, mount, &mut self.servers)
            }
            MountSource::Image(image) => image_mount::mounted(image, &mut self.servers),
            MountSource::SharedMemory(pid) => shared_memory::copy(*pid),
            MountSource::New { fs, source, options } => {
                mount::make(fs, source, options, mount.attributes).on(|| fs.as_str())
            }
        }
    }

    /// Makes mount points in the root as root of base: the container's root may lack permission for its folders.
    /// Ignores failures: the mount's own step reports them.
    fn make_mount_points(&self, root: &OwnedFd) {
        let mounts =
            || {
                self.input.plan.steps.iter().filter_map(|step| {
                    if let Step::Mount(mount) = step { Some(mount) } else { None }
                })
            };
        for (index, mount) in mounts().enumerate() {
            if !mounts().take(index).any(|outer| mount.target.starts_with(&outer.target)) {
                let _ =
                    inroot::mount_point(root.as_fd(), &mount.target, mount.kind, mount.symlinks);
            }
        }
    }
}
