//! `usnea doctor`: the page with the features that work on this machine. `host::checks` finds the facts; this module
//! only lays them out.

use std::fmt::Write as _;
use std::io::Write as _;

use crate::container::Usnea;
use crate::error::{Context, Result};
use crate::host::checks;
use crate::host::finding::{self, Finding, FindingStatus, FindingsVerdict};

/// Check the requirements of containers on this machine, and show how to meet missing ones
///
/// Tries what containers need, as the calling user: namespaces, ID maps, an overlay mount, cgroups, network helpers.
/// Leaves no files or processes behind. The exit status is 0 if a container can run here, else 1.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Output format.
    #[arg(long, value_enum, default_value_t = DoctorFormat::Table)]
    pub format: DoctorFormat,
}

/// `--format`
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum DoctorFormat {
    /// Text
    Table,
    /// Array of objects with name, status, found, costs and fix
    Json,
}

/// Runs all checks and prints the findings; returns the exit status. `root` is the global `--root`. Errors: standard
/// output cannot be written.
pub fn run(arguments: &Arguments, usnea: &Usnea) -> Result<u8> {
    // A missing place for the store is a finding, not a reason to give up.
    let store = usnea.store_path().ok();
    let default = usnea.settings().map(|settings| settings.default_network.word());
    let findings = checks::all(store.as_deref(), default.as_ref().copied());
    let verdict = finding::verdict(&findings);
    let text = match arguments.format {
        DoctorFormat::Json => {
            serde_json::to_string_pretty(&findings).expect("strings alone always serialise") + "\n"
        }
        DoctorFormat::Table => page(&findings, &verdict),
    };
    // anstream removes the colours without a terminal, or with NO_COLOR set.
    anstream::stdout().write_all(text.as_bytes()).context(|| "cannot write to standard output")?;
    Ok(match verdict {
        FindingsVerdict::DoesNotWork(_) => 1,
        FindingsVerdict::Works | FindingsVerdict::WorksWithLimits => 0,
    })
}

fn page(findings: &[Finding], verdict: &FindingsVerdict) -> String {
    let width = findings.iter().map(|finding| finding.name.len()).max().unwrap_or(0);
    let mut page = String::new();
    let mut line =
        |words: std::fmt::Arguments<'_>| page.write_fmt(words).expect("a String takes everything");
    for Finding { name, status, found, costs, fix, .. } in findings {
        let (start, end) = (colour(*status), "\x1b[0m");
        line(format_args!("{start}{:<8}{end}  {name:<width$}  {found}\n", status.word()));
        for (label, text) in [("costs", costs), ("fix", fix)] {
            if let Some(text) = text {
                line(format_args!("{:8}  {:<width$}  {label}: {text}\n", "", ""));
            }
        }
    }
    line(format_args!("\n{}\n", sentence(verdict)));
    page
}

fn colour(status: FindingStatus) -> &'static str {
    match status {
        FindingStatus::Ok => "\x1b[32m",
        FindingStatus::Degraded => "\x1b[33m",
        FindingStatus::Missing => "\x1b[31m",
    }
}

fn sentence(verdict: &FindingsVerdict) -> String {
    match verdict {
        FindingsVerdict::Works => "usnea run works here".into(),
        FindingsVerdict::WorksWithLimits => {
            "usnea run works here, with limits: see degraded and missing above".into()
        }
        FindingsVerdict::DoesNotWork(why) => format!("usnea run does not work here: {why}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_aligned_and_ends_in_the_verdict() {
        let findings = [
            Finding::ok("a longer name", "fine"),
            Finding::missing("b", "nothing").costs("much").fix("sudo mend".to_owned()).essential(),
        ];
        let page = page(&findings, &finding::verdict(&findings));
        assert_eq!(
            anstream::adapter::strip_str(&page).to_string(),
            "ok        a longer name  fine\n\
             missing   b              nothing\n                         costs: much\n                         \
             fix: sudo mend\n\nusnea run does not work here: b: nothing\n"
        );
    }
}
