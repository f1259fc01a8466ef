//! Chores of the workspace, run as `cargo xtask CHORE`.
//!
//! One file per chore; this one only dispatches. A chore writes files that are committed, and says with `--check` whether
//! the committed ones are fresh, so that no build script and no extra tool is needed to build the project.

mod descriptors;
mod walls;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

type Outcome = Result<(), Box<dyn Error>>;

/// What a chore is called, what it is for, and what it runs.
struct Chore {
    name: &'static str,
    about: &'static str,
    run: fn(mode: Mode) -> Outcome,
}

/// Whether to write the committed files or only to compare with them.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Write,
    Check,
}

const CHORES: &[Chore] = &[
    Chore {
        name: "descriptors",
        about: "mesh-proto/descriptors.bin.gz from Envoy's .proto files",
        run: descriptors::run,
    },
    Chore { name: "walls", about: "that no crate depends on what its room may not know", run: walls::run },
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (name, mode) = match arguments.as_slice() {
        [name] => (name, Mode::Write),
        [name, flag] if flag == "--check" => (name, Mode::Check),
        _ => return usage(),
    };
    let Some(chore) = CHORES.iter().find(|chore| chore.name == name) else {
        return usage();
    };
    match (chore.run)(mode) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask {name}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn usage() -> ExitCode {
    eprintln!("usage: cargo xtask CHORE [--check]\n");
    for chore in CHORES {
        eprintln!("  {:<14} {}", chore.name, chore.about);
    }
    ExitCode::from(2)
}

/// The folder of the workspace.
fn workspace() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_owned()
}
