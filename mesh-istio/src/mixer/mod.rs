//! Mixer's quotas: what objects mean together, and the language of their expressions.
//!
//! A QuotaSpecBinding says which services are charged by which QuotaSpec; a rule sends a charge to a handler, which has the
//! limit. Everything that does not depend on a request is settled here.

mod attribute;
mod expression;
mod join;

pub(crate) use attribute::{Type, attribute};
pub(crate) use expression::parse;
pub(crate) use join::{Called, Joined, is_quota_adapter, same_quota};
