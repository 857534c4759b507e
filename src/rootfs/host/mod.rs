//! `host:PROGRAM[,PROGRAM...]`: a root directory of the host's own programs and everything that they need to run, made
//! once and shared.
//!
//! ```text
//! find    program   the programs in PATH, the interpreters of scripts
//! close   closure   their libraries as the loader finds them (elf, cache, ldso), what else they need (extras), until
//!                   nothing new comes up; etc, last; all of it a plan (tree): nothing is written yet
//! name    layer     the listing of the plan, hashed, is the layer's name: the same files are the same layer
//! copy    layer     in tmp/, renamed into place
//! record  record    what was looked at (seen), so that the next start is a few dozen lstat(2) and no reading
//! ```
//!
//! `/bin/sh` always comes along: system(3), popen(3), hooks and every second program start it, it is the smallest way to
//! look around inside, and dash and its libc are 2 MB of which all but a tenth is needed anyway.
//!
//! Starts no thread: the process will fork.

mod cache;
mod closure;
mod elf;
mod etc;
mod extras;
mod layer;
mod ldso;
mod pattern;
mod program;
mod record;
mod seen;
mod tree;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use crate::error::{Context, Error, Result};
use crate::files;
use closure::Closure;
use layer::{Failure, LayerName};
use record::{Record, Request};
use tree::Tree;

/// How often a plan is made anew when files change under it: a package manager at work moves on.
const ATTEMPTS: u32 = 3;

/// A root directory made from the host's programs, in the store. Nobody removes it while this value (or a descriptor
/// inherited from it) lives.
#[derive(Debug)]
pub struct HostRoot {
    /// The root directory. Shared: to be mounted read-only, or as the lower of an overlay.
    pub path: PathBuf,
    /// Where each asked program is inside, in the order asked.
    pub programs: Vec<PathBuf>,
    /// The shared lock on the layer's folder.
    lock: File,
}

impl HostRoot {
    /// The descriptor that holds the lock: a process that lives on without this value keeps a copy.
    pub fn lock(&self) -> &File {
        &self.lock
    }
}

/// What [`assemble`] would use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// The root directory that there is or would be.
    pub path: PathBuf,
    /// Where each asked program is inside, in the order asked.
    pub programs: Vec<PathBuf>,
    /// Whether it is there already.
    pub is_made: bool,
}

/// A plan: the files, and where the asked programs are among them.
struct Plan {
    tree: Tree,
    places: BTreeMap<String, PathBuf>,
}

/// The root directory for `programs` (by name, looked up in PATH, or absolute path), from the store if nothing changed.
///
/// `store` is our folder, which exists. Errors say which program they are about: unknown, not executable, for another
/// machine, broken, without one of its libraries; or that the store cannot be written.
pub fn assemble(store: &Path, programs: &[String]) -> Result<HostRoot> {
    assemble_for(store, &Request::new(programs))
}

/// What [`assemble`] would use, without making anything. Reads all files where no record serves.
pub fn describe(store: &Path, programs: &[String]) -> Result<Description> {
    let request = Request::new(programs);
    let (name, places) = match Record::load(store, &request).filter(Record::is_current) {
        Some(record) => (record.layer, record.places),
        None => {
            let (plan, name) = named_plan(&request)?;
            (name, plan.places)
        }
    };
    let path = name.folder(store).join("fs");
    Ok(Description { is_made: path.is_dir(), path, programs: request.in_order(&places) })
}

fn assemble_for(store: &Path, request: &Request) -> Result<HostRoot> {
    let old = Record::load(store, request);
    if let Some(record) = old.as_ref().filter(|record| record.is_current())
        && let Some(layer) = layer::open(store, &record.layer)
    {
        return Ok(HostRoot {
            path: layer.fs,
            programs: request.in_order(&record.places),
            lock: layer.lock,
        });
    }
    prepare(store)?;
    let mut last = PathBuf::new();
    for _ in 0..ATTEMPTS {
        match assemble_anew(store, request, old.as_ref()) {
            Ok(root) => return Ok(root),
            Err(Failure::Changed(path)) => last = path,
            Err(Failure::Other(error)) => return Err(error),
        }
    }
    Err(keeps_changing(request, &last))
}

fn assemble_anew(
    store: &Path,
    request: &Request,
    old: Option<&Record>,
) -> Result<HostRoot, Failure> {
    let plan = plan(request)?;
    let name = layer::name(&plan.tree)?;
    let made = layer::make(store, &plan.tree, &name, &request.story(&plan.places));
    let layer = made.map_err(|failure| failure.context(|| format!("cannot assemble {request}")))?;
    let programs = request.in_order(&plan.places);
    let record = Record { layer: name, places: plan.places, seen: plan.tree.seen };
    // The layer is there and locked: without a record the next start only takes longer.
    if let Err(error) = record.save(store, request) {
        log::debug!("the next start will look at everything again: {error}");
    }
    if let Some(old) = old.filter(|old| old.layer != record.layer) {
        record::forget(store, &old.layer);
    }
    Ok(HostRoot { path: layer.fs, programs, lock: layer.lock })
}

fn plan(request: &Request) -> Result<Plan> {
    if request.programs.is_empty() {
        return Err(Error::new("host: names no program")
            .hint("write host:PROGRAM[,PROGRAM...], like host:bash,ls"));
    }
    let mut closure = Closure::new(request.surroundings.clone());
    let mut places = BTreeMap::new();
    for asked in &request.programs {
        let place = closure.add(asked).context(|| format!("host:{asked}"))?;
        places.insert(asked.clone(), place);
    }
    if Path::new("/bin/sh").exists() {
        closure.add("/bin/sh").context(|| "host:/bin/sh")?;
    }
    etc::add(&mut closure.tree, &request.invoker);
    Ok(Plan { tree: closure.tree, places })
}

fn named_plan(request: &Request) -> Result<(Plan, LayerName)> {
    let mut last = PathBuf::new();
    for _ in 0..ATTEMPTS {
        let plan = plan(request)?;
        match layer::name(&plan.tree) {
            Ok(name) => return Ok((plan, name)),
            Err(Failure::Changed(path)) => last = path,
            Err(Failure::Other(error)) => return Err(error),
        }
    }
    Err(keeps_changing(request, &last))
}

fn keeps_changing(request: &Request, path: &Path) -> Error {
    Error::new(format!("{request}: {} changes while it is copied", path.display()))
        .hint("a package manager may be at work: try again when it is done")
}

/// The store's folders that we write to, and no leftovers in tmp/.
fn prepare(store: &Path) -> Result<()> {
    for name in ["layers", "tmp", "host"] {
        files::make_folders(&store.join(name))?;
    }
    layer::sweep(store);
    Ok(())
}
