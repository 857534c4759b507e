//! Plan of a launch: the steps, and what they need, as data. Makes nothing.

pub mod from_spec;
pub mod mount;
pub mod running;
