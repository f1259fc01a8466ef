//! Runs recorded cases: groups beside one another, the cases of a group in order, each in both forms of a request.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::compare::{Exchange, differences};
use crate::edge::{Answer, Edge, Form, Given, clusters, listener, request};
use crate::observed::{Case, Group, waits_for};
use crate::upstream::{Arrival, Upstreams};

/// Cases whose outcome is one of several, by chance: they run until they come out as recorded, and each time what must hold
/// whatever comes out is looked at.
const BY_CHANCE: &[Chance] = &[
    // Either cluster; every retry goes to the one that was chosen first.
    Chance { case: "w_retry/1", holds: |arrivals| arrivals.windows(2).all(|two| two[0].seen.port == two[1].seen.port) },
    // The two waits of [0, 0.3 s) and [0, 0.6 s) may or may not fit into the timeout of 0.4 s.
    Chance { case: "retry_hdrs", holds: |arrivals| (2..=3).contains(&arrivals.len()) },
    // Either host first; the refused connection is never the last word.
    Chance { case: "rt_cf_half/1", holds: |arrivals| arrivals.len() == 1 },
];

struct Chance {
    case: &'static str,
    /// What holds whatever comes out.
    holds: fn(&[Arrival]) -> bool,
}

/// How often a case that depends on chance is tried.
const MOST_TRIES: usize = 60;

/// How long any answer may take. Recorded ones take 1 s at most.
const PATIENCE: Duration = Duration::from_secs(10);

/// Groups at the same time.
const BESIDE: usize = 16;

/// What came of a document.
#[derive(Debug, Default)]
pub struct Report {
    /// Cases that ran.
    pub ran: usize,
    /// Cases that did not, by what they wait for.
    pub waiting: BTreeMap<&'static str, usize>,
    /// Cases that hang on timers and agreed only when they ran again.
    pub again: Vec<(String, Vec<String>)>,
    /// Cases that came out otherwise than recorded, and how.
    pub failures: Vec<(String, Vec<String>)>,
}

impl Report {
    /// Cases that did not run.
    #[must_use]
    pub fn skipped(&self) -> usize {
        self.waiting.values().sum()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} cases ran, in both forms of a request where it has both; {} wait:", self.ran, self.skipped())?;
        for (feature, count) in &self.waiting {
            writeln!(f, "{count:>5}  {feature}")?;
        }
        writeln!(f, "not compared unless the caller sent them: {}", crate::compare::EDGE_HEADERS.join(", "))?;
        for (name, differences) in &self.again {
            writeln!(f, "{name} agreed when it ran again\n    {}", differences.join("\n    "))?;
        }
        for (name, differences) in &self.failures {
            writeln!(f, "{name}\n    {}", differences.join("\n    "))?;
        }
        Ok(())
    }
}

/// Runs everything that does not wait for a feature.
pub async fn run(groups: Vec<Group>, upstreams: &Arc<Upstreams>) -> Report {
    let beside = Arc::new(Semaphore::new(BESIDE));
    let mut running = JoinSet::new();
    for (number, group) in groups.into_iter().enumerate() {
        let (beside, upstreams) = (Arc::clone(&beside), Arc::clone(upstreams));
        running.spawn(async move {
            let _place = beside.acquire().await;
            run_group(group, number, &upstreams).await
        });
    }
    let mut report = Report::default();
    while let Some(part) = running.join_next().await {
        let part = part.unwrap();
        report.ran += part.ran;
        part.waiting.into_iter().for_each(|(feature, count)| *report.waiting.entry(feature).or_default() += count);
        report.again.extend(part.again);
        report.failures.extend(part.failures);
    }
    report.again.sort();
    report.failures.sort();
    report
}

async fn run_group(group: Group, number: usize, upstreams: &Upstreams) -> Report {
    let mut report = Report::default();
    let (runs, waits): (Vec<&Case>, Vec<&Case>) =
        group.cases.iter().partition(|case| waits_for(&group, case).is_none());
    for case in waits {
        *report.waiting.entry(waits_for(&group, case).unwrap_or_default()).or_default() += 1;
    }
    if runs.is_empty() {
        return report;
    }
    let mut resources = clusters::clusters(upstreams);
    resources.push(listener(&group.config));
    let edge = match Edge::new(&resources) {
        Ok(edge) => edge,
        Err(refused) => {
            report.ran += runs.len();
            let line = || vec![format!("the configuration is refused: {refused}")];
            report.failures.extend(runs.iter().map(|case| (case.name.clone(), line())));
            return report;
        }
    };
    for (at, case) in runs.into_iter().enumerate() {
        report.ran += 1;
        let run =
            Run { group: &group, case, edge: &edge, resources: &resources, upstreams, id: format!("g{number}-{at}") };
        match run.to_the_end().await {
            Ok(Tries::First) => {}
            Ok(Tries::Again(lines)) => report.again.push((case.name.clone(), lines)),
            Err(differences) => report.failures.push((case.name.clone(), differences)),
        }
    }
    report
}

enum Tries {
    First,
    /// And what differed the first time.
    Again(Vec<String>),
}

struct Run<'a> {
    group: &'a Group,
    case: &'a Case,
    edge: &'a Edge,
    resources: &'a [Given],
    upstreams: &'a Upstreams,
    id: String,
}

impl Run<'_> {
    /// Both forms of the request, each as often as it takes.
    async fn to_the_end(&self) -> Result<Tries, Vec<String>> {
        let chance = BY_CHANCE.iter().find(|chance| chance.case == self.case.name);
        let mut tries = Tries::First;
        let mut said = false;
        let mut out = Vec::new();
        for form in [Form::Origin, Form::Absolute] {
            if request(&self.case.request, form, &self.id).is_none() {
                continue;
            }
            said = true;
            match self.form(form, chance).await {
                Ok(Tries::First) => {}
                Ok(again) => tries = again,
                Err(differences) => out.extend(differences.into_iter().map(|line| format!("{form:?}: {line}"))),
            }
        }
        if !said {
            // No `http::Request` can carry this path: the judge of paths, which the request path asks, gets it as it is.
            match self.edge.judge_path(&self.case.request.path) {
                None => out.push("the request has no form, and its path is not refused".to_owned()),
                Some(answer) => out.extend(self.compare("", &answer, &[])),
            }
        }
        if out.is_empty() { Ok(tries) } else { Err(out) }
    }

    async fn form(&self, form: Form, chance: Option<&Chance>) -> Result<Tries, Vec<String>> {
        let most = match chance {
            Some(_) => MOST_TRIES,
            None if self.hangs_on_timers() => 3,
            None => 1,
        };
        let mut first = Vec::new();
        for number in 0..most {
            let id = format!("{}-{number}-{}", self.id, if form == Form::Origin { "o" } else { "a" });
            // Where a balancer starts its turns is chance, too.
            let fresh = chance.and_then(|_| Edge::new(self.resources).ok());
            let edge = fresh.as_ref().unwrap_or(self.edge);
            let differences = self.once(edge, form, &id, chance).await.map_err(|broken| vec![broken])?;
            match differences.is_empty() {
                true if number == 0 || chance.is_some() => return Ok(Tries::First),
                true => return Ok(Tries::Again(first)),
                false if number == 0 => first = differences,
                false => {}
            }
        }
        Err(first)
    }

    /// The differences of one try; an error is one that no further try can mend.
    async fn once(&self, edge: &Edge, form: Form, id: &str, chance: Option<&Chance>) -> Result<Vec<String>, String> {
        let request = request(&self.case.request, form, id).ok_or("the request has no such form")?;
        let observed = &self.case.observed;
        if observed.status == 0 {
            // The client gave up after so long, without an answer.
            let patience = Duration::from_secs_f64(observed.seconds.unwrap_or(1.0));
            let answer = tokio::time::timeout(patience, edge.send(request)).await.ok();
            return Ok(answer.map(|answer| format!("answered: {answer:?}")).into_iter().collect());
        }
        let Ok(answer) = tokio::time::timeout(PATIENCE, edge.send(request)).await else {
            return Err(format!("no answer within {PATIENCE:?}"));
        };
        let noted = observed.upstream.as_ref().and_then(|upstream| upstream.requests_seen.as_ref());
        let expected = noted.map_or(0, Vec::len);
        let arrivals = match chance {
            Some(_) => self.upstreams.journal.of(id),
            None => self.upstreams.journal.settled(id, expected).await,
        };
        if chance.is_some_and(|chance| !(chance.holds)(&arrivals)) {
            return Err(format!("does not hold, whatever chance does: {arrivals:?}"));
        }
        Ok(self.compare(id, &answer, &arrivals))
    }

    fn compare(&self, id: &str, answer: &Answer, arrivals: &[Arrival]) -> Vec<String> {
        differences(&Exchange { config: &self.group.config, case: self.case, id, answer, arrivals }, self.upstreams)
    }

    fn hangs_on_timers(&self) -> bool {
        let script = self.case.request.header("x-up").unwrap_or_default();
        let config = self.group.config.to_string();
        self.case.observed.seconds.is_some()
            || config.contains("timeout\"")
            || script.contains("d=")
            || script.contains("slowbody")
    }
}
