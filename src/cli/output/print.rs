//! Standard output: text and bytes, and its end without a reader.

use std::io::Write;

use crate::error::{Context, Result};
use crate::sys::signal;

/// Prints text; ends quietly without a reader.
pub fn print(text: &str) -> Result<u8> {
    print_bytes(text.as_bytes())
}

/// Prints bytes that need not be text; ends quietly without a reader.
pub fn print_bytes(bytes: &[u8]) -> Result<u8> {
    signal::set_default(&[libc::SIGPIPE]);
    std::io::stdout().write_all(bytes).context(|| "cannot write to standard output")?;
    Ok(0)
}

/// Prints a line. Ignores errors: the work is done, even without a reader.
pub fn print_line(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}
