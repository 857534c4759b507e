//! Flags of `create` and `run` for the lifecycle of a container: restarts, health, labels, log.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::ValueEnum;

use super::attach::detach_keys;
use super::stop::SignalFlag;
use crate::container::auto_update::UNIT_LABEL;
use crate::container::{Lifecycle, Usnea};
use crate::duration;
use crate::error::{Context, Error, Result};
use crate::fail;
use crate::monitor::policy::RestartPolicy;
use crate::monitor::record::{
    FOREVER, HealthLog, Healthcheck, Input, LogDriver, LogSettings, OnFailure, StartupCheck,
};
use crate::readiness::NotifyMode;
use crate::spec::Size;

/// Value of `--health-on-failure`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OnFailureFlag {
    /// No action.
    None,
    /// Kill the container; then its restart policy applies.
    Kill,
    /// Restart the container regardless of its restart policy.
    Restart,
    /// Stop the container.
    Stop,
}

impl From<OnFailureFlag> for OnFailure {
    fn from(flag: OnFailureFlag) -> Self {
        match flag {
            OnFailureFlag::None => Self::None,
            OnFailureFlag::Kill => Self::Kill,
            OnFailureFlag::Restart => Self::Restart,
            OnFailureFlag::Stop => Self::Stop,
        }
    }
}

/// Value of `--sdnotify` (podman's words).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum NotifyFlag {
    /// The container's processes, which get NOTIFY_SOCKET.
    #[default]
    Container,
    /// usnea, when the command runs.
    Conmon,
    /// usnea, when the container is healthy.
    Healthy,
    /// No notification.
    Ignore,
}

impl From<NotifyFlag> for NotifyMode {
    fn from(flag: NotifyFlag) -> Self {
        match flag {
            NotifyFlag::Container => Self::Container,
            NotifyFlag::Conmon => Self::Conmon,
            NotifyFlag::Healthy => Self::Healthy,
            NotifyFlag::Ignore => Self::Ignore,
        }
    }
}

/// Flags for the lifecycle of a container.
#[derive(clap::Args, Clone, Debug, Default)]
#[command(args_override_self = true)]
pub struct LifecycleFlags {
    /// Restart policy: no, on-failure[:N], always, unless-stopped.
    #[arg(long, value_name = "POLICY")]
    restart: Option<RestartPolicy>,

    /// Signal to stop the container. Default: the image's, else SIGTERM.
    #[arg(long, value_name = "SIGNAL")]
    stop_signal: Option<SignalFlag>,

    /// Seconds to wait before the container is killed; -1: no limit. Default: 10.
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true)]
    stop_timeout: Option<i64>,

    /// Kill the container after this many seconds. Default: 0, no limit.
    #[arg(long, value_name = "SECONDS", default_value_t = 0, hide_default_value = true)]
    timeout: u64,

    /// Containers that are started before this one, by name or ID.
    #[arg(long, value_name = "CONTAINER", value_delimiter = ',')]
    requires: Vec<String>,

    /// Set a label.
    #[arg(short, long, value_name = "KEY[=VALUE]")]
    label: Vec<String>,

    /// Read labels from a file, one per line.
    #[arg(long, value_name = "FILE")]
    label_file: Vec<PathBuf>,

    /// Write the container's ID to this file.
    #[arg(long, value_name = "FILE")]
    cidfile: Option<PathBuf>,

    /// Write the process ID of the container to this file.
    #[arg(long, value_name = "FILE")]
    pidfile: Option<PathBuf>,

    /// Write the process ID of the container's monitor to this file.
    #[arg(long, value_name = "FILE")]
    conmon_pidfile: Option<PathBuf>,

    /// Logging driver: file (also json-file, k8s-file, local), journald, none, or passthrough (the command inherits
    /// usnea's standard streams, and can reopen the files behind them).
    #[arg(long, value_name = "DRIVER")]
    log_driver: Option<String>,

    /// Logging driver options: max-size=BYTES (-1: no limit), max-file=N, tag=TEXT (of
    /// entries in the journal; a template, such as {{.ImageName}}/{{.ID}}). Default: 5 files of 20 MiB ([log] in
    /// usnea.toml).
    #[arg(long, value_name = "KEY=VALUE")]
    log_opt: Vec<String>,

    /// Sender of the readiness notification to the service manager that started usnea (NOTIFY_SOCKET).
    #[arg(long, value_enum, value_name = "MODE", default_value = "container")]
    sdnotify: NotifyFlag,

    /// Key sequence to detach from the container. Default: ctrl-p,ctrl-q.
    #[arg(long, value_name = "KEYS")]
    detach_keys: Option<String>,

    /// Replace a container of the same name.
    #[arg(long)]
    replace: bool,

    /// Command to check the health; none: no checks, not even the image's.
    #[arg(long, value_name = "COMMAND")]
    health_cmd: Option<String>,

    /// Time between health checks, such as 30s. Default: 30s.
    #[arg(long, value_name = "TIME")]
    health_interval: Option<String>,

    /// Consecutive failures needed to report unhealthy. Default: 3.
    #[arg(long, value_name = "N")]
    health_retries: Option<u32>,

    /// Start period in which failures do not count. Default: 0s.
    #[arg(long, value_name = "TIME")]
    health_start_period: Option<String>,

    /// Time between health checks in the start period. Default: 5s.
    #[arg(long, value_name = "TIME")]
    health_start_interval: Option<String>,

    /// Maximum time of one health check. Default: 30s.
    #[arg(long, value_name = "TIME")]
    health_timeout: Option<String>,

    /// Action if the container is unhealthy.
    #[arg(long, value_enum, value_name = "ACTION")]
    health_on_failure: Option<OnFailureFlag>,

    /// Command to check the health until it succeeds: only then the regular check begins.
    #[arg(long, value_name = "COMMAND")]
    health_startup_cmd: Option<String>,

    /// Time between startup checks. Default: 30s.
    #[arg(long, value_name = "TIME")]
    health_startup_interval: Option<String>,

    /// Consecutive failures of the startup check after which the container is restarted. Default, and 0: no limit.
    #[arg(long, value_name = "N")]
    health_startup_retries: Option<u32>,

    /// Consecutive successes of the startup check after which the regular check begins. Default, and 0: one.
    #[arg(long, value_name = "N")]
    health_startup_success: Option<u32>,

    /// Maximum time of one startup check. Default: 30s.
    #[arg(long, value_name = "TIME")]
    health_startup_timeout: Option<String>,

    /// Directory for a copy of the check results, ID-healthcheck.log; local: none. Default: local.
    #[arg(long, value_name = "DIR")]
    health_log_destination: Option<PathBuf>,

    /// Number of check results that are kept; 0: all. Default: 5.
    #[arg(long, value_name = "N")]
    health_max_log_count: Option<usize>,

    /// Bytes of a check's output that are kept; 0: all. Default: 4096.
    #[arg(long, value_name = "BYTES")]
    health_max_log_size: Option<usize>,

    /// Disable all health checks, the image's too.
    #[arg(long)]
    no_healthcheck: bool,
}

impl LifecycleFlags {
    /// True if a flag requires a container with a record and a monitor.
    pub fn require_record(&self) -> bool {
        let Self { label, label_file, log_opt, requires, replace, no_healthcheck: _, .. } = self;
        let has = [
            self.restart.is_some_and(|policy| policy != RestartPolicy::No),
            self.cidfile.is_some(),
            self.pidfile.is_some(),
            self.conmon_pidfile.is_some(),
            self.timeout > 0,
            self.log_driver.is_some(),
            self.sdnotify == NotifyFlag::Healthy,
            self.detach_keys.is_some(),
            self.health_cmd.is_some(),
            self.health_interval.is_some(),
            self.health_retries.is_some(),
            self.health_start_period.is_some(),
            self.health_start_interval.is_some(),
            self.health_timeout.is_some(),
            self.health_startup_cmd.is_some(),
            self.health_startup_interval.is_some(),
            self.health_startup_retries.is_some(),
            self.health_startup_success.is_some(),
            self.health_startup_timeout.is_some(),
            self.health_log_destination.is_some(),
            self.health_max_log_count.is_some(),
            self.health_max_log_size.is_some(),
            self.health_on_failure.is_some_and(|action| action != OnFailureFlag::None),
        ];
        has.contains(&true)
            || *replace
            || ![label, log_opt, requires].iter().all(|list| list.is_empty())
            || !label_file.is_empty()
    }

    /// Returns the flags as the verbs take them. Errors: invalid values, flags that exclude each other.
    pub fn lifecycle(self, usnea: &Usnea, image: &str, input: Input) -> Result<Lifecycle> {
        detach_keys(self.detach_keys.as_deref())?;
        Ok(Lifecycle {
            image: image.to_owned(),
            restart: self.restart.unwrap_or_default(),
            has_default_restart: self.restart.is_none(),
            pod: None,
            stop_signal: self.stop_signal.map(|signal| signal.0),
            stop_timeout: self.stop_timeout.map(|time| u64::try_from(time).unwrap_or(FOREVER)),
            health: self.health()?,
            health_on_failure: self.health_on_failure.map(OnFailure::from),
            startup: self.startup()?,
            health_log: self.health_log()?,
            labels: with_unit(labels_of(&self.label_file, &self.label)?),
            log: self.log(usnea)?,
            cidfile: self.cidfile,
            pidfile: self.pidfile,
            monitor_pidfile: self.conmon_pidfile,
            timeout: self.timeout,
            requires: self.requires,
            attach: Vec::new(),
            remove_image: false,
            notify: self.sdnotify.into(),
            detach_keys: self.detach_keys,
            replace: self.replace,
            input,
            create_command: std::env::args_os()
                .map(|word| word.to_string_lossy().into_owned())
                .collect(),
        })
    }

    fn log(&self, usnea: &Usnea) -> Result<LogSettings> {
        let driver = match self.log_driver.as_deref() {
            None | Some("" | "file" | "json-file" | "k8s-file" | "local") => LogDriver::File,
            Some("journald") => LogDriver::Journald,
            Some("none") => LogDriver::None,
            Some("passthrough") => LogDriver::Passthrough,
            Some(other) => {
                return Err(Error::invalid(format!(
                    "--log-driver {}: there is no such driver",
                    other.escape_debug()
                ))
                .hint("file, journald, none or passthrough"));
            }
        };
        let mut settings = LogSettings { driver, ..LogSettings::default() };
        let mut has_size = false;
        for option in &self.log_opt {
            let describe = || format!("--log-opt {option}");
            has_size |= option.starts_with("max-size=");
            match option.split_once('=') {
                Some(("max-size", "-1")) => settings.max_size = None,
                Some(("max-size", value)) => {
                    let size: Size = value.parse().map_err(Error::new).context(describe)?;
                    settings.max_size = Some(size.bytes()).filter(|bytes| *bytes > 0);
                }
                Some(("max-file", value)) => match value.parse() {
                    Ok(count @ 1..=1000) => settings.max_file = Some(count),
                    _ => fail!(Invalid: "--log-opt {option}: a number from 1 to 1000"),
                },
                Some(("tag", value)) => settings.tag = Some(value.to_owned()),
                _ => {
                    return Err(Error::invalid(format!(
                        "--log-opt {option}: there is no such option"
                    ))
                    .hint("max-size=BYTES, max-file=N, tag=TEXT"));
                }
            }
        }
        if driver == LogDriver::File && !has_size {
            let limits = usnea.settings()?.log;
            settings.max_size = limits.max_size;
            settings.max_file.get_or_insert(limits.max_file);
        }
        Ok(settings)
    }

    fn startup(&self) -> Result<Option<StartupCheck>> {
        let check = StartupCheck {
            test: self.health_startup_cmd.as_deref().map(check_words).unwrap_or_default(),
            interval: time("health-startup-interval", self.health_startup_interval.as_deref())?,
            timeout: time("health-startup-timeout", self.health_startup_timeout.as_deref())?,
            retries: self.health_startup_retries.unwrap_or(0),
            successes: self.health_startup_success.unwrap_or(0),
        };
        if check.test.is_empty() && check != StartupCheck::default() {
            fail!(Invalid: "flags of the startup check need --health-startup-cmd");
        }
        Ok((!check.test.is_empty()).then_some(check))
    }

    fn health_log(&self) -> Result<HealthLog> {
        let folder = match &self.health_log_destination {
            Some(folder) if folder.as_os_str() != "local" => {
                let describe = || format!("--health-log-destination {}", folder.display());
                let folder = std::path::absolute(folder).context(describe)?;
                if !folder.is_dir() {
                    return Err(Error::invalid("local, or an existing directory"))
                        .context(describe);
                }
                Some(folder)
            }
            _ => None,
        };
        Ok(HealthLog {
            max_count: self.health_max_log_count,
            max_size: self.health_max_log_size,
            folder,
        })
    }

    fn health(&self) -> Result<Option<Healthcheck>> {
        let test = match (self.health_cmd.as_deref(), self.no_healthcheck) {
            (Some(_), true) => {
                fail!(Invalid: "--no-healthcheck and --health-cmd exclude each other")
            }
            (Some("none"), _) | (None, true) => vec!["NONE".to_owned()],
            (Some(command), _) => check_words(command),
            (None, false) => Vec::new(),
        };
        let check = Healthcheck {
            test,
            interval: time("health-interval", self.health_interval.as_deref())?,
            timeout: time("health-timeout", self.health_timeout.as_deref())?,
            start_period: time("health-start-period", self.health_start_period.as_deref())?,
            start_interval: time("health-start-interval", self.health_start_interval.as_deref())?,
            retries: self.health_retries.unwrap_or(0),
        };
        // Without a command, the flags change the check of the image.
        Ok((check != Healthcheck::default()).then_some(check))
    }
}

/// Parses a time in nanoseconds; 0 without a value.
fn time(name: &str, value: Option<&str>) -> Result<u64> {
    let Some(text) = value else { return Ok(0) };
    duration::nanoseconds(text).ok_or_else(|| {
        Error::invalid(format!("--{name} {}: a time is like 30s or 1m30s", text.escape_debug()))
    })
}

/// Returns a check's command in docker's form.
fn check_words(command: &str) -> Vec<String> {
    match serde_json::from_str::<Vec<String>>(command) {
        // podman's rule: a list is run without a shell.
        Ok(words) if words.first().is_some_and(|word| word == "CMD" || word == "CMD-SHELL") => {
            words
        }
        Ok(words) => [vec!["CMD".to_owned()], words].concat(),
        Err(_) => vec!["CMD-SHELL".to_owned(), command.to_owned()],
    }
}

/// Adds the label of the unit that runs this program, as podman does: `usnea auto-update` restarts it.
fn with_unit(mut labels: BTreeMap<String, String>) -> BTreeMap<String, String> {
    let unit = std::env::var(UNIT_LABEL).ok().filter(|unit| !unit.is_empty());
    if let Some(unit) = unit {
        labels.entry(UNIT_LABEL.to_owned()).or_insert(unit);
    }
    labels
}

/// Returns the labels of files and of flags, which come last. Errors: an unreadable file; a label without a key.
pub fn labels_of(files: &[PathBuf], flags: &[String]) -> Result<BTreeMap<String, String>> {
    let mut labels = BTreeMap::new();
    let mut add = |text: &str| {
        let (key, value) = text.split_once('=').unwrap_or((text, ""));
        if key.is_empty() {
            fail!(Invalid: "--label '{}': a label has a key", text.escape_debug());
        }
        labels.insert(key.to_owned(), value.to_owned());
        Ok(())
    };
    for file in files {
        let describe = || format!("--label-file {}", file.display());
        let text = std::fs::read_to_string(file).context(describe)?;
        let lines = text.lines().map(str::trim_start);
        lines.filter(|line| !line.is_empty() && !line.starts_with('#')).try_for_each(&mut add)?;
    }
    flags.iter().try_for_each(|text| add(text))?;
    Ok(labels)
}
