//! Scheduling of the command as commands of util-linux and numactl(8).

use crate::engine::plan::scheduling::MemoryPolicy;
use crate::sys::schedule::SchedulerAttributes;

/// Returns the commands for the scheduler.
pub(super) fn scheduler(attributes: &SchedulerAttributes) -> Vec<String> {
    let policy = match attributes.policy {
        1 => "--fifo",
        2 => "--rr",
        3 => "--batch",
        5 => "--idle",
        6 => "--deadline",
        _ => "--other",
    };
    let mut line = String::from("chrt");
    if attributes.flags & 1 != 0 {
        line.push_str(" --reset-on-fork");
    }
    if policy == "--deadline" {
        let SchedulerAttributes { runtime, deadline, period, .. } = attributes;
        line.push_str(&format!(
            " --sched-runtime {runtime} --sched-deadline {deadline} --sched-period {period}"
        ));
    }
    let mut lines = vec![format!("{line} {policy} --pid {} $$", attributes.priority)];
    if attributes.nice != 0 {
        lines.push(format!("renice -n {} -p $$", attributes.nice));
    }
    lines
}

/// Returns the line for the memory policy.
pub(super) fn memory(policy: &MemoryPolicy) -> String {
    match (policy.word, policy.nodes.text.as_str()) {
        ("", _) => "# (the default memory policy)".into(),
        (word, "") => format!("# (numactl --{word} before the command)"),
        (word, nodes) => format!("# (numactl --{word}={nodes} before the command)"),
    }
}
