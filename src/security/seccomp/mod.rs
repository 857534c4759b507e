//! System call filters: a policy in words, and the program that the kernel runs for it.
//!
//! ```text
//! policy     what is decided for which call      oci        the same from config.json's linux.seccomp
//! numbers    calls by name, per architecture     program    classic BPF, from a policy
//! ```
//!
//! Own code, not libseccomp: that needs 11 to 15 ms for docker's profile, and knows no call newer than itself. The
//! tests hold ours to it.

mod numbers;
mod oci;
mod policy;
mod program;
#[cfg(test)]
mod tests;

pub use numbers::Architecture;
pub use oci::Filter;
pub use policy::{Action, Operator, Policy, Rule, Test};
pub use program::compile;
