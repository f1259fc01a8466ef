//! `mesh route-check`: tests of a route configuration, in the format of Envoy's `router_check_tool`.
//!
//! Routes go through `mesh_xds::decode` and are decided upon by the engine that requests meet ([`routes`]); what a
//! test says is in [`suite`], what became of its request in [`actual`]. Nothing is sent.

mod actual;
mod matching;
mod routes;
mod suite;

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use mesh_istio::Text;

use crate::Outcome;
use crate::args::RouteCheckArgs;
use actual::Actual;
use routes::Routes;
use suite::{Suite, Test};

pub(crate) fn run(args: &RouteCheckArgs) -> Result<Outcome, String> {
    let mut routes = Routes::read(&args.routes)?;
    let suite = Suite::read(&args.tests)?;
    let tests = args.tests.display();
    let mut text = String::new();
    let (mut passed, mut failed) = (0_usize, 0_usize);
    for test in &suite.tests {
        let failures = check(&mut routes, test)?;
        if failures.is_empty() {
            passed += 1;
            continue;
        }
        failed += 1;
        for Failure { line, what } in failures {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{tests}:{line}: {}: {what}", test.name);
        }
    }
    let _ = writeln!(text, "{passed} passed, {failed} failed");
    Ok(Outcome { text, good: failed == 0, aside: routes.aside() })
}

/// One thing that is not as a test expects.
struct Failure {
    line: u32,
    what: String,
}

/// # Errors
/// The routes do not hold with the test's runtime key.
fn check(routes: &mut Routes, test: &Test) -> Result<Vec<Failure>, String> {
    let actual = match Actual::of(routes.with_runtime(&test.input.runtime)?, &test.input) {
        Ok(actual) => actual,
        Err(what) => return Ok(vec![Failure { line: test.line, what }]),
    };
    let mut failures = Vec::new();
    for expected in &test.texts {
        let found = actual.text(expected.field);
        if found != expected.value {
            let what =
                format!("{}: expected {:?}, got {found:?} ({})", expected.field.name(), expected.value, actual.route);
            failures.push(Failure { line: expected.line, what });
        }
    }
    for expected in &test.headers {
        if let Some(what) = expected.fails_on(&actual) {
            failures.push(Failure { line: expected.line, what });
        }
    }
    Ok(failures)
}

/// A file as a document.
fn read(path: &Path) -> Result<Text, String> {
    let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    Text::parse(&text).map_err(|error| format!("{}:{}: {}", path.display(), error.line, error.reason))
}
