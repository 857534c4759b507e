//! `usnea top`: processes of containers, in the output of ps(1) of the host.

use std::process::Command;

use super::{Container, processes};
use crate::error::{Context, Error, Result};
use crate::fail;

/// Output of ps(1), for the processes of containers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessTable {
    /// Line with the names of the columns.
    pub head: String,
    /// Line of each process.
    pub processes: Vec<String>,
}

/// Returns the processes of containers. `options` are those of ps(1); without any, `-ef`. Errors: a container does not
/// run here; ps(1) fails, or shows no process IDs.
pub fn top(containers: &[Container], options: &[String]) -> Result<ProcessTable> {
    let mut within = Vec::new();
    for container in containers {
        let status = container.status_here()?;
        let Some(state) = status.state().filter(|_| status.is_running()) else {
            fail!(NotRunning: "container {} is not running: it is {}", container.record.name, status.word());
        };
        within.extend(processes(state));
    }
    let default = ["-ef".to_owned()];
    let options = if options.is_empty() { &default[..] } else { options };
    let output = Command::new("ps").args(options).output();
    let output = output
        .context(|| "cannot run ps")
        .map_err(|error| error.hint("ps is in the package procps"))?;
    if !output.status.success() {
        let message = String::from_utf8_lossy(&output.stderr);
        return Err(Error::new(format!("ps: {}", message.lines().next().unwrap_or("it failed"))));
    }
    chosen(&String::from_utf8_lossy(&output.stdout), &within)
}

/// Selects the lines of the container's processes. Errors: no column PID.
fn chosen(table: &str, processes: &[i32]) -> Result<ProcessTable> {
    let mut lines = table.lines();
    let head = lines.next().unwrap_or_default();
    let Some(column) = head.split_whitespace().position(|name| name == "PID") else {
        return Err(Error::new("the output of ps has no column PID")
            .hint("usnea selects the processes by that column: add pid to -o"));
    };
    let is_ours = |line: &&str| {
        let number = line.split_whitespace().nth(column).and_then(|number| number.parse().ok());
        number.is_some_and(|number: i32| processes.contains(&number))
    };
    let processes = lines.filter(is_ours).map(str::to_owned).collect();
    Ok(ProcessTable { head: head.to_owned(), processes })
}

#[cfg(test)]
mod tests {
    #[test]
    fn lines_are_chosen_by_their_pid() {
        let text = "UID   PID  PPID CMD\nme     12     1 a 13\nme     13    12 b\n";
        let table = super::chosen(text, &[13]).unwrap();
        assert_eq!(table.head, "UID   PID  PPID CMD");
        assert_eq!(table.processes, ["me     13    12 b"]);
        assert!(super::chosen("UID CMD\n", &[1]).is_err());
    }
}
