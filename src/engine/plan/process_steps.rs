//! Steps of the command's process: limits, user, groups, capabilities, filter, arguments. The same in a new container
//! and in a running one.

use std::ffi::CString;
use std::str::FromStr;

use oci_spec::runtime::{LinuxNamespaceType, LinuxPersonalityDomain, Process, Spec};

use crate::engine::plan::SessionKeyring;
use crate::engine::plan::process::{
    ExecCommand, Groups, Limit, ProcessCredentials, Reaper, SecurityLabel, TerminalSize,
};
use crate::engine::plan::scheduling;
use crate::engine::plan::step::{Step, Supervised, SupervisorLifetime};
use crate::error::{Context, Error, Result};
use crate::fail;
use crate::hint;
use crate::security::emulation::{self, Supervisor};
use crate::security::landlock::{HostShares, LandlockDomain, LandlockRules};
use crate::security::seccomp;
use crate::spec::KEEP_GROUPS;
use crate::sys::process::Personality;
use crate::sys::seccomp::Listening;
use crate::userns::Setgroups;

/// Adds the steps that change only the process itself. `until`: lifetime of a supervisor.
pub fn last_steps(
    spec: &Spec,
    process: &Process,
    setgroups: Setgroups,
    until: SupervisorLifetime,
    steps: &mut Vec<Step>,
) -> Result<()> {
    let personality = spec.linux().as_ref().and_then(|linux| linux.personality().as_ref());
    steps.extend(personality.map(|asked| Step::Personality(persona(asked.domain()))));
    steps.extend(scheduling::memory_policy(spec)?.map(Step::MemoryPolicy));
    steps.extend(scheduling::scheduler(process)?.map(Step::Scheduler));
    steps.extend(scheduling::io_priority(process)?.map(Step::IoPriority));
    limits(process, steps)?;
    steps.extend(labels(process).map(Step::SecurityLabel));
    steps.extend(process.user().umask().map(Step::Umask));
    steps.extend(
        LandlockRules::of_config(spec)?
            .map(|rules| Step::Landlock(LandlockDomain { rules, shares: host_shares(spec) })),
    );
    steps.push(Step::Credentials(credentials(spec, process, setgroups)?));
    if process.no_new_privileges() == Some(true) {
        steps.push(Step::NoNewPrivileges);
    }
    steps.extend(filter(spec, process, until)?);
    Ok(())
}

/// Returns the size in config.json of the command's terminal.
pub fn console_size(process: &Process) -> Option<TerminalSize> {
    let size = process.console_size()?;
    let number = |number: u64| u16::try_from(number).unwrap_or(u16::MAX);
    Some(TerminalSize { rows: number(size.height()), columns: number(size.width()) })
}

/// Returns the labels of the security modules, which take effect at exec.
fn labels(process: &Process) -> impl Iterator<Item = SecurityLabel> {
    let text = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let apparmor = text(process.apparmor_profile()).map(|profile| SecurityLabel {
        // The second file is that of kernels before 5.8, where it belongs to the first security module.
        files: &["apparmor/exec", "exec"],
        value: format!("exec {profile}"),
        place: "process.apparmorProfile",
    });
    let selinux = text(process.selinux_label()).map(|label| SecurityLabel {
        files: &["exec"],
        value: label,
        place: "process.selinuxLabel",
    });
    apparmor.into_iter().chain(selinux)
}

/// Returns the namespaces that are the host's.
fn host_shares(spec: &Spec) -> HostShares {
    let namespaces = spec.linux().as_ref().and_then(|linux| linux.namespaces().as_ref());
    let is_host = |kind| !namespaces.into_iter().flatten().any(|namespace| namespace.typ() == kind);
    HostShares {
        network: is_host(LinuxNamespaceType::Network),
        processes: is_host(LinuxNamespaceType::Pid),
    }
}

fn persona(domain: LinuxPersonalityDomain) -> Personality {
    match domain {
        LinuxPersonalityDomain::PerLinux => Personality::Linux,
        LinuxPersonalityDomain::PerLinux32 => Personality::Linux32,
    }
}

fn limits(process: &Process, steps: &mut Vec<Step>) -> Result<()> {
    for limit in process.rlimits().iter().flatten() {
        let name = limit.typ().to_string();
        steps.push(Step::Limit(Limit {
            resource: resource(&name)?,
            name,
            soft: limit.soft(),
            hard: limit.hard(),
        }));
    }
    steps.extend(open_files(process).map(Step::Limit));
    Ok(())
}

/// Returns the default limit of open files: the caller's hard limit, since the soft limit of a shell is often 1024. It
/// is at most docker's limit: some programs loop over all possible descriptors.
fn open_files(process: &Process) -> Option<Limit> {
    use nix::sys::resource::{Resource, getrlimit};
    const MOST: u64 = 1 << 20;
    let name = "RLIMIT_NOFILE";
    if process.rlimits().iter().flatten().any(|limit| limit.typ().to_string() == name) {
        return None;
    }
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).ok()?;
    let wanted = hard.min(MOST);
    let limit = |soft| Limit { name: name.into(), resource: Resource::RLIMIT_NOFILE, soft, hard };
    (wanted > soft).then(|| limit(wanted))
}

fn resource(name: &str) -> Result<nix::sys::resource::Resource> {
    use nix::sys::resource::Resource::*;
    Ok(match name {
        "RLIMIT_AS" => RLIMIT_AS,
        "RLIMIT_CORE" => RLIMIT_CORE,
        "RLIMIT_CPU" => RLIMIT_CPU,
        "RLIMIT_DATA" => RLIMIT_DATA,
        "RLIMIT_FSIZE" => RLIMIT_FSIZE,
        "RLIMIT_LOCKS" => RLIMIT_LOCKS,
        "RLIMIT_MEMLOCK" => RLIMIT_MEMLOCK,
        "RLIMIT_MSGQUEUE" => RLIMIT_MSGQUEUE,
        "RLIMIT_NICE" => RLIMIT_NICE,
        "RLIMIT_NOFILE" => RLIMIT_NOFILE,
        "RLIMIT_NPROC" => RLIMIT_NPROC,
        "RLIMIT_RSS" => RLIMIT_RSS,
        "RLIMIT_RTPRIO" => RLIMIT_RTPRIO,
        "RLIMIT_RTTIME" => RLIMIT_RTTIME,
        "RLIMIT_SIGPENDING" => RLIMIT_SIGPENDING,
        "RLIMIT_STACK" => RLIMIT_STACK,
        _ => fail!("config.json: no limit is called {name}"),
    })
}

fn credentials(spec: &Spec, process: &Process, setgroups: Setgroups) -> Result<ProcessCredentials> {
    let user = process.user();
    let additional = user.additional_gids().clone().unwrap_or_default();
    let groups = if spec.annotations().as_ref().is_some_and(|all| all.contains_key(KEEP_GROUPS)) {
        Groups::Keep
    } else if setgroups == Setgroups::Denied {
        // setgroups(2) is denied in a namespace that its own process mapped (CVE-2014-8989).
        if additional.iter().any(|gid| *gid != user.gid()) {
            return Err(Error::new(
                "supplementary groups need subordinate group IDs, and you have none that can be used",
            )
            .hint(hint::KEEP_GROUPS));
        }
        Groups::Keep
    } else {
        Groups::Set(additional)
    };
    let capabilities = process.capabilities().as_ref();
    let set = |list: Option<&std::collections::HashSet<oci_spec::runtime::Capability>>| {
        list.into_iter().flatten().map(capability).collect::<Result<caps::CapsHashSet>>()
    };
    let permitted = set(capabilities.and_then(|all| all.permitted().as_ref()))?;
    let inheritable = set(capabilities.and_then(|all| all.inheritable().as_ref()))?;
    let mut ambient = set(capabilities.and_then(|all| all.ambient().as_ref()))?;
    // The kernel refuses to raise others (capabilities(7)). buildah's configs name them, and runc and crun leave them out.
    ambient.retain(|capability| permitted.contains(capability) && inheritable.contains(capability));
    Ok(ProcessCredentials {
        uid: user.uid(),
        gid: user.gid(),
        groups,
        bounding: set(capabilities.and_then(|all| all.bounding().as_ref()))?,
        permitted,
        effective: set(capabilities.and_then(|all| all.effective().as_ref()))?,
        inheritable,
        ambient,
        keyring: SessionKeyring::New,
    })
}

fn capability(capability: &oci_spec::runtime::Capability) -> Result<caps::Capability> {
    let name = capability.to_string();
    let name = if name.starts_with("CAP_") { name } else { format!("CAP_{name}") };
    caps::Capability::from_str(&name)
        .map_err(|_| Error::new(format!("config.json: no capability is called {name}")))
}

/// Returns the filter of the config as a step. Errors: the filter notifies neither a supervisor nor an agent, or
/// cannot be applied.
fn filter(spec: &Spec, process: &Process, until: SupervisorLifetime) -> Result<Option<Step>> {
    let emulation = emulation::asked(spec)?;
    let Some(mut filter) = seccomp::filter_of(spec, emulation.map(emulation::supervision))? else {
        return Ok(None);
    };
    match (emulation, &filter.agent) {
        (None, None) if filter.listening == Listening::Yes => {
            fail!("config.json: linux.seccomp: SCMP_ACT_NOTIFY has no listener")
        }
        // seccomp(2): EBUSY for a second filter with a listener.
        (Some(_), Some(agent)) => {
            return Err(Error::invalid(format!(
                "config.json: linux.seccomp.listenerPath {}: root emulation is the filter's listener, and a filter has one",
                agent.path.display()
            ))
            .hint(hint::NO_ROOT_EMULATION));
        }
        _ => {}
    }
    if let Some(agent) = &mut filter.agent {
        agent.state.set_version(spec.version().clone());
        agent.state.set_annotations(spec.annotations().clone());
    }
    let capabilities = process.capabilities().as_ref();
    let effective = capabilities.and_then(|all| all.effective().as_ref());
    let supervisor = Supervisor {
        uid: process.user().uid(),
        gid: process.user().gid(),
        capabilities: effective.into_iter().flatten().map(capability).collect::<Result<_>>()?,
    };
    let supervised = emulation.map(|emulation| Supervised { emulation, supervisor, until });
    Ok(Some(Step::Seccomp(Box::new(filter), supervised)))
}

pub fn command(process: &Process, reaper: Reaper) -> Result<ExecCommand> {
    let texts = |list: &Option<Vec<String>>| {
        let text = |text: &String| {
            CString::new(text.as_str()).map_err(|_| {
                Error::invalid(format!("{text:?}: a NUL byte in an argument or variable"))
            })
        };
        list.iter().flatten().map(text).collect::<Result<Vec<_>>>()
    };
    let arguments = texts(process.args())?;
    if arguments.first().is_none_or(|name| name.is_empty()) {
        fail!(Invalid: "no command given");
    }
    let own_program =
        rustix::fs::stat("/proc/self/exe").context(|| "cannot look at /proc/self/exe")?;
    Ok(ExecCommand {
        arguments,
        environment: texts(process.env())?,
        reaper,
        terminal: process.terminal() == Some(true),
        own_program: (own_program.st_dev, own_program.st_ino),
    })
}

#[cfg(test)]
mod tests {
    use oci_spec::runtime::LinuxSeccomp;
    use serde_json::{Value, json};

    use super::*;
    use crate::security::emulation::Emulation;

    fn with_filter(config: Value) -> Spec {
        let mut spec = Spec::default();
        let seccomp: LinuxSeccomp = serde_json::from_value(config).unwrap();
        spec.linux_mut().as_mut().unwrap().set_seccomp(Some(seccomp));
        spec
    }

    fn step(spec: &Spec) -> Result<Option<Step>> {
        filter(spec, spec.process().as_ref().unwrap(), SupervisorLifetime::OnParentDeath)
    }

    fn rule(action: &str) -> Value {
        let rule = json!({ "names": ["chown"], "action": action });
        json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule] })
    }

    #[test]
    fn a_filter_of_the_config_is_a_step() {
        assert!(step(&Spec::default()).unwrap().is_none());
        let Some(Step::Seccomp(filter, None)) = step(&with_filter(rule("SCMP_ACT_TRAP"))).unwrap()
        else {
            panic!()
        };
        assert_eq!(filter.listening, Listening::No);
    }

    #[test]
    fn what_is_handed_over_needs_somebody_who_answers() {
        let mut spec = with_filter(rule("SCMP_ACT_NOTIFY"));
        assert!(step(&spec).unwrap_err().to_string().contains("no listener"));
        let annotate = |spec: &mut Spec, value: &str| {
            let annotation = (emulation::ANNOTATION.to_owned(), value.to_owned());
            spec.set_annotations(Some([annotation].into()));
        };
        annotate(&mut spec, emulation::IDS);
        let Some(Step::Seccomp(_, Some(supervised))) = step(&spec).unwrap() else { panic!() };
        assert_eq!(supervised.emulation, Emulation::Ids);
        annotate(&mut spec, "all");
        assert!(step(&spec).unwrap_err().to_string().contains("'all' is not known"));
    }

    #[test]
    fn root_emulation_joins_the_filter_or_is_one() {
        let annotation = (emulation::ANNOTATION.to_owned(), emulation::OWNERS.to_owned());
        for mut spec in [with_filter(rule("SCMP_ACT_TRAP")), Spec::default()] {
            spec.set_annotations(Some([annotation.clone()].into()));
            let Some(Step::Seccomp(filter, Some(supervised))) = step(&spec).unwrap() else {
                panic!()
            };
            assert_eq!(supervised.emulation, Emulation::Owners);
            assert_eq!(filter.listening, Listening::Yes);
        }
    }

    #[test]
    fn a_filter_has_one_listener() {
        let mut config = rule("SCMP_ACT_NOTIFY");
        config["listenerPath"] = "/run/agent".into();
        let mut spec = with_filter(config);
        let Some(Step::Seccomp(filter, None)) = step(&spec).unwrap() else { panic!() };
        assert_eq!(filter.agent.unwrap().path.to_str(), Some("/run/agent"));
        let annotation = (emulation::ANNOTATION.to_owned(), emulation::IDS.to_owned());
        spec.set_annotations(Some([annotation].into()));
        assert!(step(&spec).unwrap_err().to_string().contains("listenerPath /run/agent"));
    }
}
