//! Key of a group: the commands of one step of a job on one node share a container (`run --join`).

use std::str::FromStr;

use super::hpc::JobVariables;
use crate::error::{Error, Result};

/// Choice of a group (`--join`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum JoinChoice {
    /// No flag: the group of a Slurm step that has several tasks on this node, if this is such a task.
    #[default]
    Default,
    /// `--hpc` without `--join`: the group of the job step or the MPI job, if this is a rank of one.
    Ranks,
    /// `--join`: the group of the job step, of the MPI job, or of the parent process.
    Join,
    /// `--join=TAG`: the group with this name.
    Tag(String),
    /// `--join=none`.
    Never,
}

/// Word of the flag without a value.
pub const JOIN: &str = "auto";

impl FromStr for JoinChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        match text {
            JOIN => Ok(Self::Join),
            "none" => Ok(Self::Never),
            tag if !tag.is_empty() && tag.chars().all(is_plain) => Ok(Self::Tag(tag.to_owned())),
            _ => Err("a tag has letters, digits, dots, hyphens and underscores".into()),
        }
    }
}

/// Key of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupKey {
    /// Name of the group in messages, unique among the groups of this user on this machine.
    pub name: String,
    /// Origin of the group.
    pub origin: JoinOrigin,
}

/// Origin of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JoinOrigin {
    /// A flag.
    Requested,
    /// The environment of a job step: the command runs on its own where it cannot join.
    Assumed,
}

impl GroupKey {
    /// Returns the group of this process, a task with `variables`; `None`: it joins none.
    pub fn of_process(choice: &JoinChoice, variables: &JobVariables) -> Option<Self> {
        let parent = || rustix::process::getppid().map_or(0, |pid| pid.as_raw_nonzero().get());
        Self::chosen(choice, |name| variables.get(name), parent)
    }

    /// `variable`: reads the environment. `parent`: PID of the parent process.
    fn chosen(
        choice: &JoinChoice,
        variable: impl Fn(&str) -> Option<String>,
        parent: impl Fn() -> i32,
    ) -> Option<Self> {
        let of = |name: String, origin| Some(Self { name, origin });
        // A machine may be several nodes of Slurm (slurmd -N), whose tasks have folders of their own.
        let on_node = |name: String| match variable("SLURMD_NODENAME") {
            Some(node) => format!("{name} on {node}"),
            None => name,
        };
        let step = |origin| {
            let (job, step) = (variable("SLURM_JOB_ID")?, variable("SLURM_STEP_ID")?);
            of(on_node(format!("step {job}.{step}")), origin)
        };
        let parents = |origin| of(format!("process {}", parent()), origin);
        // Open MPI and other users of PMIx have a namespace for each job; MPICH's hydra has one proxy on each node.
        let ranks = |origin| {
            let job = variable("PMIX_NAMESPACE").or_else(|| variable("OMPI_MCA_ess_base_jobid"));
            match job {
                Some(job) => of(on_node(format!("MPI job {job}")), origin),
                None => variable("MPI_LOCALNRANKS").and_then(|_| parents(origin)),
            }
        };
        match choice {
            JoinChoice::Never => None,
            JoinChoice::Tag(tag) => of(format!("tag {tag}"), JoinOrigin::Requested),
            JoinChoice::Default => {
                variable("SLURM_LOCALID")?;
                (local_tasks(&variable)? > 1).then(|| step(JoinOrigin::Assumed)).flatten()
            }
            JoinChoice::Ranks | JoinChoice::Join => {
                let origin = JoinOrigin::Requested;
                let is_asked = *choice == JoinChoice::Join;
                let last = || is_asked.then(|| parents(origin)).flatten();
                // The ranks of an MPI job that one task of a step starts belong together more closely.
                ranks(origin).or_else(|| step(origin)).or_else(last)
            }
        }
    }
}

/// Returns the number of tasks of a Slurm step on this node.
fn local_tasks(variable: impl Fn(&str) -> Option<String>) -> Option<u32> {
    variable("SLURM_STEP_ID")?;
    let node = || variable("SLURM_NODEID")?.parse::<usize>().ok();
    match variable("SLURM_STEP_TASKS_PER_NODE") {
        Some(list) => tasks_of_node(&list, node().unwrap_or(0)),
        None => variable("SLURM_NTASKS")?.parse().ok(),
    }
}

/// Returns the number of tasks on node number `node` in a list such as `4(x2),3`: three nodes.
fn tasks_of_node(list: &str, node: usize) -> Option<u32> {
    let mut first = 0;
    for part in list.split(',') {
        let (tasks, nodes) = match part.strip_suffix(')').and_then(|part| part.split_once("(x")) {
            Some((tasks, nodes)) => (tasks, nodes.parse::<usize>().ok()?),
            None => (part, 1),
        };
        first = usize::saturating_add(first, nodes);
        if node < first {
            return tasks.parse().ok();
        }
    }
    None
}

impl GroupKey {
    /// Returns the error of a command that differs from its group.
    pub(super) fn differs(&self, difference: &str) -> Error {
        Error::conflict(format!("the container of {} differs: {difference}", self.name))
            .hint(crate::hint::JOIN_ALIKE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tasks_of_a_node_are_counted() {
        for (list, node, count) in [
            ("2", 0, Some(2)),
            ("4(x2),3", 1, Some(4)),
            ("4(x2),3", 2, Some(3)),
            ("4(x2),3", 3, None),
            ("4(x99999999999999999999)", 0, None),
            ("x", 0, None),
        ] {
            assert_eq!(tasks_of_node(list, node), count, "{list} {node}");
        }
    }

    #[test]
    fn a_key_is_that_of_the_step_the_job_the_parent_or_the_tag() {
        let slurm = [
            ("SLURM_JOB_ID", "7"),
            ("SLURM_STEP_ID", "0"),
            ("SLURM_LOCALID", "1"),
            ("SLURM_NODEID", "1"),
        ];
        let with = |tasks: &'static str| {
            let mut all = slurm.to_vec();
            all.push(("SLURM_STEP_TASKS_PER_NODE", tasks));
            all
        };
        let mpi = vec![("PMIX_NAMESPACE", "prterun-n-5@1")];
        let tag = || JoinChoice::Tag("a".into());
        let on_n2 = |mut all: Vec<(&'static str, &'static str)>| {
            all.push(("SLURMD_NODENAME", "n2"));
            all
        };
        for (choice, environment, name) in [
            (JoinChoice::Default, vec![], None),
            (JoinChoice::Default, with("1(x2)"), None),
            (JoinChoice::Default, with("1,2"), Some("step 7.0")),
            (JoinChoice::Default, mpi.clone(), None),
            (JoinChoice::Never, with("2(x2)"), None),
            (JoinChoice::Ranks, vec![], None),
            (JoinChoice::Ranks, mpi.clone(), Some("MPI job prterun-n-5@1")),
            (JoinChoice::Ranks, vec![("MPI_LOCALNRANKS", "2")], Some("process 42")),
            (JoinChoice::Ranks, with("1(x2)"), Some("step 7.0")),
            (JoinChoice::Join, vec![], Some("process 42")),
            (JoinChoice::Ranks, on_n2(mpi.clone()), Some("MPI job prterun-n-5@1 on n2")),
            (JoinChoice::Ranks, on_n2(with("2(x2)")), Some("step 7.0 on n2")),
            (JoinChoice::Join, mpi, Some("MPI job prterun-n-5@1")),
            (tag(), on_n2(with("2(x2)")), Some("tag a")),
        ] {
            let variable = |name: &str| {
                let found = environment.iter().find(|(known, _)| *known == name);
                found.map(|(_, value)| (*value).to_owned())
            };
            let key = GroupKey::chosen(&choice, variable, || 42);
            assert_eq!(key.map(|key| key.name).as_deref(), name, "{choice:?} {environment:?}");
        }
    }

    #[test]
    fn a_tag_is_a_plain_word() {
        assert_eq!("a.b-c_1".parse(), Ok(JoinChoice::Tag("a.b-c_1".into())));
        assert_eq!("none".parse(), Ok(JoinChoice::Never));
        for wrong in ["", "a b", "a/b", "ä"] {
            assert!(wrong.parse::<JoinChoice>().is_err(), "{wrong:?}");
        }
    }
}
