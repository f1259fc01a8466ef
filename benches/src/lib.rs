//! What the benchmarks share: an echo service in the shape of generated tonic code, a mesh configuration, and
//! the measuring of processes.
#![allow(missing_docs, reason = "a measuring tool, not a library that users depend on")]

pub mod config;
pub mod echo;
pub mod load;
pub mod process;
