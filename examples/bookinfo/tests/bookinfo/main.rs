//! The main job, proven: the splits of the YAML are the splits of the traffic, live edits arrive, nothing fails.
#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod command;
mod splits;
