//! Quadlet: services of systemd from files that describe containers, pods, volumes, networks and images, in podman's
//! format (podman-systemd.unit(5)).
//!
//! ```text
//! search                      files in the folders, and their drop-in files
//! unit_file, words            systemd's format; words and quotes of its settings
//! source                      a file: its kind, its service's name, the name of what it makes
//! keys                        tables: which flag a key becomes
//! service, id_file            parts that all services have; references between files; files with IDs
//! container, pod, resources   one kind of file each
//! install, output             links of [Install]; files for systemd
//! library                     files of the user: installed, removed
//! ```
//!
//! A file with a problem gets no service, and does not affect the others.

pub mod container;
pub mod id_file;
pub mod install;
pub mod keys;
pub mod library;
pub mod message;
pub mod output;
pub mod pod;
pub mod podman_generator;
pub mod resources;
pub mod search;
pub mod service;
pub mod source;
pub mod unit_file;
pub mod words;

use std::collections::BTreeMap;

use install::UnitLink;
use message::{FileMessage, FileProblem};
use search::FoundFiles;
use service::{AccountLookups, QuadletContext, UnitScope};
use source::{QuadletFile, QuadletKind};
use unit_file::UnitFile;

/// Service made from a file.
#[derive(Debug)]
pub struct GeneratedUnit {
    /// Name of the unit's file, such as `a.service`.
    pub file_name: String,
    /// The file.
    pub text: String,
    /// Links to the unit's file.
    pub links: Vec<UnitLink>,
    /// Quadlet file of the service; `None`: a service that usnea adds.
    pub source: Option<String>,
}

/// Result of one run of the generator.
#[derive(Debug, Default)]
pub struct Generated {
    /// Services, sorted by the name of their unit.
    pub units: BTreeMap<String, GeneratedUnit>,
    /// Files without a service, with the reasons.
    pub problems: Vec<FileMessage>,
    /// Settings without effect.
    pub warnings: Vec<FileMessage>,
}

/// Makes the services of all files in `found`. Their commands execute `program`.
pub fn generate(
    found: FoundFiles,
    program: &str,
    manager: UnitScope,
    accounts: AccountLookups,
) -> Generated {
    let FoundFiles { sources, problems } = found;
    let around = QuadletContext { program, manager, sources: &sources, accounts };
    let mut generated = Generated { problems, ..Generated::default() };
    for source in sources.values() {
        generated.warnings.extend(warnings(source));
        match convert(source, &around) {
            Ok(unit) => generated.add(source, &unit),
            Err(FileProblem(message)) => generated.problems.push(message),
        }
    }
    generated.add_network_wait(manager);
    generated
}

impl Generated {
    fn add(&mut self, source: &QuadletFile, unit: &UnitFile) {
        let service = source.service();
        let file_name = format!("{service}.service");
        if service.is_empty() || service.contains('/') || service.starts_with('.') {
            let text = format!("'{service}' cannot be the name of a service");
            self.problems.push(FileProblem::of(&source.path, text).0);
            return;
        }
        if let Some(other) = self.units.get(&file_name) {
            let other = other.source.as_deref().unwrap_or("usnea");
            let text = format!("{other} makes {file_name} too: set ServiceName= in one of them");
            self.problems.push(FileProblem::of(&source.path, text).0);
            return;
        }
        let links = install::links(source, unit, &file_name);
        let source = Some(source.name.clone());
        let unit =
            GeneratedUnit { file_name: file_name.clone(), text: unit.to_string(), links, source };
        self.units.insert(file_name, unit);
    }

    /// Adds the service that waits for the network on behalf of a user's manager, which does not see units of the
    /// machine.
    fn add_network_wait(&mut self, manager: UnitScope) {
        if manager == UnitScope::System || self.units.is_empty() {
            return;
        }
        let file_name = service::USER_NETWORK.to_owned();
        let text = USER_NETWORK_UNIT.to_owned();
        let unit =
            GeneratedUnit { file_name: file_name.clone(), text, links: Vec::new(), source: None };
        self.units.entry(file_name).or_insert(unit);
    }
}

/// A machine that never reaches network-online.target must not delay containers for ever.
const USER_NETWORK_UNIT: &str = "[Unit]
Description=Wait for the network of the machine

[Service]
Type=oneshot
ExecStart=/bin/sh -c 'until systemctl is-active --quiet network-online.target; do sleep 0.5; done'
TimeoutStartSec=90s
RemainAfterExit=yes
";

fn convert(source: &QuadletFile, around: &QuadletContext<'_>) -> Result<UnitFile, FileProblem> {
    match source.kind {
        QuadletKind::Container => container::convert(source, around),
        QuadletKind::Pod => pod::convert(source, around),
        QuadletKind::Volume => resources::volume(source, around),
        QuadletKind::Network => resources::network(source, around),
        QuadletKind::Image => resources::image(source, around),
        QuadletKind::Build => Err(FileProblem::of(&source.path, service::NO_BUILD)),
        QuadletKind::Kube => Err(FileProblem::of(
            &source.path,
            "usnea does not play Kubernetes YAML: write a .pod and .container files",
        )),
    }
}

/// Tables of keys, by the name of the group.
pub fn key_tables() -> [(&'static str, &'static [keys::FlagKey]); 5] {
    [
        ("Container", container::KEYS),
        ("Pod", pod::KEYS),
        ("Volume", resources::VOLUME_KEYS),
        ("Network", resources::NETWORK_KEYS),
        ("Image", resources::IMAGE_KEYS),
    ]
}

/// Warnings on unknown keys.
fn warnings(source: &QuadletFile) -> Vec<FileMessage> {
    let of_kind = key_tables().into_iter().find(|(group, _)| *group == source.kind.group());
    let Some((_, own)) = of_kind else { return Vec::new() };
    let mut warnings = keys::unknown_keys(source, source.kind.group(), &[own, service::COMMON]);
    warnings.extend(keys::unknown_keys(source, "Quadlet", &[service::QUADLET]));
    warnings
}
