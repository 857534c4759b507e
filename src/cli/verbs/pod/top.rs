//! `usnea pod top`: the processes of a pod, as ps(1) of the host shows them.

use crate::cli::flags::pod::PodSelection;
use crate::cli::verbs::container::top::print_table;
use crate::container::{Usnea, pods};
use crate::error::Result;

/// Show the running processes of a pod
///
/// Shows those of all its containers. Process IDs are those of the host.
#[derive(clap::Args)]
pub struct Arguments {
    /// The pod. OPTION and all words after it are options of ps(1). Default: -ef.
    #[arg(value_names = ["POD", "OPTION"], num_args = 1.., required = true, trailing_var_arg = true)]
    words: Vec<String>,
}

/// Prints the processes.
pub fn run(arguments: &Arguments, usnea: &Usnea) -> Result<u8> {
    let pod = PodSelection::single(usnea, Some(&arguments.words[0]))?;
    print_table(&pods::top(&pod, &arguments.words[1..])?)
}
