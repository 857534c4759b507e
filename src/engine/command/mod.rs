//! Last part of a launch: the process drops its powers and becomes the command.

pub mod command;
pub mod filter;
pub mod init;
pub mod keyring;
pub mod last;
