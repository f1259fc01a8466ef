//! The end: totals, and whether they are what the configuration asks for.

use std::fmt::Write as _;
use std::time::Duration;

use super::{table, weights};
use crate::Ledger;
use crate::load::{Reader, Visits, ratio};

/// Whether all is well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// No call failed, and the shares are as configured.
    Good,
    /// Something is off; the summary says what.
    Bad,
}

/// Shares may be off by this much whatever the number of requests: 1.5 %.
const TOLERANCE: f64 = 0.015;

/// The totals of a run of `span`, judged. `expected` is the text of the VirtualService in force all the time, or `None`
/// when it was edited on the way, so that there is no one split to judge by.
#[must_use]
pub fn summary(ledger: &Ledger, visits: &Visits, expected: Option<&str>, span: Duration) -> (String, Verdict) {
    let lines = ledger.totals();
    let mut text = format!("{:.1} s in all\n{}", span.as_secs_f64(), table(&lines, span));
    let mut verdict = Verdict::Good;
    let opened = visits.opened(Reader::Anonymous);
    let pages = opened + visits.opened(Reader::Jason);
    // Writing to a String cannot fail.
    let _ = writeln!(text, "\n{pages} pages opened, {} failed", visits.failed());
    let failed_calls: u64 = lines.iter().map(|line| line.counts.errors()).sum();
    if visits.failed() > 0 || failed_calls > 0 || pages == 0 {
        verdict = Verdict::Bad;
        let _ = writeln!(
            text,
            "BAD   {failed_calls} calls failed; first: {}",
            visits.first_failure().unwrap_or("no page failed for it")
        );
    }
    let Some(yaml) = expected else {
        text.push_str("there was not one split all the time: shares are not judged\n");
        return (text, verdict);
    };
    for (subset, wanted) in weights(yaml) {
        let got = visits.share(Reader::Anonymous, &subset);
        let good = (got - wanted).abs() <= allowed(wanted, opened);
        let word = if good { "good" } else { "BAD " };
        let _ = writeln!(
            text,
            "{word}  reviews {subset}: {:.2} % of {opened}, wanted {:.2} %",
            got * 100.0,
            wanted * 100.0
        );
        if !good {
            verdict = Verdict::Bad;
        }
    }
    (text, verdict)
}

/// 1.5 %, or five standard deviations of the share where so few requests make that more.
fn allowed(wanted: f64, requests: u64) -> f64 {
    let variance = wanted * (1.0 - wanted) / ratio(requests.max(1), 1);
    TOLERANCE.max(5.0 * variance.sqrt())
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::load::Visit;

    const YAML: &str = include_str!("../../mesh/reviews.yaml");

    fn visits(v1: usize, v2: usize, failed: usize) -> Visits {
        let mut visits = Visits::default();
        let versions = std::iter::repeat_n(Ok("v1"), v1).chain(std::iter::repeat_n(Ok("v2"), v2));
        for version in versions.chain(std::iter::repeat_n(Err("down"), failed)) {
            let now = Instant::now();
            let version = version.map(str::to_owned).map_err(str::to_owned);
            visits.add(Visit { reader: Reader::Anonymous, started: now, finished: now, version });
        }
        visits
    }

    fn verdict(visits: &Visits, expected: Option<&str>) -> Verdict {
        summary(&Ledger::default(), visits, expected, Duration::from_secs(1)).1
    }

    #[test]
    fn shares_as_configured_are_good() {
        assert_eq!(verdict(&visits(16_100, 3_900, 0), Some(YAML)), Verdict::Good);
    }

    #[test]
    fn shares_that_are_off_are_bad_unless_the_split_was_edited() {
        assert_eq!(verdict(&visits(15_600, 4_400, 0), Some(YAML)), Verdict::Bad);
        assert_eq!(verdict(&visits(15_600, 4_400, 0), None), Verdict::Good);
    }

    #[test]
    fn one_failed_page_is_bad() {
        assert_eq!(verdict(&visits(16_000, 4_000, 1), Some(YAML)), Verdict::Bad);
    }

    #[test]
    fn no_page_at_all_is_bad() {
        assert_eq!(verdict(&Visits::default(), Some(YAML)), Verdict::Bad);
    }
}
