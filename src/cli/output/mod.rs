//! Output of all commands: text, tables and templates, the progress of layers, and questions at the terminal.

pub mod failures;
pub mod format;
mod print;
pub mod progress;
pub mod prompt;
pub mod streams;
pub mod table;

pub use print::{print, print_bytes, print_line};
