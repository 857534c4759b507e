//! Secrets of a launch. config.json has none of them: its file lies on the disk, and documents show it.

use std::ffi::CString;
use std::fmt;
use std::path::{Path, PathBuf};

use crate::engine::plan::process::ExecCommand;
use crate::error::{Context, Error, Result, Setting};
use crate::hint;
use crate::ids::{ContainerIds, HostIds, Id, IdMaps};
use crate::spec::SECRETS;

/// Content of a secret, which `Debug` does not show.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretContent(pub Vec<u8>);

impl fmt::Debug for SecretContent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({} bytes)", self.0.len())
    }
}

/// Secret as a file in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretFile {
    /// Path in the container.
    pub target: PathBuf,
    /// Content of the file.
    pub content: SecretContent,
    /// Owner of the file, an ID of the container.
    pub uid: u32,
    /// Group of the file, an ID of the container.
    pub gid: u32,
    /// Permissions of the file.
    pub mode: u32,
}

impl SecretFile {
    /// Path below [`SECRETS`]; `None`: the file is elsewhere.
    pub fn inside(&self) -> Option<&Path> {
        self.target.strip_prefix(SECRETS).ok()
    }
}

/// Secret as an environment variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretVariable {
    /// Name of the variable.
    pub name: String,
    /// Value of the variable.
    pub value: SecretContent,
}

/// Secrets of a launch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LaunchSecrets {
    /// Files to mount.
    pub files: Vec<SecretFile>,
    /// Variables of the environment of every command.
    pub variables: Vec<SecretVariable>,
}

impl LaunchSecrets {
    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty() && self.variables.is_empty()
    }

    /// Replaces all contents, for a plan that is shown.
    pub fn hide(&mut self) {
        let files = self.files.iter_mut().map(|file| &mut file.content);
        let variables = self.variables.iter_mut().map(|variable| &mut variable.value);
        files.chain(variables).for_each(|content| content.0 = b"(secret)".to_vec());
    }
}

/// Adds the variables to the environment of a command, in place of those of the same name. Errors: a NUL byte.
pub fn add_variables(command: &mut ExecCommand, variables: &[SecretVariable]) -> Result<()> {
    for SecretVariable { name, value } in variables {
        let start = format!("{name}=").into_bytes();
        let line = CString::new([&start[..], &value.0].concat()).map_err(|_| {
            Error::invalid("the secret has a NUL byte, which no environment variable can have")
                .within(Setting::Secret.with(format!("...,type=env,target={name}")))
        })?;
        command.environment.retain(|other| !other.as_bytes().starts_with(&start));
        command.environment.push(line);
    }
    Ok(())
}

/// Refuses owners of files that are not mapped in the container.
pub fn check_owners(secrets: &LaunchSecrets, maps: &IdMaps<ContainerIds, HostIds>) -> Result<()> {
    for file in &secrets.files {
        let unmapped = [
            ("uid", file.uid, maps.uids.has(Id::new(file.uid))),
            ("gid", file.gid, maps.gids.has(Id::new(file.gid))),
        ];
        if let Some((key, id, _)) = unmapped.into_iter().find(|(.., is_mapped)| !is_mapped) {
            return Err(Error::invalid(format!("the ID {id} is not mapped in the container"))
                .hint(hint::SUBORDINATE_IDS))
            .context(|| Setting::Secret.with(format!("...,{key}={id}")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_content_is_not_in_what_is_printed_for_debugging() {
        let content = || SecretContent(b"sesame".to_vec());
        let file = SecretFile { target: "/x".into(), content: content(), uid: 0, gid: 0, mode: 0 };
        let variable = SecretVariable { name: "KEY".into(), value: content() };
        let mut all = LaunchSecrets { files: vec![file], variables: vec![variable] };
        let shown = format!("{all:?}");
        assert!(shown.contains("(6 bytes)") && !shown.contains("sesame"), "{shown}");
        all.hide();
        assert_eq!(all.files[0].content.0, all.variables[0].value.0);
        assert_eq!(all.files[0].content.0, b"(secret)");
    }
}
