//! Limits from config.json (`linux.resources`), as files of a cgroup of version 2.

use std::collections::BTreeSet;

use oci_spec::runtime::{LinuxBlockIo, LinuxCpu, LinuxMemory, LinuxResources, LinuxThrottleDevice};

use crate::error::{Error, Result};
use crate::fail;

/// File of a cgroup, with the value to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CgroupSetting {
    /// Name of the file, such as `memory.max`.
    pub file: String,
    /// Value to write.
    pub value: String,
    /// True if requested. Otherwise the setting accompanies another, and is skipped if the kernel has no such file.
    pub is_asked: bool,
}

/// Limits of a cgroup, in the order of their writing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CgroupLimits(Vec<CgroupSetting>);

const UNLIMITED: &str = "max";

/// Property of a systemd unit, and its value.
pub type UnitShare = (&'static str, u64);

/// Files whose values count relative to the group's siblings. A group alone in another one has no siblings, so the
/// outer one must have the values too.
const RELATIVE: [&str; 7] = [
    "cpu.weight",
    "cpu.weight.nice",
    "cpu.idle",
    "io.weight",
    "io.bfq.weight",
    "memory.low",
    "memory.min",
];

impl CgroupLimits {
    /// Converts `resources`. Errors: a limit that version 2 lacks, or a contradiction.
    pub fn of(resources: &LinuxResources) -> Result<Self> {
        let cannot = [
            ("devices", resources.devices().as_ref().is_some_and(|list| !list.is_empty())),
            ("hugepageLimits", resources.hugepage_limits().is_some()),
            ("network", resources.network().is_some()),
            ("rdma", resources.rdma().is_some()),
        ];
        if let Some((what, _)) = cannot.iter().find(|(_, is_asked)| *is_asked) {
            fail!("config.json: linux.resources.{what} cannot be applied");
        }
        let mut limits = Self::default();
        if let Some(memory) = resources.memory() {
            limits.memory(memory)?;
        }
        if let Some(cpu) = resources.cpu() {
            limits.cpu(cpu)?;
        }
        if let Some(pids) = resources.pids() {
            limits.set("pids.max", amount(pids.limit()).filter(|_| pids.limit() != 0));
        }
        if let Some(io) = resources.block_io() {
            limits.io(io)?;
        }
        let mut unified: Vec<_> = resources.unified().iter().flatten().collect();
        unified.sort();
        for (file, value) in unified {
            check_file(file)?;
            limits.push(file, value.clone());
        }
        Ok(limits)
    }

    /// Settings to write.
    pub fn settings(&self) -> &[CgroupSetting] {
        &self.0
    }

    /// True if the list of settings is empty.
    pub fn are_none(&self) -> bool {
        self.0.is_empty()
    }

    /// Settings that are relative to the group's siblings (weights, protected memory), as properties of a systemd unit
    /// (systemd.resource-control(5)).
    pub fn shares(&self) -> Vec<UnitShare> {
        self.relative().filter_map(share).collect()
    }

    /// Settings relative to siblings for which a unit has no property.
    pub fn other_shares(&self) -> impl Iterator<Item = &CgroupSetting> {
        self.relative().filter(|setting| share(setting).is_none())
    }

    fn relative(&self) -> impl Iterator<Item = &CgroupSetting> {
        self.0.iter().filter(|setting| RELATIVE.contains(&setting.file.as_str()))
    }

    /// Controllers of the files to write.
    pub fn controllers(&self) -> BTreeSet<&str> {
        let controller =
            |setting: &'_ CgroupSetting| setting.file.split('.').next().unwrap_or_default().len();
        self.0
            .iter()
            .map(|setting| &setting.file[..controller(setting)])
            .filter(|name| *name != "cgroup")
            .collect()
    }

    fn push(&mut self, file: &str, value: String) {
        self.0.push(CgroupSetting { file: file.to_owned(), value, is_asked: true });
    }

    fn set(&mut self, file: &str, value: Option<String>) {
        self.push(file, value.unwrap_or_else(|| UNLIMITED.to_owned()));
    }

    fn memory(&mut self, memory: &LinuxMemory) -> Result<()> {
        let cannot = [
            ("kernel", memory.kernel().is_some()),
            ("kernelTCP", memory.kernel_tcp().is_some()),
            ("swappiness", memory.swappiness().is_some()),
            ("disableOOMKiller", memory.disable_oom_killer() == Some(true)),
        ];
        if let Some((what, _)) = cannot.iter().find(|(_, is_asked)| *is_asked) {
            fail!("config.json: linux.resources.memory.{what}: cgroup version 2 has no such thing");
        }
        let limit = memory.limit();
        match (memory.swap(), limit) {
            // docker's limit of both together; version 2 limits the swap alone.
            (Some(both), Some(limit)) if both >= 0 && limit >= 0 => {
                if both < limit {
                    fail!(Invalid: "the limit of memory and swap together, {both}, is lower than that of memory, {limit}"
                    );
                }
                self.set("memory.swap.max", Some((both - limit).to_string()));
            }
            (Some(both), _) if both < 0 => self.set("memory.swap.max", None),
            (Some(_), _) => {
                fail!(Invalid: "a limit of memory and swap together needs a limit of memory")
            }
            (None, Some(limit)) if limit >= 0 => self.0.push(CgroupSetting {
                file: "memory.swap.max".to_owned(),
                value: limit.to_string(),
                is_asked: false,
            }),
            (None, _) => {}
        }
        if let Some(limit) = limit {
            self.set("memory.max", amount(limit));
        }
        if let Some(reservation) = memory.reservation() {
            self.set("memory.low", amount(reservation));
        }
        Ok(())
    }

    fn cpu(&mut self, cpu: &LinuxCpu) -> Result<()> {
        if cpu.realtime_period().is_some() || cpu.realtime_runtime().is_some() {
            fail!("config.json: linux.resources.cpu.realtime*: cgroup version 2 has no such thing");
        }
        if let Some(shares) = cpu.shares().filter(|shares| *shares > 0) {
            self.push("cpu.weight", weight_of_shares(shares).to_string());
        }
        if cpu.quota().is_some() || cpu.period().is_some() {
            let quota = cpu.quota().filter(|quota| *quota > 0);
            let quota = quota.map_or_else(|| UNLIMITED.to_owned(), |quota| quota.to_string());
            let period = cpu.period().filter(|period| *period > 0).unwrap_or(100_000);
            self.push("cpu.max", format!("{quota} {period}"));
        }
        if let Some(idle) = cpu.idle() {
            self.push("cpu.idle", idle.to_string());
        }
        for (file, list) in [("cpuset.cpus", cpu.cpus()), ("cpuset.mems", cpu.mems())] {
            if let Some(list) = list.as_ref().filter(|list| !list.is_empty()) {
                self.push(file, list.clone());
            }
        }
        Ok(())
    }

    fn io(&mut self, io: &LinuxBlockIo) -> Result<()> {
        if io.leaf_weight().is_some() || io.weight_device().is_some() {
            fail!(
                "config.json: linux.resources.blockIO: weights of leaves and devices cannot be applied"
            );
        }
        if let Some(weight) = io.weight().filter(|weight| *weight > 0) {
            // 10 to 1000 becomes 1 to 10000.
            self.push("io.weight", (1 + (u64::from(weight) - 10) * 9999 / 990).to_string());
        }
        let throttles = [
            ("rbps", io.throttle_read_bps_device()),
            ("wbps", io.throttle_write_bps_device()),
            ("riops", io.throttle_read_iops_device()),
            ("wiops", io.throttle_write_iops_device()),
        ];
        for (word, devices) in throttles {
            for device in devices.iter().flatten() {
                self.push("io.max", throttle(device, word));
            }
        }
        Ok(())
    }
}

fn throttle(device: &LinuxThrottleDevice, word: &str) -> String {
    let rate = match device.rate() {
        0 => UNLIMITED.to_owned(),
        rate => rate.to_string(),
    };
    format!("{}:{} {word}={rate}", device.major(), device.minor())
}

fn share(setting: &CgroupSetting) -> Option<UnitShare> {
    let value = setting.value.trim();
    let name = match setting.file.as_str() {
        "cpu.weight" => "CPUWeight",
        "io.weight" => "IOWeight",
        "memory.low" => "MemoryLow",
        "memory.min" => "MemoryMin",
        _ => return None,
    };
    let value = value.strip_prefix("default ").unwrap_or(value);
    let amount = if value == UNLIMITED { Some(u64::MAX) } else { value.parse().ok() };
    amount.map(|amount| (name, amount))
}

/// Formats a limit. `None`: no limit.
fn amount(limit: i64) -> Option<String> {
    (limit >= 0).then(|| limit.to_string())
}

/// Converts cpu.shares of version 1, 2 to 262144, to cpu.weight of version 2, 1 to 10000 (the OCI runtimes'
/// conversion).
fn weight_of_shares(shares: u64) -> u64 {
    1 + (shares.clamp(2, 262_144) - 2) * 9999 / 262_142
}

/// Checks a file name: a controller's file, and no path to another folder.
fn check_file(file: &str) -> Result<()> {
    let is_part = |part: &str| {
        !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
    };
    let is_file = file.contains('.') && file.split('.').all(is_part);
    let is_ours = file.starts_with("cgroup.");
    match is_file && !is_ours {
        true => Ok(()),
        false => {
            Err(Error::invalid(format!("'{}' is no setting of a cgroup", file.escape_debug()))
                .hint("settings are the files of cgroup version 2, such as memory.high"))
        }
    }
}

#[cfg(test)]
mod tests {
    use oci_spec::runtime::{
        LinuxCpuBuilder, LinuxMemoryBuilder, LinuxPidsBuilder, LinuxResourcesBuilder,
    };

    use super::*;

    fn lines(resources: LinuxResources) -> Vec<String> {
        let limits = CgroupLimits::of(&resources).unwrap();
        let line = |setting: &CgroupSetting| format!("{} {}", setting.file, setting.value);
        limits.settings().iter().map(line).collect()
    }

    fn memory(limit: i64, swap: Option<i64>) -> LinuxResources {
        let mut memory = LinuxMemoryBuilder::default().limit(limit).build().unwrap();
        memory.set_swap(swap);
        LinuxResourcesBuilder::default().devices(vec![]).memory(memory).build().unwrap()
    }

    #[test]
    fn swap_is_counted_apart() {
        assert_eq!(lines(memory(100, Some(150))), ["memory.swap.max 50", "memory.max 100"]);
        assert_eq!(lines(memory(100, Some(100))), ["memory.swap.max 0", "memory.max 100"]);
        assert_eq!(lines(memory(100, Some(-1))), ["memory.swap.max max", "memory.max 100"]);
        assert_eq!(lines(memory(-1, None)), ["memory.max max"]);
        let alone = CgroupLimits::of(&memory(100, None)).unwrap();
        assert!(!alone.settings()[0].is_asked && alone.settings()[1].is_asked);
        assert!(CgroupLimits::of(&memory(100, Some(50))).is_err());
    }

    #[test]
    fn processors_are_shared_by_weight_and_limited_by_time() {
        let cpu = LinuxCpuBuilder::default().shares(1024u64).quota(50_000).cpus("0-1").build();
        let resources =
            LinuxResourcesBuilder::default().devices(vec![]).cpu(cpu.unwrap()).build().unwrap();
        assert_eq!(lines(resources), ["cpu.weight 39", "cpu.max 50000 100000", "cpuset.cpus 0-1"]);
        assert_eq!([2, 262_144, 1].map(weight_of_shares), [1, 10_000, 1]);
    }

    #[test]
    fn controllers_are_named_by_their_files() {
        let pids = LinuxPidsBuilder::default().limit(-1).build().unwrap();
        let mut resources = memory(1, None);
        resources.set_pids(Some(pids));
        let limits = CgroupLimits::of(&resources).unwrap();
        assert_eq!(limits.controllers().into_iter().collect::<Vec<_>>(), ["memory", "pids"]);
        assert_eq!(limits.settings().last().unwrap().value, "max");
    }

    #[test]
    fn what_counts_among_siblings_is_the_units_too() {
        let mut limits = CgroupLimits::default();
        for (file, value) in [
            ("cpu.weight", "20"),
            ("memory.max", "1"),
            ("io.weight", "default 50"),
            ("memory.low", "max"),
            ("cpu.idle", "1"),
            ("io.weight", "8:0 30"),
        ] {
            limits.push(file, value.to_owned());
        }
        let expected = [("CPUWeight", 20), ("IOWeight", 50), ("MemoryLow", u64::MAX)];
        assert_eq!(limits.shares(), expected);
        let others: Vec<_> = limits.other_shares().map(|setting| setting.value.as_str()).collect();
        assert_eq!(others, ["1", "8:0 30"]);
    }

    #[test]
    fn settings_are_files_of_controllers_alone() {
        for file in ["memory.high", "memory.swap.high", "hugetlb.2MB.max"] {
            assert!(check_file(file).is_ok(), "{file}");
        }
        for file in ["", ".", "memory", "../memory.max", "cgroup.procs", "a/b.c", "memory..max"] {
            assert!(check_file(file).is_err(), "{file}");
        }
    }
}
