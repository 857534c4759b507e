//! Quadlet files: one of each kind, parted by zero bytes. Each line of a service is a setting, a group or empty.
#![no_main]

use std::path::{Path, PathBuf};

use libfuzzer_sys::fuzz_target;
use usnea::quadlet::search::FoundFiles;
use usnea::quadlet::service::{AccountLookups, UnitScope};
use usnea::quadlet::source::{QuadletFile, QuadletKind};
use usnea::quadlet::unit_file::UnitFile;
use usnea::quadlet::{generate, words};

const NAMES: [&str; 8] =
    ["a.container", "b@.container", "a.pod", "a.volume", "a.network", "a.image", "a.build", "a.kube"];

fuzz_target!(|text: &str| {
    for list in text.split('\0').filter_map(|part| words::split(part).ok()) {
        assert_eq!(words::split(&words::join(&list)).expect("our words"), list);
    }
    for scope in [UnitScope::User, UnitScope::System] {
        let mut found = FoundFiles::default();
        for (name, text) in NAMES.iter().zip(text.split('\0')) {
            let path = PathBuf::from("/folder").join(name);
            let kind = QuadletKind::of_name(name).expect("a kind");
            let Ok(unit) = UnitFile::parse(text, &path) else { continue };
            let name = (*name).to_owned();
            found.sources.insert(name.clone(), QuadletFile { path, name, kind, unit });
        }
        let accounts = AccountLookups { user: |_| Some(7), group: |_| None };
        let generated = generate(found, "/usr/bin/usnea", scope, accounts);
        for unit in generated.units.values() {
            assert!(!unit.file_name.contains('/') && unit.file_name.ends_with(".service"));
            UnitFile::parse(&unit.text, Path::new(&unit.file_name)).expect("a file of ours");
        }
    }
});
