//! `usnea info`: this machine, its stores, and the defaults for containers, in podman's shape.

use std::path::{Path, PathBuf};

use super::driver;
use super::node_cache::NodeCache;
use super::stores::Stores;
use crate::config::{self, Settings};
use crate::container;
use crate::container::Usnea;
use crate::documents::go::GoSet;
use crate::documents::info::{
    ContainerCounts, DistributionInfo, GraphStatus, HelperInfo, HostInfo, IdMapInfo,
    IdMappingsInfo, ImageCounts, InfoDocument, LogInfo, NodeCacheInfo, PluginsInfo, RegistriesInfo,
    RuntimeInfo, SecurityInfo, SocketInfo, StoreInfo,
};
use crate::documents::version::{PlatformName, ProgramVersion};
use crate::error::Result;
use crate::host::{account, boot_id, cgroup, distribution, filesystem, kernel, machine, program};
use crate::ids::IdMap;
use crate::image::manifest::Platform;
use crate::image::registries_conf::Registries;
use crate::seccomp_source::SeccompSource;

/// Returns facts about this machine, its stores, and the defaults for containers.
pub fn info(usnea: &Usnea) -> Result<InfoDocument> {
    let (place, stores) = (usnea.store()?, usnea.existing_images()?);
    let registries = Registries::load()?;
    let log = Settings::load()?.log;
    Ok(InfoDocument {
        host: host(usnea)?,
        store: store(place, stores)?,
        log: LogInfo { driver: "file", max_size: log.max_size, max_file: log.max_file },
        plugins: PluginsInfo {
            authorization: [],
            log: ["file", "journald", "none", "passthrough"],
            network: ["bridge", "none", "host", "private", "pasta", "slirp4netns"],
            volume: ["local"],
        },
        registries: RegistriesInfo { search: registries.searched() },
        version: version(),
    })
}

/// Version of this program.
pub fn version() -> ProgramVersion {
    let platform = Platform::host();
    let version = || env!("CARGO_PKG_VERSION").to_owned();
    ProgramVersion {
        platform: PlatformName { name: "usnea" },
        version: version(),
        api_version: version(),
        api_version_of_docker: version(),
        min_api_version: version(),
        git_commit: String::new(),
        go_version: String::new(),
        build_time: String::new(),
        built_time: String::new(),
        built: 0,
        os_arch: format!("{}/{}", platform.os, platform.architecture),
        os: platform.os,
        arch: platform.architecture,
        kernel_version: kernel::release(),
        experimental: false,
    }
}

fn host(usnea: &Usnea) -> Result<HostInfo> {
    let (memory, names) = (machine::memory(), distribution::names());
    let base = usnea.base()?;
    let platform = Platform::host();
    let (manager, delegation) = cgroup::manager();
    Ok(HostInfo {
        arch: platform.architecture,
        cgroup_controllers: delegation.map(|delegation| delegation.controllers).unwrap_or_default(),
        cgroup_manager: manager,
        cgroup_version: match cgroup::version() {
            cgroup::CgroupVersion::V2 => "v2",
            cgroup::CgroupVersion::V1 | cgroup::CgroupVersion::Hybrid => "v1",
            cgroup::CgroupVersion::None => "",
        },
        cpus: machine::processors(),
        distribution: DistributionInfo {
            distribution: names.id,
            variant: names.variant,
            version: names.version,
        },
        event_logger: "file",
        hostname: rustix::system::uname().nodename().to_string_lossy().into_owned(),
        id_mappings: IdMappingsInfo {
            gidmap: lines(&base.maps.gids),
            uidmap: lines(&base.maps.uids),
        },
        kernel: kernel::release(),
        log_driver: "file",
        mem_free: memory.free,
        mem_total: memory.total,
        network_backend: "usnea",
        oci_runtime: RuntimeInfo {
            name: "usnea",
            path: shown(std::env::current_exe().ok()),
            version: env!("CARGO_PKG_VERSION"),
        },
        os: platform.os,
        pasta: helper("pasta"),
        // No socket listens for remote clients.
        remote_socket: SocketInfo { exists: false, path: "" },
        security: security(usnea.settings()?),
        service_is_remote: false,
        slirp4netns: helper("slirp4netns"),
        swap_free: memory.swap_free,
        swap_total: memory.swap_total,
        uptime: span(machine::uptime().as_secs()),
        user: account::own_name(),
    })
}

/// Returns the path as text; empty where there is none.
fn shown(path: Option<PathBuf>) -> String {
    path.map(|path| path.display().to_string()).unwrap_or_default()
}

fn helper(name: &str) -> HelperInfo {
    HelperInfo { executable: shown(program::find(name, Path::is_file)) }
}

fn security(settings: &Settings) -> SecurityInfo {
    SecurityInfo {
        apparmor_enabled: machine::has_apparmor(),
        capabilities: crate::security::default_capabilities().join(","),
        rootless: !rustix::process::geteuid().is_root(),
        seccomp_enabled: true,
        seccomp_profile_path: match &settings.seccomp {
            SeccompSource::Builtin => String::new(),
            other => other.to_string(),
        },
        selinux_enabled: machine::has_selinux(),
    }
}

/// Returns the folder for the sockets of monitors, whether or not it exists.
fn run_root(place: &Path) -> PathBuf {
    let runtime = config::runtime_folder();
    runtime.map_or_else(|| place.join("run").join(boot_id()), |(folder, _)| folder.join("usnea"))
}

fn lines(map: &[IdMap]) -> Vec<IdMapInfo> {
    let line = |line: &IdMap| IdMapInfo {
        container_id: line.inside,
        host_id: line.outside,
        size: line.count,
    };
    map.iter().map(line).collect()
}

fn span(seconds: u64) -> String {
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    match hours {
        0 => format!("{minutes}m {}s", seconds % 60),
        _ => format!("{hours}h {minutes}m {}s", seconds % 60),
    }
}

fn store(place: &Path, stores: &Stores) -> Result<StoreInfo> {
    let mut images = 0;
    for list in stores.lists() {
        images += list?.1.all().len();
    }
    let space = rustix::fs::statvfs(filesystem::nearest_existing(place));
    let space = space.map(|space| {
        let all = space.f_blocks.saturating_mul(space.f_frsize);
        (all, all - space.f_bfree.saturating_mul(space.f_frsize).min(all))
    });
    let (allocated, used) = space.unwrap_or_default();
    let (driver, why) = driver::default_driver(place);
    let others = stores.others().iter().map(|store| store.root().display().to_string());
    let config_file = config::user_folder().map(|folder| folder.join("usnea/usnea.toml"));
    Ok(StoreInfo {
        config_file: config_file.map(|path| path.display().to_string()),
        container_store: container_counts(place)?,
        graph_driver_name: driver.name(),
        graph_options: GoSet::new(),
        graph_root: place.display().to_string(),
        graph_root_allocated: allocated,
        graph_root_used: used,
        image_copy_tmp_dir: place.join("tmp").display().to_string(),
        graph_status: GraphStatus {
            backing_filesystem: filesystem::kind(place).name.to_string(),
            reason: why.to_string(),
        },
        image_store: ImageCounts { number: images },
        image_stores: others.collect(),
        node_cache: stores.cache().map(node_cache).transpose()?,
        run_root: run_root(place).display().to_string(),
        volume_path: place.join("volumes").display().to_string(),
    })
}

fn node_cache(cache: &NodeCache) -> Result<NodeCacheInfo> {
    Ok(NodeCacheInfo {
        path: cache.store.root().display().to_string(),
        number: cache.store.images()?.all().len(),
        bytes: cache.store.bytes()?,
        limit: cache.limit(),
    })
}

fn container_counts(store: &Path) -> Result<ContainerCounts> {
    let mut counts = ContainerCounts::default();
    for container in container::all_in(store)? {
        counts.number += 1;
        match container.status()?.word() {
            "running" => counts.running += 1,
            "paused" => counts.paused += 1,
            _ => counts.stopped += 1,
        }
    }
    Ok(counts)
}
