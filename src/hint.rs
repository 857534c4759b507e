//! Table of hints that name commands or flags, and of consequences that `usnea doctor` tells by flags. The comment of a
//! hint names its case.
//!
//! Remedies for faults of a machine are in `host::hint`. All other code below `cli` names a setting by a
//! [`Setting`](crate::error::Setting), and leaves its notation to the caller.

use std::fmt::Display;

// Containers.

/// A command whose container differs from that of its group.
pub const JOIN_ALIKE: &str =
    "--join=none gives the command a container of its own, --join=TAG another group";

/// A running container that is to be removed.
pub const STOP_OR_FORCE: &str = "stop it first, or use --force";
/// A container that others require.
pub const REQUIRED: &str = "remove those first, or use --force: they do not start without it";
/// A running container that a clone replaces.
pub const STOP_OR_DESTROY: &str = "stop it first, or use --force with --destroy";
/// A name that another container or pod has.
pub const NAME_IN_USE: &str = "choose another name, or remove that first";
/// An unknown container.
pub const LIST_CONTAINERS: &str = "'usnea ps --all' lists all containers";
/// A container that runs on another machine.
pub const OTHER_HOST: &str = "its folder is shared by several machines: log in there; for a machine that is gone: usnea rm --force --other-host";
/// Descriptors for a container that is kept.
pub const DISPOSABLE_IN_FOREGROUND: &str = "use it with --rm and without --detach";
/// A preserved descriptor that is not open.
pub const PRESERVED_DESCRIPTORS: &str = "--preserve-fds N hands on the descriptors 3 to N+2, --preserve-fd those that it names: all must be open";
/// A store that commands still use.
pub const END_COMMANDS: &str =
    "end what 'usnea run --rm' or another command of usnea still does, then try again";
/// A container that ends with a unit of systemd.
pub const STAY_IN_UNIT: &str =
    "run it without --detach, or set Type=forking, or Type=oneshot with RemainAfterExit=yes";
/// Settings of a health check without a command.
pub const HEALTH_COMMAND: &str = "--health-cmd gives the command; the image has none";
/// A container without a health check.
pub const NEW_HEALTH_COMMAND: &str = "--health-cmd gives one to a new container";
/// A writable root that is an image.
pub const EXPORT_ROOT: &str = "'usnea export IMAGE | tar -x' makes a root directory of it";
/// An overlay that does not exist, or cannot be written to.
pub const MAKE_OVERLAY: &str = "make a folder: 'mkdir DIR', then --overlay DIR";
/// An overlay with an ext3 file system.
pub const EXT3_OVERLAY: &str = "a folder keeps changes: 'mkdir DIR', then --overlay DIR; files that are only read fit in a squashfs: 'mksquashfs DIR FILE'";
/// A file that is no image to run in place.
pub const LOAD_ARCHIVE: &str = "an archive of images is loaded first: 'usnea load -i FILE'";
/// A squashfs image without a configuration.
pub const SAVE_SQUASHFS: &str = "'usnea save --format squashfs' writes files with a configuration";
/// A squashfs image of another version or codec.
pub const CONVERT_SQUASHFS: &str =
    "convert it: 'unsquashfs -d DIR FILE', then 'mksquashfs DIR NEWFILE -comp zstd'";
/// A SIF file with an ext3 file system.
pub const CONVERT_SIF: &str = "'apptainer build NEW.sif OLD.sif' makes a file with squashfs of it";
/// A SIF file with several layers.
pub const SQUASH_SIF: &str =
    "'usnea save --format squashfs -o NEW.sqsh FILE' makes a single one of them";
/// A SIF file with an encrypted file system.
pub const DECRYPT_SIF: &str = "with its key, 'apptainer build --sandbox DIR FILE' unpacks it, and 'usnea run dir:DIR' runs that";
/// A SIF file, or a part of it, without a signature that the policy requires.
pub const SIGN_SIF: &str = "'apptainer sign FILE' signs all of it; to accept the file as it is, give its path a rule of its own in the signature policy";
/// A SIF file that was changed after it was signed.
pub const FETCH_SIF: &str = "fetch it again from its origin, or have it signed again";
/// A file without OpenPGP keys, or with a secret one.
pub const EXPORT_KEY: &str = "'gpg --export --armor FINGERPRINT' writes a public key";
/// A file that is shorter than it says.
pub const COPY_AGAIN: &str = "copy it again: the copy was not complete";
/// A runtime that is not usnea.
pub const OTHER_RUNTIME: &str = "'usnea spec' writes a config.json for any runtime";
/// A size limit for the files of a container.
pub const BOUNDED_FOLDER: &str =
    "--read-only with --tmpfs PATH:size=BYTES bounds what a container writes";
/// A mount over the processes in /proc.
pub const HOST_PROCESSES: &str = "--pid host shows the host's processes";
/// A label of a volume in a mount.
pub const VOLUME_LABEL: &str = "'usnea volume create --label' gives labels";
/// A file in place of a folder, or the reverse.
pub const OVERWRITE: &str = "--overwrite replaces it";
/// An unknown network.
pub const LIST_NETWORKS: &str = "'usnea network ls' lists all networks";
/// An unknown pod.
pub const LIST_PODS: &str = "'usnea pod ps' lists all pods";
/// A pod with running members that is to be removed.
pub const STOP_POD_OR_FORCE: &str = "stop it first, or use --force";
/// A container that boots systemd without a cgroup of its own.
pub const SEE_CGROUPS: &str =
    "'usnea doctor' tells how to get one; --systemd=false runs it as any other command";
/// An unknown secret.
pub const LIST_SECRETS: &str =
    "'usnea secret ls' lists all secrets, 'usnea secret create' makes one";
/// A secret whose name is taken.
pub const REPLACE_SECRET: &str = "--replace gives it the new content";
/// An unknown volume.
pub const LIST_VOLUMES: &str = "'usnea volume ls' lists all volumes";
/// A port of the host that is in use.
pub const OTHER_PORT: &str =
    "'usnea ps' shows the ports of containers; -p PORT alone takes one that is free";
/// A port of an IPv6 address, and a helper that forwards none.
pub const IPV6_PORTS: &str = "--network pasta forwards them";

// OCI runtime.

/// A bundle without a user namespace, of an ordinary user.
pub const ROOTLESS_BUNDLE: &str =
    "'usnea oci spec --rootless' writes a config.json with one; or run it in 'usnea unshare'";
/// A container of an OCI runtime that is not stopped.
pub const KILL_OR_FORCE: &str = "kill it first, or use --force";
/// An unknown container of an OCI runtime.
pub const OTHER_ROOT: &str = "'usnea oci list' lists those of this --root";
/// A terminal for a container that is left alone.
pub const CONSOLE_SOCKET: &str = "--console-socket names the socket that gets it";

// Namespaces and IDs.

/// A container in a container whose root is emulated.
pub const ONE_ROOT_EMULATION: &str = "the container around this one emulates root already, and only one can: start one of the two with --root-emulation off";

/// A kernel parameter that is the name of the host.
pub const HOSTNAME: &str = "use --hostname or --domainname";
/// A kernel parameter of the IPC namespace.
pub const NOT_IPC_HOST: &str = "leave out --ipc host";
/// A kernel parameter of the network namespace.
pub const NOT_NETWORK_HOST: &str = "leave out --network host";
/// A machine without a network helper, as every container is told of it.
pub const NO_WARNING_OF_NETWORK: &str = "'default = \"none\"' in section [network] of usnea.toml makes that the default without a warning";
/// Ports without a network.
pub const NOT_NETWORK_NONE: &str = "leave out --network none";
/// Hint for a container whose network cannot have others beside it.
pub const NEW_NETWORK: &str = "make the container anew with --network";
/// Hint for a container without any network.
pub const LEAVE_NONE: &str =
    "disconnect it from network none first: 'usnea network disconnect none CONTAINER'";
/// Hint for more published ports than open files.
pub const OPEN_FILES: &str =
    "publish fewer ports, or raise the limit: 'ulimit -Hn', DefaultLimitNOFILE of systemd";
/// Hint for published ports on internal networks alone.
pub const NETWORK_WITH_UPLINK: &str = "add a network that is not internal, or --network private";
/// An ID that the container does not have.
pub const SUBORDINATE_IDS: &str = "the container has as many IDs as you have subordinate ones: -u 0 runs it as root, --userns keep-id:uid=UID,gid=GID as that user; 'usnea doctor' tells how to get more";
/// User 0 in a container that does not have it.
pub const NO_ROOT_ID: &str = "the container was made without root: leave out -u, or make it without --userns keep-id; 'usnea doctor' tells how to get more IDs";
/// An ID that the container of an ordinary user does not have.
pub const KEEP_ID: &str = "--userns keep-id gives you your own ID in the container";
/// Groups without subordinate IDs.
pub const KEEP_GROUPS: &str =
    "see 'usnea doctor'; --group-add keep-groups keeps those that you have";
/// A shortage of free subordinate IDs.
pub const FEWER_IDS: &str = "a container has its range until it is removed: see 'usnea ps --all'; --userns auto:size=N asks for fewer";
/// A mount of which the kernel maps no IDs.
pub const CHOWN_OR_KEEP_ID: &str =
    "'U' gives the files to the container's user, --userns keep-id makes that user you";
/// A failed emulation of root.
pub const NO_ROOT_EMULATION: &str = "--root-emulation off runs without it";
/// A batch job, which no container leaves for a cgroup elsewhere.
pub const LIMITS_OF_JOB: &str = "a container of a batch job has the limits of the job: ask the batch system for them (srun --mem)";

/// A service without a delegated cgroup.
pub const DELEGATE_TO_SERVICE: &str =
    "a service needs Delegate=yes; elsewhere: systemd-run --user --scope -p Delegate=yes usnea ...";
/// A move that the user manager does not make.
pub const USER_JOURNAL: &str = "see 'journalctl --user -n 20'";
/// A mount point where the user may not mount.
pub const ANOTHER_MOUNT_POINT: &str =
    "mount it elsewhere, or inside of a user namespace (unshare --user --map-root-user --mount)";
/// A machine without fusermount3.
pub const MOUNT_IN_NAMESPACE: &str =
    "run it inside of a user namespace (unshare --user --map-root-user --mount), or install fuse3";
/// A user namespace that cannot be made.
pub const ASK_DOCTOR: &str = "'usnea doctor' tells what containers need here";
/// A refused map of IDs.
pub const CHECK_SUBORDINATE_IDS: &str =
    "see /etc/subuid and /etc/subgid; 'usnea doctor' tells what is wrong";
/// A map with IDs of others.
pub const SEE_SUBORDINATE_IDS: &str = "see /etc/subuid and /etc/subgid, or 'usnea doctor'";

// Images and registries.

/// An index without an image for this platform.
pub const CHOOSE_PLATFORM: &str = "choose one with --platform";
/// An index that an archive cannot hold.
pub const ONE_PLATFORM: &str =
    "choose the image of one platform with --platform, or write an oci-archive";
/// A tag where a repository is meant.
pub const NO_TAG: &str = "leave out the tag, or --all-tags";
/// A tag in a search for tags.
pub const LIST_TAGS: &str = "leave out the tag: --list-tags lists all";
/// A manifest list that exists.
pub const AMEND_LIST: &str = "add to it with --amend, or remove it";
/// An image of a manifest list that is gone.
pub const LIST_ALONE: &str =
    "'usnea manifest remove' takes it out of the list; --all=false sends the list alone";
/// A compression that a format cannot name.
pub const COMPRESS_ANEW: &str = "--compression-format gzip compresses it anew";
/// An image that containers use.
pub const REMOVE_CONTAINERS_OR_FORCE: &str = "remove its containers first, or use --force";
/// An image with several names.
pub const REMOVE_NAMES_OR_FORCE: &str = "remove them one by one, or all with --force";
/// A registry without TLS.
pub const NO_TLS: &str = "a registry without TLS is used with --tls-verify=false";
/// A certificate of an unknown authority.
pub const TRUST_AUTHORITY: &str = "put the certificate of its authority into certs.d/HOST:PORT/ca.crt (below /etc/docker or /etc/containers), or use --tls-verify=false";
/// Logins without a safe place.
pub const NAME_AUTHFILE: &str = "name a file with --authfile or REGISTRY_AUTH_FILE";
/// A runtime directory that does not exist.
pub const UNSET_RUNTIME_DIR: &str = "unset XDG_RUNTIME_DIR, or name a file with --authfile";
/// A missing signature.
pub const SIGN_RECURSIVELY: &str = "sign it with 'cosign sign --key ... --recursive': for an image of several platforms, each one's manifest must be signed";
/// An archive without manifest.json.
pub const ARCHIVE_WITH_MANIFEST: &str =
    "what docker save, podman save and usnea save write has one (docker since 1.10)";
/// A file that is no archive.
pub const ARCHIVE_OF_IMAGES: &str = "what docker save, podman save and usnea save write is one";
/// An archive of a root directory.
pub const IMPORT_ROOT: &str =
    "the root directory of an image is imported, not loaded: usnea import";
/// An unknown manifest list.
pub const CREATE_LIST: &str = "'usnea manifest create' makes one";
/// An unknown entry of a manifest list.
pub const INSPECT_LIST: &str = "'usnea manifest inspect' shows the digests of those that are";
/// An unknown image.
pub const LIST_IMAGES: &str =
    "'usnea images' lists the images of the store; 'usnea pull' fetches others";

// Store.

/// A full disk.
pub const MORE_SPACE: &str = "free some space there ('usnea image prune' and 'usnea rm' remove unused data), or keep usnea's files elsewhere with --root or USNEA_ROOT";
/// A full disk while a container is changed.
pub const MORE_SPACE_FOR_CONTAINERS: &str =
    "free some space there, or keep usnea's files elsewhere with --root or USNEA_ROOT";
/// A folder for the node cache that another user controls.
pub const OTHER_NODE_CACHE: &str = "name another folder with 'node-cache' in section [images] of ~/.config/usnea/usnea.toml; node-cache = \"\" turns the cache off";
/// A user without a name, in the folder of the node cache.
pub const USER_NUMBER: &str = "%U in place of %u is your number";
/// An unknown home directory.
pub const NAME_ROOT: &str = "set HOME, or name a folder with --root or USNEA_ROOT";
/// A file system without locks.
pub const NO_FLOCK: &str = "nothing can be removed on a file system without flock: keep usnea's files elsewhere with --root";
/// A missing or damaged file.
pub const REPAIR_OR_PULL: &str =
    "'usnea check --repair' repairs the store, or pull the image again";
/// A damaged blob while an image is pulled.
pub const REPAIR_AND_PULL: &str = "'usnea check --repair' removes it; then pull again";
/// A damaged blob while an image is loaded.
pub const REPAIR_AND_LOAD: &str = "'usnea check --repair' removes it; then load the image again";
/// A missing blob of a pushed image.
pub const FIND_MISSING_AND_PULL: &str =
    "'usnea check --repair' says what is missing; then pull the image again";
/// A missing manifest of a pushed image.
pub const REMOVED_OR_REPAIR: &str =
    "the image was removed meanwhile, or 'usnea check --repair' repairs the store";
/// A lost list of images that has a copy.
pub const REPAIR_FROM_COPY: &str = "'usnea check --repair' makes it anew from its copy";
/// An unreadable list of images.
pub const REPAIR_FROM_BLOBS: &str =
    "'usnea check --repair' makes it anew from the blobs that are there";

// Spread of an image in a job.

/// A job without a token, or with several.
pub const SPREAD_TOKEN: &str =
    "all ranks need the same one: export USNEA_SPREAD_TOKEN=$(openssl rand -hex 16) before srun";
/// A rank without a number.
pub const SPREAD_RANK: &str =
    "start it by 'srun --ntasks-per-node=1', or give --rank N and --ranks N";
/// Rank 0 that cannot be reached, or that cannot listen.
pub const SPREAD_ADDRESS: &str = "--address HOST:PORT, the same at all ranks, names rank 0; --listen IP chooses an address of this machine";
/// Ranks that never came.
pub const SPREAD_MISSING: &str = "the ranks that came have the image; --ranks is the number of ranks, --timeout the wait for them";

// Consequences for containers, as the doctor tells them.

/// A kernel without system-call filters.
pub const COST_NO_FILTERS: &str =
    "containers can use every system call: --security-opt seccomp=unconfined must be given";
/// A kernel without idmapped mounts.
pub const COST_NO_IDMAPS: &str =
    "--userns=keep-id and auto have usnea's own file server translate IDs: slower";
/// A machine without a network helper.
pub const COST_NO_NETWORK_HELPER: &str = "containers have no external connectivity of their own, and no published ports: --network host or none";
/// A machine without TUN devices.
pub const COST_NO_TUN: &str = "pasta and slirp4netns cannot work: --network host or none";
/// A machine without delegated controllers.
pub const COST_NO_LIMITS: &str =
    "--memory, --cpus, --pids-limit and their like are refused; containers run without limits";
/// Maps of IDs that are a container's own.
pub const OWN_IDS: &str = "IDs of a container's own (keep-id, auto, --uidmap)";

// With values.

/// An image of another platform.
pub fn pull_platform(platform: impl Display) -> String {
    format!("usnea pull --platform {platform} fetches that one")
}

/// A signature by a key that the signature policy does not name.
pub fn trust_key(key: impl Display) -> String {
    format!(
        "if that key is to be trusted, add the file of 'gpg --export --armor {key}' to keyPaths"
    )
}

/// A login in another file.
pub fn log_out_of_file(path: impl Display, account: impl Display) -> String {
    format!("its login is in {path}: usnea logout --authfile {path} {account}")
}

/// A cgroup with processes of other programs.
pub fn own_scope(cgroup: impl Display) -> String {
    format!(
        "{cgroup} holds processes of other programs, so it cannot hand controllers down: \
         in a unit, have usnea as ExecStart= or set DelegateSubgroup=main (systemd 254); elsewhere, \
         systemd-run --user --scope -p Delegate=yes usnea ... has one of its own"
    )
}

/// A unit that was not restarted with a newer image; `option` selects the user's manager.
pub fn restart_unit(unit: &str, option: Option<&str>) -> String {
    let command = match option {
        Some(option) => format!("systemctl {option} restart {unit}"),
        None => format!("sudo systemctl restart {unit}"),
    };
    format!(
        "the container runs on with the old image: '{command}' starts it with the new one; see usnea-units(7), Updates"
    )
}

/// A volume that containers use.
pub fn remove_users(containers: &[String]) -> String {
    format!("remove first what uses it: usnea rm {}", containers.join(" "))
}

/// An image that a manifest list needs here.
pub fn pull_first(place: impl Display) -> String {
    format!("first 'usnea pull {place}'")
}

/// A container without its image.
pub fn pull_again(place: impl Display) -> String {
    format!("'usnea pull {place}' brings it back, if a registry has it")
}

/// A container whose record is not whole.
pub fn remove_by_force(container: &str) -> String {
    format!("usnea rm -f {container}")
}
