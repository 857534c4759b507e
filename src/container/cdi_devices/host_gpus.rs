//! Specification (CDI) of the graphics processors that this machine has, made from its device files and its driver's
//! libraries: for `usnea cdi generate`, and for `--gpus` on a machine without any.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::cdi::hook_argument;
use crate::error::{Error, Result};
use crate::rootfs::host::cache::LibraryCache;
use crate::rootfs::host::elf::Elf;

/// Vendor of graphics processors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GpuVendor {
    /// NVIDIA: device files, and libraries of the driver's version.
    Nvidia,
    /// AMD: device files. The libraries are the image's.
    Amd,
}

/// Device files of NVIDIA's driver that all its devices need.
const NVIDIA_CONTROL: [&str; 4] = ["nvidiactl", "nvidia-modeset", "nvidia-uvm", "nvidia-uvm-tools"];
/// Libraries of NVIDIA's driver without "nvidia" in their names.
const NVIDIA_LIBRARIES: [&str; 4] =
    ["libcuda.so", "libcudadebugger.so", "libnvcuvid.so", "libnvoptix.so"];
/// Libraries of NVIDIA's container tools: not of the driver.
const NVIDIA_TOOLS: &str = "libnvidia-container";
const NVIDIA_PROGRAMS: [&str; 4] =
    ["nvidia-smi", "nvidia-debugdump", "nvidia-cuda-mps-control", "nvidia-cuda-mps-server"];
/// Program of the hooks, as NVIDIA's specifications name it.
const NVIDIA_HOOK: &str = "/usr/bin/nvidia-cdi-hook";
/// AMD's number as a vendor of PCI devices.
const AMD_PCI: &str = "0x1002";
const LIBRARY_CACHE: &str = "/etc/ld.so.cache";

impl GpuVendor {
    /// All vendors, in the order of `--gpus`.
    pub const ALL: [Self; 2] = [Self::Nvidia, Self::Amd];

    /// Name of the driver.
    pub fn driver(self) -> &'static str {
        match self {
            Self::Nvidia => "nvidia",
            Self::Amd => "amd",
        }
    }

    /// Kind of the devices.
    pub fn kind(self) -> &'static str {
        match self {
            Self::Nvidia => "nvidia.com/gpu",
            Self::Amd => "amd.com/gpu",
        }
    }
}

/// Returns the specification of a vendor's processors in JSON. `None`: this machine has none.
pub fn specification(vendor: GpuVendor) -> Result<Option<String>> {
    let host = HostFolders { root: Path::new("/") };
    let devices = match vendor {
        GpuVendor::Nvidia => host.nvidia_devices(),
        GpuVendor::Amd => host.amd_devices(),
    };
    if devices.is_empty() {
        return Ok(None);
    }
    let edits = match vendor {
        GpuVendor::Nvidia => {
            let bytes = std::fs::read(LIBRARY_CACHE).unwrap_or_default();
            let libraries = nvidia_libraries(&LibraryCache::parse(&bytes));
            host.nvidia_edits(&libraries)
        }
        GpuVendor::Amd => json!({ "deviceNodes": host.nodes(&["kfd"]) }),
    };
    let text = serde_json::to_string_pretty(&document(vendor, &devices, &edits));
    text.map(Some).map_err(Error::new)
}

/// Returns a specification with each device, and with all of them as the device `all`.
fn document(vendor: GpuVendor, devices: &BTreeMap<String, Vec<Value>>, edits: &Value) -> Value {
    let device = |name: &str, nodes: Vec<&Value>| json!({ "name": name, "containerEdits": { "deviceNodes": nodes } });
    let every: Vec<&Value> = devices.values().flatten().collect();
    let mut list: Vec<Value> =
        devices.iter().map(|(name, nodes)| device(name, nodes.iter().collect())).collect();
    list.push(device("all", every));
    json!({
        "cdiVersion": "0.5.0",
        "kind": vendor.kind(),
        "devices": list,
        "containerEdits": edits,
    })
}

/// Folders of the host, below a root.
struct HostFolders<'a> {
    root: &'a Path,
}

impl HostFolders<'_> {
    /// Names of a folder, sorted; none where it is missing.
    fn names(&self, folder: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.root.join(folder)).into_iter().flatten().flatten();
        let mut names: Vec<String> =
            entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort();
        names
    }

    /// Text of a file without its line end; empty where it cannot be read.
    fn text(&self, file: &str) -> String {
        let text = std::fs::read_to_string(self.root.join(file)).unwrap_or_default();
        text.trim().to_owned()
    }

    /// Device files of `/dev` that exist.
    fn nodes(&self, names: &[&str]) -> Vec<Value> {
        let exists = |name: &&&str| self.root.join("dev").join(name).exists();
        names.iter().filter(exists).map(|name| json!({ "path": format!("/dev/{name}") })).collect()
    }

    /// Device files in `/dev/dri` of a device of the PCI bus, by its folder in sysfs.
    fn render_nodes(&self, pci: &str) -> Vec<Value> {
        let names = self.names(&format!("{pci}/drm"));
        let names =
            names.iter().filter(|name| name.starts_with("card") || name.starts_with("render"));
        let paths: Vec<String> = names.map(|name| format!("dri/{name}")).collect();
        self.nodes(&paths.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// NVIDIA's devices, by their numbers.
    fn nvidia_devices(&self) -> BTreeMap<String, Vec<Value>> {
        let mut devices = BTreeMap::new();
        let files = self.names("dev");
        let numbers =
            files.iter().filter_map(|name| name.strip_prefix("nvidia")?.parse::<u16>().ok());
        for number in numbers {
            devices.insert(number.to_string(), self.nodes(&[&format!("nvidia{number}")]));
        }
        for address in self.names("proc/driver/nvidia/gpus") {
            let facts = self.text(&format!("proc/driver/nvidia/gpus/{address}/information"));
            let minor = facts.lines().find_map(|line| line.strip_prefix("Device Minor:"));
            let nodes = minor.and_then(|minor| devices.get_mut(minor.trim()));
            if let Some(nodes) = nodes {
                nodes.extend(self.render_nodes(&format!("sys/bus/pci/devices/{address}")));
            }
        }
        devices
    }

    /// AMD's devices, numbered in the order of their files.
    fn amd_devices(&self) -> BTreeMap<String, Vec<Value>> {
        let mut renders = self.names("sys/class/drm");
        renders.retain(|name| {
            let vendor = self.text(&format!("sys/class/drm/{name}/device/vendor"));
            name.starts_with("renderD") && vendor == AMD_PCI
        });
        let nodes = |name: &String| self.render_nodes(&format!("sys/class/drm/{name}/device"));
        renders
            .iter()
            .map(nodes)
            .enumerate()
            .map(|(number, nodes)| (number.to_string(), nodes))
            .collect()
    }

    /// Edits for each container with one of NVIDIA's devices: `libraries` are the driver's.
    fn nvidia_edits(&self, libraries: &BTreeSet<PathBuf>) -> Value {
        let programs = NVIDIA_PROGRAMS.map(|name| format!("/usr/bin/{name}"));
        let programs = programs
            .iter()
            .map(PathBuf::from)
            .filter(|path| path.strip_prefix("/").is_ok_and(|path| self.root.join(path).exists()));
        let options = ["ro", "nosuid", "nodev", "rbind", "rprivate"];
        let files = libraries.iter().cloned().chain(programs);
        let mounts: Vec<Value> = files
            .map(|path| json!({ "hostPath": path, "containerPath": path, "options": options }))
            .collect();
        let folders: BTreeSet<&Path> = libraries.iter().filter_map(|path| path.parent()).collect();
        let hook = |arguments: Vec<String>| {
            let mut words = vec!["nvidia-cdi-hook".to_owned()];
            words.extend(arguments);
            json!({ "hookName": "createContainer", "path": NVIDIA_HOOK, "args": words })
        };
        let mut hooks = Vec::new();
        if !folders.is_empty() {
            let options = folders.iter().map(|folder| hook_argument("folder", folder.display()));
            hooks.push(hook(std::iter::once("update-ldcache".to_owned()).chain(options).collect()));
        }
        let is_cuda = |path: &&PathBuf| {
            path.file_name()
                .and_then(|name| name.to_str())
                .is_some_and(|name| name.starts_with("libcuda.so"))
        };
        if let Some(folder) = libraries.iter().find(is_cuda).and_then(|path| path.parent()) {
            // Programs that load the driver by the name for builds.
            let link = format!("libcuda.so.1::{}", folder.join("libcuda.so").display());
            hooks.push(hook(vec!["create-symlinks".into(), hook_argument("link", link)]));
        }
        json!({
            "env": ["NVIDIA_VISIBLE_DEVICES=void"],
            "deviceNodes": self.nodes(&NVIDIA_CONTROL),
            "mounts": mounts,
            "hooks": hooks,
        })
    }
}

/// Returns the files of NVIDIA's driver libraries for programs of this machine's kind, without links.
fn nvidia_libraries(cache: &LibraryCache) -> BTreeSet<PathBuf> {
    let program = File::open("/proc/self/exe").ok();
    let Some(Some(own)) = program.and_then(|program| Elf::read(program).ok()) else {
        return BTreeSet::new();
    };
    let names = cache.names().filter(|name| name.to_str().is_some_and(is_of_nvidia));
    let paths = names.flat_map(|name| cache.lines(name, own.target)).map(|line| &line.path);
    paths.filter_map(|path| std::fs::canonicalize(path).ok()).collect()
}

/// True for the name of a library of NVIDIA's driver.
fn is_of_nvidia(name: &str) -> bool {
    let of_driver = name.contains("nvidia") && !name.starts_with(NVIDIA_TOOLS);
    of_driver || NVIDIA_LIBRARIES.iter().any(|library| name.starts_with(library))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cdi::CdiRegistry;

    fn make(root: &Path, files: &[(&str, &str)]) {
        for (path, content) in files {
            let path = root.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
    }

    #[test]
    fn devices_of_nvidia_are_found_with_their_files() {
        let folder = tempfile::tempdir().unwrap();
        let bus = "sys/bus/pci/devices/0000:01:00.0/drm";
        let (card, render) = (format!("{bus}/card1/dev"), format!("{bus}/renderD129/dev"));
        make(
            folder.path(),
            &[
                ("dev/nvidia0", ""),
                ("dev/nvidia1", ""),
                ("dev/nvidiactl", ""),
                ("dev/nvidia-uvm", ""),
                ("dev/dri/card1", ""),
                ("dev/dri/renderD129", ""),
                ("usr/bin/nvidia-smi", ""),
                (
                    "proc/driver/nvidia/gpus/0000:01:00.0/information",
                    "Model: \t X\nDevice Minor: \t 1\n",
                ),
                (&card, ""),
                (&render, ""),
            ],
        );
        let host = HostFolders { root: folder.path() };
        let devices = host.nvidia_devices();
        let paths = |name: &str| -> Vec<String> {
            devices[name].iter().map(|node| node["path"].as_str().unwrap().to_owned()).collect()
        };
        assert_eq!(paths("0"), ["/dev/nvidia0"]);
        assert_eq!(paths("1"), ["/dev/nvidia1", "/dev/dri/card1", "/dev/dri/renderD129"]);
        let libraries = BTreeSet::from([PathBuf::from("/usr/lib/libcuda.so.550.1")]);
        let edits = host.nvidia_edits(&libraries);
        let text = document(GpuVendor::Nvidia, &devices, &edits).to_string();
        assert!(text.contains("/usr/bin/nvidia-smi") && !text.contains("debugdump"), "{text}");
        assert!(text.contains("libcuda.so.1::/usr/lib/libcuda.so"), "{text}");
        let mut registry = CdiRegistry::default();
        registry.add_text("here", &text).unwrap();
        let names: Vec<String> = registry.devices().map(|device| device.name.to_string()).collect();
        assert_eq!(names, ["nvidia.com/gpu=0", "nvidia.com/gpu=1", "nvidia.com/gpu=all"]);
    }

    #[test]
    fn devices_of_amd_are_numbered_and_others_left_out() {
        let folder = tempfile::tempdir().unwrap();
        make(
            folder.path(),
            &[
                ("dev/kfd", ""),
                ("dev/dri/renderD128", ""),
                ("dev/dri/renderD129", ""),
                ("dev/dri/card0", ""),
                ("sys/class/drm/renderD128/device/vendor", "0x8086\n"),
                ("sys/class/drm/renderD129/device/vendor", "0x1002\n"),
                ("sys/class/drm/renderD129/device/drm/renderD129/dev", ""),
                ("sys/class/drm/renderD129/device/drm/card0/dev", ""),
            ],
        );
        let devices = HostFolders { root: folder.path() }.amd_devices();
        let expected = json!([{ "path": "/dev/dri/card0" }, { "path": "/dev/dri/renderD129" }]);
        assert_eq!(json!(devices), json!({ "0": expected }));
    }

    #[test]
    fn libraries_of_the_driver_are_told_from_others() {
        for name in ["libcuda.so.1", "libnvidia-ml.so.1", "libGLX_nvidia.so.0", "libnvcuvid.so.1"] {
            assert!(is_of_nvidia(name), "{name}");
        }
        for name in ["libcudart.so.12", "libnvidia-container.so.1", "libc.so.6", "libnvrtc.so.12"] {
            assert!(!is_of_nvidia(name), "{name}");
        }
    }
}
