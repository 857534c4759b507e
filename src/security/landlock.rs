//! Landlock domain of a container's processes (landlock(7)): they reach the files below the rules' paths and no others,
//! whatever mount namespace a process gets into. `--security-opt landlock=on|FILE`.
//!
//! ```text
//!  on      the root with all that is mounted in it; nothing of the host's tree, even through a descriptor of it
//!  FILE    read = [..], execute = [..], write = [..]      paths in the container; the rest of the root is closed too
//!          bind-tcp = [..], connect-tcp = [..]            ports (kernel 6.7); without the key all ports
//! ```
//!
//! A domain also forbids every change of mounts (mount(2), umount(2), pivot_root(2)), and tracing of processes outside.
//! On the host's network abstract sockets are scoped too, and among the host's processes signals: they reach only
//! processes of the same domain (Linux 6.12). A command of `exec` has a domain of its own.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, NetPort, PathBeneath,
    Ruleset, RulesetAttr, RulesetCreated, RulesetCreatedAttr, RulesetError, Scope,
};
use oci_spec::runtime::Spec;
use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};

use crate::error::{Context, Error, Result, Setting};
use crate::sys::inroot::{self, Symlinks};
use crate::sys::probe;

/// Annotation: the rules, as JSON.
const ANNOTATION: &str = "usnea.landlock";

/// Newest version whose rights are restricted. Rights that the kernel does not know are left out.
const NEWEST: ABI = ABI::V6;

/// Rules of a domain.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct LandlockRules {
    /// Paths to read files of and list folders of.
    pub read: Vec<PathBuf>,
    /// Paths to read and run programs of.
    pub execute: Vec<PathBuf>,
    /// Paths to read, change, make and remove files of.
    pub write: Vec<PathBuf>,
    /// TCP ports to bind; `None`: any.
    pub bind_tcp: Option<Vec<u16>>,
    /// TCP ports to connect to; `None`: any.
    pub connect_tcp: Option<Vec<u16>>,
}

impl LandlockRules {
    /// Allows the whole root.
    pub fn of_root() -> Self {
        let root = || vec![PathBuf::from("/")];
        Self { read: root(), execute: root(), write: root(), ..Self::default() }
    }

    /// Reads rules from a TOML file. Errors: unknown keys, a path that is not absolute, no path at all.
    pub fn read(file: &Path) -> Result<Self> {
        // Rules are a few lines: a larger file is something else.
        const LARGEST: u64 = 1 << 20;
        let shown = || file.display().to_string();
        let folder = rustix::fs::CWD;
        let size = rustix::fs::statat(folder, file, rustix::fs::AtFlags::empty());
        if size.context(shown)?.st_size > LARGEST as i64 {
            return Err(Error::invalid("larger than a megabyte")).context(shown);
        }
        let text = std::fs::read_to_string(file).context(shown)?;
        Self::parse(&text).context(shown)
    }

    /// Parses rules. Errors: as [`LandlockRules::read`].
    pub fn parse(text: &str) -> Result<Self> {
        let rules: Self = toml::from_str(text).map_err(|error| Error::invalid(error.message()))?;
        let mut paths = rules.paths();
        if let Some(path) = paths.find(|path| !path.is_absolute()) {
            let error = format!("'{}' is not an absolute path", path.display());
            return Err(Error::invalid(error));
        }
        if rules.execute.is_empty() {
            return Err(Error::invalid("no path to execute: no command could run"));
        }
        drop(paths);
        Ok(rules)
    }

    fn paths(&self) -> impl Iterator<Item = &PathBuf> {
        self.read.iter().chain(&self.execute).chain(&self.write)
    }

    /// Writes the rules into a config. Errors: a kernel without landlock, or without its rules for ports.
    pub fn request(&self, spec: &mut Spec) -> Result<()> {
        self.check()?;
        let rules = serde_json::to_string(self).map_err(Error::new)?;
        let mut annotations = spec.annotations().clone().unwrap_or_default();
        annotations.insert(ANNOTATION.to_owned(), rules);
        spec.set_annotations(Some(annotations));
        Ok(())
    }

    /// Returns the rules of a config. Errors: a damaged config, a kernel that cannot apply them.
    pub fn of_config(spec: &Spec) -> Result<Option<Self>> {
        let Some(text) = spec.annotations().as_ref().and_then(|all| all.get(ANNOTATION)) else {
            return Ok(None);
        };
        let rules: Self = serde_json::from_str(text)
            .map_err(Error::new)
            .context(|| format!("config.json: annotation {ANNOTATION}"))?;
        rules.check()?;
        Ok(Some(rules))
    }

    fn check(&self) -> Result<()> {
        let refused = |error: &str| {
            Err(Error::refused(error.to_owned()).within(Setting::SecurityOpt.with("landlock")))
        };
        match probe::landlock_version() {
            Err(_) => refused("this kernel has no landlock, or it is not enabled"),
            Ok(version)
                if version < 4 && (self.bind_tcp.is_some() || self.connect_tcp.is_some()) =>
            {
                refused("rules for ports need Linux 6.7")
            }
            Ok(_) => Ok(()),
        }
    }
}

/// Namespaces that the container shares with the host: what they hold is scoped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HostShares {
    /// The network, with its abstract sockets.
    pub network: bool,
    /// The processes, which signals reach.
    pub processes: bool,
}

/// Domain of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LandlockDomain {
    /// Rules for files and ports.
    pub rules: LandlockRules,
    /// Namespaces of the host whose sockets or processes are scoped.
    pub shares: HostShares,
}

impl LandlockDomain {
    /// Enters the domain for good. The caller is in the container's root, with CAP_SYS_ADMIN in its user namespace: no
    /// no_new_privs is needed. Errors: a path that is not there, landlock_restrict_self(2).
    pub fn enter(&self) -> std::result::Result<(), DomainError> {
        let rules = &self.rules;
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let root = rustix::fs::open("/", flags, rustix::fs::Mode::empty())
            .map_err(|error| DomainError { path: "/".into(), error: error.into() })?;
        let open = |path: &Path| {
            inroot::open(&root, path, OFlags::PATH, Symlinks::Follow)
                .map_err(|error| DomainError { path: path.display().to_string(), error })
        };
        let mut domain = self.ruleset()?;
        let read = AccessFs::ReadFile | AccessFs::ReadDir;
        let write = AccessFs::from_all(NEWEST) & !AccessFs::Execute;
        for (paths, rights) in
            [(&rules.read, read), (&rules.execute, read | AccessFs::Execute), (&rules.write, write)]
        {
            for path in paths {
                domain = allow(domain, open(path)?, rights)?;
            }
        }
        // Standard input of most commands; usnea opens it after this.
        if let Ok(null) = open(Path::new("/dev/null")) {
            domain = allow(domain, null, read | AccessFs::WriteFile)?;
        }
        for (ports, right) in
            [(&rules.bind_tcp, AccessNet::BindTcp), (&rules.connect_tcp, AccessNet::ConnectTcp)]
        {
            for port in ports.iter().flatten() {
                domain = domain.add_rule(NetPort::new(*port, right))?;
            }
        }
        domain.no_new_privs(false).restrict_self()?;
        Ok(())
    }

    fn ruleset(&self) -> std::result::Result<RulesetCreated, RulesetError> {
        let mut rights: BitFlags<AccessNet> = BitFlags::EMPTY;
        let ports = &self.rules;
        if ports.bind_tcp.is_some() {
            rights |= AccessNet::BindTcp;
        }
        if ports.connect_tcp.is_some() {
            rights |= AccessNet::ConnectTcp;
        }
        let mut scope: BitFlags<Scope> = BitFlags::EMPTY;
        if self.shares.network {
            scope |= Scope::AbstractUnixSocket;
        }
        if self.shares.processes {
            scope |= Scope::Signal;
        }
        let mut ruleset = Ruleset::default()
            .set_compatibility(CompatLevel::HardRequirement)
            .handle_access(AccessFs::from_all(ABI::V1))?;
        if !rights.is_empty() {
            ruleset = ruleset.handle_access(rights)?;
        }
        ruleset = ruleset
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(AccessFs::from_all(NEWEST))?;
        if !scope.is_empty() {
            ruleset = ruleset.scope(scope)?;
        }
        ruleset.create()
    }
}

fn allow(
    domain: RulesetCreated,
    file: OwnedFd,
    rights: BitFlags<AccessFs>,
) -> std::result::Result<RulesetCreated, RulesetError> {
    let is_folder = rustix::fs::fstat(&file)
        .is_ok_and(|stat| rustix::fs::FileType::from_raw_mode(stat.st_mode).is_dir());
    // Rights of folders on a file are an error of the kernel.
    let rights = if is_folder { rights } else { rights & AccessFs::from_file(NEWEST) };
    domain.add_rule(PathBeneath::new(file, rights))
}

/// Failure to enter a domain.
#[derive(Debug)]
pub struct DomainError {
    /// Path of the rule; empty if no path is at fault.
    pub path: String,
    /// The kernel's error.
    pub error: std::io::Error,
}

impl From<RulesetError> for DomainError {
    fn from(error: RulesetError) -> Self {
        use std::error::Error;
        let mut cause: &dyn Error = &error;
        while let Some(next) = cause.source() {
            cause = next;
        }
        let errno = cause.downcast_ref().and_then(std::io::Error::raw_os_error);
        let path = if errno.is_some() { String::new() } else { error.to_string() };
        let error = std::io::Error::from_raw_os_error(errno.unwrap_or(libc::EINVAL));
        Self { path, error }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_read_and_what_is_not_understood_is_refused() {
        let rules =
            "read = ['/etc']\nexecute = ['/usr', '/bin']\nwrite = ['/data']\nconnect-tcp = [443]\n";
        let rules = LandlockRules::parse(rules).unwrap();
        assert_eq!(rules.execute, [Path::new("/usr"), Path::new("/bin")]);
        assert_eq!((rules.connect_tcp, rules.bind_tcp), (Some(vec![443]), None));
        for wrong in [
            "",
            "read = ['/']",
            "execute = ['usr']",
            "execute = ['/usr']\nwrite = ['../x']",
            "execute = ['/usr']\nexec = ['/bin']",
            "execute = '/usr'",
            "execute = ['/usr']\nbind-tcp = [65536]",
            "nonsense",
        ] {
            assert!(LandlockRules::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn rules_survive_the_config() {
        let mut spec = Spec::default();
        assert_eq!(LandlockRules::of_config(&spec).unwrap(), None);
        if probe::landlock_version().is_err() {
            assert!(LandlockRules::of_root().request(&mut spec).is_err());
            return;
        }
        LandlockRules::of_root().request(&mut spec).unwrap();
        assert_eq!(LandlockRules::of_config(&spec).unwrap(), Some(LandlockRules::of_root()));
    }
}
