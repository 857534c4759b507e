//! Common parts of all services, and references from one file to another.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use super::keys::{FlagKey, FlagRule, UnitCommand};
use super::message::FileProblem;
use super::source::{QuadletFile, QuadletKind};
use super::unit_file::{Toggle, UnitFile, UnitSetting};

/// Manager that reads the units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnitScope {
    /// Manager of the machine: `systemctl`.
    System,
    /// Manager of a user: `systemctl --user`.
    User,
}

/// Context of one run of the generator, for all files.
#[derive(Debug)]
pub struct QuadletContext<'a> {
    /// Path of the program that the units start.
    pub program: &'a str,
    /// Manager that reads the units.
    pub manager: UnitScope,
    /// All files, by their name.
    pub sources: &'a BTreeMap<String, QuadletFile>,
    /// Lookup of UIDs and GIDs by name.
    pub accounts: AccountLookups,
}

impl QuadletContext<'_> {
    /// Returns the value of `User=` in a service of the machine. `None`: the service runs as the manager's own user.
    pub fn owner<'a>(&self, source: &'a QuadletFile) -> Option<&'a str> {
        let user = source.unit.last("Service", "User").map(|setting| setting.value.as_str());
        // A user's manager has no other users.
        user.filter(|user| self.manager == UnitScope::System && !matches!(*user, "root" | "0"))
    }
}

/// Lookups of accounts by name.
#[derive(Clone, Copy, Debug)]
pub struct AccountLookups {
    /// UID of a user.
    pub user: fn(&str) -> Option<u32>,
    /// GID of a group.
    pub group: fn(&str) -> Option<u32>,
}

/// Keys that the own group of each kind of file has.
pub const COMMON: &[FlagKey] = &[
    (
        "ContainersConfModule",
        FlagRule::Refused(
            "usnea reads no containers.conf: put the setting into usnea.toml or PodmanArgs=",
        ),
    ),
    ("GlobalArgs", FlagRule::Special),
    ("PodmanArgs", FlagRule::Special),
    ("ServiceName", FlagRule::Special),
];

/// Reason why `.build` files give no service, with the way out.
pub const NO_BUILD: &str = "usnea does not build images: build it by 'podman build -t NAME' or 'buildah build -t NAME', \
     hand it over by 'podman save NAME | usnea load', and set Image=localhost/NAME";

/// Keys of `[Quadlet]`.
pub const QUADLET: &[FlagKey] = &[("DefaultDependencies", FlagRule::Special)];

/// Unit that waits for the machine's network on behalf of a user's manager.
pub const USER_NETWORK: &str = "usnea-user-wait-network-online.service";

/// Keys of `[Unit]` whose words name units.
const DEPENDENCIES: [&str; 9] = [
    "Wants",
    "Requires",
    "Requisite",
    "BindsTo",
    "PartOf",
    "Upholds",
    "Conflicts",
    "Before",
    "After",
];

/// Service under construction.
#[derive(Debug)]
pub struct ServiceUnit<'a> {
    /// Quadlet file of the service.
    pub source: &'a QuadletFile,
    /// Context of the run.
    pub around: &'a QuadletContext<'a>,
    /// The service's unit file.
    pub unit: UnitFile,
}

impl<'a> ServiceUnit<'a> {
    /// Begins the service of `source`. Errors: a dependency on a missing Quadlet file.
    pub fn begin(
        source: &'a QuadletFile,
        around: &'a QuadletContext<'a>,
    ) -> Result<Self, FileProblem> {
        let mut unit = source.unit.clone();
        let group = source.kind.group();
        unit.rename_group(group, &format!("X-{group}"));
        unit.rename_group("Quadlet", "X-Quadlet");
        let mut service = Self { source, around, unit };
        service.translate_dependencies()?;
        let setting = source.unit.last("Quadlet", "DefaultDependencies");
        if setting.map(UnitSetting::boolean).transpose()? != Some(Toggle::Off) {
            let online = match around.manager {
                UnitScope::System => "network-online.target",
                UnitScope::User => USER_NETWORK,
            };
            service.unit.add_first("Unit", "After", online);
            service.unit.add_first("Unit", "Wants", online);
        }
        service.unit.add("Unit", "SourcePath", source.path.display().to_string());
        Ok(service)
    }

    /// Replaces names of Quadlet files by the names of their services.
    fn translate_dependencies(&mut self) -> Result<(), FileProblem> {
        let around = self.around;
        for setting in &mut self.unit.group("Unit").settings {
            if !DEPENDENCIES.contains(&setting.key.as_str()) {
                continue;
            }
            let service = |word: &str| match QuadletKind::of_name(word) {
                None => Ok(word.to_owned()),
                Some(_) => match around.sources.get(word) {
                    Some(source) => Ok(format!("{}.service", source.service())),
                    None => Err(setting.problem(format!("there is no file {word}"))),
                },
            };
            let words = setting.value.split_whitespace().map(service);
            let words = words.collect::<Result<Vec<_>, _>>()?;
            setting.value = words.join(" ");
        }
        Ok(())
    }

    /// Begins a command line: the program, `GlobalArgs=` and `words`.
    pub fn command(&self, words: &[&str]) -> Result<UnitCommand, FileProblem> {
        let mut command = UnitCommand::of(self.around.program, &[]);
        command.words(self.source.words(self.source.kind.group(), "GlobalArgs")?);
        command.words(words.iter().copied());
        Ok(command)
    }

    /// Adds `PodmanArgs=` to a command line.
    pub fn further_arguments(&self, command: &mut UnitCommand) -> Result<(), FileProblem> {
        command.words(self.source.words(self.source.kind.group(), "PodmanArgs")?);
        Ok(())
    }

    /// Adds a setting to `[Service]`.
    pub fn set(&mut self, key: &str, value: impl Into<String>) {
        self.unit.add("Service", key, value);
    }

    /// Adds a setting to `[Service]`, unless the file has one.
    pub fn set_default(&mut self, key: &str, value: &str) {
        if !self.unit.has("Service", key) {
            self.set(key, value);
        }
    }

    /// Replaces all settings of a key of `[Service]`.
    pub fn replace(&mut self, key: &str, value: &str) {
        self.unit.group("Service").settings.retain(|setting| setting.key != key);
        self.set(key, value);
    }

    /// Makes the service run `command` once (Type=oneshot).
    pub fn run_once(&mut self, command: &UnitCommand) {
        self.set("ExecStart", command.text());
        self.set_default("SyslogIdentifier", "%N");
        self.set_default("Type", "oneshot");
        self.set_default("RemainAfterExit", "yes");
    }

    /// Returns the file `name`. Errors: no such file; its service is of another user, whose containers, networks and
    /// volumes are others.
    pub fn referred(
        &self,
        name: &str,
        setting: &UnitSetting,
    ) -> Result<&'a QuadletFile, FileProblem> {
        let Some(source) = self.around.sources.get(name) else {
            return Err(setting.problem(format!("there is no file {name}")));
        };
        let owner = |file| self.around.owner(file).unwrap_or("root");
        let (theirs, ours) = (owner(source), owner(self.source));
        if theirs != ours {
            return Err(setting.problem(format!(
                "the service of {name} runs as {theirs}, this one as {ours}: set the same User= in both"
            )));
        }
        Ok(source)
    }

    /// Makes the service require, and start after, the service of the file `name`; returns that file. Errors: those of
    /// [`Self::referred`].
    pub fn needs(
        &mut self,
        name: &str,
        setting: &UnitSetting,
    ) -> Result<&'a QuadletFile, FileProblem> {
        let source = self.referred(name, setting)?;
        let service = format!("{}.service", source.service());
        self.unit.add("Unit", "Requires", &*service);
        self.unit.add("Unit", "After", service);
        Ok(source)
    }

    /// Returns the path in a setting. A relative path is relative to the file; `%` begins a specifier
    /// (systemd.unit(5)).
    pub fn path(&self, path: &str) -> String {
        match path.starts_with(['/', '%']) {
            true => path.to_owned(),
            false => clean(&self.source.folder().join(path)).display().to_string(),
        }
    }

    /// Translates the source of a volume: `./DIRECTORY` or `NAME.volume`; leaves others unchanged.
    pub fn volume_source(
        &mut self,
        text: &str,
        setting: &UnitSetting,
    ) -> Result<String, FileProblem> {
        if text.starts_with('.') {
            let path = self.path(text);
            self.needs_mount(&path);
            return Ok(path);
        }
        if text.starts_with('/') {
            self.needs_mount(text);
        }
        match QuadletKind::of_name(text) {
            Some(QuadletKind::Volume) => self.needs(text, setting)?.resource(),
            _ => Ok(text.to_owned()),
        }
    }

    fn needs_mount(&mut self, path: &str) {
        self.unit.add("Unit", "RequiresMountsFor", path);
    }

    /// Adds the flags of `Volume=`.
    pub fn volumes(&mut self, command: &mut UnitCommand) -> Result<(), FileProblem> {
        let source = self.source;
        for setting in source.unit.list(source.kind.group(), "Volume") {
            let volume = match setting.value.split_once(':') {
                Some((from, rest)) => format!("{}:{rest}", self.volume_source(from, setting)?),
                None => setting.value.clone(),
            };
            command.flag("-v", volume);
        }
        Ok(())
    }

    /// Adds the flags of `Network=`: translates `NAME.network` and `NAME.container`, leaves others unchanged.
    pub fn networks(&mut self, command: &mut UnitCommand) -> Result<(), FileProblem> {
        let source = self.source;
        for setting in source.unit.list(source.kind.group(), "Network") {
            let (name, options) = match setting.value.split_once(':') {
                Some((name, options)) => (name, Some(options)),
                None => (setting.value.as_str(), None),
            };
            let network = match (QuadletKind::of_name(name), options) {
                (Some(QuadletKind::Network), None) => self.needs(name, setting)?.resource()?,
                (Some(QuadletKind::Network), Some(options)) => {
                    format!("{}:{options}", self.needs(name, setting)?.resource()?)
                }
                (Some(QuadletKind::Container), None) => {
                    format!("container:{}", self.needs(name, setting)?.resource()?)
                }
                (Some(QuadletKind::Container), Some(_)) => {
                    return Err(setting.problem("the network of a container takes no options"));
                }
                _ => setting.value.clone(),
            };
            command.flag("--network", network);
        }
        Ok(())
    }

    /// Translates the name of an image, `NAME.image`; leaves others unchanged. Errors: `NAME.build`, which has no
    /// service to require.
    pub fn image(&mut self, setting: &UnitSetting, name: &str) -> Result<String, FileProblem> {
        match QuadletKind::of_name(name) {
            Some(QuadletKind::Image) => self.needs(name, setting)?.resource(),
            Some(QuadletKind::Build) => Err(setting.problem(NO_BUILD)),
            _ => Ok(name.to_owned()),
        }
    }
}

/// Removes `.` and `..` without access to the file system, as systemd does.
fn clean(path: &Path) -> PathBuf {
    let mut cleaned = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                cleaned.pop();
            }
            other => cleaned.push(other),
        }
    }
    cleaned
}
