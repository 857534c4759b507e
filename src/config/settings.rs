//! Settings: `/etc/usnea/usnea.toml`, then `$XDG_CONFIG_HOME/usnea/usnea.toml` (`~/.config`) over it, key by key.
//!
//! ```toml
//! [images]
//! stores = ["/shared/images"]      # more stores, read-only; $USNEA_IMAGE_STORES (with colons) comes before them
//! parallel-downloads = 4
//! node-cache = "/local/%u"         # store of pulled images on a disk of this machine; empty: none
//! node-cache-bytes = 107374182400  # from here on, unused images are removed from it; else a quarter of the disk
//!
//! [limits]                         # limits of a layer; larger ones are refused
//! layer-bytes = 137438953472       # unpacked
//! layer-entries = 2000000
//! layer-ratio = 200                # unpacked : packed, checked from 1 GiB on
//!
//! [log]                            # limits of a container's log without --log-opt
//! max-size = 20971520              # bytes of one file; -1: no limit
//! max-file = 5                     # files, the current one included
//!
//! [network]
//! default = "private"              # of containers without --network: none, private, pasta, slirp4netns or host
//!
//! [security]
//! seccomp = "builtin"              # of containers without --security-opt seccomp: builtin, unconfined or a path
//!
//! [hpc]                            # of run --hpc, beside its own
//! binds = ["/scratch", "/sw:/sw:ro"]   # those whose source is missing are skipped
//! env = ["LMOD_*", "A=b"]          # variables and patterns of variables, as --env
//! devices = ["/dev/nvidia*"]       # patterns of devices
//! image-folders = ["/sw/images"]   # folders of single-file images: NAME, NAME.sqsh, NAME.squashfs or NAME.sif
//! ```

use std::num::NonZeroU32;
use std::path::PathBuf;

use serde::Deserialize;

use super::node_cache::{self, NodeCacheSettings};
use super::user_folder;
use crate::error::{Context, Error, Result};
use crate::seccomp_source::SeccompSource;

/// Complete settings, defaults included.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Absolute paths of additional stores, searched for images after our own.
    pub image_stores: Vec<PathBuf>,
    /// Number of concurrent blob downloads.
    pub parallel_downloads: Option<usize>,
    /// Store of pulled images on a disk of this machine.
    pub node_cache: Option<NodeCacheSettings>,
    /// Bytes of a node cache, which a later file may name.
    node_cache_bytes: Option<u64>,
    /// Limits of a layer.
    pub limits: LayerLimits,
    /// Limits of a container's log.
    pub log: LogLimits,
    /// Network of containers whose flags name none.
    pub default_network: DefaultNetwork,
    /// Filter of system calls of containers whose flags name none.
    pub seccomp: SeccompSource,
    /// Options of ranks of MPI jobs.
    pub hpc: HpcSettings,
}

/// Options that a site adds to those of a rank of an MPI job (`run --hpc`). A list of a later file replaces the
/// earlier one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HpcSettings {
    /// Bind mounts: `PATH` or the notation of `--volume`.
    pub binds: Vec<String>,
    /// Environment variables, in the notation of `--env`.
    pub env: Vec<String>,
    /// Patterns of devices (glob(7)).
    pub devices: Vec<String>,
    /// Absolute paths of folders with single-file images.
    pub image_folders: Vec<PathBuf>,
}

/// Network of containers whose flags name none, in the words of `--network`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DefaultNetwork {
    /// No network but the loopback interface.
    None,
    /// A network of its own, connected by the first helper that works. docker's name is `bridge`.
    #[default]
    #[serde(alias = "bridge")]
    Private,
    /// A network of its own, connected by pasta.
    Pasta,
    /// A network of its own, connected by slirp4netns.
    Slirp4netns,
    /// The host's network.
    Host,
}

impl DefaultNetwork {
    /// Word of the setting.
    pub fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Private => "private",
            Self::Pasta => "pasta",
            Self::Slirp4netns => "slirp4netns",
            Self::Host => "host",
        }
    }
}

/// Limits of a container's log, for containers without such flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogLimits {
    /// Bytes of one file; `None`: no limit.
    pub max_size: Option<u64>,
    /// Number of files, the current one included. At least 1.
    pub max_file: u32,
}

impl Default for LogLimits {
    /// 100 MiB in total: a container that prints forever must not fill the disk.
    fn default() -> Self {
        Self { max_size: Some(20 << 20), max_file: 5 }
    }
}

/// Limits of a layer; larger layers are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LayerLimits {
    /// Unpacked size in bytes.
    pub layer_bytes: u64,
    /// Number of entries: files, folders, links, whiteouts.
    pub layer_entries: u64,
    /// Unpacked bytes for each packed byte; checked from [`LayerLimits::RATIO_FROM`] on.
    pub layer_ratio: u64,
}

impl LayerLimits {
    /// No limits: for the user's own layers, or for ones accepted before.
    pub const NONE: Self =
        Self { layer_bytes: u64::MAX, layer_entries: u64::MAX, layer_ratio: u64::MAX };

    /// Unpacked bytes below which no ratio is suspicious.
    pub const RATIO_FROM: u64 = 1 << 30;
}

impl Default for LayerLimits {
    fn default() -> Self {
        Self { layer_bytes: 128 << 30, layer_entries: 2_000_000, layer_ratio: 200 }
    }
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct SettingsFile {
    #[serde(default)]
    images: ImagesSection,
    #[serde(default)]
    limits: LimitsSection,
    #[serde(default)]
    log: LogSection,
    #[serde(default)]
    network: NetworkSection,
    #[serde(default)]
    security: SecuritySection,
    #[serde(default)]
    hpc: HpcSection,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct HpcSection {
    binds: Option<Vec<String>>,
    env: Option<Vec<String>>,
    devices: Option<Vec<String>>,
    image_folders: Option<Vec<PathBuf>>,
}

impl HpcSection {
    fn apply(self, settings: &mut HpcSettings) -> Result<()> {
        let folders = self.image_folders.iter().flatten().map(PathBuf::as_path);
        let binds = self.binds.iter().flatten().map(std::path::Path::new);
        if let Some(relative) = binds.chain(folders).find(|path| !path.is_absolute()) {
            let text = format!("hpc: '{}' is not an absolute path", relative.display());
            return Err(Error::invalid(text));
        }
        settings.binds = self.binds.unwrap_or(std::mem::take(&mut settings.binds));
        settings.env = self.env.unwrap_or(std::mem::take(&mut settings.env));
        settings.devices = self.devices.unwrap_or(std::mem::take(&mut settings.devices));
        let folders = std::mem::take(&mut settings.image_folders);
        settings.image_folders = self.image_folders.unwrap_or(folders);
        Ok(())
    }
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct ImagesSection {
    stores: Option<Vec<PathBuf>>,
    parallel_downloads: Option<usize>,
    node_cache: Option<String>,
    node_cache_bytes: Option<u64>,
}

impl ImagesSection {
    fn apply(self, settings: &mut Settings) -> Result<()> {
        if let Some(stores) = self.stores {
            settings.image_stores = stores;
        }
        settings.parallel_downloads = self.parallel_downloads.or(settings.parallel_downloads);
        settings.node_cache_bytes = self.node_cache_bytes.or(settings.node_cache_bytes);
        let earlier = settings.node_cache.take().map(|cache| cache.folder);
        let folder = match self.node_cache {
            Some(setting) => node_cache::folder(&setting)?,
            None => earlier,
        };
        let bytes = settings.node_cache_bytes;
        settings.node_cache = folder.map(|folder| NodeCacheSettings { folder, bytes });
        Ok(())
    }
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct LimitsSection {
    layer_bytes: Option<u64>,
    layer_entries: Option<u64>,
    layer_ratio: Option<u64>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct LogSection {
    max_size: Option<i64>,
    max_file: Option<NonZeroU32>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct NetworkSection {
    default: Option<DefaultNetwork>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct SecuritySection {
    seccomp: Option<String>,
}

impl Settings {
    /// Reads the settings. Errors: an unreadable file, or an unknown key.
    pub fn load() -> Result<Self> {
        let mut settings = Self::default();
        let user = user_folder().map(|folder| folder.join("usnea/usnea.toml"));
        for path in [Some(PathBuf::from("/etc/usnea/usnea.toml")), user].into_iter().flatten() {
            match std::fs::read_to_string(&path) {
                Ok(text) => settings.apply(&text).context(|| path.display().to_string())?,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => {
                    return Err(error).context(|| format!("cannot read {}", path.display()));
                }
            }
        }
        if let Some(stores) = std::env::var_os("USNEA_IMAGE_STORES") {
            let mut all: Vec<PathBuf> = std::env::split_paths(&stores)
                .filter(|path| !path.as_os_str().is_empty())
                .collect();
            all.append(&mut settings.image_stores);
            settings.image_stores = all;
        }
        if let Some(relative) = settings.image_stores.iter().find(|path| !path.is_absolute()) {
            return Err(Error::new(format!(
                "image store {}: not an absolute path",
                relative.display()
            ))
            .hint("see USNEA_IMAGE_STORES and 'stores' in usnea.toml"));
        }
        Ok(settings)
    }

    fn apply(&mut self, text: &str) -> Result<()> {
        let file: SettingsFile = toml::from_str(text)
            .map_err(|error| Error::new(error.message()).hint(error.to_string()))?;
        file.images.apply(self)?;
        let limits = &mut self.limits;
        limits.layer_bytes = file.limits.layer_bytes.unwrap_or(limits.layer_bytes);
        limits.layer_entries = file.limits.layer_entries.unwrap_or(limits.layer_entries);
        limits.layer_ratio = file.limits.layer_ratio.unwrap_or(limits.layer_ratio);
        if let Some(size) = file.log.max_size {
            self.log.max_size = u64::try_from(size).ok().filter(|size| *size > 0);
        }
        self.log.max_file = file.log.max_file.map_or(self.log.max_file, NonZeroU32::get);
        file.hpc.apply(&mut self.hpc)?;
        self.default_network = file.network.default.unwrap_or(self.default_network);
        if let Some(word) = file.security.seccomp {
            self.seccomp = match word.parse() {
                Ok(SeccompSource::File(path)) if !path.is_absolute() => {
                    return Err(Error::invalid(format!(
                        "security.seccomp: '{}' is neither builtin nor unconfined nor an absolute path",
                        path.display()
                    )));
                }
                Ok(source) => source,
                Err(never) => match never {},
            };
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_have_a_limit_unless_it_is_lifted() {
        let mut settings = Settings::default();
        assert_eq!(settings.log, LogLimits { max_size: Some(20 << 20), max_file: 5 });
        settings.apply("[log]\nmax-size = 4096").unwrap();
        assert_eq!(settings.log, LogLimits { max_size: Some(4096), max_file: 5 });
        settings.apply("[log]\nmax-size = -1\nmax-file = 2").unwrap();
        assert_eq!(settings.log, LogLimits { max_size: None, max_file: 2 });
        assert!(settings.apply("[log]\nmax-file = 0").is_err());
    }

    #[test]
    fn the_default_network_is_a_word_of_the_flag() {
        let mut settings = Settings::default();
        assert_eq!(settings.default_network, DefaultNetwork::Private);
        for (word, network) in [
            ("none", DefaultNetwork::None),
            ("bridge", DefaultNetwork::Private),
            ("slirp4netns", DefaultNetwork::Slirp4netns),
            ("host", DefaultNetwork::Host),
        ] {
            settings.apply(&format!("[network]\ndefault = '{word}'")).unwrap();
            settings.apply("[log]\nmax-file = 2").unwrap();
            assert_eq!(settings.default_network, network);
        }
        let error = settings.apply("[network]\ndefault = 'lan'").unwrap_err();
        assert!(error.to_string().contains("lan"), "{error}");
        assert!(settings.apply("[network]\nmode = 'none'").is_err());
    }

    #[test]
    fn a_site_sets_the_options_of_ranks() {
        let mut settings = Settings::default();
        settings.apply("[hpc]\nbinds = ['/scratch']\nenv = ['A*']").unwrap();
        settings.apply("[hpc]\nenv = ['B*']\nimage-folders = ['/sw']").unwrap();
        assert_eq!(settings.hpc.binds, ["/scratch"]);
        assert_eq!(settings.hpc.env, ["B*"]);
        assert_eq!(settings.hpc.image_folders, [PathBuf::from("/sw")]);
        for wrong in ["binds = ['scratch']", "image-folders = ['sw']", "mounts = []"] {
            assert!(settings.apply(&format!("[hpc]\n{wrong}")).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_user_moves_or_leaves_the_node_cache_of_the_site() {
        let mut settings = Settings::default();
        let cache = |folder: &str, bytes| NodeCacheSettings { folder: folder.into(), bytes };
        settings.apply("[images]\nnode-cache-bytes = 5").unwrap();
        assert_eq!(settings.node_cache, None);
        settings.apply("[images]\nnode-cache = '/local/x'").unwrap();
        assert_eq!(settings.node_cache, Some(cache("/local/x", Some(5))));
        settings.apply("[images]\nnode-cache-bytes = 7").unwrap();
        assert_eq!(settings.node_cache, Some(cache("/local/x", Some(7))));
        settings.apply("[images]\nparallel-downloads = 2").unwrap();
        assert_eq!(settings.node_cache, Some(cache("/local/x", Some(7))));
        settings.apply("[images]\nnode-cache = ''").unwrap();
        assert_eq!(settings.node_cache, None);
        assert!(settings.apply("[images]\nnode-cache = 'x'").is_err());
        assert!(settings.apply("[images]\nnode-cache-bytes = -1").is_err());
    }

    #[test]
    fn a_later_file_changes_what_it_names() {
        let mut settings = Settings::default();
        settings.apply("[limits]\nlayer-entries = 5\nlayer-ratio = 3\n").unwrap();
        settings.apply("[images]\nstores = ['/a']\n[limits]\nlayer-ratio = 7").unwrap();
        assert_eq!(
            settings.limits,
            LayerLimits { layer_entries: 5, layer_ratio: 7, ..LayerLimits::default() }
        );
        assert_eq!(settings.image_stores, [PathBuf::from("/a")]);
        assert!(settings.apply("[limits]\nlayer-size = 1").is_err());
        assert!(settings.apply("nonsense").is_err());
    }
}
