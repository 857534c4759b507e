//! Launch of a plan: the processes, from the first clone to the command.

pub mod child;
pub mod parent;
pub mod supervisor;
