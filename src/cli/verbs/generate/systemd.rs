//! `usnea generate systemd`: units for a container, or for a pod and its containers.

use std::collections::BTreeMap;

use super::create_command::CreateCommand;
use super::unit::{SystemdUnit, UnitCommandLine, escaped};
use crate::cli::output::print;
use crate::container::pods::{self, Pod};
use crate::container::{self, Container, Usnea};
use crate::error::{Context, Error, ErrorKind, Result};
use crate::fail;
use crate::monitor::policy::RestartPolicy;

/// Generate units of systemd for a container, or for a pod and its containers
///
/// Prints the units, or writes a file for each with --files. A unit starts the existing container; with --new it makes
/// the container anew by the command line that has created it, and removes it at the end. Quadlet files are an
/// alternative: see usnea-units(7).
#[derive(clap::Args)]
pub struct Arguments {
    /// Name or ID of the container or pod.
    #[arg(value_name = "CONTAINER|POD")]
    name_or_id: String,

    /// Use names instead of IDs.
    #[arg(short, long)]
    name: bool,

    /// Make a new container or pod at each start.
    #[arg(long)]
    new: bool,

    /// Write files NAME.service in the current directory, and print their paths.
    #[arg(short, long)]
    files: bool,

    /// Print an object of JSON, with the units' names as keys.
    #[arg(long, value_name = "FORMAT", value_parser = ["json"])]
    format: Option<String>,

    /// Restart policy of the unit: no, on-success, on-failure, on-abnormal, on-watchdog, on-abort, always. Default:
    /// with --new the container's, else on-failure.
    #[arg(long, value_name = "POLICY", value_parser = ["no", "on-success", "on-failure", "on-abnormal", "on-watchdog", "on-abort", "always"], hide_possible_values = true)]
    restart_policy: Option<String>,

    /// Time before a restart.
    #[arg(long, value_name = "SECONDS")]
    restart_sec: Option<u64>,

    /// Longest time of a start.
    #[arg(long, value_name = "SECONDS")]
    start_timeout: Option<u64>,

    /// Time before a container that is stopped is killed. Default: the container's.
    #[arg(long, visible_alias = "time", short_alias = 't', value_name = "SECONDS")]
    stop_timeout: Option<u64>,

    /// Units that are started before (After=).
    #[arg(long, value_name = "UNIT")]
    after: Vec<String>,

    /// Units that are started after (Before=).
    #[arg(long, value_name = "UNIT")]
    before: Vec<String>,

    /// Units that are started too (Wants=).
    #[arg(long, value_name = "UNIT")]
    wants: Vec<String>,

    /// Units without which this one ends (Requires=).
    #[arg(long, value_name = "UNIT")]
    requires: Vec<String>,

    /// Environment variables of the unit.
    #[arg(short, long, value_name = "NAME=VALUE")]
    env: Vec<String>,

    /// Beginning of the names of containers' units.
    #[arg(long, value_name = "PREFIX", default_value = "container")]
    container_prefix: String,

    /// Beginning of the names of pods' units.
    #[arg(long, value_name = "PREFIX", default_value = "pod")]
    pod_prefix: String,

    /// Text between the prefix and the name.
    #[arg(long, value_name = "TEXT", default_value = "-")]
    separator: String,

    /// Omit version and time.
    #[arg(long)]
    no_header: bool,

    /// Make a template unit, of which an instance NAME@X has a container NAME-X. Implies --new.
    #[arg(long)]
    template: bool,
}

/// Path of a new container's ID file.
const ID_FILE: &str = "--cidfile=%t/%n.ctr-id";
/// Time in which systemd waits for the stop, beyond the container's own, in seconds (podman's).
const STOP_MARGIN: u64 = 60;
/// Options of a container that its unit sets.
const SET_BY_UNIT: [&str; 8] =
    ["rm", "cidfile", "cgroups", "detach", "replace", "restart", "conmon-pidfile", "name"];

/// Pod whose unit that of a container depends on.
struct PodUnit<'a> {
    /// Name of the pod's unit, without `.service`.
    unit: &'a str,
}

/// Generator of the units of one command.
struct UnitGenerator<'a> {
    arguments: &'a Arguments,
    usnea: &'a Usnea,
    program: String,
    grammar: clap::Command,
}

/// Prints the units.
pub fn run(mut arguments: Arguments, usnea: &Usnea) -> Result<u8> {
    arguments.new |= arguments.template;
    let program = std::env::current_exe().context(|| "the path of this program")?;
    let generator = UnitGenerator {
        usnea,
        program: program.to_string_lossy().into_owned(),
        grammar: crate::cli::command(),
        arguments: &arguments,
    };
    let units = generator.units()?;
    let store = usnea.store()?.to_string_lossy();
    let mut texts = Vec::new();
    for unit in &units {
        texts.push((unit.name.clone(), unit.text(&store)));
    }
    if arguments.files {
        let folder = std::env::current_dir().context(|| "the current directory")?;
        for (name, text) in &mut texts {
            let path = folder.join(format!("{name}.service"));
            std::fs::write(&path, &*text).context(|| format!("cannot write {}", path.display()))?;
            *text = path.display().to_string();
        }
    }
    if arguments.format.is_some() {
        let texts: BTreeMap<String, String> = texts.into_iter().collect();
        return print(&format!("{:#}\n", serde_json::json!(texts)));
    }
    let texts = texts.iter().map(|(_, text)| format!("{}\n", text.trim_end()));
    print(&texts.collect::<Vec<_>>().join(if arguments.files { "" } else { "\n" }))
}

impl UnitGenerator<'_> {
    fn units(&self) -> Result<Vec<SystemdUnit>> {
        let typed = &self.arguments.name_or_id;
        match container::find(self.usnea, typed) {
            Ok(container) => return Ok(vec![self.container(&container, None)?]),
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            Err(_) => {}
        }
        let pod = pods::find(self.usnea, typed).map_err(|error| match error.kind() {
            ErrorKind::NotFound => Error::not_found(format!(
                "there is no container and no pod '{}'",
                typed.escape_debug()
            )),
            _ => error,
        })?;
        self.pod(&pod)
    }

    fn unit_name(&self, prefix: &str, name: &str, id: &str) -> String {
        let name = if self.arguments.name { name } else { id };
        match prefix {
            "" => name.to_owned(),
            prefix => format!("{prefix}{}{name}", self.arguments.separator),
        }
    }

    fn container_unit_name(&self, container: &Container) -> String {
        let record = &container.record;
        self.unit_name(&self.arguments.container_prefix, &record.name, &record.id)
    }

    /// Command line of this program, with the store that the units belong to.
    fn usnea(&self) -> Result<UnitCommandLine> {
        let command = UnitCommandLine::of(&self.program);
        let is_named = self.usnea.root().is_some() || std::env::var_os("USNEA_ROOT").is_some();
        Ok(match is_named {
            true => command.words(["--root", &self.usnea.store()?.to_string_lossy()]),
            false => command,
        })
    }

    /// Begins a unit with the settings that all units have.
    fn begin(&self, name: String, stop: u64) -> SystemdUnit {
        let Arguments { wants, after, before, requires, template, .. } = self.arguments;
        let mut unit = SystemdUnit { name, ..SystemdUnit::default() };
        if !self.arguments.no_header {
            let version = env!("CARGO_PKG_VERSION");
            unit.header =
                format!("# generated by usnea {version}\n# {:.0}\n", jiff::Timestamp::now());
        }
        if *template {
            unit.name += "@";
            unit.instance = " for %I";
        }
        for (key, values) in
            [("Wants", wants), ("After", after), ("Before", before), ("Requires", requires)]
        {
            unit.depend(key, values);
        }
        unit.set("Environment", "PODMAN_SYSTEMD_UNIT=%n");
        for variable in &self.arguments.env {
            unit.set("Environment", escaped(variable));
        }
        if let Some(seconds) = self.arguments.restart_sec {
            unit.set("RestartSec", seconds.to_string());
        }
        if let Some(seconds) = self.arguments.start_timeout {
            unit.set("TimeoutStartSec", seconds.to_string());
        }
        unit.set("TimeoutStopSec", (stop + STOP_MARGIN).to_string());
        unit
    }

    fn container(&self, container: &Container, pod: Option<&PodUnit<'_>>) -> Result<SystemdUnit> {
        let record = &container.record;
        let stop = self.arguments.stop_timeout.unwrap_or(record.stop_timeout);
        let mut unit = self.begin(self.container_unit_name(container), stop);
        if let Some(pod) = pod {
            unit.unit.push(("BindsTo", format!("{}.service", pod.unit)));
            unit.unit.push(("After", format!("{}.service", pod.unit)));
        }
        // The end by the signal of the stop is no failure.
        unit.set("SuccessExitStatus", "143");
        match self.arguments.new {
            true => self.new_container(&mut unit, container, stop, pod),
            false => self.existing_container(&mut unit, container, stop),
        }
        .context(|| format!("container {}", record.name))?;
        Ok(unit)
    }

    fn existing_container(
        &self,
        unit: &mut SystemdUnit,
        container: &Container,
        stop: u64,
    ) -> Result<()> {
        let record = &container.record;
        if record.restart != RestartPolicy::No {
            log::warn!(
                "container {} has a restart policy of its own: systemd and usnea may both restart it",
                record.name
            );
        }
        let name: &str = if self.arguments.name { &record.name } else { &record.id };
        let restart = self.arguments.restart_policy.as_deref().unwrap_or("on-failure");
        unit.set("Restart", restart);
        unit.set("ExecStart", self.usnea()?.words(["start", name]).text());
        let stop = self.usnea()?.words(["stop", "-t", &stop.to_string(), name]).text();
        unit.set("ExecStop", stop.clone());
        unit.set("ExecStopPost", stop);
        // Without it, systemd takes the monitor for the main process: the only process that is its own child.
        if let Some(path) = &record.monitor_pidfile {
            unit.set("PIDFile", path.to_string_lossy().replace('%', "%%"));
        }
        unit.set("Type", "forking");
        Ok(())
    }

    fn new_container(
        &self,
        unit: &mut SystemdUnit,
        container: &Container,
        stop: u64,
        pod: Option<&PodUnit<'_>>,
    ) -> Result<()> {
        let mut created = self.create_command(&container.record.create_command)?;
        let variables = self.inherited_variables(&created, container)?;
        variables.iter().for_each(|variable| unit.set("Environment", escaped(variable)));
        self.restart(unit, &created);
        let name = created.value("name").map(escaped);
        created.remove(&SET_BY_UNIT);
        if created.value("sdnotify") == Some("ignore") {
            created.remove(&["sdnotify"]);
        }
        let mut run = self.globals(&created)?.words(["run"]).raw(&[ID_FILE]);
        run = run.words(["--cgroups=split", "--rm", "-d", "--replace"]);
        if created.last("sdnotify").is_none() {
            run = run.words(["--sdnotify=conmon"]);
        }
        run = match (name, self.arguments.template) {
            (Some(name), true) => run.raw(&["--name", &format!("{name}-%i")]),
            (Some(name), false) => run.raw(&["--name", &name]),
            (None, true) => {
                run.raw(&["--name", &format!("{}-%i", escaped(&container.record.name))])
            }
            // The name was invented: each new container gets another one.
            (None, false) => run,
        };
        if let Some(pod) = pod {
            created.remove(&["pod", "pod-id-file"]);
            run = run.raw(&["--pod-id-file", &pod_id_file(pod.unit)]);
        }
        let options = created.options.iter().flat_map(|option| &option.words);
        let run = run.words(options).words(&created.rest);
        unit.set("ExecStartPre", "/bin/rm \\\n\t-f %t/%n.ctr-id");
        unit.set("ExecStart", run.text());
        let stop = stop.to_string();
        let end = |words: &[&str]| -> Result<String> {
            let command = self.usnea()?.words(words).words(["--ignore", "-t", &stop]);
            Ok(command.raw(&[ID_FILE]).text())
        };
        unit.set("ExecStop", end(&["stop"])?);
        unit.set("ExecStopPost", end(&["rm", "-v", "-f"])?);
        unit.set("Type", "notify");
        unit.set("NotifyAccess", "all");
        unit.set("Delegate", "yes");
        Ok(())
    }

    /// Sets the restart policy: of the flag, else that of the command line, in systemd's words.
    fn restart(&self, unit: &mut SystemdUnit, created: &CreateCommand) {
        let policy = self.arguments.restart_policy.as_deref().or(created.value("restart"));
        let (policy, limit) = match policy {
            None | Some("") => ("on-failure", None),
            Some("unless-stopped") => ("always", None),
            Some(policy) => match policy.split_once(':') {
                Some((policy, limit)) => (policy, Some(limit)),
                None => (policy, None),
            },
        };
        unit.set("Restart", policy);
        if let Some(limit) = limit {
            unit.unit.push(("StartLimitBurst", limit.to_owned()));
        }
    }

    /// Variables that the command line took from its own environment (`--env NAME`), with the values of that time.
    fn inherited_variables(
        &self,
        created: &CreateCommand,
        container: &Container,
    ) -> Result<Vec<String>> {
        let spec = container.spec()?;
        let all = spec.process().as_ref().and_then(|process| process.env().clone());
        let mut variables = Vec::new();
        for option in created.options.iter().filter(|option| option.name == "env") {
            let Some(name) = option.value.as_deref().filter(|value| !value.contains('=')) else {
                continue;
            };
            let is_it = |variable: &&String| variable.split('=').next() == Some(name);
            variables.extend(all.iter().flatten().find(is_it).cloned());
        }
        Ok(variables)
    }

    fn create_command(&self, words: &[String]) -> Result<CreateCommand> {
        if words.is_empty() {
            fail!(Conflict: "its command line is not known: it can be started, but not made anew");
        }
        CreateCommand::parse(words, &self.grammar)
    }

    /// Command line of this program with the global options of `created`.
    fn globals(&self, created: &CreateCommand) -> Result<UnitCommandLine> {
        let others = created.globals.iter().filter(|option| option.name != "root");
        Ok(self.usnea()?.words(others.flat_map(|option| &option.words)))
    }

    fn pod(&self, pod: &Pod) -> Result<Vec<SystemdUnit>> {
        let arguments = self.arguments;
        if arguments.template {
            return Err(Error::invalid("--template: a pod has no template unit"));
        }
        let members = pod.members()?;
        if members.is_empty() {
            fail!(Conflict: "pod {} has no containers", pod.record.name);
        }
        let name = self.unit_name(&arguments.pod_prefix, &pod.record.name, &pod.record.id);
        let longest = members.iter().map(|member| member.record.stop_timeout).max();
        let stop = arguments.stop_timeout.or(longest).unwrap_or_default();
        let mut unit = self.begin(name.clone(), stop);
        let services: Vec<String> = members
            .iter()
            .map(|member| format!("{}.service", self.container_unit_name(member)))
            .collect();
        unit.depend("Wants", &services);
        unit.depend("Before", &services);
        // systemd refuses the others for a unit without a process.
        let restart = arguments.restart_policy.as_deref();
        let restart = restart.filter(|policy| !matches!(*policy, "always" | "on-success"));
        unit.set("Restart", restart.unwrap_or("on-failure"));
        let stop = stop.to_string();
        let id_file = format!("--pod-id-file={}", pod_id_file(&name));
        match arguments.new {
            true => {
                let mut created = self.create_command(&pod.record.create_command)?;
                created.remove(&["pod-id-file", "replace"]);
                let options = created.options.iter().flat_map(|option| &option.words);
                let create = self.globals(&created)?.words(["pod", "create"]);
                let create =
                    create.raw(&[&id_file, "--replace"]).words(options).words(&created.rest);
                let end = |verb: &str| -> Result<UnitCommandLine> {
                    Ok(self.usnea()?.words(["pod", verb, "--ignore"]).raw(&[&id_file]))
                };
                let file = pod_id_file(&name);
                unit.set("ExecStartPre", format!("/bin/rm \\\n\t-f {file}"));
                unit.set("ExecStart", create.text());
                unit.set("ExecStop", end("stop")?.words(["-t", &stop]).text());
                unit.set("ExecStopPost", end("rm")?.words(["-f"]).text());
            }
            false => {
                let pod = if arguments.name { &pod.record.name } else { &pod.record.id };
                unit.set("ExecStart", self.usnea()?.words(["pod", "exists", pod]).text());
                unit.set("ExecStop", self.usnea()?.words(["pod", "stop", "-t", &stop, pod]).text());
            }
        }
        // A pod has no process of its own.
        unit.set("Type", "oneshot");
        unit.set("RemainAfterExit", "yes");
        let of_pod = PodUnit { unit: &name };
        let members = members.iter().map(|member| self.container(member, Some(&of_pod)));
        std::iter::once(Ok(unit)).chain(members).collect()
    }
}

fn pod_id_file(unit: &str) -> String {
    format!("%t/{}.pod-id", unit.replace('%', "%%"))
}
