//! System call filters: a policy in words, and its program for the kernel.
//!
//! ```text
//! policy     decision for each call               oci        policy from config.json's linux.seccomp
//! numbers    calls by name, per architecture      program    classic BPF, from policies
//! profile    config.json's linux.seccomp from a profile in docker's format
//! builtin    the default profile                  filter     program of a container
//! compiled   the default profile, compiled ahead
//! annotation the filter that a container's config asks for
//! ```
//!
//! Written here instead of using libseccomp: that takes 11 to 15 ms for docker's profile, and knows no call newer than
//! itself. The tests compare both.

mod annotation;
mod builtin;
mod compiled;
mod filter;
mod numbers;
mod oci;
mod policy;
mod profile;
mod program;
#[cfg(test)]
mod tests;

pub use annotation::{filter_of, resolve_annotation, set_filter, source_of};
pub use builtin::builtin;
pub use filter::{Filter, FilterProfile};
pub use numbers::Architecture;
pub use oci::{Agent, ConfigFilter};
pub use policy::{Action, Operator, Policy, Rule, SupervisedCalls, Test};
pub use profile::{ProfileTarget, resolve};
pub use program::compile;
