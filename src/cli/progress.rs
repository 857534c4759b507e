//! How layers come and go, on standard error: one bar a layer on a terminal, else a line for each that is there.

use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::image::pull::Progress;

/// What is said of a layer that is there.
#[derive(Clone, Copy, Debug)]
pub struct Words {
    /// One that moved.
    pub moved: &'static str,
    /// One that was there before.
    pub was_there: &'static str,
}

/// Tells a person.
pub struct Shown {
    words: Words,
    kind: Kind,
    layers: Mutex<Vec<Layer>>,
    has_waited: AtomicBool,
}

/// What is said while another command does the work.
const WAITING: &str = "waiting for another command that pulls this";

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Quiet,
    Lines,
    Bars,
}

struct Layer {
    digest: String,
    bar: Option<ProgressBar>,
}

/// `--quiet`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loudness {
    /// Nothing is said.
    Quiet,
    /// Layers are shown.
    Normal,
}

impl Shown {
    /// Nothing is drawn yet.
    pub fn new(words: Words, loudness: Loudness) -> Self {
        let kind = match loudness {
            Loudness::Quiet => Kind::Quiet,
            Loudness::Normal if std::io::stderr().is_terminal() => Kind::Bars,
            Loudness::Normal => Kind::Lines,
        };
        Self { words, kind, layers: Mutex::default(), has_waited: AtomicBool::new(false) }
    }

    fn all(&self) -> MutexGuard<'_, Vec<Layer>> {
        self.layers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn bar(all: &MultiProgress, digest: &str, size: u64) -> ProgressBar {
    let bar = all.add(ProgressBar::new(size));
    // A template that is a constant: the fallback is never seen.
    let style =
        ProgressStyle::with_template("{prefix} [{bar:30}] {bytes:>10}/{total_bytes:10} {msg}")
            .unwrap_or_else(|_| ProgressStyle::default_bar());
    bar.set_style(style.progress_chars("=> "));
    bar.set_prefix(digest.to_owned());
    bar
}

impl Progress for Shown {
    fn layers(&self, layers: &[(String, u64)]) {
        let all = MultiProgress::with_draw_target(ProgressDrawTarget::stderr());
        let layer = |(digest, size): &(String, u64)| Layer {
            digest: digest.clone(),
            bar: (self.kind == Kind::Bars).then(|| bar(&all, digest, *size)),
        };
        *self.all() = layers.iter().map(layer).collect();
    }

    fn waits(&self, at: Option<usize>) {
        let layers = self.all();
        let bar = at.and_then(|at| layers.get(at)?.bar.as_ref());
        match (self.kind, bar) {
            (Kind::Quiet, _) => {}
            (_, Some(bar)) => bar.set_message(WAITING),
            // Once, however many layers wait.
            _ if self.has_waited.swap(true, Ordering::Relaxed) => {}
            _ => drop(writeln!(std::io::stderr(), "{WAITING}")),
        }
    }

    fn came(&self, at: usize, bytes: u64) {
        if self.kind == Kind::Bars
            && let Some(bar) = self.all().get(at).and_then(|layer| layer.bar.clone())
        {
            bar.set_position(bytes);
            if !bar.message().is_empty() {
                bar.set_message("");
            }
        }
    }

    fn done(&self, at: usize, was_there: bool) {
        let said = if was_there { self.words.was_there } else { self.words.moved };
        let layers = self.all();
        let Some(layer) = layers.get(at) else { return };
        match (self.kind, &layer.bar) {
            (_, Some(bar)) => bar.finish_with_message(said),
            // Standard error may be gone.
            (Kind::Lines, None) => drop(writeln!(std::io::stderr(), "{}: {said}", layer.digest)),
            _ => {}
        }
    }
}
