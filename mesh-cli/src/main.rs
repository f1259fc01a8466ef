//! `mesh`: what a folder of Istio objects would do, without running anything.
//!
//! `check` judges the folder, `explain` follows one request through it, `lower` prints the Envoy resources, `route-check` tests Envoy's own routes. All read, translate and judge exactly as the
//! library in the process does; nothing connects, resolves or listens. Only reading, asking and printing live
//! here: whoever looks for a rule finds it in the crates below.
#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test that unwraps names its own failure"))]

mod args;
mod check;
mod explain;
mod folder;
mod judged;
mod lower;
mod page;
mod remark;
mod resources;
mod route_check;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;

use args::{Args, Command};

/// What a command prints, and whether it found what it was asked to look for.
struct Outcome {
    text: String,
    good: bool,
    /// What is said beside the text, on standard error: lines.
    aside: String,
}

/// Exit code for a folder that cannot be read; clap uses the same for usage.
const UNREADABLE: u8 = 2;

fn main() -> ExitCode {
    let done = match Args::parse().command {
        Command::Check(args) => check::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Lower(args) => lower::run(&args),
        Command::RouteCheck(args) => route_check::run(&args),
    };
    match done {
        Ok(outcome) => {
            // Nobody is left to be told when this fails.
            let _ = io::stderr().write_all(outcome.aside.as_bytes());
            // A reader that has seen enough (`| head`) is no failure.
            match io::stdout().write_all(outcome.text.as_bytes()) {
                Err(error) if error.kind() != io::ErrorKind::BrokenPipe => complain(&error.to_string()),
                _ if outcome.good => ExitCode::SUCCESS,
                _ => ExitCode::FAILURE,
            }
        }
        Err(why) => complain(&why),
    }
}

fn complain(why: &str) -> ExitCode {
    // Nobody is left to be told when this fails.
    let _ = writeln!(io::stderr(), "mesh: {why}");
    ExitCode::from(UNREADABLE)
}
