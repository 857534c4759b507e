//! Hooks of a config (OCI runtime spec, "POSIX-platform Hooks"): programs that run at six points of a container's
//! lifecycle.
//!
//! ```text
//! prestart, createRuntime   by the parent, in the runtime's namespaces; the container's exist, and its root is mounted
//! createContainer           in the container's namespaces, by a path of the host, before pivot_root
//! startContainer            in the container, as its user, before the command
//! poststart, poststop       by the parent, after the command runs; after its end
//! ```
//!
//! A hook gets the state of the container on its standard input. The first four end the launch when they fail.

mod program;

use std::collections::HashMap;
use std::ffi::CString;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use oci_spec::runtime::{ContainerState, Hook, Spec, State};
use rustix::fs::{Mode, OFlags};

pub use program::{HookInterrupt, HookOutputs, HookProgram, HooksEnd};

use crate::error::{Context, Error, Result};
use crate::fail;
use crate::hook_point::HookPoint;

/// Annotations of crun: files that take the output of hooks.
const OUTPUT: &str = "run.oci.hooks.stdout";
const ERROR: &str = "run.oci.hooks.stderr";

/// ID and bundle of a container, for the state that hooks get.
#[derive(Clone, Debug, Default)]
pub struct BundleIdentity {
    /// ID of the container.
    pub id: String,
    /// Absolute path of the bundle, from which its relative paths are taken. Empty: the container has none.
    pub bundle: PathBuf,
    /// Folder that stands for the bundle in the state of a container without one.
    pub folder: PathBuf,
}

impl BundleIdentity {
    /// Container of a bundle.
    pub fn of_bundle(id: &str, bundle: PathBuf) -> Self {
        Self { id: id.to_owned(), bundle, folder: PathBuf::new() }
    }

    /// Container without a bundle, in this folder.
    pub fn of_container(id: &str, folder: PathBuf) -> Self {
        Self { id: id.to_owned(), bundle: PathBuf::new(), folder }
    }

    /// Returns the bundle for the state.
    pub fn state_bundle(&self) -> &PathBuf {
        if self.bundle.as_os_str().is_empty() { &self.folder } else { &self.bundle }
    }
}

/// Hooks of a config, and the state that they get.
#[derive(Debug, Default)]
pub struct Hooks {
    programs: Vec<(HookPoint, HookProgram)>,
    state: State,
    /// Path of the root for createContainer hooks ([`root_path`]).
    root: PathBuf,
    /// Files for output and error.
    outputs: [Option<PathBuf>; 2],
}

impl HookPoint {
    /// Status of the container in the state that its hooks get.
    fn status(self) -> ContainerState {
        match self {
            Self::Prestart | Self::CreateRuntime | Self::CreateContainer => {
                ContainerState::Creating
            }
            Self::StartContainer => ContainerState::Created,
            Self::Poststart => ContainerState::Running,
            Self::Poststop => ContainerState::Stopped,
        }
    }

    /// True if a failure ends the launch; false if it is a warning.
    fn is_fatal(self) -> bool {
        !matches!(self, Self::Poststart | Self::Poststop)
    }
}

impl Hooks {
    /// Reads the hooks of a config. Errors: a path that is not absolute; a timeout of no seconds; a NUL byte.
    #[allow(deprecated, reason = "prestart hooks are deprecated, and in use")]
    pub fn of_config(spec: &Spec, container: &BundleIdentity) -> Result<Self> {
        let Some(hooks) = spec.hooks() else { return Ok(Self::default()) };
        let lists = [
            (HookPoint::Prestart, hooks.prestart()),
            (HookPoint::CreateRuntime, hooks.create_runtime()),
            (HookPoint::CreateContainer, hooks.create_container()),
            (HookPoint::StartContainer, hooks.start_container()),
            (HookPoint::Poststart, hooks.poststart()),
            (HookPoint::Poststop, hooks.poststop()),
        ];
        let mut programs = Vec::new();
        for (point, list) in lists {
            for (index, hook) in list.iter().flatten().enumerate() {
                let place = format!("hooks.{}[{index}]", point.name());
                programs.push((point, program(hook, place)?));
            }
        }
        let mut state = State::default();
        state
            .set_version(spec.version().clone())
            .set_id(container.id.clone())
            .set_bundle(container.state_bundle().clone())
            .set_annotations(spec.annotations().clone());
        let annotations = spec.annotations().as_ref();
        let file =
            |name| annotations.and_then(|all: &HashMap<_, _>| all.get(name)).map(PathBuf::from);
        let outputs = [file(OUTPUT), file(ERROR)];
        let mut hooks = Self { programs, state, root: PathBuf::new(), outputs };
        if hooks.has(HookPoint::CreateContainer) {
            hooks.root = root_path(spec, container);
        }
        Ok(hooks)
    }

    /// Path where createContainer hooks find the container's root. Empty: no such hooks.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// True if a hook runs at this point.
    pub fn has(&self, point: HookPoint) -> bool {
        self.programs.iter().any(|(one, _)| *one == point)
    }

    /// Returns the programs of a point, in their order.
    pub fn at(&self, point: HookPoint) -> impl Iterator<Item = &HookProgram> {
        self.programs.iter().filter(move |(one, _)| *one == point).map(|(_, program)| program)
    }

    /// Returns the state that the hooks of a point get, without the PID.
    pub fn state(&self, point: HookPoint) -> String {
        self.state_of(point, None).unwrap_or_default()
    }

    fn state_of(&self, point: HookPoint, pid: Option<i32>) -> Result<String> {
        let mut state = self.state.clone();
        state.set_status(point.status()).set_pid(pid);
        let mut state = serde_json::to_value(state).map_err(Error::new)?;
        if point == HookPoint::CreateContainer
            && let Some(root) = self.root.to_str()
        {
            // As runc tells it: the bundle's config.json may be out of the hook's reach.
            state["root"] = root.into();
        }
        Ok(state.to_string())
    }

    /// Opens the files for the output of hooks. Called before pivot_root(2), while their paths still lead to the host's
    /// files.
    pub fn open_outputs(&self) -> Result<HookOutputs> {
        let open = |path: &Option<PathBuf>| -> Result<Option<OwnedFd>> {
            let Some(path) = path else { return Ok(None) };
            let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | OFlags::CLOEXEC;
            let file = rustix::fs::open(path, flags, Mode::from_raw_mode(0o600));
            Ok(Some(file.context(|| path.display().to_string())?))
        };
        let [output, error] = &self.outputs;
        Ok(HookOutputs { output: open(output)?, error: open(error)? })
    }

    /// Runs the hooks of a point in their order. `pid`: the container's process, as the hooks see it. `interrupt`: signals
    /// that end a hook. Errors: a hook of the first four points failed. A failure of the others is a warning, and the
    /// next hook runs.
    pub fn run(
        &self,
        point: HookPoint,
        pid: Option<i32>,
        outputs: Option<&HookOutputs>,
        mut interrupt: Option<&mut HookInterrupt<'_>>,
    ) -> Result<HooksEnd> {
        if !self.has(point) {
            return Ok(HooksEnd::Done);
        }
        let opened =
            outputs.is_none().then(|| self.open_outputs()).transpose()?.unwrap_or_default();
        let state = self.state_of(point, pid)?;
        // In the container the bundle's path does not exist.
        let is_outside = point != HookPoint::StartContainer && point != HookPoint::CreateContainer;
        let bundle = Some(self.state.bundle().as_path());
        let folder = bundle.filter(|path| is_outside && path.is_absolute());
        for program in self.at(point) {
            log::debug!("{} {}", program.place, program.path.to_string_lossy());
            let outputs = outputs.unwrap_or(&opened);
            match program.run(state.as_bytes(), folder, outputs, interrupt.as_deref_mut()) {
                Ok(HooksEnd::Done) => {}
                Ok(HooksEnd::Interrupted) => return Ok(HooksEnd::Interrupted),
                Err(reason) if point.is_fatal() => return Err(Error::new(reason)),
                Err(reason) => log::warn!("{reason}"),
            }
        }
        Ok(HooksEnd::Done)
    }
}

/// Returns the path where createContainer hooks find the container's root: the root directory of the config, as with
/// other runtimes. A root that is a single image file cannot be mounted on: the container's folder stands for it.
fn root_path(spec: &Spec, container: &BundleIdentity) -> PathBuf {
    let root = spec.root().as_ref().map(|root| container.bundle.join(root.path()));
    let root = root.unwrap_or_default();
    if root.is_file() { container.state_bundle().clone() } else { root }
}

fn program(hook: &Hook, place: String) -> Result<HookProgram> {
    if !hook.path().is_absolute() {
        fail!(Invalid: "config.json: {place}.path: '{}' is not absolute", hook.path().display());
    }
    if hook.timeout().is_some_and(|seconds| seconds <= 0) {
        fail!(Invalid: "config.json: {place}.timeout: not greater than zero");
    }
    let text = |text: &str| {
        CString::new(text).map_err(|_| Error::invalid(format!("config.json: {place}: a NUL byte")))
    };
    let texts = |list: &Option<Vec<String>>| {
        list.iter().flatten().map(|one| text(one)).collect::<Result<Vec<_>>>()
    };
    let path = text(&path_text(hook.path(), &place)?)?;
    let mut arguments = texts(hook.args())?;
    if arguments.is_empty() {
        arguments.push(path.clone());
    }
    Ok(HookProgram {
        path,
        arguments,
        environment: texts(hook.env())?,
        timeout: hook.timeout().map(|seconds| Duration::from_secs(seconds.unsigned_abs())),
        place,
    })
}

fn path_text(path: &Path, place: &str) -> Result<String> {
    let text = path.to_str().map(str::to_owned);
    text.ok_or_else(|| Error::invalid(format!("config.json: {place}.path: not UTF-8")))
}
