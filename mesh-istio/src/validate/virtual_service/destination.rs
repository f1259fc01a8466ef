//! Destinations and their weights.

use super::super::{Rules, names};
use crate::finding::code;
use crate::object::Destination;

pub(super) fn destinations(rules: &mut Rules<'_>, at: &str, targets: &[(Option<&Destination>, i32)]) {
    let mut sum: u64 = 0;
    for (index, (destination, weight)) in targets.iter().enumerate() {
        match u32::try_from(*weight) {
            Ok(weight) => sum += u64::from(weight),
            Err(_) => {
                rules.refuse(code::BAD_WEIGHT, &format!("{at}.route[{index}].weight"), format!("{weight} is below 0"))
            }
        }
        check_destination(rules, &format!("{at}.route[{index}].destination"), *destination);
    }
    if targets.len() > 1 && sum == 0 && targets.iter().all(|(_, weight)| *weight == 0) {
        rules.refuse(code::BAD_WEIGHT, &format!("{at}.route"), "the sum of the weights is 0: nothing would be routed");
    }
    if sum > u64::from(u32::MAX) {
        rules.refuse(
            code::BAD_WEIGHT,
            &format!("{at}.route"),
            format!("the sum of the weights, {sum}, does not fit 32 bits"),
        );
    }
}

pub(super) fn check_destination(rules: &mut Rules<'_>, at: &str, destination: Option<&Destination>) {
    let Some(destination) = destination else {
        rules.refuse(code::REQUIRED, at, "a destination is required");
        return;
    };
    if destination.host.is_empty() {
        rules.refuse(code::REQUIRED, &format!("{at}.host"), "the host of the destination is required");
    } else if destination.host == "*" || !names::is_wildcard_domain(&destination.host) {
        rules.refuse(
            code::BAD_HOST,
            &format!("{at}.host"),
            format!("{:?} is not the host of a destination", destination.host),
        );
    }
    if !destination.subset.is_empty() && !names::is_dns_label(&destination.subset) {
        rules.refuse(
            code::INVALID_VALUE,
            &format!("{at}.subset"),
            format!("{:?} is not the name of a subset", destination.subset),
        );
    }
    if let Some(port) = &destination.port {
        rules.port(&format!("{at}.port.number"), port.number);
    }
}
