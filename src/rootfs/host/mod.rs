//! `host:PROGRAM[,PROGRAM...]`: a root directory of the host's own programs and everything that they need to run, made
//! once and shared.
//!
//! ```text
//! find    program   the programs in PATH, the interpreters of scripts
//! close   closure   their libraries as the loader finds them (elf, cache, ldso), other needs (extras), until the set
//!                   stops growing; etc, last; the result is a plan (tree): nothing is written yet
//! name    layer     the listing of the plan, hashed, is the layer's name: the same files are the same layer
//! copy    layer     in tmp/, renamed into place
//! record  record    the checked host files (seen): the next start takes a few dozen lstat(2) and no reading
//! ```
//!
//! `/bin/sh` is always included: system(3), popen(3), hooks and many programs start it, and it is the smallest tool for
//! a look inside. dash and its libc take 2 MB; the libc, nine tenths of that, is needed anyway.
//!
//! Starts no thread: the process will fork.

pub mod cache;
pub mod cache_content;
mod closure;
pub mod elf;
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
use layer::{HostFailure, LayerName};
use record::{HostRecord, HostRequest};
use tree::HostTree;

/// Number of attempts at a plan whose files change meanwhile: a package manager at work moves on.
const ATTEMPTS: u32 = 3;

/// Root directory made from the host's programs, in the store. No process can remove the directory until this value and
/// all inherited descriptors of its lock are closed.
#[derive(Debug)]
pub struct HostRoot {
    /// Path of the root directory. The directory is shared: mount it read-only, or as the lower of an overlay.
    pub path: PathBuf,
    /// Path of each requested program inside, in the order of the request.
    pub programs: Vec<PathBuf>,
    /// Shared lock on the layer's folder.
    lock: File,
}

impl HostRoot {
    /// Returns the descriptor that holds the lock: a process that outlives this value keeps a copy.
    pub fn lock(&self) -> &File {
        &self.lock
    }
}

/// Result that [`assemble`] would have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// Path of the root directory, whether it exists or not.
    pub path: PathBuf,
    /// Path of each requested program inside, in the order of the request.
    pub programs: Vec<PathBuf>,
    /// True if the root directory exists already.
    pub is_made: bool,
}

/// Plan: the files, and the requested programs' paths among them.
struct HostPlan {
    tree: HostTree,
    places: BTreeMap<String, PathBuf>,
}

/// Returns the root directory for `programs` (by name, looked up in PATH, or absolute path), from the store if nothing
/// changed.
///
/// `store` is usnea's folder, which exists. Errors name their program: unknown, not executable, for another machine,
/// broken, without one of its libraries. Another error: the store cannot be written.
pub fn assemble(store: &Path, programs: &[String]) -> Result<HostRoot> {
    assemble_for(store, &HostRequest::new(programs))
}

/// Returns the result that [`assemble`] would have, without making anything. Reads all files where no record serves.
pub fn describe(store: &Path, programs: &[String]) -> Result<Description> {
    let request = HostRequest::new(programs);
    let (name, places) = match HostRecord::load(store, &request).filter(HostRecord::is_current) {
        Some(record) => (record.layer, record.places),
        None => {
            let (plan, name) = named_plan(&request)?;
            (name, plan.places)
        }
    };
    let path = name.folder(store).join("fs");
    Ok(Description { is_made: path.is_dir(), path, programs: request.in_order(&places) })
}

fn assemble_for(store: &Path, request: &HostRequest) -> Result<HostRoot> {
    let old = HostRecord::load(store, request);
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
            Err(HostFailure::Changed(path)) => last = path,
            Err(HostFailure::Other(error)) => return Err(error),
        }
    }
    Err(keeps_changing(request, &last))
}

fn assemble_anew(
    store: &Path,
    request: &HostRequest,
    old: Option<&HostRecord>,
) -> Result<HostRoot, HostFailure> {
    let plan = plan(request)?;
    let name = layer::name(&plan.tree)?;
    let made = layer::make(store, &plan.tree, &name, &request.story(&plan.places));
    let layer = made.map_err(|failure| failure.context(|| format!("cannot assemble {request}")))?;
    let programs = request.in_order(&plan.places);
    let record = HostRecord { layer: name, places: plan.places, seen: plan.tree.seen };
    // The layer exists and is locked: without a record the next start only takes longer.
    if let Err(error) = record.save(store, request) {
        log::debug!("the next start will look at everything again: {error}");
    }
    if let Some(old) = old.filter(|old| old.layer != record.layer) {
        record::forget(store, &old.layer);
    }
    Ok(HostRoot { path: layer.fs, programs, lock: layer.lock })
}

fn plan(request: &HostRequest) -> Result<HostPlan> {
    if request.programs.is_empty() {
        return Err(Error::new("host: names no program")
            .hint("write host:PROGRAM[,PROGRAM...], like host:bash,ls"));
    }
    let mut closure = Closure::new(request.surroundings.clone());
    let mut places = BTreeMap::new();
    for requested in &request.programs {
        let place = closure.add(requested).context(|| format!("host:{requested}"))?;
        places.insert(requested.clone(), place);
    }
    if Path::new("/bin/sh").exists() {
        closure.add("/bin/sh").context(|| "host:/bin/sh")?;
    }
    etc::add(&mut closure.tree, &request.invoker);
    Ok(HostPlan { tree: closure.tree, places })
}

fn named_plan(request: &HostRequest) -> Result<(HostPlan, LayerName)> {
    let mut last = PathBuf::new();
    for _ in 0..ATTEMPTS {
        let plan = plan(request)?;
        match layer::name(&plan.tree) {
            Ok(name) => return Ok((plan, name)),
            Err(HostFailure::Changed(path)) => last = path,
            Err(HostFailure::Other(error)) => return Err(error),
        }
    }
    Err(keeps_changing(request, &last))
}

fn keeps_changing(request: &HostRequest, path: &Path) -> Error {
    Error::new(format!("{request}: {} changes while it is copied", path.display()))
        .hint("a package manager may be at work: try again when it is done")
}

/// Makes the store's folders that this module writes to, and removes leftovers in tmp/.
fn prepare(store: &Path) -> Result<()> {
    for name in ["layers", "tmp", "host"] {
        files::make_folders(&store.join(name))?;
    }
    layer::sweep(store);
    Ok(())
}
