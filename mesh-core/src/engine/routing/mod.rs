//! Which route a request takes, and what the route does to the request and its response.
//!
//! A [`RouteTable`] is a route configuration in compiled form: the virtual host by the request's authority,
//! then the first route whose conditions all hold. Deciding allocates nothing and locks nothing. What becomes
//! of the request afterwards (clusters, retries, timeouts) other rooms decide. Follows
//! `envoy.config.route.v3`.

mod compile;
mod condition;
mod explain;
mod finalize;
mod hash_policy;
mod hosts;
mod mirror;
mod overrides;
pub mod path;
mod path_match;
mod redirect;
mod rewrite;
mod route;
mod scan;
mod table;
mod template;
#[cfg(test)]
mod tests;
mod weighted;

pub use self::condition::Mismatch;
pub use self::explain::{Explanation, Matched, Skipped};
pub use self::finalize::RewriteFailed;
pub(crate) use self::hash_policy::MadeCookie;
pub use self::hash_policy::{CompiledHashPolicy, Hashing, hash};
pub use self::mirror::Mirror;
pub use self::overrides::FilterOverrides;
pub use self::redirect::CompiledRedirect;
pub use self::route::{Action, ClusterRef, CompiledRoute, Forwarding};
pub use self::table::{Decided, NoRoute, RouteDecision, RouteTable};
pub use super::matcher::HeaderMatch;

/// A cluster's place in the snapshot that the table belongs to: a number instead of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClusterId(pub u32);

/// Draws an independent number out of a request's random one, for the use that `salt` stands for (SplitMix64).
const fn draw(random: u64, salt: u64) -> u64 {
    let mut z = random.wrapping_add(salt.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
