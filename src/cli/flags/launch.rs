//! Flags and words that `run`, `create` and `spec` have in common: image, command and the flags of the spec.

use crate::container::{ContainerRequest, Usnea, volumes};
use crate::error::Result;
use crate::spec::{ContainerOptions, NetworkMode};

/// Arguments that `run`, `create` and `spec` have in common.
#[derive(clap::Args)]
#[command(disable_help_flag = true)]
pub struct LaunchFlags {
    /// Flags of the spec.
    #[command(flatten)]
    pub options: ContainerOptions,

    /// Image of the container: [REGISTRY/]NAME[:TAG][@DIGEST], the ID of one, oci:DIR[:NAME],
    /// oci-archive:FILE[:NAME], docker-archive:FILE[:NAME]; host:PROGRAM[,PROGRAM...] for programs of this machine with all that they need;
    /// dir:PATH, or a path that begins with / or ./, for a root directory, which is not written to.
    /// COMMAND and all words after it, those that begin with a hyphen too, are the container's: options end at IMAGE.
    // A single list, in which trailing words begin at the first one: clap would take flags between two positionals.
    #[arg(value_names = ["IMAGE", "COMMAND"], num_args = 1.., required = true, trailing_var_arg = true)]
    words: Vec<String>,

    /// Take IMAGE as the path of a root directory, which is writable; PATH:O: changes go to a disposable layer.
    #[arg(long)]
    rootfs: bool,

    /// Print help.
    #[arg(long, action = clap::ArgAction::Help)]
    help: Option<bool>,
}

impl LaunchFlags {
    /// Image argument: IMAGE.
    pub fn image(&self) -> String {
        let word = &self.words[0];
        match self.rootfs {
            true => format!("dir:{}", word.strip_suffix(":O").unwrap_or(word)),
            false => word.clone(),
        }
    }

    /// Returns the request, as the verbs take it.
    pub fn request(self, usnea: &Usnea) -> Result<ContainerRequest> {
        let image = self.image().parse()?;
        let mut options = self.options;
        options.network.retain(NetworkMode::is_asked);
        options.rw_root |= self.rootfs && !self.words[0].ends_with(":O");
        let command = self.words.into_iter().skip(1).collect();
        if !options.volumes_from.is_empty() {
            volumes::inherit(usnea.store()?, &mut options)?;
        }
        Ok(ContainerRequest { source: image, command, options })
    }
}
