//! Scheduling of a process: processor time (sched(7)), input and output (ioprio_set(2)), processors (cpuset(7)), memory
//! nodes (numa(7)).

use std::io;

/// Attributes of sched_setattr(2).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SchedulerAttributes {
    size: u32,
    /// Policy: `SCHED_*`.
    pub policy: u32,
    /// `SCHED_FLAG_*`
    pub flags: u64,
    /// Nice value, of the policies that are not real time.
    pub nice: i32,
    /// Priority of real time policies.
    pub priority: u32,
    /// Run time in nanoseconds, of the deadline policy.
    pub runtime: u64,
    /// Deadline in nanoseconds.
    pub deadline: u64,
    /// Period in nanoseconds.
    pub period: u64,
}

/// Sets the scheduling of this process, which its children and exec keep. Errors: EPERM for a real time policy, or for a
/// nice value below the limit.
pub fn set_scheduler(attributes: SchedulerAttributes) -> io::Result<()> {
    let size = size_of::<SchedulerAttributes>();
    let attributes = SchedulerAttributes { size: size as u32, ..attributes };
    // SAFETY: the structure has the layout of struct sched_attr, version 0, and outlives the call.
    answer(unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) })
}

/// Sets the priority for input and output of this process. `class`: 1 real time, 2 best effort, 3 idle.
pub fn set_io_priority(class: u32, priority: u32) -> io::Result<()> {
    // <linux/ioprio.h>
    const IOPRIO_WHO_PROCESS: libc::c_int = 1;
    const IOPRIO_CLASS_SHIFT: u32 = 13;
    let value = (class << IOPRIO_CLASS_SHIFT) | priority;
    // SAFETY: ioprio_set takes numbers alone.
    answer(unsafe { libc::syscall(libc::SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, value) })
}

/// Keeps this process to these processors. Errors: EINVAL if the machine, or the process's cgroup, has none of them.
pub fn set_affinity(processors: impl IntoIterator<Item = usize>) -> io::Result<()> {
    let mut set = rustix::thread::CpuSet::new();
    let known = processors.into_iter().filter(|number| *number < rustix::thread::CpuSet::MAX_CPU);
    known.for_each(|number| set.set(number));
    Ok(rustix::thread::sched_setaffinity(None, &set)?)
}

/// Largest number of processors that [`set_affinity`] can name.
pub const MOST_PROCESSORS: usize = rustix::thread::CpuSet::MAX_CPU;

/// Number of memory nodes that [`set_memory_policy`] can name: the kernel's largest.
pub const MOST_NODES: usize = 1024;

/// Sets the policy by which this process gets memory from nodes; its children and exec keep the policy. `mode`: `MPOL_*`
/// with its flags. Errors: ENOSYS in a kernel without NUMA; EINVAL for nodes that do not fit the mode.
pub fn set_memory_policy(mode: u32, nodes: &[usize]) -> io::Result<()> {
    const BITS: usize = libc::c_ulong::BITS as usize;
    let mut mask = [0 as libc::c_ulong; MOST_NODES / BITS];
    for node in nodes.iter().filter(|node| **node < MOST_NODES) {
        mask[node / BITS] |= 1 << (node % BITS);
    }
    let (pointer, length) = match nodes.is_empty() {
        true => (std::ptr::null(), 0),
        // The kernel reads one bit less than it is told (get_nodes()).
        false => (mask.as_ptr(), MOST_NODES + 1),
    };
    // SAFETY: the mask has the bits that the call names, and outlives the call.
    answer(unsafe { libc::syscall(libc::SYS_set_mempolicy, mode, pointer, length) })
}

fn answer(result: libc::c_long) -> io::Result<()> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
