//! Mixer's quota: charges for requests, counted in windows, in force where the request is served.
//!
//! Follows Mixer's memquota adapter (rolling windows in ticks of 100 ms) and redisquota's two algorithms, exactly and
//! locally: nothing is prefetched, so that no burst passes. State belongs to this process, and outlives every push that
//! leaves its limit alone.

mod cells;
mod expression;
mod filter;
mod window;

pub use self::cells::{Allocation, Cells, Granted};
pub use self::expression::{Evaluated, ExpressionCx, Unknown, evaluate};
pub use self::filter::{Quota, Registry};
