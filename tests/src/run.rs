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
    // The two waits of [0, 0.3 s) and [0, 0.6 s) may or may not fit into the timeout of 0.4 s; on a busy machine not
    // even the first one does.
    Chance { case: "retry_hdrs", holds: |arrivals| (1..=3).contains(&arrivals.len()) },
    // Either host first; the refused connection is never the last word.
    Chance { case: "rt_cf_half/1", holds: |arrivals| arrivals.len() == 1 },
    // A request without a key, and one whose key was made for its connection: any host.
    Chance { case: "ck_nottl", holds: |arrivals| arrivals.len() == 1 },
    Chance { case: "ck_ttl0", holds: |arrivals| arrivals.len() == 1 },
];

struct Chance {
    case: &'static str,
    /// What holds whatever comes out.
    holds: fn(&[Arrival]) -> bool,
}

/// How long the recorder waited before a case. Half a second is what a bucket of two tokens a second needs for one.
const PAUSES: &[(&str, Duration)] = &[("lrl_refill/4", Duration::from_millis(600))];

/// How often a case that depends on chance is tried.
const MOST_TRIES: usize = 60;

/// How often a case that hangs on timers is tried, on a machine too busy to keep them.
const MOST_AGAIN: usize = 4;

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
    // All configurations first: reading them keeps the processors busy, and timers are to run on quiet ones.
    let prepared: Vec<Prepared> = groups.into_iter().map(|group| Prepared::new(group, upstreams)).collect();
    for (number, prepared) in prepared.into_iter().enumerate() {
        let (beside, upstreams) = (Arc::clone(&beside), Arc::clone(upstreams));
        running.spawn(async move {
            let _place = beside.acquire().await;
            prepared.run(number, &upstreams).await
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

/// A group with its configuration in force, or why it is not.
struct Prepared {
    group: Group,
    resources: Vec<Given>,
    edge: Option<Result<Edge, String>>,
}

impl Prepared {
    fn new(group: Group, upstreams: &Upstreams) -> Self {
        let runs = group.cases.iter().any(|case| waits_for(&group, case).is_none());
        let mut resources = Vec::new();
        if runs {
            resources = clusters::clusters(upstreams);
            resources.push(listener(&group.config));
        }
        Self { edge: runs.then(|| Edge::new(&resources)), group, resources }
    }

    async fn run(self, number: usize, upstreams: &Upstreams) -> Report {
        let mut report = Report::default();
        if self.counts() {
            // What one form of the requests used up is not there for the other: each runs on a mesh of its own.
            for form in [Form::Origin, Form::Absolute] {
                self.counting(number, form, upstreams, &mut report).await;
            }
            report.ran /= 2;
            return report;
        }
        let Self { group, resources, edge } = self;
        for (at, case) in group.cases.iter().enumerate() {
            if let Some(feature) = waits_for(&group, case) {
                *report.waiting.entry(feature).or_default() += 1;
                continue;
            }
            report.ran += 1;
            let outcome = match edge.as_ref().expect("a group with a case that runs is put in force") {
                Err(refused) => Err(vec![format!("the configuration is refused: {refused}")]),
                Ok(edge) => {
                    let id = format!("g{number}-{at}");
                    let forms = &[Form::Origin, Form::Absolute];
                    Run { group: &group, case, edge, resources: &resources, upstreams, id }.to_the_end(forms).await
                }
            };
            match outcome {
                Ok(Tries::First) => {}
                Ok(Tries::Again(lines)) => report.again.push((case.name.clone(), lines)),
                Err(differences) => report.failures.push((case.name.clone(), differences)),
            }
        }
        report
    }
}

impl Prepared {
    /// Whether what comes of a request depends on those before it.
    fn counts(&self) -> bool {
        self.group.config.to_string().contains(".local_ratelimit.")
            && self.group.cases.iter().all(|case| waits_for(&self.group, case).is_none())
    }

    /// All cases in order, in one form. Pauses of the recorder are kept; a machine too busy for them gets another try.
    async fn counting(&self, number: usize, form: Form, upstreams: &Upstreams, report: &mut Report) {
        let pauses = |case: &Case| PAUSES.iter().find(|(name, _)| *name == case.name).map(|(_, pause)| *pause);
        let most = if self.group.cases.iter().any(|case| pauses(case).is_some()) { MOST_AGAIN } else { 1 };
        report.ran += self.group.cases.len();
        for number_of_try in 1..=most {
            let edge = match Edge::new(&self.resources) {
                Ok(edge) => edge,
                Err(refused) => {
                    let name = self.group.cases[0].name.clone();
                    return report.failures.push((name, vec![format!("the configuration is refused: {refused}")]));
                }
            };
            let mut failures = Vec::new();
            for (at, case) in self.group.cases.iter().enumerate() {
                if let Some(pause) = pauses(case) {
                    tokio::time::sleep(pause).await;
                }
                let id = format!("g{number}-{at}-{number_of_try}");
                let (group, resources) = (&self.group, &self.resources);
                let run = Run { group, case, edge: &edge, resources, upstreams, id };
                if let Err(differences) = run.to_the_end(&[form]).await {
                    failures.push((case.name.clone(), differences));
                }
            }
            match failures.is_empty() {
                true => return,
                false if number_of_try == most => report.failures.extend(failures),
                false => report.again.extend(failures),
            }
        }
    }
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
    /// The forms of the request, each as often as it takes.
    async fn to_the_end(&self, forms: &[Form]) -> Result<Tries, Vec<String>> {
        let chance = BY_CHANCE.iter().find(|chance| chance.case == self.case.name);
        let mut tries = Tries::First;
        let mut said = false;
        let mut out = Vec::new();
        for &form in forms {
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
            None if self.hangs_on_timers() => MOST_AGAIN,
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
