//! System call filters: a policy in words, and its program for the kernel.
//!
//! ```text
//! policy     decision for each call               oci        policy from config.json's linux.seccomp
//! numbers    calls by name, per architecture      program    classic BPF, from a policy
//! ```
//!
//! Written here instead of using libseccomp: that takes 11 to 15 ms for docker's profile, and knows no call newer than
//! itself. The tests compare both.

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
