//! Profiles in docker's format: config.json's `linux.seccomp`, whose rules have conditions.
//!
//! docker ignores fields that it does not know. Here they are errors: a condition with a typing error would otherwise
//! be none.

use std::path::PathBuf;

use oci_spec::runtime::{
    Arch, Capabilities, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompArgBuilder,
    LinuxSeccompBuilder, LinuxSeccompFilterFlag, LinuxSeccompOperator, LinuxSyscall,
    LinuxSyscallBuilder,
};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::numbers::Architecture;
use super::oci::{arch, is_known};
use crate::error::{Error, Result};
use crate::fail;
use crate::host::kernel::{self, KernelVersion};

/// Fields of config.json, and docker's `archMap`; `defaultErrno` is podman's.
const FIELDS: [&str; 9] = [
    "defaultAction",
    "defaultErrnoRet",
    "defaultErrno",
    "architectures",
    "archMap",
    "flags",
    "listenerPath",
    "listenerMetadata",
    "syscalls",
];
/// Fields of a rule; `errno` is podman's.
const RULE_FIELDS: [&str; 9] =
    ["names", "name", "action", "errnoRet", "errno", "args", "comment", "includes", "excludes"];

/// Container and machine that the conditions of a profile are about.
#[derive(Clone, Copy, Debug)]
pub struct ProfileTarget<'a> {
    /// Bounding set of the container.
    pub bounding: &'a Capabilities,
    /// Architecture of the machine: a 64-bit one.
    pub machine: Architecture,
    /// Version of the kernel.
    pub kernel: KernelVersion,
}

impl<'a> ProfileTarget<'a> {
    /// Returns the target for a container with this bounding set on this machine.
    pub fn here(bounding: &'a Capabilities) -> Self {
        Self { bounding, machine: Architecture::native(), kernel: kernel::version() }
    }

    /// Go's name of the architecture, which conditions compare with.
    fn machine_name(&self) -> &'static str {
        if self.machine == Architecture::Aarch64 { "arm64" } else { "amd64" }
    }

    fn holds(&self, capability: &str) -> bool {
        let plain = |name: &str| name.trim_start_matches("CAP_").to_owned();
        self.bounding.iter().any(|one| plain(&one.to_string()) == plain(capability))
    }
}

/// Resolves a profile for a container. Errors: a field that cannot be understood, with its path.
pub fn resolve(text: &str, target: &ProfileTarget<'_>) -> Result<LinuxSeccomp> {
    let value: Value =
        serde_json::from_str(text).map_err(|error| Error::invalid(format!("not JSON: {error}")))?;
    let top = Field { path: String::new(), value: &value };
    top.check_fields(&FIELDS)?;
    let Some(action) = top.get("defaultAction") else {
        fail!(Invalid: "defaultAction: missing");
    };
    let mut config = LinuxSeccompBuilder::default()
        .default_action(action.word::<LinuxSeccompAction>()?)
        .syscalls(rules(&top, target)?)
        .build()
        .map_err(Error::new)?;
    config.set_default_errno_ret(errno(&top, "defaultErrnoRet", "defaultErrno")?);
    config.set_architectures(architectures(&top, target)?);
    config.set_flags(words::<LinuxSeccompFilterFlag>(top.get("flags"))?);
    config.set_listener_path(
        top.get("listenerPath")
            .map(|path| path.text())
            .transpose()?
            .and_then(|path| (!path.is_empty()).then(|| PathBuf::from(path))),
    );
    let metadata = top.get("listenerMetadata").map(|text| text.text()).transpose()?;
    config.set_listener_metadata(metadata.map(str::to_owned));
    let notifies = |action| action == LinuxSeccompAction::ScmpActNotify;
    let rules = config.syscalls().iter().flatten();
    let is_heard =
        notifies(config.default_action()) || rules.into_iter().any(|one| notifies(one.action()));
    if is_heard && config.listener_path().is_none() {
        fail!(Invalid: "SCMP_ACT_NOTIFY without listenerPath: no process would answer the calls");
    }
    Ok(config)
}

fn architectures(top: &Field<'_>, target: &ProfileTarget<'_>) -> Result<Option<Vec<Arch>>> {
    let listed = words::<Arch>(top.get("architectures"))?.unwrap_or_default();
    let mapped = top.get("archMap").map(|field| field.list()).transpose()?.unwrap_or_default();
    if !listed.is_empty() && !mapped.is_empty() {
        fail!(Invalid: "archMap: not together with architectures");
    }
    let mut all = listed;
    for entry in mapped {
        entry.check_fields(&["architecture", "subArchitectures"])?;
        let native: Arch = entry.need("architecture")?.word()?;
        let others = words::<Arch>(entry.get("subArchitectures"))?.unwrap_or_default();
        if native == arch(target.machine) && all.is_empty() {
            all.push(native);
            all.extend(others);
        }
    }
    Ok((!all.is_empty()).then_some(all))
}

fn rules(top: &Field<'_>, target: &ProfileTarget<'_>) -> Result<Vec<LinuxSyscall>> {
    let mut rules = Vec::new();
    for entry in top.get("syscalls").map(|field| field.list()).transpose()?.unwrap_or_default() {
        entry.check_fields(&RULE_FIELDS)?;
        let rule = rule(&entry)?;
        let includes = RuleCondition::read(entry.get("includes"))?;
        let excludes = RuleCondition::read(entry.get("excludes"))?;
        if includes.all_hold(target) && !excludes.any_holds(target) && !rule.names().is_empty() {
            rules.push(rule);
        }
    }
    Ok(rules)
}

/// Reads a rule. Leaves out names that no architecture has, as docker does.
fn rule(entry: &Field<'_>) -> Result<LinuxSyscall> {
    if let Some(comment) = entry.get("comment") {
        comment.text()?;
    }
    let names = entry.get("names").map(|field| field.list()).transpose()?.unwrap_or_default();
    let name = entry.get("name").filter(|name| name.value.as_str() != Some(""));
    if name.is_some() && !names.is_empty() {
        fail!(Invalid: "{}: not together with names", entry.path_of("name"));
    }
    if name.is_none() && names.is_empty() {
        fail!(Invalid: "{}: missing", entry.path_of("names"));
    }
    let mut known = Vec::new();
    for name in names.iter().chain(&name) {
        let text = name.text()?;
        match is_known(text) {
            true => known.push(text.to_owned()),
            false => {
                log::debug!("seccomp profile: {}: no system call is called '{text}'", name.path)
            }
        }
    }
    let args = entry.get("args").map(|field| field.list()).transpose()?.unwrap_or_default();
    let args = args.iter().map(arg).collect::<Result<Vec<_>>>()?;
    let mut rule = LinuxSyscallBuilder::default()
        .names(known)
        .action(entry.need("action")?.word::<LinuxSeccompAction>()?)
        .build()
        .map_err(Error::new)?;
    rule.set_errno_ret(errno(entry, "errnoRet", "errno")?);
    rule.set_args((!args.is_empty()).then_some(args));
    Ok(rule)
}

fn arg(field: &Field<'_>) -> Result<LinuxSeccompArg> {
    field.check_fields(&["index", "value", "valueTwo", "op"])?;
    let index = field.need("index")?;
    let index = match index.number()? {
        number @ 0..=5 => number as usize,
        number => {
            fail!(Invalid: "{}: {number}: the arguments of a system call are 0 to 5", index.path)
        }
    };
    let arg = LinuxSeccompArgBuilder::default()
        .index(index)
        .value(field.get("value").map_or(Ok(0), |value| value.number())?)
        .op(field.need("op")?.word::<LinuxSeccompOperator>()?);
    let arg = match field.get("valueTwo") {
        Some(second) => arg.value_two(second.number()?),
        None => arg,
    };
    arg.build().map_err(Error::new)
}

/// Reads an errno: a number, or podman's field for its name.
fn errno(field: &Field<'_>, number: &str, name: &str) -> Result<Option<u32>> {
    const HIGHEST: u64 = 4095; // MAX_ERRNO of the kernel
    let named = field.get(name).filter(|name| name.value.as_str() != Some(""));
    if let Some(named) = named {
        let text = named.text()?;
        let of_name = |number: &i32| format!("{:?}", nix::errno::Errno::from_raw(*number)) == text;
        return match (1..134).find(of_name) {
            Some(number) => Ok(Some(number as u32)),
            None => fail!(Invalid: "{}: no error is called '{}'", named.path, text.escape_debug()),
        };
    }
    let Some(field) = field.get(number) else { return Ok(None) };
    match field.number()? {
        number if number <= HIGHEST => Ok(Some(number as u32)),
        number => fail!(Invalid: "{}: {number}: the highest is {HIGHEST}", field.path),
    }
}

/// Condition of a rule. Without any part, it holds for every container as `includes`, and for none as `excludes`.
#[derive(Debug, Default)]
struct RuleCondition {
    capabilities: Vec<String>,
    machines: Vec<String>,
    kernel: Option<KernelVersion>,
}

impl RuleCondition {
    fn read(field: Option<Field<'_>>) -> Result<Self> {
        let Some(field) = field else { return Ok(Self::default()) };
        field.check_fields(&["caps", "arches", "minKernel"])?;
        let kernel = field.get("minKernel").filter(|text| text.value.as_str() != Some(""));
        Ok(Self {
            capabilities: words(field.get("caps"))?.unwrap_or_default(),
            machines: words(field.get("arches"))?.unwrap_or_default(),
            kernel: kernel.map(|text| text.kernel()).transpose()?,
        })
    }

    fn all_hold(&self, target: &ProfileTarget<'_>) -> bool {
        self.capabilities.iter().all(|one| target.holds(one))
            && (self.machines.is_empty() || self.is_for_machine(target))
            && self.kernel.is_none_or(|least| target.kernel >= least)
    }

    fn any_holds(&self, target: &ProfileTarget<'_>) -> bool {
        self.capabilities.iter().any(|one| target.holds(one))
            || self.is_for_machine(target)
            || self.kernel.is_some_and(|least| target.kernel >= least)
    }

    fn is_for_machine(&self, target: &ProfileTarget<'_>) -> bool {
        self.machines.iter().any(|one| one == target.machine_name())
    }
}

/// Value in the profile, with its path.
struct Field<'a> {
    path: String,
    value: &'a Value,
}

impl<'a> Field<'a> {
    fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// Returns a field of an object. `None`: missing or null.
    fn get(&self, key: &str) -> Option<Field<'a>> {
        let value = self.value.get(key).filter(|value| !value.is_null())?;
        Some(Field { path: self.path_of(key), value })
    }

    fn need(&self, key: &str) -> Result<Field<'a>> {
        self.get(key).ok_or_else(|| Error::invalid(format!("{}: missing", self.path_of(key))))
    }

    fn wrong<T>(&self, expected: &str) -> Result<T> {
        let path = if self.path.is_empty() { "the profile" } else { &self.path };
        fail!(Invalid: "{path}: not {expected}")
    }

    fn check_fields(&self, known: &[&str]) -> Result<()> {
        let Value::Object(object) = self.value else { return self.wrong("an object") };
        match object.keys().find(|key| !known.contains(&key.as_str())) {
            Some(key) => {
                fail!(Invalid: "{}: unknown field", self.path_of(&key.escape_debug().to_string()))
            }
            None => Ok(()),
        }
    }

    fn list(&self) -> Result<Vec<Field<'a>>> {
        let Value::Array(values) = self.value else { return self.wrong("a list") };
        let field = |(index, value)| Field { path: format!("{}[{index}]", self.path), value };
        Ok(values.iter().enumerate().map(field).collect())
    }

    fn text(&self) -> Result<&'a str> {
        self.value.as_str().map_or_else(|| self.wrong("a string"), Ok)
    }

    fn number(&self) -> Result<u64> {
        self.value.as_u64().map_or_else(|| self.wrong("a whole number of 0 or more"), Ok)
    }

    /// Reads a word that config.json has a type for.
    fn word<T: DeserializeOwned>(&self) -> Result<T> {
        let text = self.text()?;
        serde_json::from_value(self.value.clone())
            .or_else(|_| fail!(Invalid: "{}: unknown word '{}'", self.path, text.escape_debug()))
    }

    fn kernel(&self) -> Result<KernelVersion> {
        let numbers = self.text()?.split_once('.');
        let numbers = numbers.and_then(|(one, two)| {
            Some(KernelVersion(one.parse::<u8>().ok()?.into(), two.parse::<u8>().ok()?.into()))
        });
        match numbers.filter(|version| *version != KernelVersion(0, 0)) {
            Some(version) => Ok(version),
            None => self.wrong("a kernel's version, as 4.8"),
        }
    }
}

fn words<T: DeserializeOwned>(field: Option<Field<'_>>) -> Result<Option<Vec<T>>> {
    let list = field.map(|field| field.list()).transpose()?;
    list.map(|list| list.iter().map(Field::word).collect()).transpose()
}
