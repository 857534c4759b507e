//! Options of a container, and the OCI runtime config built from them.
//!
//! `ContainerOptions` are the flags of `usnea run` and `usnea spec`; each value has a type that refuses malformed text when clap
//! parses it. `build` combines options, root and image. `build` checks the host (do the sources exist?) and the image's
//! accounts, and changes nothing. Its checks are the last before anything runs. Capabilities and masked paths are not
//! set here: `security` adds them.
//!
//! ```text
//! options            the flags
//! account bind command destination device dns_server entrypoint env env_file file_system glob group hosts_base idmap
//! mount name namespace overlay personality publish
//! root_emulation secret security_option size storage_driver switch sysctl tmpfs ulimit umask user volume volumes_from       the nouns in them
//! entry              the process of another command in a container that runs
//! build              the whole Spec:  mounts  process
//! moved_paths        changed paths of a Spec
//! parse              reader of config.json
//! ```

mod account;
mod bind;
mod build;
mod command;
mod destination;
mod device;
mod dns_server;
mod entry;
mod entrypoint;
mod env;
mod env_file;
mod file_system;
mod glob;
mod gpus;
mod group;
mod hosts_base;
mod idmap;
mod image_volume;
mod inputs;
mod mount;
mod mounts;
mod moved_paths;
mod name;
mod namespace;
mod options;
mod overlay;
mod own_account;
mod parse;
mod personality;
mod process;
mod publish;
mod resources;
mod root_emulation;
#[cfg(test)]
mod scenarios;
mod secret;
mod security_option;
mod size;
mod storage_driver;
mod switch;
mod sysctl;
mod tmpfs;
mod ulimit;
mod umask;
mod user;
mod volume;
mod volumes;
mod volumes_from;

pub use bind::{BindAccess, BindOptions, BindOwners, BindSource};
pub use build::{build, layer_folders, refuse_joined};
pub use command::{SYSTEMD, SystemdMode};
pub use destination::Destination;
pub use device::DeviceFlag;
pub use dns_server::DnsServer;
pub use entry::{ContainerUser, EntryOptions, entry, look_up};
pub use entrypoint::Entrypoint;
pub use env::EnvChange;
pub use env_file::given_variables;
pub use gpus::{GpuChoice, GpusFlag};
pub use group::GroupAdd;
pub use hosts_base::HostsBase;
pub use idmap::set_maps;
pub use image_volume::{IDENTITY, ImageVolume, OFFSET, SQUASHFS, image_in_place};
pub use inputs::{
    CGROUP, CgroupHierarchy, ImageDefaults, KEEP_GROUPS, RUN_INIT, STOP_SIGNAL, SpecInputs,
    SpecRoot, TimeNamespace, TopLayer,
};
pub use mount::MountFlag;
pub use mounts::{COPY_UP, DATA, NEW, SUBPATH, anonymous_folders, shared_memory};
pub use moved_paths::{move_paths, set_lower};
pub use name::{ContainerName, Hostname, VolumeName};
pub use namespace::{CgroupMode, HelperFlag, IpcMode, JoinTarget, NamespaceSharing, NetworkMode};
pub use options::ContainerOptions;
pub use overlay::{OverlayAccess, OverlayFlag, UPPER, WORK};
pub use own_account::{GROUP_ENTRY, PASSWD_ENTRY};
pub use parse::parse_config;
pub use personality::PersonalityFlag;
pub use process::{ids_needed, image_user, own_user};
pub use publish::{ExposedPorts, PublishValue, PublishedPorts};
pub use resources::Resources;
pub use root_emulation::RootEmulation;
pub use secret::{RecordedSecret, SECRETS, SecretFlag, SecretForm, SecretName};
pub use security_option::SecurityOption;
pub use size::Size;
pub use storage_driver::{
    COPIED, FUSE, IDMAP, IMAGE_LOWER, RECORDED_LOWERS, Stacking, StorageDriver, UpperOwner,
    VOLATILE, forget_driver, lower_layers,
};
pub use switch::parse_switch;
pub use sysctl::Sysctl;
pub use tmpfs::TmpfsMount;
pub use ulimit::Ulimit;
pub use user::UserFlag;
pub use volume::{VolumeContent, VolumeFlag, VolumeKind, VolumeSource};
pub use volumes::{ImageVolumes, has_mount_at, name_volumes, sources_to_make, volume_names};
pub use volumes_from::{VolumesFrom, asked_for, is_disposable, source};
