//! Last part of a launch: the process drops its privileges and becomes the command.

pub mod credentials;
pub mod exec;
pub mod filter;
pub mod init;
pub mod keyring;
pub mod prepare;
pub mod program;
pub mod read_ahead;
