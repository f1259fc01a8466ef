//! Checks the walls between the crates with `cargo tree`: dependencies point inwards only.
//!
//! The rules are those of `docs/ARCHITECTURE.md`. A promise that nobody checks is not kept for long.

use std::process::Command;

use crate::{Mode, Outcome, workspace};

// envoy-types brings tonic (and with it tokio and hyper) into every crate that speaks its messages: nobody below
// mesh-xds uses them, but `cargo tree` cannot tell.

/// A crate, and what may not be found among everything that it depends on.
const WALLS: &[(&str, &[&str])] = &[
    (
        "mesh-core",
        &[
            "tokio",
            "prost",
            "tonic",
            "hyper",
            "h2",
            "serde",
            "serde_json",
            "serde-saphyr",
            "tower",
            "mesh-proto",
            "notify",
        ],
    ),
    ("mesh-proto", &["mesh-core", "mesh-istio", "mesh-xds", "mesh-tower", "mesh-sdk"]),
    ("mesh-istio", &["mesh-core", "mesh-xds", "mesh-tower", "mesh-sdk"]),
    ("mesh-xds", &["mesh-istio", "mesh-tower", "mesh-sdk", "serde-saphyr"]),
    ("mesh-tower", &["prost", "mesh-proto", "mesh-istio", "mesh-xds", "mesh-sdk", "serde-saphyr"]),
    ("mesh-sdk", &["mesh-cli", "openssl", "reqwest"]),
];

/// Looks at every wall. There is nothing to write, so that both modes are the same.
pub(crate) fn run(_: Mode) -> Outcome {
    let mut broken = Vec::new();
    for (package, forbidden) in WALLS {
        let output = Command::new(env!("CARGO"))
            .args([
                "tree",
                "--locked",
                "--edges",
                "normal",
                "--prefix",
                "none",
                "--format",
                "{p}",
                "--package",
                package,
            ])
            .current_dir(workspace())
            .output()?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
        }
        let tree = String::from_utf8_lossy(&output.stdout).into_owned();
        let names = tree.lines().filter_map(|line| line.split(' ').next());
        for name in names.filter(|name| forbidden.contains(name)) {
            let wall = format!("{package} must not depend on {name}");
            if !broken.contains(&wall) {
                broken.push(wall);
            }
        }
    }
    if broken.is_empty() { Ok(()) } else { Err(broken.join("; ").into()) }
}
