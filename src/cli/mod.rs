//! The command line: clap, one file a command, tables and JSON.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

pub mod doctor;

#[derive(Parser)]
#[command(name = "usnea", version, about)]
struct Options {
    /// The folder that holds everything of usnea's.
    #[arg(long, global = true)]
    root: Option<PathBuf>,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    Doctor(doctor::Arguments),
}

/// The program.
pub fn main() -> ExitCode {
    let options = Options::parse();
    let outcome = match &options.verb {
        Verb::Doctor(arguments) => doctor::run(arguments, options.root.as_deref()),
    };
    outcome.map_or_else(
        |error| {
            eprintln!("usnea: {error}");
            ExitCode::from(error.status())
        },
        ExitCode::from,
    )
}
