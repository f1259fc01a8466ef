//! Rules of `localityLbSetting`.
//!
//! Follows Istio's `validateLocalityLbSetting`.

use super::super::{Rules, names};
use crate::finding::code;
use crate::object::{LocalityDistribute, LocalityFailover, LocalityLbSetting};

/// Labels that say the same as `failover`.
const OF_PLACES: [&str; 3] =
    ["topology.kubernetes.io/region", "topology.kubernetes.io/zone", "topology.istio.io/subzone"];

pub(super) fn check(rules: &mut Rules<'_>, at: &str, setting: &LocalityLbSetting, outlier_detection: bool) {
    let by_priority = !setting.failover.is_empty() || !setting.failover_priority.is_empty();
    if !setting.distribute.is_empty() && by_priority {
        rules.refuse(code::EXCLUSIVE, at, "distribute is not allowed together with failover and failoverPriority");
    }
    distribute(rules, at, &setting.distribute);
    failover(rules, at, &setting.failover);
    for (index, label) in setting.failover_priority.iter().enumerate() {
        let at = format!("{at}.failoverPriority[{index}]");
        let (key, value) = label.split_once('=').map_or((label.as_str(), ""), |(key, value)| (key, value));
        if !names::is_label_key(key) || !names::is_label_value(value) {
            rules.refuse(code::BAD_SELECTOR, &at, format!("{label:?} is neither a label nor label=value"));
        } else if !setting.failover.is_empty() && OF_PLACES.contains(&key) {
            rules.refuse(code::EXCLUSIVE, &at, format!("{key} is not allowed together with failover"));
        }
    }
    if by_priority && !outlier_detection && setting.enabled != Some(false) {
        rules.warn(code::INEFFECTIVE, at, "failover has no effect without outlierDetection");
    }
}

fn distribute(rules: &mut Rules<'_>, at: &str, entries: &[LocalityDistribute]) {
    let places = |field: &str| {
        let field = field.to_owned();
        entries
            .iter()
            .enumerate()
            .map(move |(index, entry)| (format!("{at}.distribute[{index}].{field}"), entry.from.as_str()))
    };
    let from: Vec<_> = places("from").collect();
    localities(rules, &from);
    for (index, entry) in entries.iter().enumerate() {
        let at = format!("{at}.distribute[{index}].to");
        let to: Vec<_> = entry.to.keys().map(|place| (format!("{at}[{place}]"), place.as_str())).collect();
        localities(rules, &to);
        let sum: u64 = entry.to.values().map(|weight| u64::from(*weight)).sum();
        if sum != 100 || entry.to.values().any(|weight| !(1..=100).contains(weight)) {
            let reason = format!("weights must be 1 to 100 and add up to 100, not {sum}");
            rules.refuse(code::BAD_WEIGHT, &at, reason);
        }
    }
}

/// A list of `region/zone/subzone`, each with its field: well-formed, and none covering another.
fn localities(rules: &mut Rules<'_>, list: &[(String, &str)]) {
    for (index, (at, place)) in list.iter().enumerate() {
        let parts: Vec<&str> = place.split('/').collect();
        if place.is_empty() || parts.len() > 3 || parts.iter().any(|part| part.is_empty()) {
            rules.refuse(
                code::INVALID_VALUE,
                at,
                format!("{place:?} is not region, region/zone or region/zone/subzone"),
            );
        } else if parts.iter().rev().skip(1).any(|part| part.contains('*'))
            || parts.last().is_some_and(|part| part.contains('*') && *part != "*")
        {
            rules.refuse(code::INVALID_VALUE, at, format!("{place:?}: \"*\" may stand once, for the last part"));
        } else if let Some((_, other)) =
            list[..index].iter().find(|(_, other)| covers(other, place) || covers(place, other))
        {
            rules.refuse(code::DUPLICATE_VALUE, at, format!("{place:?} overlaps with {other:?}"));
        }
    }
}

/// Whether every place of `inner` is one of `outer`.
fn covers(outer: &str, inner: &str) -> bool {
    let outer = outer.strip_suffix('*').unwrap_or(outer).trim_end_matches('/');
    outer.is_empty() || inner == outer || inner.strip_prefix(outer).is_some_and(|rest| rest.starts_with('/'))
}

fn failover(rules: &mut Rules<'_>, at: &str, entries: &[LocalityFailover]) {
    for (index, failover) in entries.iter().enumerate() {
        let at = format!("{at}.failover[{index}]");
        if failover.from == failover.to {
            rules.refuse(code::INVALID_VALUE, &at, "from and to must differ");
        }
        if [&failover.from, &failover.to].iter().any(|region| region.contains(['/', '*'])) {
            rules.refuse(code::INVALID_VALUE, &at, "regions only: no / and no *");
        }
    }
}
