//! `usnea manifest remove` and `usnea manifest rm`: removes entries of a list, or lists.

use super::print_id;
use crate::cli::output::print;
use crate::container::Usnea;
use crate::container::images::{remove_from_list, remove_list};
use crate::error::Result;

/// Remove an entry from a manifest list
#[derive(clap::Args)]
pub struct EntryArguments {
    /// Name or ID of the list.
    #[arg(value_name = "LIST")]
    list: String,

    /// Digest of the entry, or the image as it was added.
    #[arg(value_name = "IMAGE")]
    image: String,
}

/// Remove manifest lists
///
/// Their images are kept.
#[derive(clap::Args)]
pub struct ListArguments {
    /// Names or IDs of the lists.
    #[arg(value_name = "LIST", required = true)]
    lists: Vec<String>,
}

/// Removes an entry, and prints the list's ID.
pub fn remove_entry(arguments: &EntryArguments, usnea: &Usnea) -> Result<u8> {
    print_id(&remove_from_list(usnea, &arguments.list, &arguments.image)?)
}

/// Removes lists. Lists before a failure stay removed.
pub fn remove_lists(arguments: &ListArguments, usnea: &Usnea) -> Result<u8> {
    for text in &arguments.lists {
        let list = remove_list(usnea, text)?;
        print(&format!("Untagged: {}\nDeleted: {}\n", list.name, list.id))?;
    }
    Ok(0)
}
