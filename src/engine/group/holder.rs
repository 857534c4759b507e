//! Holder of a group: an orphan that launches the container of the group, and ends it with the last member.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::net::SocketFlags;

use super::GroupAddress;
use super::greeting::{Greeting, GreetingMessages};
use crate::engine::holder_address::is_ours;
use crate::engine::keeper::{self, ProcessesOfMounts};
use crate::engine::launch::create;
use crate::engine::launch::stages::Created;
use crate::engine::orphan::{self, OrphanReport};
use crate::engine::plan::Plan;
use crate::engine::streams::{CommandStreams, LaunchStreams, ReportTarget};
use crate::error::{Context, Error, Result};
use crate::sys::namespace::{self, Namespaces};
use crate::sys::process::{self, Forked};
use crate::sys::signal::{self, Signals};
use crate::sys::{fd, schedule, title};

/// Input of a new holder.
pub struct GroupHolder<'a> {
    /// Address of the group, which the caller has locked.
    pub address: &'a GroupAddress,
    /// Lock of the address: the holder has none, or it could not end.
    pub lock: &'a File,
    /// Plan of the container, whose command never runs ([`crate::engine::StartTrigger::Never`]).
    pub plan: &'a Plan,
    /// Terms of the group: bytes that each member gets.
    pub terms: Vec<u8>,
    /// Descriptors that the caller inherited: the holder closes them, since their readers may wait for an end of file.
    pub inherited: &'a [RawFd],
    /// Signals that the caller has blocked.
    pub signals: &'a Signals,
}

/// Pause between two attempts to end, while a command connects.
const PAUSE: Timespec = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };

impl GroupHolder<'_> {
    /// Starts the holder, and returns when its container is set up. The holder inherits all locks of this process.
    /// `prepare` runs in the holder before the launch, and `clean` after the end of the container. Errors: of
    /// `prepare`, or of the launch.
    pub fn start<T>(
        self,
        prepare: impl FnOnce() -> Result<T>,
        clean: impl FnOnce(T),
    ) -> Result<()> {
        let listener = self.address.0.listen().context(|| "cannot listen for the group")?;
        let address = self.address;
        let started = orphan::start("the holder of the group", |report| {
            match process::fork() {
                Ok(Forked::Parent(_)) => process::exit_now(0),
                Ok(Forked::Child) => {}
                Err(error) => {
                    report.failed(&Error::from(error).within("cannot make a process"));
                    process::exit_now(1)
                }
            }
            self.run(&listener, report, prepare, clean)
        });
        started.inspect_err(|_| address.0.remove())
    }

    fn run<T>(
        self,
        listener: &OwnedFd,
        report: OrphanReport,
        prepare: impl FnOnce() -> Result<T>,
        clean: impl FnOnce(T),
    ) -> ! {
        let _ = rustix::process::setsid(); // no signal of the terminal ends the holder
        title::set_without_caller("group holder");
        // The caller may be one rank of many, tied to its processor: the servers of the root serve all of them.
        let _ = schedule::set_affinity(0..schedule::MOST_PROCESSORS);
        let unneeded = self.inherited.iter().copied().chain([self.lock.as_raw_fd()]);
        unneeded.for_each(|number| fd::close_numbers(number..number + 1));
        let prepared = match prepare() {
            Ok(prepared) => prepared,
            Err(error) => self.fail(report, &error),
        };
        let launched = self.launch().and_then(|created| {
            let greeting = greeting_of(&created, self.terms.clone())?;
            let mounts = greeting.namespaces.iter().find(|one| is_mounts(one));
            let processes = mounts.map(ProcessesOfMounts::of_namespace).transpose();
            let processes = processes.context(|| "cannot look at the mount namespace")?;
            Ok((created, GreetingMessages::of(greeting)?, processes))
        });
        let (created, greeting, processes) = match launched {
            Ok(launched) => launched,
            Err(error) => {
                clean(prepared);
                self.fail(report, &error)
            }
        };
        signal::block_all();
        keeper::replace_standard_streams_by_null(2);
        report.ready();
        // Closed at the exit of this process: the last command waits for that.
        let _last = self.serve(listener, &created, &greeting);
        processes.iter().for_each(ProcessesOfMounts::end);
        created.end();
        clean(prepared);
        process::exit_now(0)
    }

    fn fail(&self, report: OrphanReport, error: &Error) -> ! {
        report.failed(error);
        self.address.0.try_remove(None);
        process::exit_now(1)
    }

    fn launch(&self) -> Result<Created<'_>> {
        let null = || {
            let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty());
            null.context(|| "/dev/null")
        };
        let reports = ReportTarget::CommandStderr;
        let command =
            CommandStreams { input: Some(null()?), output: null()?, error: null()?, reports };
        create(self.plan, LaunchStreams { command: Some(command), caller: None }, self.signals)
    }

    /// Greets all members, until the last one has gone or the container has ended. Returns the connections of the last.
    fn serve(
        &self,
        listener: &OwnedFd,
        created: &Created<'_>,
        greeting: &GreetingMessages,
    ) -> Vec<OwnedFd> {
        let (mut members, mut last) = (Vec::<OwnedFd>::new(), Vec::new());
        loop {
            if members.is_empty() && self.address.0.try_remove(Some(listener)) {
                return last;
            }
            let processes = created.processes().map(|process| &process.pidfd);
            let all = [listener].into_iter().chain(&members).chain(processes);
            let mut fds: Vec<_> = all.map(|fd| PollFd::new(fd, PollFlags::IN)).collect();
            if poll(&mut fds, members.is_empty().then_some(&PAUSE)).is_err() {
                continue;
            }
            let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
            let (ready, ended) = ready.split_at_checked(1 + members.len()).unwrap_or_default();
            if ended.contains(&true) {
                let _lock = self.address.lock();
                self.address.0.remove();
                return members;
            }
            // Members send nothing: an event is their end.
            let mut events = ready.iter().skip(1);
            let gone = members.extract_if(.., |_| events.next() == Some(&true));
            last.extend(gone);
            if !members.is_empty() {
                last.clear();
            }
            if let Ok(member) =
                rustix::net::accept_with(listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)
                && is_ours(&member)
                && greeting.send(&member).is_ok()
            {
                members.push(member);
            }
        }
    }
}

fn is_mounts(namespace: &OwnedFd) -> bool {
    namespace::kind(namespace.as_fd()).is_ok_and(|kind| kind == Namespaces::MOUNT)
}

/// Returns the greeting of the container's members, without the namespaces that are the host's.
fn greeting_of(created: &Created<'_>, terms: Vec<u8>) -> Result<Greeting> {
    let container = created.processes().next().ok_or_else(|| Error::new("no process"))?;
    let mut namespaces = Vec::new();
    for one in created.namespaces() {
        let kind = namespace::kind(one.as_fd()).context(|| "cannot look at a namespace")?;
        let name = Namespaces::ALL.iter().find(|(known, ..)| *known == kind);
        let ours = name.map(|(_, name, _)| File::open(format!("/proc/self/ns/{name}")));
        let ours = ours.transpose().context(|| "cannot open a namespace")?.map(OwnedFd::from);
        let is_same = |ours: &OwnedFd| namespace::is_same(one, ours).unwrap_or(false);
        if !ours.as_ref().is_some_and(is_same) {
            namespaces.push(one.try_clone().context(|| "cannot copy a descriptor")?);
        }
    }
    Ok(Greeting {
        terms,
        process: container.pidfd.try_clone().context(|| "cannot copy a descriptor")?,
        pid: container.pid,
        namespaces,
        cgroup: created.cgroup().map(std::path::Path::to_owned),
    })
}
