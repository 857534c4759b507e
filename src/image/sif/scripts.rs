//! Scripts of singularity and apptainer in an image's root, as entrypoint and command.
//!
//! `run` without a command executes `/.singularity.d/runscript`, and else the command. Before either, the entrypoint
//! sources `/.singularity.d/env/*.sh` in their order: these set the environment of the definition file.

use std::ffi::OsStr;
use std::sync::Arc;

use rustix::fs::{FileType, Stat};

use crate::layer::LayerFolder;
use crate::layer::squashfs::{SquashfsFolder, SquashfsImage};

const FOLDER: &str = ".singularity.d";

/// Sources the environment, and executes its arguments.
const SOURCE: &str = r#"for file in /.singularity.d/env/*.sh; do [ ! -f "$file" ] || . "$file"; done
unset file; exec "$@""#;

/// Program of an image, in the words of an OCI configuration.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct ImageScripts {
    /// Entrypoint, which gets the command as arguments.
    pub(super) entrypoint: Vec<String>,
    /// Command, if none is given.
    pub(super) command: Vec<String>,
}

impl ImageScripts {
    /// Finds the scripts. A damaged image has none.
    pub(super) fn find(image: &Arc<SquashfsImage>) -> Self {
        let Ok(root) = SquashfsFolder::root(image) else { return Self::default() };
        // With merged directories, /bin is a link to usr/bin.
        let has_shell =
            has_program(&root, &["bin"], "sh") || has_program(&root, &["usr", "bin"], "sh");
        if !has_shell {
            return Self::default();
        }
        let entrypoint = match enter(&root, &[FOLDER, "env"]) {
            Some(_) => ["/bin/sh", "-c", SOURCE, "sh"].map(str::to_owned).to_vec(),
            None => Vec::new(),
        };
        let command = match has_program(&root, &[FOLDER], "runscript") {
            true => "/.singularity.d/runscript",
            false => "/bin/sh",
        };
        Self { entrypoint, command: vec![command.to_owned()] }
    }
}

fn enter(root: &SquashfsFolder, names: &[&str]) -> Option<SquashfsFolder> {
    let mut folder = root.clone();
    for name in names {
        folder = folder.open_folder(OsStr::new(name)).ok()?;
    }
    Some(folder)
}

/// True for an executable file, and for a symbolic link.
fn has_program(root: &SquashfsFolder, folder: &[&str], name: &str) -> bool {
    let stat = enter(root, folder).and_then(|folder| folder.stat(OsStr::new(name)).ok());
    let is_program = |stat: &Stat| match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => stat.st_mode & 0o111 != 0,
        kind => kind == FileType::Symlink,
    };
    stat.as_ref().is_some_and(is_program)
}
