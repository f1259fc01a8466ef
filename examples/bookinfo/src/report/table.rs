//! The table of who calls whom, redrawn in place on a terminal.

use std::fmt::Write as _;
use std::io::{IsTerminal, Write};
use std::time::Duration;

use crate::ledger::Line;
use crate::load::ratio;

/// One line for each caller, callee and subset that had calls within `span`.
#[must_use]
pub fn table(lines: &[Line], span: Duration) -> String {
    let mut text = format!(
        "{:<15} {:<12} {:<8} {:>7} {:>9} {:>7} {:>9} {:>9}\n",
        "caller", "callee", "subset", "share", "req/s", "errors", "p50", "p99"
    );
    for line in lines.iter().filter(|line| line.counts.calls() > 0) {
        let counts = &line.counts;
        let share = ratio(counts.calls(), line.whole) * 100.0;
        let rate = per_second(counts.calls(), span);
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "{:<15} {:<12} {:<8} {share:>6.1}% {rate:>9.1} {:>7} {:>9} {:>9}",
            line.caller,
            line.callee,
            line.subset,
            counts.errors(),
            milliseconds(counts.quantile(0.5)),
            milliseconds(counts.quantile(0.99)),
        );
    }
    text
}

/// Calls a second.
fn per_second(calls: u64, span: Duration) -> f64 {
    let seconds = span.as_secs_f64();
    if seconds > 0.0 { ratio(calls, 1) / seconds } else { 0.0 }
}

fn milliseconds(latency: Duration) -> String {
    format!("{:.2} ms", latency.as_secs_f64() * 1_000.0)
}

/// A table that replaces the one printed before it, where the output is a terminal.
#[derive(Debug, Default)]
pub struct LiveTable {
    drawn: usize,
}

impl LiveTable {
    /// Prints the next table. A closed output is not the demo's business: it goes on.
    pub fn draw(&mut self, text: &str) {
        let mut out = std::io::stdout().lock();
        if self.drawn > 0 && out.is_terminal() {
            let _ = write!(out, "\x1b[{}A\x1b[J", self.drawn);
        }
        let _ = writeln!(out, "{text}");
        let _ = out.flush();
        self.drawn = text.lines().count() + 1;
    }
}
