//! Which containers a command is about: named, all, the last one, those that fit filters; and the words about each.

use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use crate::config;
use crate::container::kept::{self, Filter, Kept};
use crate::error::{Context, Error, Result};

/// What selects.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct Selection {
    /// Names of containers, or the beginning of their IDs.
    #[arg(value_name = "CONTAINER")]
    names: Vec<String>,

    /// All containers.
    #[arg(short, long, conflicts_with = "latest")]
    all: bool,

    /// The container that was made last.
    #[arg(short, long)]
    latest: bool,

    /// Those that fit: id, name (regular expressions), label, label!, status, exited, ancestor, before, since, until,
    /// restart-policy, health, volume, network, publish, expose or command, =, and a value. May be given more than once.
    #[arg(long = "filter", value_name = "KEY=VALUE")]
    filters: Vec<String>,

    /// The container whose ID is in this file.
    #[arg(long, value_name = "FILE")]
    cidfile: Vec<PathBuf>,
}

/// What happens to names of containers that there are not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// They are an error.
    Fails,
    /// They are left out.
    Ignored,
}

impl Missing {
    /// Ignored, if asked so.
    pub fn ignored(is_asked: bool) -> Self {
        if is_asked { Self::Ignored } else { Self::Fails }
    }
}

/// What is typed and what it means: an ID.
pub struct Selected {
    /// To be printed.
    pub typed: String,
    /// The container's ID.
    pub id: String,
}

/// The store that holds the containers; nothing is made.
pub fn store(root: Option<&Path>) -> Result<PathBuf> {
    config::store_path(root)
}

impl Selection {
    /// The containers. What was named and is not there is told by `failed`. Errors: nothing is said; a filter is none.
    pub fn find(
        &self,
        store: &Path,
        missing: Missing,
        failed: &mut Failures,
    ) -> Result<Vec<Selected>> {
        let filters =
            self.filters.iter().map(|text| text.parse()).collect::<Result<Vec<Filter>>>()?;
        let mut names = self.names.clone();
        for file in &self.cidfile {
            let said = || format!("--cidfile {}", file.display());
            match std::fs::read_to_string(file) {
                Err(error)
                    if missing == Missing::Ignored && error.kind() == ErrorKind::NotFound => {}
                answer => names.push(answer.context(said)?.trim().to_owned()),
            }
        }
        if names.is_empty()
            && self.cidfile.is_empty()
            && !self.all
            && !self.latest
            && filters.is_empty()
        {
            return Err(Error::new("no container is named")
                .hint("give a name or an ID, or --all, --latest or --filter"));
        }
        if !names.is_empty() && (self.all || self.latest) {
            return Err(Error::new("names, and --all or --latest, exclude each other"));
        }
        let mut selected = Vec::new();
        for typed in names {
            match kept::find_id(store, &typed) {
                Ok(id) => selected.push(Selected { typed, id }),
                Err(_) if missing == Missing::Ignored => {}
                Err(error) => failed.add(error),
            }
        }
        if self.is_vague() {
            let mut all = fitting(store, &filters)?;
            if self.latest {
                all.truncate(1);
            }
            let of = |kept: Kept| Selected { typed: kept.record.id.clone(), id: kept.record.id };
            selected.extend(all.into_iter().map(of));
        }
        Ok(selected)
    }

    /// The names and IDs that were typed.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Whether it is all that there are.
    pub fn is_all(&self) -> bool {
        self.all && self.filters.is_empty()
    }

    /// These, or the one that was made last.
    pub fn of(names: &[String], latest: bool) -> Self {
        Self { names: names.to_vec(), latest, ..Self::default() }
    }

    /// Whether those that cannot be asked for are left out without a word: they were not named.
    pub fn is_vague(&self) -> bool {
        self.names.is_empty() && self.cidfile.is_empty()
    }
}

/// All containers that fit, the newest first.
pub fn fitting(store: &Path, filters: &[Filter]) -> Result<Vec<Kept>> {
    let mut fitting = Vec::new();
    for kept in kept::all(store)? {
        if filters.is_empty() || Filter::fit(filters, &kept, &kept.status()?)? {
            fitting.push(kept);
        }
    }
    Ok(fitting)
}

/// The failures of a command that goes on to its end.
#[derive(Default)]
pub struct Failures(Vec<Error>);

impl Failures {
    /// One more.
    pub fn add(&mut self, error: Error) {
        self.0.push(error);
    }

    /// Whether all went well.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All but the last are said here, the last is the command's, with docker's status.
    pub fn end(mut self) -> Result<u8> {
        let Some(last) = self.0.pop() else { return Ok(0) };
        for error in self.0 {
            log::error!("{error}");
        }
        Err(last.exit_status(1))
    }
}

/// Does something with each, prints what was typed where that went well, and goes on to the end.
pub fn each(
    selection: &Selection,
    store: &Path,
    missing: Missing,
    mut work: impl FnMut(&Selected) -> Result<Said>,
) -> Result<u8> {
    each_together(selection, store, missing, |_| Ok(()), |selected, ()| work(selected))
}

/// Number of containers that are worked on at the same time: each of them may take some descriptors.
const TOGETHER: usize = 128;

/// [`each`] in two rounds: `begin` with all, then `finish` with those that it went well with. What they wait for passes
/// at the same time.
pub fn each_together<T>(
    selection: &Selection,
    store: &Path,
    missing: Missing,
    mut begin: impl FnMut(&Selected) -> Result<T>,
    mut finish: impl FnMut(&Selected, T) -> Result<Said>,
) -> Result<u8> {
    let mut failures = Failures::default();
    let all = selection.find(store, missing, &mut failures)?;
    for together in all.chunks(TOGETHER) {
        let begun: Vec<_> = together.iter().map(|selected| (selected, begin(selected))).collect();
        for (selected, work) in begun {
            match work.and_then(|work| finish(selected, work)) {
                Ok(Said::Name) => say(&selected.typed),
                Ok(Said::Nothing) => {}
                Err(error) => failures.add(error),
            }
        }
    }
    failures.end()
}

/// What is printed of one that went well.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Said {
    /// What was typed.
    Name,
    /// Nothing.
    Nothing,
}

/// Prints a line. What is done is done, whether or not anybody reads it.
pub fn say(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// The container.
pub fn open(store: &Path, selected: &Selected) -> Result<Kept> {
    let gone = || Error::new(format!("container {} is gone", selected.typed));
    Kept::open(store, &selected.id)?.ok_or_else(gone)
}
