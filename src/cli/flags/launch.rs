//! Flags and words that `run`, `create` and `spec` have in common: image, command and the flags of the spec.

use std::path::Path;

use crate::config::HpcSettings;
use crate::container::{self, ContainerRequest, JobVariables, Usnea, volumes};
use crate::error::{Context, Error, Result};
use crate::hint;
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
    /// dir:PATH for a root directory, which is not written to; sqsh:FILE for a squashfs image in a single file, and sif:FILE
    /// for a SIF file, which are read in place. A path that begins with / or ./ is one of these.
    /// COMMAND and all words after it, those that begin with a hyphen too, are the container's: options end at IMAGE.
    // A single list, in which trailing words begin at the first one: clap would take flags between two positionals.
    #[arg(value_names = ["IMAGE", "COMMAND"], num_args = 1.., required = true, trailing_var_arg = true)]
    words: Vec<String>,

    /// Take IMAGE as the path of a root directory, which is writable; PATH:O: changes go to a disposable layer.
    #[arg(long)]
    rootfs: bool,

    /// Isolation technology: only default, as with docker on Linux.
    #[arg(long, value_name = "TECHNOLOGY")]
    isolation: Option<String>,

    /// OCI runtime: only usnea, which starts containers itself.
    #[arg(long, value_name = "RUNTIME")]
    runtime: Option<String>,

    /// Option of the storage driver: none is supported.
    #[arg(long, value_name = "KEY=VALUE")]
    storage_opt: Vec<String>,

    /// Driver of new volumes: only local.
    #[arg(long, value_name = "DRIVER")]
    volume_driver: Option<String>,

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

    /// Adds the options of a rank of an MPI job. An image is also found by its name in the folders of the settings.
    pub fn add_hpc(&mut self, settings: &HpcSettings, variables: &JobVariables) -> Result<()> {
        container::add_hpc_options(&mut self.options, settings, variables)?;
        if let Some(path) =
            container::image_in_folders(&self.words[0], settings).filter(|_| !self.rootfs)
        {
            self.words[0] = path.to_string_lossy().into_owned();
        }
        Ok(())
    }

    /// Refuses what usnea has no other choice of. Errors: another value than the only one.
    fn refuse_foreign(&self) -> Result<()> {
        let fault = |flag: &str, value: &str, why: &str| {
            Err(Error::invalid(format!("--{flag} {}: {why}", value.escape_debug())))
        };
        if let Some(value) = self.isolation.as_deref().filter(|value| *value != "default") {
            return fault("isolation", value, "Linux has only default");
        }
        let is_ours =
            |value: &&str| Path::new(value).file_name().is_some_and(|name| name == "usnea");
        if let Some(value) = self.runtime.as_deref().filter(|value| !is_ours(value)) {
            let why = "usnea starts containers itself, and has no other runtime";
            return fault("runtime", value, why).hint(|| hint::OTHER_RUNTIME);
        }
        if let Some(value) = self.volume_driver.as_deref().filter(|value| *value != "local") {
            return fault("volume-driver", value, "there is only local");
        }
        match self.storage_opt.iter().find(|value| !value.is_empty()) {
            Some(value) if value.starts_with("size=") => {
                let why = "a layer is a folder, and only root can give a folder a quota";
                fault("storage-opt", value, why).hint(|| hint::BOUNDED_FOLDER)
            }
            Some(value) => fault("storage-opt", value, "the storage drivers have no options"),
            None => Ok(()),
        }
    }

    /// Returns the request, as the verbs take it.
    pub fn request(self, usnea: &Usnea) -> Result<ContainerRequest> {
        self.refuse_foreign()?;
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
