//! Output of all commands: what is printed, its tables, the progress of layers, and questions at the terminal.

mod print;
pub mod progress;
pub mod prompt;
pub mod streams;
pub mod table;

pub use print::{discard_output, print, print_bytes};
