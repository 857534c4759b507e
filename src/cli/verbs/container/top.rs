//! `usnea top`: the processes of a container, as ps(1) of the host shows them.

use crate::cli::output::print;
use crate::container;
use crate::container::{ProcessTable, Usnea};
use crate::error::Result;

/// Show the running processes of a container
///
/// Process IDs are those of the host.
#[derive(clap::Args)]
pub struct Arguments {
    /// The container. OPTION and all words after it are options of ps(1). Default: -ef.
    #[arg(value_names = ["CONTAINER", "OPTION"], num_args = 1.., required = true, trailing_var_arg = true)]
    words: Vec<String>,
}

/// Prints the processes.
pub fn run(arguments: &Arguments, usnea: &Usnea) -> Result<u8> {
    let container = container::find(usnea, &arguments.words[0])?;
    print_table(&container::top(&[container], &arguments.words[1..])?)
}

/// Prints a table of processes.
pub fn print_table(table: &ProcessTable) -> Result<u8> {
    let lines = table.processes.iter().map(|line| format!("{line}\n"));
    print(&format!("{}\n{}", table.head, lines.collect::<String>()))
}
