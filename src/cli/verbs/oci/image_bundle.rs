//! Bundle that names an image instead of holding a root directory (`usnea slurm bundle`). Its container is that of
//! `usnea run`, which ends with its caller and has no state: command, environment, terminal and bind mounts are the
//! config's.

use std::path::Path;

use clap::{Args, Command, FromArgMatches};
use oci_spec::runtime::{Mount, Process, Spec};

use crate::cli::grammar;
use crate::cli::output::streams;
use crate::cli::verbs::run;
use crate::container::Usnea;
use crate::error::{Context, Error, Result};
use crate::fail;
use crate::host::pmi;
use crate::spec::parse_config;

/// Annotation: the image.
pub const IMAGE: &str = "usnea.image";
/// Annotation: options of `usnea run`, a JSON array of words.
pub const OPTIONS: &str = "usnea.options";

/// Name of the configuration in a bundle.
const CONFIG: &str = "config.json";
/// Mount point of a task's own folder in the spool directory of Slurm. Tasks that share a container have no such mount.
const SPOOL: &str = "/var/run/slurm";
/// Option for ranks of MPI jobs, which share a container.
const HPC: &str = "--hpc";
/// Variables that describe the host's file system and session: the image's are right inside.
const HOST_VARIABLES: [&str; 12] = [
    "PATH",
    "HOME",
    "SHELL",
    "PWD",
    "OLDPWD",
    "SHLVL",
    "_",
    "LD_LIBRARY_PATH",
    "LD_PRELOAD",
    "XDG_RUNTIME_DIR",
    "DBUS_SESSION_BUS_ADDRESS",
    "SLURM_CONF",
];

/// Reads the config of a bundle that names an image. `None`: another bundle, or no readable config.
pub fn read(bundle: &Path) -> Result<Option<Spec>> {
    let Ok(text) = std::fs::read(bundle.join(CONFIG)) else { return Ok(None) };
    // Other bundles are parsed once, later.
    if !text.windows(IMAGE.len()).any(|part| part == IMAGE.as_bytes()) {
        return Ok(None);
    }
    let spec = parse_config(&text)?;
    Ok(annotation(&spec, IMAGE).is_some().then_some(spec))
}

/// Runs the container of a bundle that names an image; returns the exit status of its command.
pub fn run(spec: &Spec) -> Result<u8> {
    let process = spec.process().as_ref();
    let environment = process.and_then(|process| process.env().clone()).unwrap_or_default();
    // Slurm starts the runtime in a folder of its own, not in the job's.
    if let Some(folder) = value_of(&environment, "PWD") {
        let _ = std::env::set_current_dir(folder);
    }
    let options = options(spec)?;
    let mut words = words_of_config(spec, &options, &environment)?;
    words.extend(options);
    words.extend(annotation(spec, IMAGE).map(str::to_owned));
    words.extend(process.and_then(|process| process.args().clone()).unwrap_or_default());
    // Without --root, which is the folder of the states here.
    let usnea = Usnea::new(None).with_streams(streams::of_process());
    run::run(parse(words)?, &usnea)
}

/// Checks options of a bundle. Errors: unknown options, or one that lets the container outlive its caller.
pub fn check(options: &[String], image: &str) -> Result<()> {
    parse(options.iter().cloned().chain([image.to_owned()]).collect()).map(drop)
}

fn parse(words: Vec<String>) -> Result<run::Arguments> {
    let command = || {
        let command = Command::new("usnea run").args_override_self(true);
        grammar::allow_hyphens(run::Arguments::augment_args(command))
    };
    let whole = || Command::new("usnea").subcommand(command().name("run"));
    let words = ["usnea", "run"].into_iter().map(str::to_owned).chain(words);
    let words = grammar::normalize(words.map(Into::into).collect(), whole);
    let invalid = |error: clap::Error| {
        let text = error.to_string();
        let line = text.lines().next().unwrap_or_default();
        Error::invalid(line.strip_prefix("error: ").unwrap_or(line)).within("options of the bundle")
    };
    let matches = command().try_get_matches_from(words.into_iter().skip(1)).map_err(invalid)?;
    if matches.get_flag("detach") {
        fail!(Invalid: "options of the bundle: --detach: the container ends with the step");
    }
    run::Arguments::from_arg_matches(&matches).map_err(invalid)
}

/// Returns the options of `usnea run` that stand for the parts of a config.
fn words_of_config(spec: &Spec, options: &[String], environment: &[String]) -> Result<Vec<String>> {
    let mut words = vec!["--rm".to_owned(), "--interactive".to_owned()];
    if spec.process().as_ref().and_then(Process::terminal).unwrap_or_default() {
        words.push("--tty".to_owned());
    }
    let is_shared = options.iter().any(|option| option == HPC);
    let is_own = |mount: &Mount| is_shared && mount.destination() == Path::new(SPOOL);
    let mounts = spec.mounts().iter().flatten().enumerate();
    let mounts: Vec<_> = mounts.filter(|(_, mount)| !is_own(mount)).collect();
    for (index, mount) in &mounts {
        let here = || format!("{CONFIG}: mounts[{index}]");
        words.extend(["--mount".to_owned(), bind(mount).context(here)?]);
    }
    let folders = pmi::pmix_folders(|name| value_of(environment, name).map(str::to_owned));
    let is_mounted =
        |folder: &Path| mounts.iter().any(|(_, mount)| folder.starts_with(mount.destination()));
    for folder in folders.iter().filter(|folder| !is_mounted(folder)) {
        let Some(folder) = folder.to_str() else { continue };
        words.extend(["--mount".to_owned(), bind_of(folder, folder, &[])]);
    }
    let manager = pmi::descriptor(environment.iter().map(String::as_str));
    if let Some(number) = manager {
        words.extend(["--preserve-fd".to_owned(), number.to_string()]);
    }
    // Without its descriptor the variable would make a client of PMI fail.
    let is_hosts = |entry: &str| {
        entry.split_once('=').is_none_or(|(name, _)| {
            HOST_VARIABLES.contains(&name) || name == pmi::PMI_FD && manager.is_none()
        })
    };
    for entry in environment.iter().filter(|entry| !is_hosts(entry)) {
        words.extend(["--env".to_owned(), entry.clone()]);
    }
    Ok(words)
}

/// Returns a bind mount as the value of `--mount`. Errors: another mount.
fn bind(mount: &Mount) -> Result<String> {
    let options = mount.options().clone().unwrap_or_default();
    let is_bind = options.iter().any(|option| ["bind", "rbind"].contains(&option.as_str()))
        || mount.typ().as_deref() == Some("bind");
    let (true, Some(source)) = (is_bind, mount.source()) else {
        fail!(Invalid: "only bind mounts, beside {IMAGE}");
    };
    let text = |path: &Path| path.to_str().map(str::to_owned);
    let (Some(source), Some(target)) = (text(source), text(mount.destination())) else {
        fail!(Invalid: "not UTF-8");
    };
    let is_read_only = options.iter().any(|option| option == "ro");
    Ok(bind_of(&source, &target, if is_read_only { &["readonly"] } else { &[] }))
}

/// Value of `--mount`: a record of CSV, whose fields are quoted (RFC 4180).
fn bind_of(source: &str, target: &str, more: &[&str]) -> String {
    let field = |name: &str, value: &str| format!("\"{name}={}\"", value.replace('"', "\"\""));
    let fields = ["type=bind".to_owned(), field("source", source), field("target", target)];
    fields
        .into_iter()
        .chain(more.iter().map(|word| (*word).to_owned()))
        .collect::<Vec<_>>()
        .join(",")
}

fn options(spec: &Spec) -> Result<Vec<String>> {
    let Some(text) = annotation(spec, OPTIONS) else { return Ok(Vec::new()) };
    serde_json::from_str(text)
        .map_err(|error| Error::invalid(error.to_string()))
        .context(|| format!("{CONFIG}: annotations.{OPTIONS}"))
}

fn annotation<'a>(spec: &'a Spec, name: &str) -> Option<&'a str> {
    spec.annotations().as_ref()?.get(name).map(String::as_str)
}

fn value_of<'a>(environment: &'a [String], name: &str) -> Option<&'a str> {
    let mut variables = environment.iter().rev().filter_map(|entry| entry.split_once('='));
    variables.find_map(|(other, value)| (other == name).then_some(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(text: &str) -> Spec {
        parse_config(text.as_bytes()).unwrap()
    }

    #[test]
    fn a_config_becomes_options_of_run() {
        let spec = spec(
            r#"{"ociVersion": "1.0.2", "root": {"path": "r"},
                "process": {"cwd": "/", "terminal": true, "user": {"uid": 0, "gid": 0}},
                "mounts": [{"destination": "/a,b", "type": "none", "source": "/s\"p", "options": ["bind", "ro"]}]}"#,
        );
        let environment = ["PATH=/x", "A=1", "B=a b", "PMI_FD=1000000"].map(str::to_owned);
        let words = words_of_config(&spec, &[], &environment).unwrap();
        let mount = "type=bind,\"source=/s\"\"p\",\"target=/a,b\",readonly";
        let wanted =
            ["--rm", "--interactive", "--tty", "--mount", mount, "--env", "A=1", "--env", "B=a b"];
        assert_eq!(words, wanted);
        let words = [&words[..], &["debian:12".to_owned(), "-x".to_owned()]].concat();
        assert!(parse(words).is_ok());
    }

    #[test]
    fn other_mounts_are_refused() {
        let spec = spec(
            r#"{"ociVersion": "1.0.2", "root": {"path": "r"},
                "mounts": [{"destination": "/a", "type": "tmpfs", "source": "tmpfs"}]}"#,
        );
        let text = words_of_config(&spec, &[], &[]).unwrap_err().to_string();
        assert_eq!(text, "config.json: mounts[0]: only bind mounts, beside usnea.image");
    }

    #[test]
    fn options_are_those_of_run_without_detach() {
        let wrong = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            check(&words, "debian:12").map_err(|error| error.to_string())
        };
        assert!(wrong(&["--userns", "keep-id", "-v", "/a:/b"]).is_ok());
        assert!(wrong(&["-d"]).unwrap_err().contains("--detach"));
        assert!(wrong(&["--nope"]).unwrap_err().contains("--nope"));
    }
}
