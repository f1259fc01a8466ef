//! Which hosts another try would rather not go to: `retry_host_predicate`.
//!
//! Envoy draws again while any predicate rejects the host, up to `host_selection_retry_max_attempts` times, and takes the
//! last one drawn then. The drawing is load balancing's.

use std::collections::BTreeMap;

use crate::resource::metadata::{Metadata, Value};
use crate::resource::retry::RetryPolicy;

/// The predicates of a policy.
#[derive(Clone, Debug, Default)]
pub(super) struct HostPredicates {
    previous: bool,
    canary: bool,
    metadata: Box<[BTreeMap<String, Value>]>,
}

impl HostPredicates {
    pub(super) fn of(policy: &RetryPolicy) -> Self {
        let named = policy.omit_host_metadata.iter().filter(|labels| !labels.is_empty());
        Self {
            previous: policy.avoid_previous_hosts,
            canary: policy.omit_canary_hosts,
            metadata: named.cloned().collect(),
        }
    }

    /// Whether any host will do.
    pub(super) fn is_empty(&self) -> bool {
        !self.previous && !self.canary && self.metadata.is_empty()
    }

    /// Whether no predicate rejects a host with this metadata.
    pub(super) fn want(&self, metadata: &Metadata, is_tried: bool) -> bool {
        if self.previous && is_tried {
            return false;
        }
        if !self.canary && self.metadata.is_empty() {
            return true;
        }
        let Some(Value::Struct(labels)) = metadata.get("envoy.lb") else { return true };
        let is_canary = self.canary && labels.get("canary") == Some(&Value::Bool(true));
        !is_canary && !self.metadata.iter().any(|omitted| holds(labels, omitted))
    }
}

/// Whether the labels hold every value that is asked for; of a list any member counts.
fn holds(labels: &BTreeMap<String, Value>, asked: &BTreeMap<String, Value>) -> bool {
    asked.iter().all(|(key, value)| match labels.get(key) {
        Some(Value::List(values)) => values.contains(value),
        Some(label) => label == value,
        None => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, Value)]) -> BTreeMap<String, Value> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect()
    }

    fn text(text: &str) -> Value {
        Value::Text(text.to_owned())
    }

    #[test]
    fn each_predicate_rejects_its_hosts_and_any_rejection_counts() {
        let policy = |previous, canary, metadata: &[BTreeMap<String, Value>]| {
            HostPredicates::of(&RetryPolicy {
                avoid_previous_hosts: previous,
                omit_canary_hosts: canary,
                omit_host_metadata: metadata.to_vec(),
                ..RetryPolicy::default()
            })
        };
        let both = Value::List(vec![text("a"), text("b")]);
        let hosts = [
            labels(&[]),
            labels(&[("canary", Value::Bool(true))]),
            labels(&[("canary", text("true")), ("rack", text("a"))]),
            labels(&[("rack", both), ("row", Value::Number(1.0))]),
        ];
        let rack_a = labels(&[("rack", text("a"))]);
        let row_of_a = labels(&[("rack", text("a")), ("row", Value::Number(1.0))]);
        for (predicates, wanted) in [
            (policy(false, false, &[]), [true; 4]),
            (policy(true, false, &[]), [true; 4]),
            (policy(false, true, &[]), [true, false, true, true]),
            (policy(false, false, std::slice::from_ref(&rack_a)), [true, true, false, false]),
            (policy(false, false, &[row_of_a]), [true, true, true, false]),
            (policy(false, true, &[rack_a]), [true, false, false, false]),
            (policy(false, false, &[labels(&[])]), [true; 4]),
        ] {
            for (labels, wanted) in hosts.iter().zip(wanted) {
                let metadata = [("envoy.lb".to_owned(), Value::Struct(labels.clone()))].into();
                assert_eq!(predicates.want(&metadata, false), wanted, "{predicates:?} {labels:?}");
                assert_eq!(predicates.want(&metadata, true), wanted && !predicates.previous);
            }
            assert!(predicates.want(&Metadata::new(), false), "without metadata nothing is held against a host");
        }
    }
}
