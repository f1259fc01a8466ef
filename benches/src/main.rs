//! `make bench`: every figure in one run, printed and written to `target/bench/results.json`.
//!
//! Peers alternate (A B A B …) so that a noisy machine is noisy for all of them; ratios are taken per round and
//! their median counts. Exits with 1 when a gate is missed.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use clap::Parser;
use mesh_benches::process::cpu_time;
use serde_json::{Map, Value, json};

type Failure = Box<dyn std::error::Error + Send + Sync>;

#[derive(Debug, Parser)]
struct Args {
    /// Rounds of every leg; at least 5 for figures that mean something.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds of one leg.
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Leave the legs over the network out.
    #[arg(long)]
    decision_only: bool,
}

const KINDS: [(&str, &str); 6] = [
    ("mesh", "grpc"),
    ("pinned", "grpc"),
    ("balanced", "grpc"),
    ("mesh-http1", "http1"),
    ("hyper", "http1"),
    ("hyper-in-turn", "http1"),
];

fn main() -> Result<(), Failure> {
    let args = Args::parse();
    let tools = std::env::current_exe()?.parent().map(PathBuf::from).ok_or("the executable has no folder")?;
    let mut results = Results::default();
    decision(&tools, &mut results)?;
    if !args.decision_only {
        legs(&tools, &args, &mut results)?;
    }
    results.print();
    let target = tools.parent().map_or(tools.clone(), Path::to_path_buf).join("bench");
    std::fs::create_dir_all(&target)?;
    std::fs::write(target.join("results.json"), serde_json::to_string_pretty(&Value::Object(results.json()))?)?;
    println!("written to {}", target.join("results.json").display());
    if results.missed() {
        return Err("a gate was missed".into());
    }
    Ok(())
}

/// One figure: what it is measured in, and the goal it must meet, if it is a gate.
#[derive(Debug)]
struct Figure {
    name: String,
    value: f64,
    unit: &'static str,
    goal: Option<Goal>,
}

#[derive(Clone, Copy, Debug)]
enum Goal {
    AtMost(f64),
    AtLeast(f64),
}

#[derive(Debug, Default)]
struct Results(Vec<Figure>);

impl Results {
    fn add(&mut self, name: impl Into<String>, value: f64, unit: &'static str, goal: Option<Goal>) {
        self.0.push(Figure { name: name.into(), value, unit, goal });
    }

    fn print(&self) {
        for figure in &self.0 {
            let goal = match figure.goal {
                None => String::new(),
                Some(goal) => format!("{} ({})", goal.text(), if goal.met(figure.value) { "met" } else { "MISSED" }),
            };
            println!("{:<34} {:>12.3} {:<22} {goal}", figure.name, figure.value, figure.unit);
        }
    }

    fn json(&self) -> Map<String, Value> {
        let entry = |figure: &Figure| {
            let goal = figure.goal.map(Goal::text);
            (figure.name.clone(), json!({ "value": figure.value, "unit": figure.unit, "goal": goal }))
        };
        self.0.iter().map(entry).collect()
    }

    fn missed(&self) -> bool {
        self.0.iter().any(|figure| figure.goal.is_some_and(|goal| !goal.met(figure.value)))
    }
}

impl Goal {
    fn text(self) -> String {
        match self {
            Self::AtMost(most) => format!("<= {most}"),
            Self::AtLeast(least) => format!(">= {least}"),
        }
    }

    fn met(self, value: f64) -> bool {
        match self {
            Self::AtMost(most) => value <= most,
            Self::AtLeast(least) => value >= least,
        }
    }
}

/// Instructions, allocations and time of the decision alone.
fn decision(tools: &Path, results: &mut Results) -> Result<(), Failure> {
    let tool = tools.join("decision");
    let figure = |arguments: &[&str], field: &str| -> Result<f64, Failure> {
        let output = Command::new(&tool).args(arguments).output()?;
        let value: Value = serde_json::from_slice(&output.stdout)?;
        value[field].as_f64().ok_or_else(|| format!("no {field}").into())
    };
    results.add(
        "decision_allocations",
        figure(&["allocations"], "allocations")?,
        "allocations/request",
        Some(Goal::AtMost(0.0)),
    );
    for threads in ["1", "2"] {
        match instructions(&tool, threads) {
            Ok(count) => {
                let name = if threads == "1" { "decision_instructions" } else { "decision_instructions_2_threads" };
                results.add(name, count, "instructions/request", Some(Goal::AtMost(3_000.0)));
            }
            Err(why) => println!("decision_instructions ({threads} threads): not measured: {why} (valgrind is needed)"),
        }
        let name = if threads == "1" { "decision_time" } else { "decision_time_2_threads" };
        results.add(name, figure(&["time", "300000", threads], "nanoseconds")?, "ns/request", None);
    }
    rate_limit(tools, results)
}

/// Time and allocations of one rate-limit check.
fn rate_limit(tools: &Path, results: &mut Results) -> Result<(), Failure> {
    let figure = |mode: &str, field: &str| -> Result<f64, Failure> {
        let output = Command::new(tools.join("rate-limit")).args([mode, "2000000"]).output()?;
        let value: Value = serde_json::from_slice(&output.stdout)?;
        value[field].as_f64().ok_or_else(|| format!("no {field}").into())
    };
    results.add("rate_limit_check_ns", figure("time", "nanoseconds")?, "ns/check", Some(Goal::AtMost(100.0)));
    let allocations = figure("allocations", "allocations")?;
    results.add("rate_limit_check_allocations", allocations, "allocations/check", Some(Goal::AtMost(0.0)));
    Ok(())
}

/// Instructions per request: the difference of two runs, so that setting up does not count, less what the loop
/// around the decision costs.
fn instructions(tool: &Path, threads: &str) -> Result<f64, Failure> {
    const FEW: f64 = 1_000.0;
    const MANY: f64 = 6_000.0;
    let count = |mode: &str, n: f64| -> Result<f64, Failure> {
        let output = Command::new("valgrind")
            .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
            .arg(tool)
            .args([mode, &n.to_string(), threads])
            .output()?;
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        let collected =
            text.lines().find_map(|line| line.split("Collected :").nth(1)).ok_or("valgrind counted nothing")?;
        Ok(collected.trim().parse()?)
    };
    let per_request =
        |mode: &str| -> Result<f64, Failure> { Ok((count(mode, MANY)? - count(mode, FEW)?) / (MANY - FEW)) };
    let threads: f64 = threads.parse()?;
    Ok(per_request("count")? / threads - per_request("harness")?)
}

/// A leg's figures.
#[derive(Clone, Copy, Debug)]
struct Leg {
    per_second: f64,
    cpu_per_thousand_ms: f64,
    p50_us: f64,
}

fn legs(tools: &Path, args: &Args, results: &mut Results) -> Result<(), Failure> {
    let mut server = Server::start(&tools.join("peer-server"))?;
    for (pace, rate) in [("saturated", None), ("paced", Some("1000"))] {
        let mut rounds: Vec<Vec<Leg>> = Vec::new();
        for round in 0..args.rounds {
            let mut legs = Vec::new();
            for (kind, ports) in KINDS {
                legs.push(server.leg(tools, kind, ports, rate, args.seconds)?);
            }
            println!("{pace} round {} of {}", round + 1, args.rounds);
            rounds.push(legs);
        }
        report(pace, rate.is_none(), &rounds, results);
    }
    server.stop()
}

fn report(pace: &str, gated: bool, rounds: &[Vec<Leg>], results: &mut Results) {
    let figure = |at: usize, of: fn(&Leg) -> f64| median(rounds.iter().map(|legs| of(&legs[at])).collect());
    let ratio = |a: usize, b: usize, of: fn(&Leg) -> f64| {
        median(rounds.iter().map(|legs| of(&legs[a]) / of(&legs[b])).collect())
    };
    for (at, (kind, _)) in KINDS.iter().enumerate() {
        results.add(format!("{pace}_{kind}_rps"), figure(at, |leg| leg.per_second), "requests/s", None);
        results.add(
            format!("{pace}_{kind}_cpu"),
            figure(at, |leg| leg.cpu_per_thousand_ms),
            "ms/1000 requests, all",
            None,
        );
        results.add(format!("{pace}_{kind}_p50"), figure(at, |leg| leg.p50_us), "us", None);
    }
    if gated {
        results.add("tonic_ratio", ratio(0, 1, |leg| leg.per_second), "x", Some(Goal::AtLeast(0.90)));
        results.add("tonic_balanced_ratio", ratio(0, 2, |leg| leg.per_second), "x", Some(Goal::AtLeast(1.05)));
        results.add("http1_ratio", ratio(3, 4, |leg| leg.per_second), "x", Some(Goal::AtLeast(0.90)));
        results.add("http1_in_turn_ratio", ratio(3, 5, |leg| leg.per_second), "x", None);
        results.add("tonic_cpu_ratio", ratio(0, 1, |leg| leg.cpu_per_thousand_ms), "x, CPU of all processes", None);
        results.add("http1_cpu_ratio", ratio(3, 4, |leg| leg.cpu_per_thousand_ms), "x, CPU of all processes", None);
    } else {
        results.add(
            "tonic_cpu_ratio_paced",
            ratio(0, 1, |leg| leg.cpu_per_thousand_ms),
            "x, CPU of all processes",
            None,
        );
        results.add(
            "http1_cpu_ratio_paced",
            ratio(3, 4, |leg| leg.cpu_per_thousand_ms),
            "x, CPU of all processes",
            None,
        );
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The server process, ended with this value.
struct Server {
    child: Child,
    ports: Value,
}

impl Server {
    fn start(tool: &Path) -> Result<Self, Failure> {
        let mut child = Command::new(tool).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        let output = child.stdout.take().ok_or("the server has no output")?;
        BufReader::new(output).read_line(&mut line)?;
        Ok(Self { child, ports: serde_json::from_str(&line)? })
    }

    fn leg(&mut self, tools: &Path, kind: &str, ports: &str, rate: Option<&str>, seconds: f64) -> Result<Leg, Failure> {
        let ports: Vec<String> = self.ports[ports].as_array().into_iter().flatten().map(ToString::to_string).collect();
        let before = cpu_time(self.child.id()).unwrap_or_default();
        let mut command = Command::new(tools.join("peer-client"));
        command.args(["--kind", kind, "--ports", &ports.join(","), "--seconds", &seconds.to_string()]);
        if let Some(rate) = rate {
            command.args(["--rate", rate]);
        }
        let measured: Value = serde_json::from_slice(&command.output()?.stdout)?;
        let server_ms = cpu_time(self.child.id()).unwrap_or_default().saturating_sub(before).as_secs_f64() * 1e3;
        let number = |field: &str| measured[field].as_f64().unwrap_or(f64::NAN);
        if number("errors") != 0.0 {
            return Err(format!("{kind}: {} requests failed", number("errors")).into());
        }
        // CPU time was taken over the warm-up too: half a second before what was counted.
        let counted = number("seconds") / (number("seconds") + 0.5);
        Ok(Leg {
            per_second: number("requests") / number("seconds"),
            cpu_per_thousand_ms: (number("cpu_ms") + server_ms) * counted / number("requests") * 1e3,
            p50_us: number("p50_us"),
        })
    }

    fn stop(mut self) -> Result<(), Failure> {
        drop(self.child.stdin.take());
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
    }
}
