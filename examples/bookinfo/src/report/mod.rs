//! What the demo prints: where everything is, the live table, the summary.

mod places;
mod summary;
mod table;
mod weights;

pub use self::places::places;
pub use self::summary::{Verdict, summary};
pub use self::table::{LiveTable, table};
pub use self::weights::weights;
