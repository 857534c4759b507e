//! `usnea run --hpc`: options of a rank of an MPI job on a cluster. All of them have flags of their own, which win.
//!
//! | part | flags |
//! | --- | --- |
//! | own user ID | `--userns keep-id` |
//! | namespaces of the host, `/dev/shm` with them | `--network host --pid host --ipc host --cgroupns host` |
//! | home, working folder, `/tmp`, `$TMPDIR`, folders of the PMIx server | `-v`, `-w`, `-e HOME=...` |
//! | variables of MPI and batch systems | `-e 'SLURM_*' ...` ([`VARIABLES`]) |
//! | connection to the process manager | `--preserve-fd $PMI_FD` |
//! | devices of fabrics | `--device` ([`DEVICES`]) |
//! | one container for all ranks of a node | `--join` |

use std::path::{Path, PathBuf};

use crate::config::HpcSettings;
use crate::error::{Context, Error, Result, Setting};
use crate::host::pmi;
use crate::ids::UsernsMode;
use crate::spec::{self, ContainerOptions, IpcMode, NamespaceSharing, NetworkMode, VolumeFlag};

/// Patterns of the variables that ranks get: of Slurm, PMI and PMIx, MPI libraries, fabrics, GPUs and threads.
const VARIABLES: [&str; 22] = [
    "SLURM_*",
    "SLURMD_*",
    "PMI_*",
    "PMI2_*",
    "PMIX_*",
    "PRTE_*",
    "OMPI_*",
    "MPI_LOCAL*",
    "MPICH_*",
    "MPIR_*",
    "I_MPI_*",
    "HYDI_*",
    "UCX_*",
    "FI_*",
    "NCCL_*",
    "OMP_*",
    "KMP_*",
    "GOMP_*",
    "CUDA_VISIBLE_DEVICES",
    "ROCR_VISIBLE_DEVICES",
    "HIP_VISIBLE_DEVICES",
    "ZE_AFFINITY_MASK",
];

/// Patterns of the devices of fabrics: verbs, Slingshot, Omni-Path, and memory of other processes.
const DEVICES: [&str; 7] = [
    "/dev/infiniband",
    "/dev/cxi*",
    "/dev/hfi1*",
    "/dev/xpmem",
    "/dev/knem",
    "/dev/gdrdrv",
    "/dev/ss0",
];

/// Folders of an image that no folder of the host may replace.
const OF_IMAGE: [&str; 11] =
    ["/bin", "/boot", "/dev", "/etc", "/lib", "/lib64", "/proc", "/sbin", "/sys", "/usr", "/run"];

/// Endings of the names of single-file images.
const ENDINGS: [&str; 4] = ["", ".sqsh", ".squashfs", ".sif"];

/// Variables of a job: those that options set, else those of this process. Where Slurm starts the runtime of containers,
/// the job's variables are in a file (`--env-file`), and this process has those of slurmd.
#[derive(Debug, Default)]
pub struct JobVariables(Vec<(String, String)>);

impl JobVariables {
    /// Reads the variables that the options set. Errors: a file of variables cannot be read.
    pub fn of(options: &ContainerOptions) -> Result<Self> {
        Ok(Self(spec::given_variables(options)?))
    }

    /// Returns a variable; `None`: it is not set, or empty.
    pub fn get(&self, name: &str) -> Option<String> {
        let given = self.0.iter().rfind(|(known, _)| known == name);
        let value = given.map(|(_, value)| value.clone()).or_else(|| std::env::var(name).ok());
        value.filter(|text| !text.is_empty())
    }

    /// Returns the folder that a variable names; `None`: there is none.
    fn folder(&self, name: &str) -> Option<PathBuf> {
        self.get(name).map(PathBuf::from).filter(|path| path.is_dir())
    }
}

/// Adds the options, where the flags leave them open. Errors: a setting that is no mount or no variable.
pub fn add_hpc_options(
    options: &mut ContainerOptions,
    settings: &HpcSettings,
    variables: &JobVariables,
) -> Result<()> {
    options.rm = true;
    share_namespaces(options);
    add_mounts(options, settings, variables)?;
    add_variables(options, settings, variables)?;
    for pattern in DEVICES.into_iter().chain(settings.devices.iter().map(String::as_str)) {
        for path in matching(pattern) {
            options.device.push(parsed(&path.to_string_lossy(), Setting::Device)?);
        }
    }
    // The descriptor is open where the process manager of this rank uses the PMI protocol.
    let manager = variables.get(pmi::PMI_FD).and_then(|value| pmi::open_descriptor(&value));
    if let Some(number) = manager
        && !options.preserve_fd.contains(&number)
        && number >= 3 + options.preserve_fds
    {
        options.preserve_fd.push(number);
    }
    Ok(())
}

/// Returns the single-file image `name` in a folder of the settings; `None`: there is none, or the name is a path.
pub fn image_in_folders(name: &str, settings: &HpcSettings) -> Option<PathBuf> {
    if name.contains(['/', ':', '@']) {
        return None;
    }
    let paths = settings.image_folders.iter().flat_map(|folder| {
        ENDINGS.iter().map(move |ending| folder.join(format!("{name}{ending}")))
    });
    paths.into_iter().find(|path| path.is_file())
}

fn share_namespaces(options: &mut ContainerOptions) {
    if options.userns.is_none() && options.uidmap.is_empty() && options.gidmap.is_empty() {
        options.userns = Some(UsernsMode::KeepId { uid: None, gid: None, size: None });
    }
    if options.network.is_empty() && !options.publishes() {
        options.network.push(NetworkMode::Host);
    }
    for sharing in [&mut options.pid, &mut options.cgroupns] {
        sharing.get_or_insert(NamespaceSharing::Host);
    }
    options.ipc.get_or_insert(IpcMode::Host);
}

fn add_mounts(
    options: &mut ContainerOptions,
    settings: &HpcSettings,
    variables: &JobVariables,
) -> Result<()> {
    for bind in &settings.binds {
        let source = bind.split(':').next().unwrap_or(bind);
        let text = if bind.contains(':') { bind.clone() } else { format!("{bind}:{bind}") };
        if Path::new(source).exists() {
            add_volume(options, &text)?;
        }
    }
    add_folder(options, Path::new("/tmp"))?;
    let folders = ["HOME", "TMPDIR"].into_iter().filter_map(|name| variables.folder(name));
    for folder in folders.chain(pmi::pmix_folders(|name| variables.get(name))) {
        add_folder(options, &folder)?;
    }
    if options.workdir.is_none() {
        add_working_folder(options, variables)?;
    }
    Ok(())
}

/// Binds the working folder at its resolved path and at the path by which the shell named it, and enters the latter.
fn add_working_folder(options: &mut ContainerOptions, variables: &JobVariables) -> Result<()> {
    let resolved = std::env::current_dir().context(|| "cannot find the working directory")?;
    let named = variables.get("PWD").map(PathBuf::from);
    let is_here = |path: &PathBuf| path.canonicalize().is_ok_and(|path| path == resolved);
    let named = named.filter(is_here).unwrap_or_else(|| resolved.clone());
    let hides =
        |path: &Path| path == Path::new("/") || OF_IMAGE.iter().any(|of| path.starts_with(of));
    if hides(&resolved) || hides(&named) {
        log::warn!("{} is a folder of the image too: it is not mounted", named.display());
        return Ok(());
    }
    add_folder(options, &resolved)?;
    add_folder(options, &named)?;
    if let Some(named) = named.to_str() {
        // A shell takes the name of its folder from PWD, if that leads there.
        options.env.insert(0, parsed(&format!("PWD={named}"), Setting::Env)?);
        options.workdir = Some(named.to_owned());
    }
    Ok(())
}

/// Binds a folder at its own path, and at its resolved path, unless a mount there or above shows it already.
fn add_folder(options: &mut ContainerOptions, path: &Path) -> Result<()> {
    let resolved = path.canonicalize().context(|| path.display().to_string())?;
    for place in [path, &resolved] {
        let is_shown = options.volume.iter().any(|volume| volume.shows(place));
        if let Some(place) = place.to_str().filter(|_| !is_shown && place != Path::new("/")) {
            add_volume(options, &format!("{}:{place}", resolved.display()))?;
        }
    }
    Ok(())
}

/// Adds a volume, unless a flag mounts something at its place.
fn add_volume(options: &mut ContainerOptions, text: &str) -> Result<()> {
    let volume: VolumeFlag = parsed(text, Setting::Volume)?;
    if !spec::has_mount_at(options, &volume.destination) {
        options.volume.push(volume);
    }
    Ok(())
}

/// Puts the variables before those of the flags, which win.
fn add_variables(
    options: &mut ContainerOptions,
    settings: &HpcSettings,
    variables: &JobVariables,
) -> Result<()> {
    let asked = VARIABLES.into_iter().chain(settings.env.iter().map(String::as_str));
    let present =
        asked.filter(|name| name.contains(['*', '?', '[', '=']) || std::env::var(name).is_ok());
    let mut all = present.map(|name| parsed(name, Setting::Env)).collect::<Result<Vec<_>>>()?;
    // Slurm gives the runtime another PMIX_SERVER_TMPDIR than the job, which must not replace that of the file.
    let given = variables.0.iter().cloned();
    all.extend(given.map(|(name, value)| spec::EnvChange::Set(name, value)));
    for name in ["HOME", "TMPDIR"] {
        if let Some(folder) = variables.folder(name) {
            all.push(parsed(&format!("{name}={}", folder.display()), Setting::Env)?);
        }
    }
    // Packages of the home folder are made for the host's Python.
    all.push(parsed("PYTHONNOUSERSITE=1", Setting::Env)?);
    all.append(&mut options.env);
    options.env = all;
    Ok(())
}

fn parsed<T: std::str::FromStr<Err = String>>(text: &str, setting: Setting) -> Result<T> {
    text.parse().map_err(Error::invalid).context(|| setting.with(text))
}

fn matching(pattern: &str) -> Vec<PathBuf> {
    let paths = glob::glob(pattern).into_iter().flatten();
    paths.filter_map(std::result::Result::ok).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_found_in_the_folders_of_the_site() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("app.sqsh"), "").unwrap();
        let image_folders = vec!["/none".into(), folder.path().to_owned()];
        let settings = HpcSettings { image_folders, ..HpcSettings::default() };
        let found = |name| image_in_folders(name, &settings);
        assert_eq!(found("app"), Some(folder.path().join("app.sqsh")));
        assert_eq!(found("app.sqsh"), Some(folder.path().join("app.sqsh")));
        assert_eq!((found("other"), found("./app"), found("app:1")), (None, None, None));
    }

    #[test]
    fn every_pattern_is_one_of_variables() {
        for pattern in VARIABLES {
            pattern.parse::<spec::EnvChange>().unwrap();
        }
    }
}
