//! Hooks as commands: each gets the state on its standard input.

use std::time::Duration;

use super::quote::quote;
use crate::engine::hooks::Hooks;
use crate::hook_point::HookPoint;

/// Returns the commands for the hooks of `point`.
pub(super) fn commands(hooks: &Hooks, point: HookPoint) -> Vec<String> {
    let state = quote(&hooks.state(point));
    let mut lines = Vec::new();
    for program in hooks.at(point) {
        let words = |list: &[std::ffi::CString]| {
            let words: Vec<String> =
                list.iter().map(|word| quote(&word.to_string_lossy())).collect();
            words.join(" ")
        };
        let bound = program.timeout.as_ref().map(Duration::as_secs);
        let bound = bound.map(|seconds| format!("timeout -s KILL {seconds} ")).unwrap_or_default();
        let environment = words(&program.environment);
        let arguments = words(program.arguments.get(1..).unwrap_or_default());
        let path = quote(&program.path.to_string_lossy());
        let command = format!("{bound}env -i {environment} {path} {arguments}");
        let command = command.split_whitespace().collect::<Vec<_>>().join(" ");
        lines.push(format!("printf %s {state} | {command}"));
    }
    if !matches!(point, HookPoint::CreateContainer | HookPoint::StartContainer) {
        lines.insert(0, "# (outside, by usnea, with the container's PID in the state:)".into());
        lines.iter_mut().skip(1).for_each(|line| line.insert_str(0, "#   "));
    }
    lines
}
