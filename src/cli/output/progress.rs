//! Progress of layers on standard error: a bar for each layer on a terminal, else a line for each finished layer.

use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::image::pull::{TransferOutcome, TransferProgress};

/// Words for finished layers.
#[derive(Clone, Copy, Debug)]
pub struct LayerWords {
    /// Word for a copied layer.
    pub moved: &'static str,
    /// Word for a layer that existed already.
    pub was_there: &'static str,
}

/// Progress shown to the user.
pub struct LayerProgress {
    words: LayerWords,
    form: ProgressForm,
    layers: Mutex<Vec<LayerLine>>,
    has_waited: AtomicBool,
}

/// Message while another command does the work.
const WAITING: &str = "waiting for another command that pulls this";

#[derive(Clone, Copy, PartialEq, Eq)]
enum ProgressForm {
    Quiet,
    Lines,
    Bars,
}

struct LayerLine {
    digest: String,
    bar: Option<ProgressBar>,
}

/// Setting of `--quiet`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verbosity {
    /// No messages.
    Quiet,
    /// Layers are shown.
    Normal,
}

impl LayerProgress {
    /// Makes the progress; draws nothing yet.
    pub fn new(words: LayerWords, loudness: Verbosity) -> Self {
        let form = match loudness {
            Verbosity::Quiet => ProgressForm::Quiet,
            Verbosity::Normal if std::io::stderr().is_terminal() => ProgressForm::Bars,
            Verbosity::Normal => ProgressForm::Lines,
        };
        Self { words, form, layers: Mutex::default(), has_waited: AtomicBool::new(false) }
    }

    fn all(&self) -> MutexGuard<'_, Vec<LayerLine>> {
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

impl TransferProgress for LayerProgress {
    fn layers(&self, layers: &[(String, u64)]) {
        let all = MultiProgress::with_draw_target(ProgressDrawTarget::stderr());
        let layer = |(digest, size): &(String, u64)| LayerLine {
            digest: digest.clone(),
            bar: (self.form == ProgressForm::Bars).then(|| bar(&all, digest, *size)),
        };
        *self.all() = layers.iter().map(layer).collect();
    }

    fn waiting(&self, at: Option<usize>) {
        let layers = self.all();
        let bar = at.and_then(|at| layers.get(at)?.bar.as_ref());
        match (self.form, bar) {
            (ProgressForm::Quiet, _) => {}
            (_, Some(bar)) => bar.set_message(WAITING),
            // Once, however many layers wait.
            _ if self.has_waited.swap(true, Ordering::Relaxed) => {}
            _ => drop(writeln!(std::io::stderr(), "{WAITING}")),
        }
    }

    fn transferred(&self, at: usize, bytes: u64) {
        if self.form == ProgressForm::Bars
            && let Some(bar) = self.all().get(at).and_then(|layer| layer.bar.clone())
        {
            bar.set_position(bytes);
            if !bar.message().is_empty() {
                bar.set_message("");
            }
        }
    }

    fn done(&self, at: usize, outcome: TransferOutcome) {
        let word = match outcome {
            TransferOutcome::AlreadyPresent => self.words.was_there,
            TransferOutcome::Transferred => self.words.moved,
        };
        let layers = self.all();
        let Some(layer) = layers.get(at) else { return };
        match (self.form, &layer.bar) {
            (_, Some(bar)) => bar.finish_with_message(word),
            // Standard error may be closed.
            (ProgressForm::Lines, None) => {
                drop(writeln!(std::io::stderr(), "{}: {word}", layer.digest))
            }
            _ => {}
        }
    }
}
