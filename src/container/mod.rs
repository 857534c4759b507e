//! Verbs: composes images, root filesystems, specs and the engine into a user's commands.

mod driver;
mod folder;
mod image;
pub mod images;
mod info;
pub mod kept;
pub mod login;
mod name;
mod network;
mod ranges;
mod reset;
mod run;
mod scratch;
mod stored;
pub mod stores;
mod unshare;
pub mod volumes;

pub use image::Image;
pub use info::{Maker, Version, info, version};
pub use reset::reset;
pub use run::{Request, explain, spec};
pub use stored::{PullPolicy, Wanted, stored_image};
pub use unshare::unshare;
