//! Proves that splits are as configured and that edits arrive: 80/20, then 50/50, then a header match, under load.

use std::fmt;
use std::io;
use std::time::{Duration, Instant};

use super::watch::{Sign, Watch};
use crate::folder::REVIEWS;
use crate::load::{Load, LoadOptions, Reader, Visits};
use crate::{Bookinfo, BoxError};

/// The size of the proof.
#[derive(Clone, Copy, Debug)]
pub struct Splits {
    /// Anonymous pages over which 80/20 is judged: within 1.5 %, or what chance allows where they are few. Default 20,000.
    pub pages: u64,
    /// Anonymous pages over which each edit's outcome is judged. Default 2,000.
    pub pages_after_edit: u64,
    /// How long an edit may take to show. Default 2 s.
    pub deadline: Duration,
    /// The traffic. Default 1,000 pages a second by 16 clients.
    pub load: LoadOptions,
}

impl Default for Splits {
    fn default() -> Self {
        let load = LoadOptions { rate: 1_000, ..LoadOptions::default() };
        Self { pages: 20_000, pages_after_edit: 2_000, deadline: Duration::from_secs(2), load }
    }
}

/// What was proven.
#[derive(Clone, Debug)]
pub struct Proof {
    /// The share of v2, 0 to 1, while the file said 80/20.
    pub eighty_twenty: f64,
    /// The share of v2 after the file said 50/50.
    pub fifty_fifty: f64,
    /// How long after the edit 50/50 showed.
    pub fifty_fifty_arrived: Duration,
    /// How long after the edit the header match showed.
    pub header_match_arrived: Duration,
    /// Pages opened from first to last; none failed.
    pub pages: u64,
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "good  80/20: v2 had {:.2} %", self.eighty_twenty * 100.0)?;
        writeln!(
            f,
            "good  edited to 50/50: v2 had {:.2} %, arrived after {:?}",
            self.fifty_fifty * 100.0,
            self.fifty_fifty_arrived
        )?;
        writeln!(f, "good  edited to a header match: all as matched, arrived after {:?}", self.header_match_arrived)?;
        write!(f, "good  0 of {} pages failed", self.pages)
    }
}

/// What was not as it should be.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Failed {
    /// The load could not be started.
    #[error("the load could not be started")]
    Load(#[source] BoxError),
    /// The YAML could not be read or edited.
    #[error("{REVIEWS} could not be edited")]
    Edit(#[source] io::Error),
    /// The YAML is not as shipped.
    #[error("{REVIEWS} has no {text:?} to edit: start with a fresh folder")]
    NotAsShipped {
        /// What was looked for.
        text: &'static str,
    },
    /// A page failed.
    #[error("a page failed: {reason}")]
    Page {
        /// Why.
        reason: String,
    },
    /// No page came back for a long time.
    #[error("no page came back any more")]
    Stalled,
    /// An edit never showed.
    #[error("{sign} never arrived")]
    NeverArrived {
        /// The edit.
        sign: &'static str,
    },
    /// An edit showed too late.
    #[error("{sign} arrived after {took:?}; {deadline:?} is allowed")]
    Late {
        /// The edit.
        sign: &'static str,
        /// How long it took.
        took: Duration,
        /// How long it may take.
        deadline: Duration,
    },
    /// A share is off.
    #[error("{what}: {got:.4} of the pages, wanted {wanted} within {tolerance:.4}")]
    Share {
        /// Of what.
        what: &'static str,
        /// The share, 0 to 1.
        got: f64,
        /// What it should be.
        wanted: f64,
        /// By how much it may be off.
        tolerance: f64,
    },
}

/// Runs the load and edits the shipped YAML beneath it.
///
/// # Errors
/// The first thing that is not as it should be.
pub async fn splits(bookinfo: &Bookinfo, size: &Splits) -> Result<Proof, Failed> {
    let (load, received) = Load::start(bookinfo, size.load).await.map_err(Failed::Load)?;
    let mut watch = Watch::new(received);
    let outcome = prove(bookinfo, size, &mut watch).await;
    load.stop().await;
    let rest = watch.drain().await;
    let proof = outcome?;
    rest.map(|rest| Proof { pages: proof.pages + rest, ..proof })
}

async fn prove(bookinfo: &Bookinfo, size: &Splits, watch: &mut Watch) -> Result<Proof, Failed> {
    let shipped = std::fs::read_to_string(bookinfo.folder().reviews()).map_err(Failed::Edit)?;

    let before = watch.count(size.pages).await?;
    let eighty_twenty = share("v2 of 80/20", &before, "v2", 0.2, five_sigma(0.2, size.pages).max(0.015))?;
    jason_has(&before, "v3")?;

    let even = edited(&edited(&shipped, "weight: 80", "weight: 50")?, "weight: 20", "weight: 50")?;
    let fifty_fifty_arrived = arrive(watch, size.deadline, HALF, || bookinfo.folder().replace(REVIEWS, &even)).await?;
    watch.settle().await?;
    let after = watch.count(size.pages_after_edit).await?;
    let fifty_fifty = share("v2 of 50/50", &after, "v2", 0.5, five_sigma(0.5, size.pages_after_edit))?;
    jason_has(&after, "v3")?;

    // Everybody to v3, and jason, who had v3, to v2. Written in place, as some editors do.
    let matched = edited(&shipped, "subset: v3}", "subset: v2}")?;
    let matched = with_everybody_at_v3(&matched)?;
    let write = || std::fs::write(bookinfo.folder().reviews(), &matched);
    let header_match_arrived = arrive(watch, size.deadline, MATCHED, write).await?;
    watch.settle().await?;
    let last = watch.count(size.pages_after_edit).await?;
    share("v3 of everybody but jason", &last, "v3", 1.0, 0.0)?;
    jason_has(&last, "v2")?;

    let pages = watch.opened();
    Ok(Proof { eighty_twenty, fifty_fifty, fifty_fifty_arrived, header_match_arrived, pages })
}

/// v2 has at least 40 of the latest 100 anonymous visits: five standard deviations from 20 %, and soon seen at 50 %.
const HALF: Sign = Sign {
    name: "50/50",
    visits: 110,
    shows: |visits| {
        let anonymous = visits.iter().filter(|(reader, _)| *reader == Reader::Anonymous);
        let (v2, all) = anonymous.fold((0, 0), |(v2, all), (_, version)| (v2 + usize::from(version == "v2"), all + 1));
        v2 * 10 >= all * 4
    },
};

/// Of the latest 40 visits, which jason is among, every one went where the header match says.
const MATCHED: Sign = Sign {
    name: "the header match",
    visits: 40,
    shows: |visits| {
        let right =
            |(reader, version): &(Reader, String)| version == if *reader == Reader::Jason { "v2" } else { "v3" };
        visits.iter().any(|(reader, _)| *reader == Reader::Jason) && visits.iter().all(right)
    },
};

/// Edits, waits for the sign, and judges the time.
async fn arrive(
    watch: &mut Watch,
    deadline: Duration,
    sign: Sign,
    edit: impl FnOnce() -> io::Result<()>,
) -> Result<Duration, Failed> {
    // From before the write: the time that it takes counts too.
    let at = Instant::now();
    edit().map_err(Failed::Edit)?;
    let took = watch.arrival(at, sign).await?;
    if took > deadline {
        return Err(Failed::Late { sign: sign.name, took, deadline });
    }
    Ok(took)
}

fn edited(yaml: &str, from: &'static str, to: &str) -> Result<String, Failed> {
    if yaml.contains(from) { Ok(yaml.replacen(from, to, 1)) } else { Err(Failed::NotAsShipped { text: from }) }
}

/// Replaces the weighted route by a plain one.
fn with_everybody_at_v3(yaml: &str) -> Result<String, Failed> {
    const FROM: &str = "    - destination: {host: reviews, subset: v1}\n      weight: 80\n";
    const REST: &str = "    - destination: {host: reviews, subset: v2}\n      weight: 20\n";
    edited(&edited(yaml, FROM, "    - destination: {host: reviews, subset: v3}\n")?, REST, "")
}

fn share(what: &'static str, visits: &Visits, version: &str, wanted: f64, tolerance: f64) -> Result<f64, Failed> {
    let got = visits.share(Reader::Anonymous, version);
    within(what, got, wanted, tolerance)
}

fn jason_has(visits: &Visits, version: &str) -> Result<f64, Failed> {
    within("jason's own version", visits.share(Reader::Jason, version), 1.0, 0.0)
}

fn within(what: &'static str, got: f64, wanted: f64, tolerance: f64) -> Result<f64, Failed> {
    if (got - wanted).abs() <= tolerance { Ok(got) } else { Err(Failed::Share { what, got, wanted, tolerance }) }
}

/// Five standard deviations of a share: chance alone exceeds it once in 1.7 million runs.
#[expect(clippy::cast_precision_loss, reason = "counts of one run stay far below 2^53")]
fn five_sigma(share: f64, requests: u64) -> f64 {
    5.0 * (share * (1.0 - share) / requests.max(1) as f64).sqrt()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]
    use super::*;
    use crate::report::weights;

    const SHIPPED: &str = include_str!("../../mesh/reviews.yaml");

    #[test]
    fn the_edits_apply_to_what_ships() {
        let even = edited(&edited(SHIPPED, "weight: 80", "weight: 50").unwrap(), "weight: 20", "weight: 50").unwrap();
        assert_eq!(weights(&even), [("v1".to_owned(), 0.5), ("v2".to_owned(), 0.5)]);
        let matched = with_everybody_at_v3(&edited(SHIPPED, "subset: v3}", "subset: v2}").unwrap()).unwrap();
        assert_eq!(weights(&matched), [("v3".to_owned(), 1.0)]);
    }

    #[test]
    fn another_file_is_not_edited() {
        assert!(matches!(edited("kind: Service", "weight: 80", "weight: 50"), Err(Failed::NotAsShipped { .. })));
    }

    #[test]
    fn signs_are_told_from_what_was_before() {
        let visits = |v1: usize, v2: usize| {
            let one = |version: &str| (Reader::Anonymous, version.to_owned());
            [vec![one("v1"); v1], vec![one("v2"); v2]].concat()
        };
        assert!(!(HALF.shows)(&visits(80, 20)));
        assert!((HALF.shows)(&visits(50, 50)));
        let (jason, other) = ((Reader::Jason, "v2".to_owned()), (Reader::Anonymous, "v3".to_owned()));
        assert!((MATCHED.shows)(&[jason.clone(), other.clone()]));
        assert!(!(MATCHED.shows)(std::slice::from_ref(&other)), "jason has not been seen");
        assert!(!(MATCHED.shows)(&[jason, other, (Reader::Jason, "v3".to_owned())]));
    }
}
