//! Agent of config.json's `linux.seccomp.listenerPath`: the process that decides the calls of SCMP_ACT_NOTIFY.
//!
//! The agent gets the filter's listener over its socket, with the state of the process as JSON (runtime-spec,
//! `ContainerProcessState`). The command runs once the agent's socket holds both.

use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use oci_spec::runtime::{
    ContainerProcessState, ContainerProcessStateBuilder, ContainerState, SECCOMP_FD_NAME,
};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};

use crate::engine::hooks::BundleIdentity;
use crate::engine::plan::step::Step;
use crate::error::{Context, Error, Result};
use crate::security::seccomp::Agent;
use crate::sys::fd;

/// Longest wait for an agent that does not read.
const PATIENCE: Duration = Duration::from_secs(10);

/// Bytes that a Unix socket takes in one part, whatever its buffer's size (net.core.wmem_default is 200 KiB).
const AT_ONCE: usize = 32 << 10;

/// Returns the agent of the filter in `steps`, if any.
pub fn of_steps(steps: &[Step]) -> Option<&Agent> {
    steps.iter().find_map(|step| match step {
        Step::Seccomp(filter, _) => filter.agent.as_ref(),
        _ => None,
    })
}

/// Hands the listener to the agent. Errors: nobody listens at the agent's path,
/// or reads there.
pub fn hand_over(agent: &Agent, listener: &OwnedFd, state: &ContainerProcessState) -> Result<()> {
    let json =
        serde_json::to_vec(state).map_err(io::Error::from).context(|| "cannot write JSON")?;
    send(agent, listener, &json)
        .context(|| format!("linux.seccomp.listenerPath {}", agent.path.display()))
}

/// Returns the state that the agent gets with the listener of process `pid`.
pub fn state(
    agent: &Agent,
    steps: &[Step],
    identity: &BundleIdentity,
    pid: i32,
) -> Result<ContainerProcessState> {
    let mut container = agent.state.clone();
    container.set_id(identity.id.clone());
    container.set_bundle(identity.state_bundle().clone());
    let (status, first) = match steps.first() {
        Some(Step::Join(running)) => (ContainerState::Running, running.pid()),
        _ => (ContainerState::Creating, pid),
    };
    container.set_status(status);
    container.set_pid(Some(first));
    let mut state = ContainerProcessStateBuilder::default()
        .version(container.version().clone())
        .fds(vec![SECCOMP_FD_NAME.to_owned()])
        .pid(pid)
        .state(container)
        .build()
        .map_err(Error::new)?;
    state.set_metadata(agent.metadata.clone());
    Ok(state)
}

fn send(agent: &Agent, listener: &OwnedFd, json: &[u8]) -> io::Result<()> {
    let address = SocketAddrUnix::new(&agent.path)?;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    // Limits connect(2) too, which waits where the agent's queue is full.
    set_socket_timeout(&socket, Timeout::Send, Some(PATIENCE))?;
    connect(&socket, &address)?;
    // Agents read the state and the descriptor by one call. A longer state than a socket takes at once follows in parts.
    let (first, rest) = json.split_at(json.len().min(AT_ONCE));
    fd::send(&socket, first, Some(listener.as_fd()))?;
    UnixStream::from(socket).write_all(rest)
}
