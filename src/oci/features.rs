//! `features`: abilities of this runtime, in the shape of the specification (features.md).

use oci_spec::runtime::{
    ApparmorBuilder, CgroupBuilder, Features, FeaturesBuilder, LinuxFeatureBuilder,
    LinuxNamespaceType, NetDevicesBuilder, SeccompBuilder, SelinuxBuilder,
};

use super::SPEC_VERSION;
use crate::error::{Error, Result};
use crate::hook_point::HookPoint;

/// Options of mounts that are understood, beside those of the file systems.
const MOUNT_OPTIONS: [&str; 20] = [
    "bind",
    "dev",
    "exec",
    "noatime",
    "nodev",
    "noexec",
    "nosuid",
    "private",
    "rbind",
    "relatime",
    "ro",
    "rprivate",
    "rro",
    "rshared",
    "rslave",
    "rw",
    "shared",
    "slave",
    "strictatime",
    "suid",
];

/// Returns the abilities.
pub fn features() -> Result<Features> {
    use LinuxNamespaceType::{Cgroup, Ipc, Mount, Network, Pid, Time, User, Uts};
    let built = || -> std::result::Result<Features, oci_spec::OciSpecError> {
        let cgroup = CgroupBuilder::default()
            .v1(false)
            .v2(true)
            .systemd(false)
            .systemd_user(true)
            .rdma(false);
        let capabilities: Vec<String> = caps::all().iter().map(ToString::to_string).collect();
        let linux = LinuxFeatureBuilder::default()
            .namespaces(vec![Cgroup, Ipc, Mount, Network, Pid, Time, User, Uts])
            .capabilities(sorted(capabilities))
            .cgroup(cgroup.build()?)
            .seccomp(SeccompBuilder::default().enabled(true).build()?)
            .apparmor(ApparmorBuilder::default().enabled(false).build()?)
            .selinux(SelinuxBuilder::default().enabled(false).build()?)
            .net_devices(NetDevicesBuilder::default().enabled(false).build()?);
        FeaturesBuilder::default()
            .oci_version_min("1.0.0")
            .oci_version_max(SPEC_VERSION)
            .hooks(HookPoint::ALL.map(|point| point.name().to_owned()).to_vec())
            .mount_options(sorted(MOUNT_OPTIONS.map(str::to_owned).to_vec()))
            .linux(linux.build()?)
            .build()
    };
    built().map_err(|error| Error::new(error.to_string()))
}

fn sorted(mut words: Vec<String>) -> Vec<String> {
    words.sort();
    words
}
