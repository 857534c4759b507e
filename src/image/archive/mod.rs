//! Images in tar archives: docker-archives (`docker save`) and OCI layouts in a tar. Read in place, written as one
//! stream.
//!
//! ```text
//!  FILE, -  --plain: spooled when need be--------> members (names -> offsets) --+--> docker: images of manifest.json
//!                                                                              +--> layout: images of index.json
//!  Target --docker_write, oci_write--> output: FILE's temporary name, or standard output
//! ```

mod docker;
mod docker_write;
mod members;
mod oci_write;
pub mod output;
pub mod plain;

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

pub use docker::{DockerArchive, DockerImage};
pub use docker_write::DockerArchiveTarget;
pub use members::ArchiveMembers;
pub use oci_write::OciArchiveTarget;

use self::plain::ArchiveSource;
use super::layout::OciLayout;
use super::source::ImageSource;
use crate::error::{Context, Error, Result};
use crate::hint;

/// Source of `load`: an archive of either form, or a layout's folder.
pub enum ImageArchive {
    /// An archive in the form of `docker save`.
    Docker(DockerArchive),
    /// An OCI image layout.
    Oci(OciLayout),
}

/// An image in an archive: its names as the archive spells them (references, with OCI any words, or none), and its
/// source.
pub type ArchivedImage = (Vec<String>, Box<dyn ImageSource + Send>);

impl ImageArchive {
    /// Opens `path` and detects the form by the content. A compressed archive, or one from a
    /// pipe, is first written to an unnamed file in `tmp`. Errors: neither of the two forms.
    pub fn open(path: &Path, tmp: &Path) -> Result<Self> {
        if path.is_dir() {
            return Ok(Self::Oci(OciLayout::open(path)?));
        }
        let name = path.display().to_string();
        let file = plain::open_plain(&ArchiveSource::File(path.to_owned()), tmp)?;
        Self::of_members(ArchiveMembers::index(file).context(|| name.clone())?, &name)
    }

    /// Opens an archive from an open file, called `name` in messages.
    pub fn open_file(file: File, name: &str, tmp: &Path) -> Result<Self> {
        let file = plain::plain(file, tmp).context(|| name)?;
        Self::of_members(ArchiveMembers::index(file).context(|| name)?, name)
    }

    fn of_members(members: ArchiveMembers, name: &str) -> Result<Self> {
        let members = Arc::new(members);
        // Docker's newer archives have both forms: manifest.json holds all names of each image.
        if members.has("manifest.json") {
            return Ok(Self::Docker(DockerArchive::new(
                members,
                format!("docker-archive:{name}"),
            )?));
        }
        if members.has("oci-layout") || members.has("index.json") {
            return Ok(Self::Oci(OciLayout::of(members, format!("oci-archive:{name}"))?));
        }
        // Archives of docker before 1.10: a folder for each layer, and the names of the topmost layers.
        if members.has("repositories") {
            return Err(Error::new(format!(
                "{name}: an archive of images of docker before 1.10, whose format is not read"
            ))
            .hint(
                "load it with a docker that still reads it (1.10 or newer), and save it there anew",
            ));
        }
        Err(Error::new(format!(
            "{name}: an archive, but not of images: no manifest.json, no index.json"
        ))
        .hint(hint::IMPORT_ROOT))
    }

    /// All images of the archive.
    pub fn images(&self) -> Result<Vec<ArchivedImage>> {
        match self {
            Self::Docker(archive) => (0..archive.count())
                .map(|at| Ok((archive.names(at), Box::new(archive.image(at)?) as _)))
                .collect(),
            Self::Oci(layout) => Ok(layout
                .images()
                .into_iter()
                .map(|(names, image)| (names, Box::new(image) as _))
                .collect()),
        }
    }
}

/// Opens the layout in an archive.
pub fn open_oci(source: &ArchiveSource, tmp: &Path) -> Result<OciLayout> {
    let name = format!("oci-archive:{}", source.path().display());
    let members =
        ArchiveMembers::index(plain::open_plain(source, tmp)?).context(|| name.clone())?;
    OciLayout::of(Arc::new(members), name)
}

/// Opens a docker-archive.
pub fn open_docker(source: &ArchiveSource, tmp: &Path) -> Result<DockerArchive> {
    let name = format!("docker-archive:{}", source.path().display());
    let members =
        ArchiveMembers::index(plain::open_plain(source, tmp)?).context(|| name.clone())?;
    DockerArchive::new(Arc::new(members), name)
}

#[cfg(test)]
mod tests;
