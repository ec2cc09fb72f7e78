//! Shows what is going on: a bar on a terminal, a line for each finished step elsewhere.

use std::fmt;
use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// How often a bar without news is drawn again.
const TICK: Duration = Duration::from_millis(100);

/// How often a bar is drawn at most, per second. Drawing costs time that probes want.
const RATE: u8 = 10;

/// Prints a line on stderr. Nobody may be there to read it, as when the terminal was closed; the work
/// goes on all the same.
pub fn say(line: fmt::Arguments<'_>) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// A step of some work, shown on stderr until it is finished or dropped.
#[derive(Debug)]
pub struct Step {
    bar: Option<ProgressBar>,
    label: &'static str,
    begun: Instant,
    count: AtomicU64,
}

impl Step {
    /// Begins a step of `total` parts; 0 if they cannot be counted.
    #[must_use]
    pub fn begin(label: &'static str, total: usize) -> Self {
        let bar = std::io::stderr()
            .is_terminal()
            .then(|| bar(label, total as u64));
        Self {
            bar,
            label,
            begun: Instant::now(),
            count: AtomicU64::new(0),
        }
    }

    /// One more part is done.
    pub fn advance(&self) {
        self.count.fetch_add(1, Ordering::Relaxed);
        if let Some(bar) = &self.bar {
            bar.inc(1);
        }
    }

    /// How many parts are done.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// Says what the step is waiting for.
    pub fn note(&self, text: &str) {
        if let Some(bar) = &self.bar {
            bar.set_message(text.to_owned());
        }
    }

    /// Ends the step with a line that stays.
    pub fn finish(self, summary: &str) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        let seconds = self.begun.elapsed().as_secs_f64();
        say(format_args!(
            "  {:11} {summary:58} {seconds:6.2} s",
            self.label
        ));
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn bar(label: &'static str, total: u64) -> ProgressBar {
    let target = ProgressDrawTarget::stderr_with_hz(RATE);
    let (bar, template) = if total == 0 {
        (
            ProgressBar::with_draw_target(None, target),
            "  {prefix:11} {spinner} {msg}",
        )
    } else {
        let template = "  {prefix:11} {bar:40.cyan/dim} {pos}/{len} {msg}";
        (ProgressBar::with_draw_target(Some(total), target), template)
    };
    let style = ProgressStyle::with_template(template).expect("the templates are constants");
    bar.set_style(style);
    bar.set_prefix(label);
    bar.enable_steady_tick(TICK);
    bar
}
