//! `usnea run --hpc`: options of a rank of an MPI job on a cluster. All of them have flags of their own, which win.
//!
//! | part | flags |
//! | --- | --- |
//! | own user ID | `--userns keep-id` |
//! | namespaces of the host, `/dev/shm` with them | `--network host --pid host --ipc host --cgroupns host` |
//! | home, working folder, `/tmp`, `$TMPDIR`, PMIx server's folder | `-v`, `-w`, `-e HOME=...` |
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

/// Adds the options, where the flags leave them open. Errors: a setting that is no mount or no variable.
pub fn add_hpc_options(options: &mut ContainerOptions, settings: &HpcSettings) -> Result<()> {
    options.rm = true;
    share_namespaces(options);
    add_mounts(options, settings)?;
    add_variables(options, settings)?;
    for pattern in DEVICES.into_iter().chain(settings.devices.iter().map(String::as_str)) {
        for path in matching(pattern) {
            options.device.push(parsed(&path.to_string_lossy(), Setting::Device)?);
        }
    }
    // The descriptor is open where the process manager of this rank uses the PMI protocol.
    let manager = variable(pmi::PMI_FD).and_then(|value| pmi::open_descriptor(&value));
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
        if *sharing == NamespaceSharing::Private {
            *sharing = NamespaceSharing::Host;
        }
    }
    if options.ipc == IpcMode::Private {
        options.ipc = IpcMode::Host;
    }
}

fn add_mounts(options: &mut ContainerOptions, settings: &HpcSettings) -> Result<()> {
    for bind in &settings.binds {
        let source = bind.split(':').next().unwrap_or(bind);
        let text = if bind.contains(':') { bind.clone() } else { format!("{bind}:{bind}") };
        if Path::new(source).exists() {
            add_volume(options, &text)?;
        }
    }
    add_folder(options, Path::new("/tmp"))?;
    for name in ["HOME", "TMPDIR", "PMIX_SERVER_TMPDIR"] {
        let folder = variable(name).map(PathBuf::from).filter(|path| path.is_dir());
        if let Some(folder) = folder {
            add_folder(options, &folder)?;
        }
    }
    if options.workdir.is_none() {
        add_working_folder(options)?;
    }
    Ok(())
}

/// Binds the working folder at its resolved path and at the path by which the shell named it, and enters the latter.
fn add_working_folder(options: &mut ContainerOptions) -> Result<()> {
    let resolved = std::env::current_dir().context(|| "cannot find the working directory")?;
    let named = variable("PWD").map(PathBuf::from);
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
fn add_variables(options: &mut ContainerOptions, settings: &HpcSettings) -> Result<()> {
    let asked = VARIABLES.into_iter().chain(settings.env.iter().map(String::as_str));
    let present =
        asked.filter(|name| name.contains(['*', '?', '[', '=']) || variable(name).is_some());
    let mut all = present.map(|name| parsed(name, Setting::Env)).collect::<Result<Vec<_>>>()?;
    for name in ["HOME", "TMPDIR"] {
        if let Some(folder) = variable(name).filter(|path| Path::new(path).is_dir()) {
            all.push(parsed(&format!("{name}={folder}"), Setting::Env)?);
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

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|text| !text.is_empty())
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
