//! `usnea info`: this machine, its stores, and the defaults for containers, in podman's shape.

use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::driver;
use super::stores::Stores;
use crate::config::{self, Settings};
use crate::container;
use crate::container::Usnea;
use crate::error::Result;
use crate::host::{account, boot_id, cgroup, distribution, filesystem, kernel, machine, program};
use crate::ids::IdMap;
use crate::image::manifest::Platform;
use crate::image::registries_conf::Registries;

/// Returns the whole document, under the names of podman's JSON.
pub fn info(usnea: &Usnea) -> Result<Value> {
    let (place, stores) = (usnea.store()?, usnea.existing_images()?);
    let registries = Registries::load()?;
    let log = Settings::load()?.log;
    Ok(json!({
        "host": host(usnea)?,
        "store": store(&place, &stores)?,
        "log": { "driver": "file", "maxSize": log.max_size, "maxFile": log.max_file },
        "plugins": {
            "authorization": [],
            "log": ["file", "journald", "none", "passthrough"],
            "network": ["none", "host", "private", "pasta", "slirp4netns"],
            "volume": ["local"],
        },
        "registries": { "search": registries.searched() },
        "version": version(),
    }))
}

/// Version of this program, under docker's and podman's names for it.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Version {
    /// Name of this program, as docker's platform.
    pub platform: Maker,
    /// Version of this program.
    pub version: String,
    /// API version: by podman's rule, the program's own version.
    #[serde(rename = "APIVersion")]
    pub api_version: String,
    /// API version in docker's spelling.
    #[serde(rename = "ApiVersion")]
    pub api_version_of_docker: String,
    /// Oldest API version that is understood.
    #[serde(rename = "MinAPIVersion")]
    pub min_api_version: String,
    /// Always empty: a release is known by its version.
    pub git_commit: String,
    /// Always empty: usnea is not written in Go.
    pub go_version: String,
    /// Always empty: two builds of one source are alike.
    pub build_time: String,
    /// Time of the build in podman's spelling; always empty.
    pub built_time: String,
    /// Time of the build in seconds since 1970; always 0, because two builds of one source are alike.
    pub built: i64,
    /// Operating system: `linux`.
    pub os: String,
    /// Processor architecture, in Go's words.
    pub arch: String,
    /// Operating system and architecture: `linux/amd64`.
    pub os_arch: String,
    /// Release of the kernel.
    pub kernel_version: String,
    /// True if this version is a preview; always false.
    pub experimental: bool,
}

/// docker's `Platform` of a program.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Maker {
    /// Name of the program.
    pub name: &'static str,
}

/// Version of this program.
pub fn version() -> Version {
    let platform = Platform::host();
    let version = || env!("CARGO_PKG_VERSION").to_owned();
    Version {
        platform: Maker { name: "usnea" },
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

fn host(usnea: &Usnea) -> Result<Value> {
    let (memory, names) = (machine::memory(), distribution::names());
    let uname = rustix::system::uname();
    let base = usnea.base()?;
    let platform = Platform::host();
    let helper = |name: &str| {
        let found = program::find(name, Path::is_file);
        json!({ "executable": found.map(|path| path.display().to_string()).unwrap_or_default() })
    };
    let (manager, delegation) = cgroup::manager();
    Ok(json!({
        "arch": platform.architecture,
        "cgroupControllers": delegation.map(|delegation| delegation.controllers).unwrap_or_default(),
        "cgroupManager": manager,
        "cgroupVersion": match cgroup::version() {
            cgroup::Version::V2 => "v2",
            cgroup::Version::V1 | cgroup::Version::Hybrid => "v1",
            cgroup::Version::None => "",
        },
        "cpus": machine::processors(),
        "distribution": { "distribution": names.id, "variant": names.variant, "version": names.version },
        "eventLogger": "file",
        "hostname": uname.nodename().to_string_lossy(),
        "idMappings": { "gidmap": lines(&base.maps.gids), "uidmap": lines(&base.maps.uids) },
        "kernel": kernel::release(),
        "logDriver": "file",
        "memFree": memory.free,
        "memTotal": memory.total,
        "networkBackend": "usnea",
        "ociRuntime": {
            "name": "usnea",
            "path": std::env::current_exe().map(|path| path.display().to_string()).unwrap_or_default(),
            "version": env!("CARGO_PKG_VERSION"),
        },
        "os": platform.os,
        "pasta": helper("pasta"),
        // No socket listens for remote clients.
        "remoteSocket": { "exists": false, "path": "" },
        "security": {
            "apparmorEnabled": machine::has_apparmor(),
            "capabilities": crate::security::default_capabilities().join(","),
            "rootless": !rustix::process::geteuid().is_root(),
            "seccompEnabled": true,
            "seccompProfilePath": "",
            "selinuxEnabled": machine::has_selinux(),
        },
        "serviceIsRemote": false,
        "slirp4netns": helper("slirp4netns"),
        "swapFree": memory.swap_free,
        "swapTotal": memory.swap_total,
        "uptime": span(machine::uptime().as_secs()),
        "user": account::own_name(),
    }))
}

/// Returns the folder where monitors of containers listen, whether or not it exists.
fn run_root(place: &Path) -> PathBuf {
    let runtime = config::runtime_folder();
    runtime.map_or_else(|| place.join("run").join(boot_id()), |(folder, _)| folder.join("usnea"))
}

fn lines(map: &[IdMap]) -> Vec<Value> {
    let line = |line: &IdMap| json!({ "container_id": line.inside, "host_id": line.outside, "size": line.count });
    map.iter().map(line).collect()
}

fn span(seconds: u64) -> String {
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    match hours {
        0 => format!("{minutes}m {}s", seconds % 60),
        _ => format!("{hours}h {minutes}m {}s", seconds % 60),
    }
}

fn store(place: &Path, stores: &Stores) -> Result<Value> {
    let (mut running, mut paused, mut stopped) = (0, 0, 0);
    for container in container::all(place)? {
        match container.status()?.word() {
            "running" => running += 1,
            "paused" => paused += 1,
            _ => stopped += 1,
        }
    }
    let mut images = 0;
    for store in stores.all() {
        images += store.images()?.all().len();
    }
    let space = rustix::fs::statvfs(filesystem::nearest_existing(place));
    let space = space.map(|space| {
        let all = space.f_blocks.saturating_mul(space.f_frsize);
        (all, all - space.f_bfree.saturating_mul(space.f_frsize).min(all))
    });
    let (allocated, used) = space.unwrap_or_default();
    let (driver, why) = driver::first(place);
    let others: Vec<_> =
        stores.all().skip(1).map(|store| store.root().display().to_string()).collect();
    Ok(json!({
        "configFile": config::user_folder().map(|folder| folder.join("usnea/usnea.toml").display().to_string()),
        "containerStore": {
            "number": running + paused + stopped, "paused": paused, "running": running, "stopped": stopped,
        },
        "graphDriverName": driver.name(),
        "graphOptions": Map::new(),
        "graphRoot": place.display().to_string(),
        "graphRootAllocated": allocated,
        "graphRootUsed": used,
        "imageCopyTmpDir": place.join("tmp").display().to_string(),
        "graphStatus": { "Backing Filesystem": filesystem::kind(place).name, "Reason": why },
        "imageStore": { "number": images },
        "imageStores": others,
        "runRoot": run_root(place).display().to_string(),
        "volumePath": place.join("volumes").display().to_string(),
    }))
}
