//! Flags of pulls: which image of an index, from where, by which policy, and when before a run.

use std::path::PathBuf;

use clap::ValueEnum;

use super::registry::RegistryFlags;
use crate::cli::output::progress::{LayerProgress, LayerWords, Verbosity};
use crate::cli::output::streams;
use crate::container::images::{Pull, default_platform};
use crate::container::{PullPolicy, PullSettings, RootSource};
use crate::error::{Error, Result};
use crate::image::manifest::Platform;
use crate::image::transport::ImageLocation;

/// Words for pulled layers.
pub const PULL_WORDS: LayerWords =
    LayerWords { moved: "Pull complete", was_there: "Already exists" };

/// Words for files that are written of layers.
pub const SAVE_WORDS: LayerWords = LayerWords { moved: "Saved", was_there: "Already exists" };

/// Value of `--pull` and `--policy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PullPolicyFlag {
    /// Pull if the image is missing.
    Missing,
    /// Always pull.
    Always,
    /// Never pull.
    Never,
    /// Pull if the registry has a different image of this name; use the local image if the registry is unreachable.
    Newer,
}

impl From<PullPolicyFlag> for PullPolicy {
    fn from(flag: PullPolicyFlag) -> Self {
        match flag {
            PullPolicyFlag::Missing => Self::Missing,
            PullPolicyFlag::Always => Self::Always,
            PullPolicyFlag::Never => Self::Never,
            PullPolicyFlag::Newer => Self::Newer,
        }
    }
}

/// Selection of an image of an index, its registry, and the policy that accepts it.
#[derive(clap::Args)]
pub struct SourceFlags {
    /// Platform of the image: OS/ARCH[/VARIANT]. Default: $DOCKER_DEFAULT_PLATFORM, else this machine's.
    #[arg(long, value_name = "OS/ARCH[/VARIANT]", conflicts_with_all = ["arch", "os", "variant"])]
    platform: Option<Platform>,

    /// Architecture of the image, such as arm64.
    #[arg(long, value_name = "ARCH")]
    arch: Option<String>,

    /// Operating system of the image. Only linux images can run.
    #[arg(long, value_name = "OS")]
    os: Option<String>,

    /// Variant of the image's architecture, such as v7.
    #[arg(long, value_name = "VARIANT")]
    variant: Option<String>,

    #[command(flatten)]
    registry: RegistryFlags,

    /// Signature policy file. Default: policy.json in ~/.config/containers, else in /etc/containers.
    #[arg(long, value_name = "FILE")]
    signature_policy: Option<PathBuf>,
}

impl SourceFlags {
    /// True if any of these flags is set.
    pub fn is_set(&self) -> bool {
        let parts = [&self.arch, &self.os, &self.variant];
        let is_platform = self.platform.is_some() || parts.iter().any(|part| part.is_some());
        is_platform || self.signature_policy.is_some() || self.registry.is_set()
    }

    /// Returns the pull from `place` with these flags.
    pub fn pull(self, place: ImageLocation) -> Result<Pull> {
        let platform = match self.platform {
            Some(platform) => Some(platform),
            None if self.arch.is_none() && self.os.is_none() && self.variant.is_none() => {
                default_platform()?
            }
            None => Some(Platform::of_parts(self.arch, self.os, self.variant)),
        };
        Ok(Pull {
            input: streams::input_of(&place)?,
            place,
            platform,
            asked: self.registry.options()?,
            signature_policy: self.signature_policy,
        })
    }
}

/// When and from where an image is pulled.
#[derive(clap::Args)]
pub struct PullFlags {
    /// Pull the image before running.
    #[arg(long, value_enum, value_name = "WHEN", default_missing_value = "always", num_args = 0..=1,
          require_equals = false)]
    pull: Option<PullPolicyFlag>,

    #[command(flatten)]
    source: SourceFlags,

    /// Accepted without effect: docker's Notary signatures are not verified.
    #[arg(long)]
    disable_content_trust: bool,

    /// Suppress the progress of the pull.
    #[arg(short, long)]
    quiet: bool,
}

impl PullFlags {
    /// Returns the progress display of a pull.
    pub fn progress(&self) -> LayerProgress {
        let verbosity = if self.quiet { Verbosity::Quiet } else { Verbosity::Normal };
        LayerProgress::new(PULL_WORDS, verbosity)
    }

    /// Returns when and from where to pull `image`. Errors: pull flags for an image that is never pulled.
    pub fn settings<'a>(
        self,
        image: &str,
        progress: &'a LayerProgress,
    ) -> Result<PullSettings<'a>> {
        let has_flags = self.pull.is_some() || self.source.is_set() || self.quiet;
        let place = match image.parse()? {
            RootSource::Image(text) => text.parse()?,
            _ if has_flags => {
                return Err(Error::invalid(format!(
                    "{image}: nothing is pulled for it, so --pull and the flags of registries mean nothing"
                )));
            }
            // Placeholder for an image that is never pulled.
            _ => "scratch".parse()?,
        };
        Ok(PullSettings {
            policy: self.pull.map(PullPolicy::from).unwrap_or_default(),
            pull: self.source.pull(place)?,
            progress,
        })
    }
}
