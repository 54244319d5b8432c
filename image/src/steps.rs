//! Progress: spinners in a terminal, one line per step in a pipe.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

/// Where progress goes: standard error, so that standard output stays a program's own.
pub struct Steps {
    terminal: bool,
    /// All spinners: a step may be part of another one.
    bars: MultiProgress,
}

/// One step under way. Dropped without an end, it vanishes: the error that follows says more.
pub struct Step {
    name: &'static str,
    began: Instant,
    bars: MultiProgress,
    bar: Option<ProgressBar>,
}

impl Steps {
    /// Looks whether standard error is a terminal.
    pub fn new() -> Self {
        Self { terminal: std::io::stderr().is_terminal(), bars: MultiProgress::new() }
    }

    /// Begins a step; `name` is one word, `doing` says more.
    pub fn start(&self, name: &'static str, doing: &str) -> Step {
        let bar = self.terminal.then(|| {
            let bar = self.bars.add(ProgressBar::new_spinner());
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
        Step { name, began: Instant::now(), bars: self.bars.clone(), bar }
    }

    /// Says something that is not as it should be, though the build goes on.
    pub fn warn(&self, text: &str) {
        self.bars.suspend(|| eprintln!("warning: {text}"));
    }

    /// Says what another program says.
    pub fn quote(&self, line: &str) {
        self.bars.suspend(|| eprintln!("  | {line}"));
    }

    pub fn note(&self, text: &str) {
        self.bars.suspend(|| eprintln!("note: {text}"));
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

    /// Turns the spinner into a bar over `total` bytes.
    pub fn bytes(&self, total: u64) {
        if let Some(bar) = &self.bar {
            bar.set_length(total);
            if let Ok(style) = ProgressStyle::with_template(
                "{spinner:.cyan} {prefix:10} [{bar:32}] {binary_bytes}/{binary_total_bytes} {msg} \
                 {binary_bytes_per_sec} {eta:.dim}",
            ) {
                bar.set_style(style.progress_chars("=> "));
            }
        }
    }

    /// Counts so many bytes.
    pub fn advance_by(&self, bytes: u64) {
        if let Some(bar) = &self.bar {
            bar.inc(bytes);
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
        self.end(&format!("{what} ({seconds:.2} s)"));
    }

    /// Ends the step: there was nothing to do.
    pub fn unchanged(self, what: &str) {
        self.end(&format!("{what}: unchanged"));
    }

    fn end(self, what: &str) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        self.bars.suspend(|| eprintln!("{:10} {what}", self.name));
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
