//! Proofs under load, for the command line and for the tests.

mod splits;
mod watch;

pub use self::splits::{Failed, Proof, Splits, splits};
