//! Hooks of NVIDIA's specifications on a machine without their program (`nvidia-cdi-hook`, before it `nvidia-ctk hook`).
//!
//! Three of them are done by `usnea cdi hook` with the same options. The others are skipped: two of them have no effect
//! without root.

use super::document::CdiHook;
use crate::error::Result;
use crate::fail;

/// Program of the native hooks: this one. In the container's namespaces its path may be out of reach.
pub const PROGRAM: &str = "/proc/self/exe";

/// Names of the native hooks, with their options that take a value.
const NATIVE: [(&str, &[&str]); 3] =
    [("create-symlinks", &["link"]), ("update-ldcache", &["folder"]), ("chmod", &["mode", "path"])];
/// Options that tell where to find what a native hook does not need.
const UNNEEDED: [&str; 3] = ["ldconfig-path", "container-spec", "host-driver-version"];
/// Hooks that keep a root process in the container from making device files.
const WITHOUT_EFFECT: [&str; 2] =
    ["disable-device-node-modification", "update-application-profile"];

/// Substitute of a hook whose program is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HookSubstitute {
    /// Arguments of [`PROGRAM`], its name first.
    Native(Vec<String>),
    /// Nothing.
    Skipped,
}

/// Returns an option of a hook with its value, as one argument.
pub fn argument(option: &str, value: impl std::fmt::Display) -> String {
    format!("--{option}={value}")
}

/// Returns the substitute of a hook. `None`: not a hook of NVIDIA's. Errors: an unknown option.
pub fn substitute(hook: &CdiHook) -> Result<Option<HookSubstitute>> {
    let words: Vec<&str> = hook.args.iter().skip(1).map(String::as_str).collect();
    let (name, options) = match (hook.path.file_name().and_then(|name| name.to_str()), &words[..]) {
        (Some("nvidia-cdi-hook"), [name, options @ ..])
        | (Some("nvidia-ctk"), ["hook", name, options @ ..]) => (*name, options),
        _ => return Ok(None),
    };
    let Some((_, wanted)) = NATIVE.iter().find(|(native, _)| *native == name) else {
        if !WITHOUT_EFFECT.contains(&name) {
            log::warn!("hook {name} is skipped: {} is not installed", hook.path.display());
        }
        return Ok(Some(HookSubstitute::Skipped));
    };
    let mut arguments: Vec<String> = ["usnea", "cdi", "hook", name].map(str::to_owned).to_vec();
    let mut words = options.iter();
    while let Some(word) = words.next() {
        let (flag, value) = match word.split_once('=') {
            Some((flag, value)) => (flag, Some(value)),
            None => (*word, words.next().copied()),
        };
        let Some(value) = value else { fail!(Invalid: "{name}: {flag} has no value") };
        let option = flag.trim_start_matches('-');
        if wanted.contains(&option) {
            arguments.push(argument(option, value));
        } else if !UNNEEDED.contains(&option) {
            fail!(Invalid: "{name}: '{flag}' is unknown, and {} is not installed", hook.path.display());
        }
    }
    Ok(Some(HookSubstitute::Native(arguments)))
}
