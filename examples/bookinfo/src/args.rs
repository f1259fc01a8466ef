//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, ValueEnum};

/// A small book shop whose services talk through the mesh. Edit the printed YAML while it runs.
#[derive(Clone, Debug, Parser)]
#[command(name = "bookinfo")]
pub struct Args {
    /// End after this long with a summary and an exit code, e.g. 10s, 500ms, 2m; else at Ctrl-C.
    #[arg(long = "for", value_name = "DURATION", value_parser = duration)]
    pub run_for: Option<Duration>,
    /// Pages opened a second; 0 is as many as come back.
    #[arg(long, default_value_t = 300)]
    pub rate: u32,
    /// Clients, each with one page under way at a time.
    #[arg(long, default_value_t = 16)]
    pub clients: u32,
    /// Folder of Istio YAML to use and watch. An empty or new one gets the shipped files. Default: a temporary one.
    #[arg(long, value_name = "DIR")]
    pub mesh_dir: Option<PathBuf>,
    /// First of the loopback ports that the instances take, as far as they are free; 0 takes any.
    #[arg(long, default_value_t = 19080)]
    pub base_port: u16,
    /// Prove something under load, and end with an exit code.
    #[arg(long)]
    pub check: Option<Check>,
}

/// What can be proven.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Check {
    /// The shares are as configured, edits arrive within 2 s, and no request fails.
    Splits,
}

/// Reads `10s`, `500ms` or `2m`.
fn duration(text: &str) -> Result<Duration, String> {
    let at = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(at);
    let number: u64 = number.parse().map_err(|_| "a number and ms, s or m, such as 10s".to_owned())?;
    match unit {
        "ms" => Ok(Duration::from_millis(number)),
        "s" => Ok(Duration::from_secs(number)),
        "m" => Ok(Duration::from_secs(number.saturating_mul(60))),
        _ => Err(format!("unit {unit:?}: one of ms, s, m is wanted")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read() {
        assert_eq!(duration("10s"), Ok(Duration::from_secs(10)));
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        for bad in ["", "10", "s", "-1s", "1h"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }
}
