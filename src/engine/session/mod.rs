//! Work of the parent while the command runs: signals, the terminal, the standard streams.

pub mod caller_end;
pub mod detach_keys;
pub mod stream_relay;
pub mod supervise;
pub mod terminal_relay;
