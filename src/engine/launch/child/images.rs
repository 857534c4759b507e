//! Shared images of a launch: entry into their base, and receipt of their mounts.

use std::os::fd::AsFd;

use crate::engine::launch::child::SetupProcess;
use crate::engine::plan::step::Step;
use crate::engine::shared_images::BaseState;
use crate::engine::step_error::{OnObject, StepError, StepResult};
use crate::sys::{namespace, process};
use crate::userns;

impl SetupProcess<'_> {
    /// Enters the base of shared images, instead of making one with the same maps. A new base has no IDs before the parent
    /// reports so.
    pub(super) fn enter_shared_base(&mut self, step: &Step) -> StepResult {
        match (step, &self.input.images) {
            (Step::Namespaces(_), Some(images)) => {
                namespace::enter(images.base().as_fd()).on(|| "the base of shared images")?;
                self.stay_dumpable()?;
                namespace::unshare_mounts()?;
                self.mount_early();
            }
            (Step::Maps(_), Some(_)) => {
                if self.input.base_state == BaseState::Unmapped {
                    self.wait_until_mapped()?;
                }
                userns::become_root(&self.input.plan.levels.base).on(|| "become root of base")?;
                self.stay_dumpable()?;
            }
            _ => {}
        }
        Ok(())
    }

    /// Undoes what a change of credentials does: it hides this process, whose children's maps are written through /proc,
    /// and clears the parent-death signal (prctl(2), PR_SET_PDEATHSIG).
    fn stay_dumpable(&self) -> StepResult {
        process::set_dumpable()?;
        process::set_parent_death_signal(libc::SIGKILL)?;
        if self.input.channel.is_deserted() {
            process::exit_now(125);
        }
        Ok(())
    }

    /// Receives the shared mounts of images, before the first of them is used.
    pub(super) fn receive_images(&mut self) -> StepResult {
        if let Some(images) = &mut self.input.images {
            let mounts = images.receive().map_err(|error| StepError::of(&error))?;
            self.servers.shared.extend(mounts);
        }
        Ok(())
    }
}
