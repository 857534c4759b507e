//! `usnea top`: the processes of a container, as ps(1) of the host shows them.

use std::process::Command;

use crate::cli::run::print;
use crate::container;
use crate::container::Usnea;
use crate::error::{Context, Error, Result};
use crate::fail;

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
    let container = container::find(usnea.store()?, &arguments.words[0])?;
    let status = container.status_here()?;
    let Some(state) = status.state().filter(|_| status.is_running()) else {
        fail!("container {} is not running: it is {}", container.record.name, status.word());
    };
    let within = container::processes(state);
    let default = ["-ef".to_owned()];
    let options = if arguments.words.len() == 1 { &default[..] } else { &arguments.words[1..] };
    let output = Command::new("ps").args(options).output();
    let output = output
        .context(|| "cannot run ps")
        .map_err(|error| error.hint("it is in the package procps"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(Error::new(format!("ps: {}", said.lines().next().unwrap_or("it failed"))));
    }
    print(&chosen(&String::from_utf8_lossy(&output.stdout), &within)?)
}

/// Returns the line with the column names, and those of the container's processes. Errors: no column PID.
fn chosen(table: &str, processes: &[i32]) -> Result<String> {
    let mut lines = table.lines();
    let head = lines.next().unwrap_or_default();
    let Some(column) = head.split_whitespace().position(|name| name == "PID") else {
        return Err(Error::new("ps shows no column PID")
            .hint("the processes are told by it: add pid to -o"));
    };
    let is_ours = |line: &&str| {
        let number = line.split_whitespace().nth(column).and_then(|number| number.parse().ok());
        number.is_some_and(|number: i32| processes.contains(&number))
    };
    let ours = lines.filter(is_ours).map(|line| format!("{line}\n"));
    Ok(format!("{head}\n{}", ours.collect::<String>()))
}

#[cfg(test)]
mod tests {
    #[test]
    fn lines_are_chosen_by_their_pid() {
        let table = "UID   PID  PPID CMD\nme     12     1 a 13\nme     13    12 b\n";
        assert_eq!(
            super::chosen(table, &[13]).unwrap(),
            "UID   PID  PPID CMD\nme     13    12 b\n"
        );
        assert!(super::chosen("UID CMD\n", &[1]).is_err());
    }
}
