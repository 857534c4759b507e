//! Quadlet files: their kinds, and the names of their services, containers, pods, networks, volumes and images.

use std::path::{Path, PathBuf};

use super::message::FileProblem;
use super::unit_file::UnitFile;
use super::words;

/// Kind of a Quadlet file, by its extension.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum QuadletKind {
    /// `*.image`
    Image,
    /// `*.build`
    Build,
    /// `*.network`
    Network,
    /// `*.volume`
    Volume,
    /// `*.pod`
    Pod,
    /// `*.container`
    Container,
    /// `*.kube`
    Kube,
}

impl QuadletKind {
    /// All kinds.
    pub const ALL: [Self; 7] = [
        Self::Image,
        Self::Build,
        Self::Network,
        Self::Volume,
        Self::Pod,
        Self::Container,
        Self::Kube,
    ];

    /// Returns the extension of the files, without the dot.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Image => "image",
            Self::Build => "build",
            Self::Network => "network",
            Self::Volume => "volume",
            Self::Pod => "pod",
            Self::Container => "container",
            Self::Kube => "kube",
        }
    }

    /// Returns the name of the group for this kind.
    pub fn group(self) -> &'static str {
        match self {
            Self::Image => "Image",
            Self::Build => "Build",
            Self::Network => "Network",
            Self::Volume => "Volume",
            Self::Pod => "Pod",
            Self::Container => "Container",
            Self::Kube => "Kube",
        }
    }

    /// Returns the kind of a file, by its name.
    pub fn of_name(name: &str) -> Option<Self> {
        let (stem, extension) = name.rsplit_once('.')?;
        Self::ALL.into_iter().find(|kind| kind.extension() == extension && !stem.is_empty())
    }

    /// Returns the key for the name of the container, pod, network, volume or image.
    fn name_key(self) -> Option<&'static str> {
        match self {
            Self::Container => Some("ContainerName"),
            Self::Pod => Some("PodName"),
            Self::Network => Some("NetworkName"),
            Self::Volume => Some("VolumeName"),
            Self::Image | Self::Build | Self::Kube => None,
        }
    }
}

/// Quadlet file with its drop-in files.
#[derive(Clone, Debug)]
pub struct QuadletFile {
    /// Path of the file.
    pub path: PathBuf,
    /// Name of the file.
    pub name: String,
    /// Kind.
    pub kind: QuadletKind,
    /// Settings.
    pub unit: UnitFile,
}

impl QuadletFile {
    /// Folder of the file.
    pub fn folder(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("/"))
    }

    /// Name of the file without its extension.
    pub fn stem(&self) -> &str {
        self.name.rsplit_once('.').map_or(self.name.as_str(), |(stem, _)| stem)
    }

    /// True if the unit is a template or an instance of one (`a@.container`, `a@b.container`).
    pub fn is_template(&self) -> bool {
        self.stem().contains('@')
    }

    /// Name of the service, without `.service`.
    pub fn service(&self) -> String {
        let group = self.kind.group();
        if let Some(name) = self.unit.last(group, "ServiceName") {
            return name.value.clone();
        }
        match self.kind {
            QuadletKind::Container | QuadletKind::Kube => self.stem().to_owned(),
            kind => format!("{}-{}", self.stem(), kind.extension()),
        }
    }

    /// Name of the container, pod, network or volume; for an image the image's name. Errors: an image without a name.
    pub fn resource(&self) -> Result<String, FileProblem> {
        let named = |key| self.unit.last(self.kind.group(), key).map(|named| named.value.clone());
        match self.kind {
            QuadletKind::Image | QuadletKind::Build => {
                let key = if self.kind == QuadletKind::Image { "Image" } else { "ImageTag" };
                let tags = self.unit.list(self.kind.group(), "ImageTag");
                let name = tags.first().map(|tag| tag.value.clone()).or_else(|| named(key));
                name.ok_or_else(|| {
                    FileProblem::of(&self.path, format!("no {key}= in [{}]", self.kind.group()))
                })
            }
            kind => {
                let default = || format!("systemd-{}", self.stem());
                Ok(kind.name_key().and_then(named).unwrap_or_else(default))
            }
        }
    }

    /// Returns the name of a container within its own service: with specifiers of systemd.unit(5), for the instances of
    /// a template.
    pub fn own_container_name(&self) -> String {
        match self.unit.last(QuadletKind::Container.group(), "ContainerName") {
            Some(name) => name.value.clone(),
            None if self.is_template() => "systemd-%p_%i".to_owned(),
            None => "systemd-%N".to_owned(),
        }
    }

    /// Returns all words of the settings of `key`. Errors: words that cannot be split.
    pub fn words(&self, group: &str, key: &str) -> Result<Vec<String>, FileProblem> {
        let mut all = Vec::new();
        for setting in self.unit.list(group, key) {
            all.extend(words::split(&setting.value).map_err(|reason| setting.problem(reason))?);
        }
        Ok(all)
    }
}
