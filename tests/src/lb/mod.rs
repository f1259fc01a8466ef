//! Recorded cases of balancing, ejection, health checks, limits and pools: a cluster, what its hosts did, what was seen.
//!
//! The form: `[{"name", "cluster_config", "upstream_script", "requests", "observed"}]`, in words rather than in Envoy's
//! fields. So every case has a check of its own, by its name, in a table of its family; a case that no table names is a
//! failure, and so is a name that no case has.

mod simulate;
mod watched;

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;

use serde::Deserialize;
use serde_json::Value;

pub use self::simulate::{Simulation, differ_by, endpoint, same_order};
pub use self::watched::Watched;

/// A recorded case.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// Its name.
    pub name: String,
    /// The cluster, in words and parts of Envoy's fields.
    pub cluster_config: Value,
    /// What the hosts did.
    pub upstream_script: Value,
    /// What was sent.
    pub requests: Value,
    /// What was seen.
    pub observed: Value,
    /// What else was noted.
    #[serde(default)]
    pub note: Option<Value>,
}

/// How a case is checked: what differs from the recording, a line each.
#[derive(Clone, Copy, Debug)]
pub enum Check {
    /// In the engine: time and chance are arguments.
    Engine(fn(&Case) -> Vec<String>),
    /// On the wire.
    Wire(for<'a> fn(&'a Case) -> Checking<'a>),
    /// Not yet: what it waits for.
    Waits(&'static str),
}

/// A check under way.
pub type Checking<'a> = Pin<Box<dyn Future<Output = Vec<String>> + Send + 'a>>;

/// Cases of one kind with their checks.
pub type Family = &'static [(&'static str, Check)];

/// What came of all cases.
#[derive(Debug, Default)]
pub struct Report {
    /// Cases that ran.
    pub ran: usize,
    /// Cases that did not, by what they wait for.
    pub waiting: BTreeMap<&'static str, Vec<String>>,
    /// Cases that came out otherwise than recorded, and how; cases without a check; checks without a case.
    pub failures: Vec<(String, Vec<String>)>,
}

impl Report {
    /// Cases that did not run.
    #[must_use]
    pub fn skipped(&self) -> usize {
        self.waiting.values().map(Vec::len).sum()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} cases ran; {} wait:", self.ran, self.skipped())?;
        for (feature, names) in &self.waiting {
            writeln!(f, "{:>5}  {feature}: {}", names.len(), names.join(" "))?;
        }
        for (name, differences) in &self.failures {
            writeln!(f, "{name}\n    {}", differences.join("\n    "))?;
        }
        Ok(())
    }
}

/// Reads a document of cases.
///
/// # Panics
/// When it has another form.
#[must_use]
pub fn read(text: &str) -> Vec<Case> {
    serde_json::from_str(text).unwrap()
}

/// Runs the check of every case, one after the other.
pub async fn run(cases: &[Case], families: &[Family]) -> Report {
    let checks: BTreeMap<&str, Check> = families.iter().copied().flatten().copied().collect();
    let mut report = Report::default();
    for name in checks.keys().filter(|name| !cases.iter().any(|case| case.name == **name)) {
        report.failures.push(((*name).to_owned(), vec!["there is no such case".to_owned()]));
    }
    for case in cases {
        let differences = match checks.get(case.name.as_str()) {
            None => vec!["no table names this case".to_owned()],
            Some(Check::Waits(feature)) => {
                report.waiting.entry(feature).or_default().push(case.name.clone());
                continue;
            }
            Some(Check::Engine(check)) => check(case),
            Some(Check::Wire(check)) => check(case).await,
        };
        report.ran += 1;
        if !differences.is_empty() {
            report.failures.push((case.name.clone(), differences));
        }
    }
    report
}
