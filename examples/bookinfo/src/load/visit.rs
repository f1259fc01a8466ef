//! One opened page, and the count of many.

use std::collections::BTreeMap;
use std::time::Instant;

/// Who opens the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    /// Somebody without a name.
    Anonymous,
    /// `end-user: jason`.
    Jason,
}

/// One opened page.
#[derive(Clone, Debug)]
pub struct Visit {
    /// Who opened it.
    pub reader: Reader,
    /// When the request was made.
    pub started: Instant,
    /// When all of the page was there.
    pub finished: Instant,
    /// The version of `reviews` that says it answered, or why there is no page.
    pub version: Result<String, String>,
}

/// A count of visits.
#[derive(Clone, Debug, Default)]
pub struct Visits {
    anonymous: BTreeMap<String, u64>,
    jason: BTreeMap<String, u64>,
    failed: u64,
    first_failure: Option<String>,
}

impl Visits {
    /// Counts one.
    pub fn add(&mut self, visit: Visit) {
        match visit.version {
            Ok(version) => *self.by_version_mut(visit.reader).entry(version).or_default() += 1,
            Err(reason) => {
                self.failed += 1;
                self.first_failure.get_or_insert(reason);
            }
        }
    }

    /// Pages that were opened, by version of `reviews`.
    #[must_use]
    pub const fn by_version(&self, reader: Reader) -> &BTreeMap<String, u64> {
        match reader {
            Reader::Anonymous => &self.anonymous,
            Reader::Jason => &self.jason,
        }
    }

    /// How many pages this reader opened.
    #[must_use]
    pub fn opened(&self, reader: Reader) -> u64 {
        self.by_version(reader).values().sum()
    }

    /// Which part of them, 0 to 1, a version of `reviews` answered; 0 when none was opened.
    #[must_use]
    pub fn share(&self, reader: Reader, version: &str) -> f64 {
        let answered = self.by_version(reader).get(version).copied().unwrap_or(0);
        ratio(answered, self.opened(reader))
    }

    /// How many pages failed.
    #[must_use]
    pub const fn failed(&self) -> u64 {
        self.failed
    }

    /// Why the first one did.
    #[must_use]
    pub fn first_failure(&self) -> Option<&str> {
        self.first_failure.as_deref()
    }

    const fn by_version_mut(&mut self, reader: Reader) -> &mut BTreeMap<String, u64> {
        match reader {
            Reader::Anonymous => &mut self.anonymous,
            Reader::Jason => &mut self.jason,
        }
    }
}

/// A part of a whole, 0 when the whole is 0.
#[expect(clippy::cast_precision_loss, reason = "counts of one run stay far below 2^53")]
pub(crate) fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}
