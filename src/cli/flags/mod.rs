//! Groups of flags that several commands share, a file for each group. Each turns itself into what the verbs take.

pub mod attach;
pub mod launch;
pub mod lifecycle;
pub mod pod;
pub mod pull;
pub mod registry;
pub mod selection;
pub mod stop;
