//! Scheduling settings of config.json, as numbers for the kernel.

use oci_spec::runtime::{
    IOPriorityClass, LinuxMemoryPolicy, LinuxSchedulerFlag, LinuxSchedulerPolicy,
    MemoryPolicyFlagType, MemoryPolicyModeType, Process, Scheduler, Spec,
};

use crate::error::Result;
use crate::fail;
use crate::sys::schedule::{MOST_NODES, MOST_PROCESSORS, SchedulerAttributes};

/// I/O priority (ioprio_set(2)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IoPriority {
    /// Class of ionice(1): 1 real time, 2 best effort, 3 idle.
    pub class: u32,
    /// Level within the class; 0 is the highest.
    pub level: u32,
}

/// Numbers of processors or memory nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NumberRanges {
    /// Text of config.json, such as `0-3,7`. Empty: all.
    pub text: String,
    /// The numbers.
    pub numbers: Vec<usize>,
}

/// Policy of set_mempolicy(2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryPolicy {
    /// Option of numactl(8) for the policy, without hyphens.
    pub word: &'static str,
    /// Mode with its flags.
    pub mode: u32,
    /// Nodes of the policy.
    pub nodes: NumberRanges,
}

/// Reads the scheduler of a process. Errors: a field that does not apply to the policy.
pub fn scheduler(process: &Process) -> Result<Option<SchedulerAttributes>> {
    let Some(scheduler) = process.scheduler() else { return Ok(None) };
    let policy = policy_number(scheduler)?;
    let is_deadline = *scheduler.policy() == LinuxSchedulerPolicy::SchedDeadline;
    let times = [
        ("runtime", *scheduler.runtime()),
        ("deadline", *scheduler.deadline()),
        ("period", *scheduler.period()),
    ];
    if let Some((name, _)) = times.iter().find(|(_, time)| time.unwrap_or(0) != 0 && !is_deadline) {
        fail!(Invalid: "config.json: process.scheduler.{name}: only SCHED_DEADLINE has it");
    }
    let nice = scheduler.nice().unwrap_or(0);
    if !(-20..=19).contains(&nice) {
        fail!(Invalid: "config.json: process.scheduler.nice: {nice} is not between -20 and 19");
    }
    let priority = scheduler.priority().unwrap_or(0);
    let Ok(priority) = u32::try_from(priority) else {
        fail!(Invalid: "config.json: process.scheduler.priority: {priority} is negative");
    };
    let is_real_time = matches!(
        scheduler.policy(),
        LinuxSchedulerPolicy::SchedFifo | LinuxSchedulerPolicy::SchedRr
    );
    if priority != 0 && !is_real_time {
        fail!(Invalid: "config.json: process.scheduler.priority: only SCHED_FIFO and SCHED_RR have it");
    }
    let mut attributes = SchedulerAttributes::default();
    attributes.policy = policy;
    attributes.nice = nice;
    attributes.priority = priority;
    attributes.flags = flags(scheduler)?;
    attributes.runtime = scheduler.runtime().unwrap_or(0);
    attributes.deadline = scheduler.deadline().unwrap_or(0);
    attributes.period = scheduler.period().unwrap_or(0);
    Ok(Some(attributes))
}

/// <linux/sched.h>
fn policy_number(scheduler: &Scheduler) -> Result<u32> {
    Ok(match scheduler.policy() {
        LinuxSchedulerPolicy::SchedOther => 0,
        LinuxSchedulerPolicy::SchedFifo => 1,
        LinuxSchedulerPolicy::SchedRr => 2,
        LinuxSchedulerPolicy::SchedBatch => 3,
        LinuxSchedulerPolicy::SchedIso => {
            fail!(Invalid: "config.json: process.scheduler.policy: no kernel has SCHED_ISO")
        }
        LinuxSchedulerPolicy::SchedIdle => 5,
        LinuxSchedulerPolicy::SchedDeadline => 6,
    })
}

fn flags(scheduler: &Scheduler) -> Result<u64> {
    let mut flags = 0;
    for (index, flag) in scheduler.flags().iter().flatten().enumerate() {
        flags |= match flag {
            LinuxSchedulerFlag::SchedResetOnFork => 0x01,
            LinuxSchedulerFlag::SchedFlagReclaim => 0x02,
            LinuxSchedulerFlag::SchedFlagDLOverrun => 0x04,
            LinuxSchedulerFlag::SchedFlagKeepPolicy => 0x08,
            LinuxSchedulerFlag::SchedFlagKeepParams => 0x10,
            LinuxSchedulerFlag::SchedFlagUtilClampMin
            | LinuxSchedulerFlag::SchedFlagUtilClampMax => {
                fail!(Invalid: "config.json: process.scheduler.flags[{index}]: config.json has no value for the clamp");
            }
        };
    }
    Ok(flags)
}

/// Reads the I/O priority. Errors: a level outside of 0 to 7.
pub fn io_priority(process: &Process) -> Result<Option<IoPriority>> {
    let Some(asked) = process.io_priority() else { return Ok(None) };
    let class = match asked.class() {
        IOPriorityClass::IoprioClassRt => 1,
        IOPriorityClass::IoprioClassBe => 2,
        IOPriorityClass::IoprioClassIdle => 3,
    };
    match u32::try_from(asked.priority()) {
        Ok(level @ 0..=7) => Ok(Some(IoPriority { class, level })),
        _ => {
            fail!(Invalid: "config.json: process.ioPriority.priority: {} is not between 0 and 7", asked.priority())
        }
    }
}

/// Returns the processors of an exec process before and after it enters the container (`initial`, `final`). With
/// `initial` alone, the second list has all processors.
pub fn exec_affinity(process: &Process) -> Result<[Option<NumberRanges>; 2]> {
    let Some(affinity) = process.exec_cpu_affinity() else { return Ok([None, None]) };
    let list = |name: &str, text: &Option<String>| {
        let text = text.as_deref().filter(|text| !text.is_empty());
        let place = format!("process.execCPUAffinity.{name}");
        text.map(|text| number_list(text, MOST_PROCESSORS, &place)).transpose()
    };
    let initial = list("initial", affinity.initial())?;
    let last = list("final", affinity.cpu_affinity_final())?;
    let all = NumberRanges { text: String::new(), numbers: (0..MOST_PROCESSORS).collect() };
    let last = last.or(initial.is_some().then_some(all));
    Ok([initial, last])
}

/// Reads the memory policy. Errors: nodes for a mode without nodes, or no nodes for a mode that needs them.
pub fn memory_policy(spec: &Spec) -> Result<Option<MemoryPolicy>> {
    let policy = spec.linux().as_ref().and_then(|linux| linux.memory_policy().as_ref());
    let Some(policy) = policy else { return Ok(None) };
    // <linux/mempolicy.h>, numactl(8)
    let (mode, word) = match policy.mode() {
        MemoryPolicyModeType::MpolDefault => (0, ""),
        MemoryPolicyModeType::MpolPreferred => (1, "preferred"),
        MemoryPolicyModeType::MpolBind => (2, "membind"),
        MemoryPolicyModeType::MpolInterleave => (3, "interleave"),
        MemoryPolicyModeType::MpolLocal => (4, "localalloc"),
        MemoryPolicyModeType::MpolPreferredMany => (5, "preferred-many"),
        MemoryPolicyModeType::MpolWeightedInterleave => (6, "weighted-interleave"),
    };
    let mode = mode | memory_flags(policy);
    let text = policy.nodes().as_deref().unwrap_or_default();
    let numbers = match text.is_empty() {
        true => Vec::new(),
        false => number_list(text, MOST_NODES, "linux.memoryPolicy.nodes")?.numbers,
    };
    let takes_none = matches!(
        policy.mode(),
        MemoryPolicyModeType::MpolDefault | MemoryPolicyModeType::MpolLocal
    );
    if takes_none && !numbers.is_empty() {
        fail!(Invalid: "config.json: linux.memoryPolicy.nodes: the mode takes no nodes");
    }
    if !takes_none && numbers.is_empty() && policy.mode() != MemoryPolicyModeType::MpolPreferred {
        fail!(Invalid: "config.json: linux.memoryPolicy.nodes: the mode needs nodes");
    }
    Ok(Some(MemoryPolicy { word, mode, nodes: NumberRanges { text: text.to_owned(), numbers } }))
}

fn memory_flags(policy: &LinuxMemoryPolicy) -> u32 {
    let flags = policy.flags().iter().flatten().map(|flag| match flag {
        MemoryPolicyFlagType::MpolFNumaBalancing => 1 << 13,
        MemoryPolicyFlagType::MpolFRelativeNodes => 1 << 14,
        MemoryPolicyFlagType::MpolFStaticNodes => 1 << 15,
    });
    flags.fold(0, |all, flag| all | flag)
}

/// Reads a list such as `0-3,7`. Errors: malformed; a number of `most` or more.
fn number_list(text: &str, most: usize, place: &str) -> Result<NumberRanges> {
    let mut numbers = Vec::new();
    for part in text.split(',') {
        let part = part.trim();
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        match (first.parse::<usize>(), last.parse::<usize>()) {
            (Ok(first), Ok(last)) if first <= last && last < most => numbers.extend(first..=last),
            _ => {
                fail!(Invalid: "config.json: {place}: '{text}' is no list of numbers below {most}, such as 0-3,7")
            }
        }
    }
    Ok(NumberRanges { text: text.to_owned(), numbers })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn process(name: &str, value: Value) -> Process {
        let config = json!({ "user": { "uid": 0, "gid": 0 }, "cwd": "/", name: value });
        serde_json::from_value(config).unwrap()
    }

    #[test]
    fn a_list_of_numbers_is_read_or_refused_by_its_path() {
        assert_eq!(number_list("0-2, 7", 8, "x").unwrap().numbers, [0, 1, 2, 7]);
        for text in ["", "1-", "-1", "3-1", "8", "a", "1,,2", "0-99999999999999999999"] {
            let error = number_list(text, 8, "linux.x").unwrap_err().to_string();
            assert!(error.starts_with("config.json: linux.x: "), "{error}");
        }
    }

    #[test]
    fn a_scheduler_is_numbers_or_refused_by_its_path() {
        let read = |value| scheduler(&process("scheduler", value));
        let batch =
            read(json!({ "policy": "SCHED_BATCH", "nice": 5, "flags": ["SCHED_RESET_ON_FORK"] }));
        let batch = batch.unwrap().unwrap();
        assert_eq!((batch.policy, batch.nice, batch.flags), (3, 5, 1));
        for (value, path) in [
            (json!({ "policy": "SCHED_OTHER", "nice": 20 }), "nice"),
            (json!({ "policy": "SCHED_OTHER", "priority": 1 }), "priority"),
            (json!({ "policy": "SCHED_RR", "priority": -1 }), "priority"),
            (json!({ "policy": "SCHED_FIFO", "priority": 1, "runtime": 1 }), "runtime"),
            (json!({ "policy": "SCHED_ISO" }), "policy"),
            (
                json!({ "policy": "SCHED_OTHER", "flags": ["SCHED_FLAG_UTIL_CLAMP_MIN"] }),
                "flags[0]",
            ),
        ] {
            let error = read(value).unwrap_err().to_string();
            let path = format!("config.json: process.scheduler.{path}: ");
            assert!(error.starts_with(&path), "{error}");
        }
    }

    #[test]
    fn a_level_of_input_and_output_is_0_to_7() {
        let read = |level: i64| {
            let value = json!({ "class": "IOPRIO_CLASS_BE", "priority": level });
            io_priority(&process("ioPriority", value))
        };
        assert_eq!(read(7).unwrap(), Some(IoPriority { class: 2, level: 7 }));
        for level in [-1, 8] {
            let error = read(level).unwrap_err().to_string();
            assert!(error.starts_with("config.json: process.ioPriority.priority: "), "{error}");
        }
    }

    #[test]
    fn a_process_without_a_final_list_gets_all_processors_back() {
        let affinity = |value| exec_affinity(&process("execCPUAffinity", value)).unwrap();
        let [initial, last] = affinity(json!({ "initial": "0" }));
        assert_eq!(initial.unwrap().numbers, [0]);
        assert_eq!(last.unwrap().numbers.len(), MOST_PROCESSORS);
        let [initial, last] = affinity(json!({ "final": "1,3" }));
        assert_eq!((initial, last.unwrap().numbers), (None, vec![1, 3]));
    }
}
