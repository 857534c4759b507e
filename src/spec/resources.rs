//! Resource limits of a container: `--memory`, `--cpus`, `--pids-limit` and their like, as `linux.resources`.

use std::collections::HashMap;
use std::os::unix::fs::FileTypeExt;
use std::path::PathBuf;
use std::str::FromStr;

use oci_spec::runtime::{
    LinuxBlockIo, LinuxBlockIoBuilder, LinuxCpu, LinuxCpuBuilder, LinuxMemory, LinuxMemoryBuilder,
    LinuxPidsBuilder, LinuxResources, LinuxResourcesBuilder, LinuxThrottleDevice,
    LinuxThrottleDeviceBuilder,
};

use super::Size;
use crate::error::{Context, Error, Result, Setting};
use crate::phrase;

/// Smallest memory limit in bytes (docker's).
const LEAST_MEMORY: u64 = 6 << 20;
/// Period over which processor time is counted, in microseconds (the kernel's default).
const PERIOD: u64 = 100_000;

/// Limit in bytes; 0 and -1 are none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ByteLimit {
    /// Limit of so many bytes.
    Bytes(u64),
    /// No limit, written as 0. For `--memory-swap` this is the default, a limit as high as that of memory.
    Default,
    /// No limit, written as -1.
    Unlimited,
}

impl ByteLimit {
    fn oci(self) -> i64 {
        match self {
            Self::Bytes(bytes) => bytes as i64,
            Self::Default | Self::Unlimited => -1,
        }
    }

    fn bytes(self) -> Option<u64> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            Self::Default | Self::Unlimited => None,
        }
    }
}

impl FromStr for ByteLimit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "-1" => Ok(Self::Unlimited),
            _ => text.parse::<Size>().map(|size| match size.bytes() {
                0 => Self::Default,
                bytes => Self::Bytes(bytes),
            }),
        }
    }
}

/// `--cpus`: thousandths of a processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cpus(u64);

impl FromStr for Cpus {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = text.parse::<f64>().ok().filter(|number| *number >= 0.0 && *number < 1e6);
        let number = number.ok_or_else(|| format!("'{text}' is not a number of processors"))?;
        match (number * 1000.0).round() as u64 {
            0 if number > 0.0 => Err("less than a thousandth of a processor".to_owned()),
            thousandths => Ok(Self(thousandths)),
        }
    }
}

/// List of numbers: `0-3,5`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NumberList(String);

impl FromStr for NumberList {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| text.parse::<u32>().ok();
        let is_range = |part: &str| match part.split_once('-') {
            Some((first, last)) => number(first).zip(number(last)).is_some_and(|(a, b)| a <= b),
            None => number(part).is_some(),
        };
        match text.split(',').all(is_range) {
            true => Ok(Self(text.to_owned())),
            false => Err(format!("'{text}' is not a list such as 0-3,5")),
        }
    }
}

/// `DEVICE:RATE`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceRateFlag {
    device: PathBuf,
    rate: u64,
}

/// Parses `--blkio-weight`.
fn weight(text: &str) -> Result<u16, String> {
    let known = text.parse().ok().filter(|weight| matches!(weight, 0 | 10..=1000));
    known.ok_or_else(|| format!("'{text}' is neither 0 nor from 10 to 1000"))
}

/// Parses `--cpu-period`.
fn period(text: &str) -> Result<u64, String> {
    let known = text.parse().ok().filter(|period| matches!(period, 0 | 1000..=1_000_000));
    known.ok_or_else(|| format!("'{text}' is neither 0 nor from 1000 to 1000000"))
}

/// Parses a rate in bytes each second.
fn bytes_rate(text: &str) -> Result<DeviceRateFlag, String> {
    throttle(text, |rate| Ok(rate.parse::<Size>()?.bytes()))
}

/// Parses a rate in operations each second.
fn operations_rate(text: &str) -> Result<DeviceRateFlag, String> {
    throttle(text, |rate| rate.parse().map_err(|_| format!("'{rate}' is not a number")))
}

fn throttle(
    text: &str,
    rate: impl Fn(&str) -> Result<u64, String>,
) -> Result<DeviceRateFlag, String> {
    let parts = text.rsplit_once(':').filter(|(device, _)| device.starts_with('/'));
    let (device, text) = parts.ok_or_else(|| format!("'{text}' is not DEVICE:RATE"))?;
    Ok(DeviceRateFlag { device: device.into(), rate: rate(text)? })
}

/// `--cgroup-conf FILE=VALUE`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CgroupConf {
    file: String,
    value: String,
}

impl FromStr for CgroupConf {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (file, value) =
            text.split_once('=').ok_or_else(|| format!("'{text}' is not FILE=VALUE"))?;
        Ok(Self { file: file.to_owned(), value: value.to_owned() })
    }
}

/// Resource flags of `run`, `create` and `update`. Each needs a controller of cgroup version 2 that is delegated to the
/// user.
#[derive(clap::Args, Clone, Debug, Default, PartialEq, Eq)]
#[command(args_override_self = true)]
pub struct Resources {
    /// Memory limit, such as 512m; 0 or -1: no limit.
    #[arg(short, long, value_name = "BYTES")]
    pub memory: Option<ByteLimit>,

    /// Limit of memory and swap together; -1: unlimited swap; 0: the default, as much swap as memory.
    #[arg(long, value_name = "BYTES")]
    pub memory_swap: Option<ByteLimit>,

    /// Memory soft limit: memory below it is reclaimed last; 0 or -1: none.
    #[arg(long, value_name = "BYTES")]
    pub memory_reservation: Option<ByteLimit>,

    /// Number of processors, such as 1.5; 0: no limit.
    #[arg(long, value_name = "N", conflicts_with_all = ["cpu_quota", "cpu_period"])]
    pub cpus: Option<Cpus>,

    /// Relative share of processor time under contention: 1024 is the default; 0: the default.
    #[arg(short = 'c', long, value_name = "SHARES")]
    pub cpu_shares: Option<u64>,

    /// Processor time per period, in microseconds; 0 or -1: no limit.
    #[arg(long, value_name = "MICROSECONDS")]
    pub cpu_quota: Option<i64>,

    /// Length of the processor period, in microseconds: 1000 to 1000000; 0: the default, 100000.
    #[arg(long, value_name = "MICROSECONDS", value_parser = period)]
    pub cpu_period: Option<u64>,

    /// Processors on which the container may run: 0-3,5.
    #[arg(long, value_name = "LIST")]
    pub cpuset_cpus: Option<NumberList>,

    /// Memory nodes that the container may use: 0-1.
    #[arg(long, value_name = "LIST")]
    pub cpuset_mems: Option<NumberList>,

    /// Maximum number of processes and threads; 0 or -1: no limit.
    #[arg(long, value_name = "N")]
    pub pids_limit: Option<i64>,

    /// Relative share of disk time: 10 to 1000; 0: the default.
    #[arg(long, value_name = "WEIGHT", value_parser = weight)]
    pub blkio_weight: Option<u16>,

    /// Limit of the read rate of a device, in bytes per second.
    #[arg(long, value_name = "DEVICE:BYTES", value_parser = bytes_rate)]
    pub device_read_bps: Vec<DeviceRateFlag>,

    /// Limit of the write rate of a device, in bytes per second.
    #[arg(long, value_name = "DEVICE:BYTES", value_parser = bytes_rate)]
    pub device_write_bps: Vec<DeviceRateFlag>,

    /// Limit reads from a device, in operations per second.
    #[arg(long, value_name = "DEVICE:N", value_parser = operations_rate)]
    pub device_read_iops: Vec<DeviceRateFlag>,

    /// Limit writes to a device, in operations per second.
    #[arg(long, value_name = "DEVICE:N", value_parser = operations_rate)]
    pub device_write_iops: Vec<DeviceRateFlag>,

    /// Any other setting of the cgroup: memory.high=1073741824.
    #[arg(long, value_name = "FILE=VALUE")]
    pub cgroup_conf: Vec<CgroupConf>,
}

impl Resources {
    /// Limits of a new container: values that mean "no limit" are left out, so that they require no cgroup.
    pub fn limits(&self) -> Self {
        let is_limit = |most: &ByteLimit| matches!(most, ByteLimit::Bytes(_));
        let memory = self.memory.filter(is_limit);
        // Unlimited swap matters beside a memory limit, whose default is as much swap.
        let swap =
            |most: &ByteLimit| is_limit(most) || memory.is_some() && *most == ByteLimit::Unlimited;
        let rates =
            |all: &[DeviceRateFlag]| all.iter().filter(|one| one.rate > 0).cloned().collect();
        Self {
            memory,
            memory_swap: self.memory_swap.filter(swap),
            memory_reservation: self.memory_reservation.filter(is_limit),
            cpus: self.cpus.filter(|cpus| *cpus != Cpus(0)),
            cpu_shares: self.cpu_shares.filter(|shares| *shares > 0),
            cpu_quota: self.cpu_quota.filter(|quota| *quota > 0),
            cpu_period: self.cpu_period.filter(|period| *period > 0),
            pids_limit: self.pids_limit.filter(|limit| *limit > 0),
            blkio_weight: self.blkio_weight.filter(|weight| *weight > 0),
            device_read_bps: rates(&self.device_read_bps),
            device_write_bps: rates(&self.device_write_bps),
            device_read_iops: rates(&self.device_read_iops),
            device_write_iops: rates(&self.device_write_iops),
            ..self.clone()
        }
    }

    /// Converts the limits for config.json; `None`: no limits. Errors: contradictory values; a device that is not a
    /// disk.
    pub fn oci(&self) -> Result<Option<LinuxResources>> {
        if *self == Self::default() {
            return Ok(None);
        }
        let mut resources = LinuxResourcesBuilder::default().build().map_err(Error::new)?;
        // The crate's default, which is of version 1.
        resources.set_devices(None);
        resources.set_memory(self.memory()?);
        resources.set_cpu(self.cpu()?);
        resources.set_block_io(self.block_io()?);
        if let Some(limit) = self.pids_limit {
            let limit = if limit <= 0 { -1 } else { limit };
            let pids = LinuxPidsBuilder::default().limit(limit).build();
            resources.set_pids(Some(pids.map_err(Error::new)?));
        }
        let conf = self.cgroup_conf.iter().map(|conf| (conf.file.clone(), conf.value.clone()));
        let conf: HashMap<_, _> = conf.collect();
        resources.set_unified(Some(conf).filter(|conf| !conf.is_empty()));
        Ok(Some(resources))
    }

    fn memory(&self) -> Result<Option<LinuxMemory>> {
        let limit = self.memory.and_then(ByteLimit::bytes);
        if limit.is_some_and(|limit| limit < LEAST_MEMORY) {
            return Err(Error::invalid("no container can live with less than 6m"))
                .context(|| Setting::Memory);
        }
        if let Some(swap) = self.memory_swap.and_then(ByteLimit::bytes) {
            match limit {
                None => {
                    return Err(Error::invalid(phrase!(
                        Setting::MemorySwap,
                        ": it counts memory too, so it needs ",
                        Setting::Memory,
                    )));
                }
                Some(limit) if swap < limit => {
                    return Err(Error::invalid(phrase!(
                        Setting::MemorySwap,
                        ": it counts memory too, and is lower than ",
                        Setting::Memory,
                    )));
                }
                Some(_) => {}
            }
        }
        if let (Some(reservation), Some(limit)) =
            (self.memory_reservation.and_then(ByteLimit::bytes), limit)
            && reservation > limit
        {
            return Err(Error::invalid(phrase!(
                Setting::MemoryReservation,
                " is higher than ",
                Setting::Memory,
            )));
        }
        if self.memory.is_none() && self.memory_swap.is_none() && self.memory_reservation.is_none()
        {
            return Ok(None);
        }
        let mut memory = LinuxMemoryBuilder::default().build().map_err(Error::new)?;
        memory.set_limit(self.memory.map(ByteLimit::oci));
        memory.set_swap(
            self.memory_swap.filter(|swap| *swap != ByteLimit::Default).map(ByteLimit::oci),
        );
        let reservation = |most: ByteLimit| most.bytes().map_or(0, |bytes| bytes as i64);
        memory.set_reservation(self.memory_reservation.map(reservation));
        Ok(Some(memory))
    }

    fn cpu(&self) -> Result<Option<LinuxCpu>> {
        let mut cpu = LinuxCpuBuilder::default().build().map_err(Error::new)?;
        let untouched = cpu.clone();
        if let Some(shares) = self.cpu_shares.filter(|shares| *shares > 0) {
            if !(2..=262_144).contains(&shares) {
                let error = format!("{shares} is not from 2 to 262144");
                return Err(Error::invalid(error)).context(|| Setting::CpuShares);
            }
            cpu.set_shares(Some(shares));
        }
        match self.cpus {
            Some(Cpus(0)) => cpu.set_quota(Some(-1)),
            Some(Cpus(thousandths)) => {
                let there = std::thread::available_parallelism().map_or(usize::MAX, usize::from);
                if thousandths > there as u64 * 1000 {
                    let error = format!("this machine has {there}");
                    return Err(Error::invalid(error)).context(|| Setting::Cpus);
                }
                cpu.set_quota(Some((thousandths * PERIOD / 1000) as i64));
                cpu.set_period(Some(PERIOD))
            }
            None => cpu.set_quota(self.cpu_quota).set_period(self.cpu_period),
        };
        if self.cpu_quota.is_some_and(|quota| (1..1000).contains(&quota)) {
            return Err(Error::invalid("the kernel takes 1000 and more"))
                .context(|| Setting::CpuQuota);
        }
        cpu.set_cpus(self.cpuset_cpus.as_ref().map(|list| list.0.clone()));
        cpu.set_mems(self.cpuset_mems.as_ref().map(|list| list.0.clone()));
        Ok(Some(cpu).filter(|cpu| *cpu != untouched))
    }

    fn block_io(&self) -> Result<Option<LinuxBlockIo>> {
        let mut io = LinuxBlockIoBuilder::default().build().map_err(Error::new)?;
        let untouched = io.clone();
        io.set_weight(self.blkio_weight);
        io.set_throttle_read_bps_device(devices(Setting::DeviceReadBps, &self.device_read_bps)?);
        io.set_throttle_write_bps_device(devices(Setting::DeviceWriteBps, &self.device_write_bps)?);
        io.set_throttle_read_iops_device(devices(Setting::DeviceReadIops, &self.device_read_iops)?);
        io.set_throttle_write_iops_device(devices(
            Setting::DeviceWriteIops,
            &self.device_write_iops,
        )?);
        Ok(Some(io).filter(|io| *io != untouched))
    }
}

fn devices(
    setting: Setting,
    throttles: &[DeviceRateFlag],
) -> Result<Option<Vec<LinuxThrottleDevice>>> {
    let device = |throttle: &DeviceRateFlag| {
        let flag = || setting.with(throttle.device.display());
        let metadata = std::fs::metadata(&throttle.device).context(flag)?;
        if !metadata.file_type().is_block_device() {
            return Err(Error::invalid("not a disk")).context(flag);
        }
        let number = std::os::unix::fs::MetadataExt::rdev(&metadata);
        LinuxThrottleDeviceBuilder::default()
            .major(i64::from(rustix::fs::major(number)))
            .minor(i64::from(rustix::fs::minor(number)))
            .rate(throttle.rate)
            .build()
            .map_err(Error::new)
    };
    let devices = throttles.iter().map(device).collect::<Result<Vec<_>>>()?;
    Ok(Some(devices).filter(|devices| !devices.is_empty()))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        resources: Resources,
    }

    fn oci(words: &[&str]) -> Result<Option<LinuxResources>, String> {
        let line = Line::try_parse_from([&["usnea"], words].concat());
        line.map_err(|error| error.to_string())?.resources.oci().map_err(|error| error.to_string())
    }

    #[test]
    fn sizes_and_processors_become_numbers() {
        assert_eq!(oci(&[]).unwrap(), None);
        let got = oci(&["-m", "64m", "--memory-swap=-1", "--cpus", "0.5"]).unwrap().unwrap();
        let memory = got.memory().unwrap();
        assert_eq!((memory.limit(), memory.swap()), (Some(64 << 20), Some(-1)));
        let cpu = got.cpu().clone().unwrap();
        assert_eq!((cpu.quota(), cpu.period()), (Some(50_000), Some(100_000)));
        assert_eq!(got.devices(), &None);
        assert_eq!(got.block_io(), &None);
        let got = oci(&["--pids-limit", "0", "--cgroup-conf", "memory.high=1"]).unwrap().unwrap();
        assert_eq!(got.pids().unwrap().limit(), -1);
        assert_eq!(got.unified().as_ref().unwrap()["memory.high"], "1");
    }

    #[test]
    fn no_limit_is_said_by_0_and_minus_1_where_docker_has_it_so() {
        for (flag, values) in [
            ("--memory", &["0", "-1", "0b"][..]),
            ("--memory-swap", &["0", "-1"]),
            ("--memory-reservation", &["0", "-1"]),
            ("--cpus", &["0", "0.0"]),
            ("--cpu-shares", &["0"]),
            ("--cpu-quota", &["0", "-1"]),
            ("--cpu-period", &["0"]),
            ("--pids-limit", &["0", "-1"]),
            ("--blkio-weight", &["0"]),
            ("--device-read-bps", &["/dev/sda:0"]),
            ("--device-write-bps", &["/dev/sda:0"]),
            ("--device-read-iops", &["/dev/sda:0"]),
            ("--device-write-iops", &["/dev/sda:0"]),
        ] {
            for value in values {
                let line = Line::try_parse_from(["usnea", &format!("{flag}={value}")]).unwrap();
                // A new container needs no cgroup for this value; `update` removes a limit with it.
                assert_eq!(line.resources.limits(), Resources::default(), "{flag} {value}");
            }
        }
        let line = ["usnea", "-m=64m", "--memory-swap=-1", "--cpus=0", "--pids-limit=7"];
        let limits = Line::try_parse_from(line).unwrap().resources.limits().oci().unwrap().unwrap();
        let memory = limits.memory().unwrap();
        assert_eq!((memory.limit(), memory.swap()), (Some(64 << 20), Some(-1)));
        assert_eq!((limits.cpu(), limits.pids().unwrap().limit()), (&None, 7));
        for (words, limit, swap, reservation) in [
            (&["-m=0"][..], Some(-1), None, None),
            (&["-m=64m", "--memory-swap=0"], Some(64 << 20), None, None),
            (&["--memory-swap=-1", "--memory-reservation=0"], None, Some(-1), Some(0)),
        ] {
            let memory = oci(words).unwrap().unwrap().memory().unwrap();
            let got = (memory.limit(), memory.swap(), memory.reservation());
            assert_eq!(got, (limit, swap, reservation), "{words:?}");
        }
    }

    #[test]
    fn contradictions_are_refused() {
        for words in [
            &["--memory", "1m"][..],
            &["--memory-swap", "1g"],
            &["--memory", "1g", "--memory-swap", "512m"],
            &["--memory", "1g", "--memory-reservation", "2g"],
            &["--cpus", "1", "--cpu-quota", "5000"],
            &["--cpus", "100000"],
            &["--cpus", "0.0001"],
            &["--cpus", "x"],
            &["--cpu-shares", "1"],
            &["--cpuset-cpus", "3-1"],
            &["--cpuset-cpus", "a"],
            &["--blkio-weight", "5"],
            &["--cpu-period", "999"],
            &["--memory", "-2"],
            &["--device-read-bps", "/dev/null:1m"],
            &["--device-read-bps", "sda:1m"],
            &["--cgroup-conf", "memory.high"],
        ] {
            assert!(oci(words).is_err(), "{words:?}");
        }
    }
}
