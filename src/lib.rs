//! usnea: a container runner for users without root privileges. This page is the map of the modules.
//!
//! Imports point down only. Modules of one row do not import each other. The shared vocabulary is one row in two lines:
//!
//! ```text
//! cli                       command line: arguments (clap), tables, JSON output
//! container oci quadlet     verbs of usnea; command line of an OCI runtime; systemd services from Quadlet files
//! documents                 structs of the JSON that docker and podman print
//! monitor                   process that stays beside a container
//! engine                    the OCI runtime: turns a spec into a process
//! userns image rootfs cgroup net readiness spec security cdi    one facility each, without regard to containers
//! config host               paths and settings of usnea; abilities of this machine
//! layer                     format of the files in a layer: whiteouts, opaque folders, recorded owners
//! ids files amount digest duration capability expression forward go_json      shared vocabulary
//!   cdi_name hook_point host_entry network_attachment network_name object_id seccomp_source  shared vocabulary
//! error hint                error values, and their hints
//! sys                       system calls; the only unsafe code
//! ```
//!
//! Glossary: one name for a concept in code, messages and manual.
//!
//! ```text
//! base          the user namespace that owns the files of the store: its root is the user, subordinate IDs follow
//! base process  the first process of a launch, in base: it does what needs the IDs of base
//! bundle        the folder with config.json that the caller of an OCI runtime names
//! container     a workspace with a record on disk
//! disposable    removed when the command ends
//! document      JSON in the shape of docker or podman
//! group         commands that share one container: the ranks of a job step on one node
//! helper        the program that connects a network namespace to the host's network: pasta, slirp4netns
//! hidden        not dumpable (prctl(2), PR_SET_DUMPABLE): closed to tracing, and to access through /proc
//! hint          the part of an error that says how to repair the cause
//! holder        the process that owns what several commands share: the mounts of images, or the container of a group
//! image         a configuration and a list of layers
//! keeper        the base process once the container runs: it ends the container when the parent ends
//! layer         the files that one step of an image's build added, changed or removed
//! levels        the user namespaces of a launch: base, and below it the container's own, if any
//! lower layer   a read-only layer of a root
//! monitor       the process that stays beside a container with a record
//! node cache    a store of pulled images on a disk of this machine
//! parent        the process that launches a container: a command of usnea, or a monitor
//! plan          all operations of one launch, in their order
//! pod           containers that share namespaces
//! record        the settings of a container, in its container.json
//! reference     the name of an image, with its tag or digest
//! rootfs        the directory that a container sees as /
//! spec          the OCI runtime configuration, config.json
//! step          one operation of a plan
//! store         the directory with all files of usnea
//! supervisor    the process that answers the system calls of root emulation
//! uplink        external connectivity of a container's or a pod's own network, through a helper
//! upper layer   the layer of a root that takes the changes
//! workspace     a root, layers, ID maps and a spec, being assembled or removed at the end
//! ```
#![warn(missing_docs)]

pub mod amount;
pub mod capability;
pub mod cdi;
pub mod cdi_name;
pub mod cgroup;
pub mod cli;
pub mod config;
pub mod container;
pub mod digest;
pub mod documents;
pub mod duration;
pub mod engine;
pub mod error;
pub mod expression;
pub mod files;
pub mod forward;
pub mod go_json;
pub mod hint;
pub mod hook_point;
pub mod host;
pub mod host_entry;
pub mod ids;
pub mod image;
pub mod layer;
pub mod monitor;
pub mod net;
pub mod network_attachment;
pub mod network_name;
pub mod object_id;
pub mod oci;
pub mod quadlet;
pub mod readiness;
pub mod rootfs;
pub mod seccomp_source;
pub mod security;
pub mod spec;
pub mod sys;
pub mod userns;
