//! Secrets of a container: found for a new one, kept in its folder, and read for each launch.

use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use oci_spec::runtime::Spec;

use super::record::find;
use crate::container::Container;
use crate::engine::{LaunchSecrets, SecretContent, SecretFile, SecretVariable};
use crate::error::{Context, Error, Result, Setting};
use crate::files;
use crate::monitor::record;
use crate::spec::{RecordedSecret, SECRETS, SecretFlag, SecretForm};

/// Secret of a container that is being made.
#[derive(Debug)]
pub struct RequestedSecret {
    /// Part for the container's record.
    pub recorded: RecordedSecret,
    content: SecretContent,
}

impl RequestedSecret {
    /// Replaces the content, for a plan that is shown.
    pub fn hide(&mut self) {
        self.content = SecretContent(b"(secret)".to_vec());
    }
}

/// Finds the secrets of a request. Errors: no such secret; two of them at one path, or in one variable.
pub fn requested(store: &Path, flags: &[SecretFlag]) -> Result<Vec<RequestedSecret>> {
    let mut all: Vec<RequestedSecret> = Vec::with_capacity(flags.len());
    for flag in flags {
        let phrase = || Setting::Secret.with(flag.text.escape_debug());
        let (secret, content) = find(store, &flag.source).context(phrase)?;
        let form = flag.form(&secret.name).map_err(Error::invalid).context(phrase)?;
        let place = |form: &SecretForm| match form {
            SecretForm::Mount { target, .. } => target.clone(),
            SecretForm::Env { target } => PathBuf::from(format!("${target}")),
        };
        if all.iter().any(|other| place(&other.recorded.form) == place(&form)) {
            let text = format!("another secret is {} already", place(&form).display());
            return Err(Error::invalid(text)).context(phrase);
        }
        let recorded = RecordedSecret { id: secret.id, name: secret.name, form };
        all.push(RequestedSecret { recorded, content });
    }
    Ok(all)
}

/// Refuses mounts over the files of secrets.
pub fn check_mounts(spec: &Spec, secrets: &[RequestedSecret]) -> Result<()> {
    for secret in secrets {
        let SecretForm::Mount { target, .. } = &secret.recorded.form else { continue };
        let in_folder = target.starts_with(SECRETS);
        let covers = |place: &Path| place == target || in_folder && place.starts_with(SECRETS);
        let mut places = spec.mounts().iter().flatten().map(|mount| mount.destination());
        if let Some(place) = places.find(|place| covers(place)) {
            let text = format!("{} is a mount point of another mount", place.display());
            return Err(Error::invalid(text))
                .context(|| Setting::Secret.with(&secret.recorded.name));
        }
    }
    Ok(())
}

/// Returns the secrets for the first launch.
pub fn launched(secrets: &[RequestedSecret]) -> LaunchSecrets {
    let mut all = LaunchSecrets::default();
    for secret in secrets {
        add(&mut all, &secret.recorded, secret.content.clone());
    }
    all
}

fn add(all: &mut LaunchSecrets, secret: &RecordedSecret, content: SecretContent) {
    match &secret.form {
        SecretForm::Mount { target, uid, gid, mode } => all.files.push(SecretFile {
            target: target.clone(),
            content,
            uid: *uid,
            gid: *gid,
            mode: *mode,
        }),
        SecretForm::Env { target } => {
            all.variables.push(SecretVariable { name: target.clone(), value: content });
        }
    }
}

/// Writes the contents into the folder of a new container.
pub fn keep(born: &Path, secrets: &[RequestedSecret]) -> Result<()> {
    let contents = secrets.iter().map(|secret| (&secret.recorded, &secret.content));
    write(born, contents)
}

/// Copies the contents into the folder of a clone.
pub fn copy(container: &Container, born: &Path) -> Result<()> {
    let read = |secret| Ok((secret, content(container, secret)?));
    let contents = container.record.secrets.iter().map(read).collect::<Result<Vec<_>>>()?;
    write(born, contents.iter().map(|(secret, content)| (*secret, content)))
}

fn write<'a>(
    born: &Path,
    contents: impl Iterator<Item = (&'a RecordedSecret, &'a SecretContent)>,
) -> Result<()> {
    let folder = born.join(record::SECRETS);
    for (secret, content) in contents {
        match std::fs::DirBuilder::new().mode(0o700).create(&folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(files::cannot_write(error, &folder));
            }
            _ => files::replace_quickly(&folder.join(&secret.id), &content.0)?,
        }
    }
    Ok(())
}

/// Reads the secrets of a container. Errors: a content is missing.
pub fn of_container(container: &Container) -> Result<LaunchSecrets> {
    let mut all = LaunchSecrets::default();
    for secret in &container.record.secrets {
        add(&mut all, secret, content(container, secret)?);
    }
    Ok(all)
}

fn content(container: &Container, secret: &RecordedSecret) -> Result<SecretContent> {
    let path = container.folder.join(record::SECRETS).join(&secret.id);
    let read = std::fs::read(&path).context(|| format!("secret {}", secret.name));
    read.map(SecretContent)
}

/// Returns the mount points of a container's secrets.
pub fn mount_points(container: &Container) -> impl Iterator<Item = &Path> {
    container.record.secrets.iter().filter_map(|secret| match &secret.form {
        SecretForm::Mount { target, .. } if target.starts_with(SECRETS) => Some(Path::new(SECRETS)),
        SecretForm::Mount { target, .. } => Some(target),
        SecretForm::Env { .. } => None,
    })
}
