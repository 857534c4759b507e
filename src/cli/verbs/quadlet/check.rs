//! `usnea quadlet check`: looks for errors in Quadlet files.

use super::{found, generated, own_manager};
use crate::cli::output::print;
use crate::error::{Error, Result};

/// Report errors and unknown keys in Quadlet files
///
/// Checks the files that the generator finds; QUADLET_UNIT_DIRS sets other directories. The exit status is 1 if a file
/// has an error.
#[derive(clap::Args)]
pub struct Arguments {
    /// Names of the files to check. Default: all.
    #[arg(value_name = "FILE")]
    names: Vec<String>,
}

/// Prints errors and warnings, one a line.
pub fn run(arguments: &Arguments) -> Result<u8> {
    let manager = own_manager();
    let found = found(manager);
    let is_asked = |file: Option<&std::path::Path>| {
        let name = file.and_then(std::path::Path::file_name).and_then(|name| name.to_str());
        arguments.names.is_empty()
            || name.is_some_and(|name| arguments.names.iter().any(|asked| asked == name))
    };
    let failed = found.problems.iter().filter_map(|problem| problem.path());
    let known: Vec<_> =
        found.sources.values().map(|source| source.path.as_path()).chain(failed).collect();
    for name in &arguments.names {
        if !known.iter().any(|path| path.ends_with(name)) {
            return Err(Error::not_found(format!("there is no Quadlet file {name}")).exit_status(1));
        }
    }
    let generated = generated(found, manager)?;
    let of_asked = |messages: &[crate::quadlet::message::FileMessage], word: &str| {
        let asked = messages.iter().filter(|message| is_asked(message.path()));
        asked.map(|message| format!("{word}: {message}\n")).collect::<String>()
    };
    let problems = of_asked(&generated.problems, "error");
    print(&[of_asked(&generated.warnings, "warning").as_str(), problems.as_str()].concat())?;
    Ok(u8::from(!problems.is_empty()))
}
