//! The library without the command line: the example in tests/library.

use std::path::PathBuf;
use std::process::Command;

use crate::support::{self, Place};

/// The example, built beside the program.
pub fn example() -> PathBuf {
    let folder = support::binary();
    let folder = folder.parent().expect("a folder of the program");
    let places = [folder.join("library"), folder.join("examples/library")];
    places.into_iter().find(|path| path.is_file()).expect("cargo build --example library")
}

#[test]
fn a_program_lives_through_a_container_with_the_library_alone() {
    let place = Place::new();
    let output = Command::new(example())
        .arg(place.store())
        .arg(place.small_root())
        .output()
        .expect("the example");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
