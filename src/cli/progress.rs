//! Progress of layers on standard error: a bar for each layer on a terminal, else a line for each finished layer.

use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::image::pull::TransferProgress;

/// Words for finished layers.
#[derive(Clone, Copy, Debug)]
pub struct Words {
    /// Word for a copied layer.
    pub moved: &'static str,
    /// Word for a layer that existed already.
    pub was_there: &'static str,
}

/// Progress shown to the user.
pub struct Shown {
    words: Words,
    kind: Kind,
    layers: Mutex<Vec<Layer>>,
    has_waited: AtomicBool,
}

/// Message while another command does the work.
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

/// Setting of `--quiet`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loudness {
    /// No messages.
    Quiet,
    /// Layers are shown.
    Normal,
}

impl Shown {
    /// Makes the progress; draws nothing yet.
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
    // The template is a constant: the fallback is never used.
    let style =
        ProgressStyle::with_template("{prefix} [{bar:30}] {bytes:>10}/{total_bytes:10} {msg}")
            .unwrap_or_else(|_| ProgressStyle::default_bar());
    bar.set_style(style.progress_chars("=> "));
    bar.set_prefix(digest.to_owned());
    bar
}

impl TransferProgress for Shown {
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
            // Standard error may be closed.
            (Kind::Lines, None) => drop(writeln!(std::io::stderr(), "{}: {said}", layer.digest)),
            _ => {}
        }
    }
}
