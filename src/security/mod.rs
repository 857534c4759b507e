//! Default confinement of a container: docker's capabilities, hidden and read-only parts of /proc and /sys. Added to a
//! config that has none yet, whatever the origin of the config.

pub mod emulation;
pub mod landlock;
pub mod seccomp;

use std::collections::HashSet;
use std::path::Path;

use oci_spec::runtime::{Capabilities, LinuxCapabilities, LinuxCapabilitiesBuilder, Process, Spec};

use crate::capability::{Capability, CapabilityChange, IN_KERNEL_ORDER};
use crate::error::{Context, Error, Result, Setting};
use crate::fail;
use crate::host::hint::Hint;

/// Annotation: capabilities requested by name, which a user other than root gets too.
const ASKED: &str = "usnea.capabilities";

/// docker's default set.
const DEFAULT: [Capability; 14] = [
    Capability::Chown,
    Capability::DacOverride,
    Capability::Fsetid,
    Capability::Fowner,
    Capability::Mknod,
    Capability::NetRaw,
    Capability::Setgid,
    Capability::Setuid,
    Capability::Setfcap,
    Capability::Setpcap,
    Capability::NetBindService,
    Capability::SysChroot,
    Capability::Kill,
    Capability::AuditWrite,
];

/// docker's list (28.x, daemon/pkg/oci/defaults.go): paths that reveal facts about the host, or about other containers.
const MASKED: [&str; 12] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];

/// docker's list (28.x): paths that change the host.
const READ_ONLY: [&str; 5] =
    ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// Folder of the processors in sysfs.
const PROCESSORS: &str = "/sys/devices/system/cpu";

/// Returns the folders that count how often a processor was throttled: a clock that tells what other containers compute
/// (docker's GHSA-6fw5-f8r9-fgfm). A machine has them for all of its processors, or for none; one that is offline gets
/// its folder later, and is listed too.
fn throttling(processors: &Path) -> Vec<String> {
    const FOLDER: &str = "thermal_throttle";
    if !processors.join("cpu0").join(FOLDER).exists() {
        return Vec::new();
    }
    let possible = std::fs::read_to_string(processors.join("possible")).unwrap_or_default();
    let ranges = possible.trim().split(',').filter_map(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        // The kernel's own maximum is 8192: a longer range is no list of processors.
        Some(first.parse::<u32>().ok()?..=last.parse::<u32>().ok()?.min(8191))
    });
    ranges.flatten().map(|number| format!("{PROCESSORS}/cpu{number}/{FOLDER}")).collect()
}

/// Returns the capabilities of a container without capability flags.
pub fn default_capabilities() -> Vec<String> {
    DEFAULT.iter().map(ToString::to_string).collect()
}

/// Paths in /proc and /sys that are hidden from a container, or read-only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuardedPaths {
    hidden: Vec<String>,
    read_only: Vec<String>,
}

impl Default for GuardedPaths {
    fn default() -> Self {
        let owned =
            |paths: &[&str]| paths.iter().map(|path| (*path).to_owned()).collect::<Vec<_>>();
        let mut hidden = owned(&MASKED);
        hidden.extend(throttling(Path::new(PROCESSORS)));
        Self { hidden, read_only: owned(&READ_ONLY) }
    }
}

impl GuardedPaths {
    /// Guards no path at all.
    pub fn none() -> Self {
        Self { hidden: Vec::new(), read_only: Vec::new() }
    }

    /// Unguards a path; a last part `*` stands for any name.
    pub fn unmask(&mut self, pattern: &str) {
        let is_of = |path: &String| match pattern.strip_suffix('*') {
            Some(folder) => path.strip_prefix(folder).is_some_and(|name| !name.contains('/')),
            None => path == pattern.trim_end_matches('/'),
        };
        self.hidden.retain(|path| !is_of(path));
        self.read_only.retain(|path| !is_of(path));
    }

    /// Hides an additional path.
    pub fn mask(&mut self, path: &str) {
        self.hidden.push(path.to_owned());
    }
}

/// Sets the capabilities of the process, and guards the host's paths. Errors: a capability unknown to this kernel, a
/// config without a process.
pub fn confine(
    spec: &mut Spec,
    add: &[CapabilityChange],
    drop: &[CapabilityChange],
    paths: GuardedPaths,
) -> Result<()> {
    let known = known_to_kernel(Path::new("/proc/sys/kernel/cap_last_cap"))?;
    match spec.linux_mut() {
        Some(linux) => {
            linux.set_masked_paths(Some(paths.hidden));
            linux.set_readonly_paths(Some(paths.read_only));
        }
        None => fail!("a config without its linux part"),
    }
    let Some(process) = spec.process_mut() else {
        fail!("a config without a process");
    };
    let (bounding, asked) = asked(add, drop, known)?;
    let sets = Sets::of(process.user().uid(), bounding, asked.clone());
    process.set_capabilities(Some(sets.config()?));
    if !asked.is_empty() {
        let mut names: Vec<String> = asked.iter().map(ToString::to_string).collect();
        names.sort();
        let mut annotations = spec.annotations().clone().unwrap_or_default();
        annotations.insert(ASKED.to_owned(), names.join(","));
        spec.set_annotations(Some(annotations));
    }
    Ok(())
}

/// Privileges of an additional command in a running container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Privileges {
    /// Same as the container's own command.
    #[default]
    Containers,
    /// All capabilities (`--privileged`).
    All,
}

/// Sets the capabilities of an additional process in the container of `spec`. Errors: a damaged spec.
pub fn confine_entry(process: &mut Process, spec: &Spec, privileges: Privileges) -> Result<()> {
    let (bounding, asked) = match privileges {
        Privileges::All => {
            let known = known_to_kernel(Path::new("/proc/sys/kernel/cap_last_cap"))?;
            asked(&[CapabilityChange::All], &[], known)?
        }
        Privileges::Containers => {
            let capabilities = process.capabilities().as_ref();
            let bounding =
                capabilities.and_then(|sets| sets.bounding().clone()).unwrap_or_default();
            let names = spec.annotations().as_ref().and_then(|all| all.get(ASKED));
            let names = names.into_iter().flat_map(|names| names.split(','));
            let asked = names.map(|name| match name.parse() {
                Ok(CapabilityChange::One(capability)) => Ok(capability),
                _ => fail!("config.json: annotation {ASKED}: '{name}' is no capability"),
            });
            (bounding, asked.collect::<Result<_>>()?)
        }
    };
    process.set_capabilities(Some(Sets::of(process.user().uid(), bounding, asked).config()?));
    Ok(())
}

/// Returns the capabilities of this kernel, which are numbered without gaps (capabilities(7), cap_last_cap).
fn known_to_kernel(last: &Path) -> Result<&'static [Capability]> {
    let failed = || format!("cannot read {}", last.display());
    let text = std::fs::read_to_string(last).context(failed).hint(|| Hint::ProcSubset)?;
    let last = text.trim().parse::<usize>().map_err(Error::new).context(failed)?;
    // A kernel newer than this table has capabilities that nobody can name yet.
    Ok(&IN_KERNEL_ORDER[..IN_KERNEL_ORDER.len().min(last.saturating_add(1))])
}

/// The five sets of capabilities(7): effective and permitted are alike, and so are inheritable and ambient.
#[derive(Debug)]
struct Sets {
    bounding: Capabilities,
    held: Capabilities,
    passed_on: Capabilities,
}

/// Returns the bounding set from the flags, and its part that was requested rather than default.
fn asked(
    add: &[CapabilityChange],
    drop: &[CapabilityChange],
    known: &[Capability],
) -> Result<(Capabilities, Capabilities)> {
    let added = named(Setting::CapAdd, add, known)?;
    let dropped = named(Setting::CapDrop, drop, known)?;
    let all = || known.iter().copied();
    // docker's order: adding ALL counts for more than dropping ALL, and adding a name for more than dropping the name.
    let bounding: Capabilities = if add.contains(&CapabilityChange::All) {
        let bounding: Capabilities = all().filter(|one| !dropped.contains(one)).collect();
        return Ok((bounding.clone(), bounding));
    } else if drop.contains(&CapabilityChange::All) {
        added.clone()
    } else {
        let default = all().filter(|capability| DEFAULT.contains(capability));
        let kept = default.filter(|capability| !dropped.contains(capability));
        kept.chain(added.iter().copied()).collect()
    };
    let asked = added.intersection(&bounding).copied().collect();
    Ok((bounding, asked))
}

impl Sets {
    /// Builds the sets. Root holds its whole bounding set and passes on none by inheritance: set-user-ID programs of
    /// another user could take up a non-empty inheritable set (CVE-2022-27649). Another user holds the capabilities
    /// requested by name, and keeps them across exec(2), which requires all of the sets.
    fn of(uid: u32, bounding: Capabilities, asked: Capabilities) -> Self {
        if uid == 0 {
            return Self { held: bounding.clone(), bounding, passed_on: Capabilities::new() };
        }
        Self { bounding, held: asked.clone(), passed_on: asked }
    }

    fn config(self) -> Result<LinuxCapabilities> {
        LinuxCapabilitiesBuilder::default()
            .bounding(self.bounding)
            .effective(self.held.clone())
            .permitted(self.held)
            .inheritable(self.passed_on.clone())
            .ambient(self.passed_on)
            .build()
            .map_err(Error::new)
    }
}

/// Returns the capabilities given by name. Errors: a name unknown to the kernel.
fn named(
    setting: Setting,
    changes: &[CapabilityChange],
    known: &[Capability],
) -> Result<HashSet<Capability>> {
    let mut named = HashSet::new();
    for change in changes {
        if let CapabilityChange::One(capability) = change {
            if !known.contains(capability) {
                return Err(Error::invalid("this kernel has no such capability"))
                    .context(|| setting.with(capability));
            }
            named.insert(*capability);
        }
    }
    Ok(named)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changes(text: &str) -> Vec<CapabilityChange> {
        text.split_whitespace().map(|name| name.parse().unwrap()).collect()
    }

    fn sorted(set: &Capabilities) -> Vec<String> {
        let mut names: Vec<String> = set.iter().map(Capability::to_string).collect();
        names.sort();
        names
    }

    fn sets(uid: u32, add: &str, drop: &str) -> Sets {
        let (bounding, asked) = asked(&changes(add), &changes(drop), &IN_KERNEL_ORDER).unwrap();
        Sets::of(uid, bounding, asked)
    }

    #[test]
    fn changes_combine_as_docker_says() {
        let names = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let default = sorted(&DEFAULT.into_iter().collect());
        assert_eq!(sorted(&sets(0, "", "").bounding), default);
        assert_eq!(sorted(&sets(0, "", "all").bounding), names(""));
        assert_eq!(sorted(&sets(0, "kill chown", "all").bounding), names("CHOWN KILL"));
        assert_eq!(sets(0, "all", "").bounding.len(), IN_KERNEL_ORDER.len());
        assert_eq!(sets(0, "all", "all").bounding.len(), IN_KERNEL_ORDER.len());
        let all_but = sets(0, "all", "sys_admin").bounding;
        assert_eq!(all_but.len(), IN_KERNEL_ORDER.len() - 1);
        assert!(!all_but.contains(&Capability::SysAdmin));
        let more = sets(0, "net_admin", "kill mknod").bounding;
        assert_eq!(more.len(), DEFAULT.len() - 1);
        assert!(more.contains(&Capability::NetAdmin) && !more.contains(&Capability::Kill));
    }

    #[test]
    fn root_passes_nothing_on_by_inheritance() {
        for (add, drop) in [("", ""), ("all", ""), ("net_admin", "all")] {
            let sets = sets(0, add, drop);
            assert_eq!(sets.held, sets.bounding, "{add} {drop}");
            assert!(sets.passed_on.is_empty(), "{add} {drop}");
        }
    }

    #[test]
    fn another_user_holds_what_was_added_and_nothing_else() {
        let none = sets(1000, "", "");
        assert!(none.held.is_empty() && none.passed_on.is_empty());
        assert_eq!(none.bounding.len(), DEFAULT.len());
        let one = sets(1000, "net_bind_service", "");
        assert_eq!(sorted(&one.held), ["NET_BIND_SERVICE"]);
        assert_eq!(one.held, one.passed_on);
        let all = sets(1000, "all", "sys_admin");
        assert_eq!(all.held, all.bounding);
        assert!(!all.held.contains(&Capability::SysAdmin));
    }

    #[test]
    fn a_capability_the_kernel_does_not_have_is_an_error_only_by_name() {
        let old = &IN_KERNEL_ORDER[..38];
        let error = asked(&changes("bpf"), &[], old).unwrap_err();
        assert_eq!(error.to_string(), "--cap-add BPF: this kernel has no such capability");
        assert!(asked(&[], &changes("bpf"), old).is_err());
        let (bounding, asked) = asked(&changes("all"), &[], old).unwrap();
        let all = Sets::of(0, bounding, asked);
        assert_eq!(all.bounding.len(), 38);
    }

    #[test]
    fn the_last_capability_is_the_kernels_word() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("cap_last_cap");
        for (text, count) in [("40\n", 41), ("37\n", 38), ("50\n", 41)] {
            std::fs::write(&file, text).unwrap();
            assert_eq!(known_to_kernel(&file).unwrap().len(), count);
        }
        std::fs::write(&file, "x").unwrap();
        assert!(known_to_kernel(&file).is_err());
    }

    #[test]
    fn a_config_is_confined_whatever_was_in_it() {
        let mut spec = Spec::default();
        confine(&mut spec, &[], &[], GuardedPaths::default()).unwrap();
        let process = spec.process().as_ref().unwrap();
        let capabilities = process.capabilities().as_ref().unwrap();
        assert_eq!(capabilities.bounding().as_ref().unwrap().len(), DEFAULT.len());
        assert!(capabilities.inheritable().as_ref().unwrap().is_empty());
        assert!(capabilities.ambient().as_ref().unwrap().is_empty());
        let linux = spec.linux().as_ref().unwrap();
        assert_eq!(linux.masked_paths().as_ref().unwrap()[..MASKED.len()], MASKED);
        assert_eq!(linux.readonly_paths().as_ref().unwrap()[..], READ_ONLY);
    }

    #[test]
    fn counters_of_throttling_are_hidden_for_every_processor_that_may_come() {
        let sys = tempfile::tempdir().unwrap();
        std::fs::write(sys.path().join("possible"), "0-2,5\n").unwrap();
        assert!(throttling(sys.path()).is_empty());
        std::fs::create_dir_all(sys.path().join("cpu0/thermal_throttle")).unwrap();
        let numbers = [0, 1, 2, 5];
        let all = numbers.map(|number| format!("{PROCESSORS}/cpu{number}/thermal_throttle"));
        assert_eq!(throttling(sys.path()), all);
        std::fs::write(sys.path().join("possible"), "nonsense").unwrap();
        assert!(throttling(sys.path()).is_empty());
    }

    #[test]
    fn paths_are_let_go_of_one_by_one_or_by_their_folder() {
        let mut paths = GuardedPaths::default();
        paths.hidden.retain(|path| !path.contains("thermal_throttle"));
        paths.unmask("/proc/acpi");
        paths.unmask("/proc/sys/");
        assert!(!paths.hidden.contains(&"/proc/acpi".to_owned()));
        assert_eq!(paths.hidden.len(), MASKED.len() - 1);
        assert_eq!(paths.read_only.len(), READ_ONLY.len() - 1);
        paths.unmask("/proc/*");
        assert_eq!(paths.hidden, ["/sys/devices/virtual/powercap", "/sys/firmware"]);
        assert!(paths.read_only.is_empty());
        paths.mask("/proc/uptime");
        assert!(paths.hidden.contains(&"/proc/uptime".to_owned()));
    }
}
