//! Progress: spinners in a terminal, one line per step in a pipe.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// Where progress goes: standard error, so that standard output stays a program's own.
pub struct Steps {
    terminal: bool,
}

/// One step under way. Dropped without an end, it vanishes: the error that follows says more.
pub struct Step {
    name: &'static str,
    began: Instant,
    bar: Option<ProgressBar>,
}

impl Steps {
    /// Looks whether standard error is a terminal.
    pub fn new() -> Self {
        Self { terminal: std::io::stderr().is_terminal() }
    }

    /// Begins a step; `name` is one word, `doing` says more.
    pub fn start(&self, name: &'static str, doing: &str) -> Step {
        let bar = self.terminal.then(|| {
            let bar = ProgressBar::new_spinner();
            if let Ok(style) =
                ProgressStyle::with_template("{spinner:.cyan} {prefix:10} {msg} {elapsed:.dim}")
            {
                bar.set_style(style);
            }
            bar.set_prefix(name);
            bar.set_message(doing.to_owned());
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        Step { name, began: Instant::now(), bar }
    }

    /// Says something that is not as it should be, though the build goes on.
    pub fn warn(&self, text: &str) {
        eprintln!("warning: {text}");
    }

    /// Says something worth knowing.
    pub fn note(&self, text: &str) {
        eprintln!("note: {text}");
    }
}

impl Step {
    /// Turns the spinner into a bar over `total` pieces of work.
    pub fn total(&self, total: u64) {
        if let Some(bar) = &self.bar {
            bar.set_length(total);
            if let Ok(style) = ProgressStyle::with_template(
                "{spinner:.cyan} {prefix:10} [{bar:32}] {pos}/{len} {msg}",
            ) {
                bar.set_style(style.progress_chars("=> "));
            }
        }
    }

    /// Counts one piece of work.
    pub fn advance(&self) {
        if let Some(bar) = &self.bar {
            bar.inc(1);
        }
    }

    /// Ends the step: what came of it, and how long it took.
    pub fn done(self, what: &str) {
        let seconds = self.began.elapsed().as_secs_f64();
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        eprintln!("{:10} {what} ({seconds:.2} s)", self.name);
    }

    /// Ends the step: there was nothing to do.
    pub fn unchanged(self, what: &str) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        eprintln!("{:10} {what}: unchanged", self.name);
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
