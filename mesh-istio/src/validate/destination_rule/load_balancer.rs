//! How an endpoint is chosen: algorithms, hash keys, slow start, localities.

use super::super::{Rules, names};
use super::locality;
use crate::finding::code;
use crate::object::{ConsistentHashLb, LoadBalancerSettings, SimpleLb};

pub(super) fn load_balancer(
    rules: &mut Rules<'_>,
    at: &str,
    settings: Option<&LoadBalancerSettings>,
    outlier_detection: bool,
) {
    let Some(settings) = settings else { return };
    if settings.simple.is_some() && settings.consistent_hash.is_some() {
        rules.refuse(code::EXCLUSIVE, at, "only one of simple and consistentHash may be set");
    }
    if settings.simple == Some(SimpleLb::LeastConn) {
        rules.warn(code::DEPRECATED_FIELD, &format!("{at}.simple"), "LEAST_CONN is deprecated: write LEAST_REQUEST");
    }
    if let Some(hash) = &settings.consistent_hash {
        consistent_hash(rules, &format!("{at}.consistentHash"), hash);
    }
    let warmed = matches!(
        settings.simple,
        None | Some(SimpleLb::Unspecified | SimpleLb::LeastConn | SimpleLb::LeastRequest | SimpleLb::RoundRobin)
    ) && settings.consistent_hash.is_none();
    if let Some(duration) = settings.warmup_duration_secs {
        rules.warn(code::DEPRECATED_FIELD, &format!("{at}.warmupDurationSecs"), "deprecated: write warmup.duration");
        rules.duration(&format!("{at}.warmupDurationSecs"), Some(duration));
        if settings.warmup.is_some() {
            rules.refuse(code::EXCLUSIVE, &format!("{at}.warmup"), "not allowed together with warmupDurationSecs");
        }
    }
    if let Some(warmup) = &settings.warmup {
        let at = format!("{at}.warmup");
        match warmup.duration {
            None => rules.refuse(code::REQUIRED, &format!("{at}.duration"), "the duration is required"),
            some => rules.duration(&format!("{at}.duration"), some),
        }
        if warmup.minimum_percent.is_some_and(|percent| !(0.0..=100.0).contains(&percent)) {
            rules.refuse(code::INVALID_VALUE, &format!("{at}.minimumPercent"), "must be within 0 to 100");
        }
        if warmup.aggression.is_some_and(|aggression| aggression <= 0.0) {
            rules.refuse(code::INVALID_VALUE, &format!("{at}.aggression"), "must be above 0");
        }
    }
    if (settings.warmup.is_some() || settings.warmup_duration_secs.is_some()) && !warmed {
        rules.warn(
            code::INEFFECTIVE,
            &format!("{at}.warmup"),
            "slow start works with ROUND_ROBIN and LEAST_REQUEST only",
        );
    }
    if let Some(setting) = &settings.locality_lb_setting {
        locality::check(rules, &format!("{at}.localityLbSetting"), setting, outlier_detection);
    }
    if settings.zone_aware_lb_setting.is_some() {
        let at = format!("{at}.zoneAwareLbSetting");
        if settings.locality_lb_setting.is_some() {
            rules.refuse(code::EXCLUSIVE, &at, "not allowed together with localityLbSetting");
        }
        rules.not_in_force(&at, "zone aware routing has no effect yet");
    }
}

fn consistent_hash(rules: &mut Rules<'_>, at: &str, hash: &ConsistentHashLb) {
    let keys = [
        hash.http_header_name.is_some(),
        hash.http_cookie.is_some(),
        hash.use_source_ip.is_some(),
        hash.http_query_parameter_name.is_some(),
    ];
    match keys.iter().filter(|set| **set).count() {
        0 => rules.refuse(
            code::REQUIRED,
            at,
            "a key is required: httpHeaderName, httpCookie, useSourceIp or httpQueryParameterName",
        ),
        1 => {}
        _ => rules.refuse(code::EXCLUSIVE, at, "only one key may be set"),
    }
    if hash.http_header_name.as_deref().is_some_and(|name| !names::is_token(name)) {
        rules.refuse(code::INVALID_VALUE, &format!("{at}.httpHeaderName"), "not the name of a header");
    }
    if hash.http_query_parameter_name.as_deref() == Some("") {
        rules.refuse(code::INVALID_VALUE, &format!("{at}.httpQueryParameterName"), "the name must not be empty");
    }
    if let Some(cookie) = &hash.http_cookie {
        let at = format!("{at}.httpCookie");
        if cookie.name.is_empty() {
            rules.refuse(code::REQUIRED, &format!("{at}.name"), "the name of the cookie is required");
        }
        for (index, attribute) in cookie.attributes.iter().enumerate() {
            let at = format!("{at}.attributes[{index}].name");
            if attribute.name.is_empty() {
                rules.refuse(code::REQUIRED, &at, "the name of an attribute is required");
            } else if cookie.attributes[..index].iter().any(|other| other.name == attribute.name) {
                rules.refuse(code::DUPLICATE_VALUE, &at, format!("attribute {:?} is written twice", attribute.name));
            }
        }
    }
    if hash.ring_hash.is_some() && hash.maglev.is_some() {
        rules.refuse(code::EXCLUSIVE, &format!("{at}.maglev"), "not allowed together with ringHash");
    }
    if hash.minimum_ring_size != 0 {
        rules.warn(
            code::DEPRECATED_FIELD,
            &format!("{at}.minimumRingSize"),
            "deprecated: write ringHash.minimumRingSize",
        );
        if hash.ring_hash.is_some() || hash.maglev.is_some() {
            rules.refuse(
                code::EXCLUSIVE,
                &format!("{at}.minimumRingSize"),
                "not allowed together with ringHash and maglev",
            );
        }
    }
    if let Some(maglev) = &hash.maglev {
        let at = format!("{at}.maglev.tableSize");
        if maglev.table_size >= 5_000_011 {
            rules.refuse(code::INVALID_VALUE, &at, "must be below 5000011");
        } else if !is_prime(maglev.table_size) {
            rules.refuse(code::INVALID_VALUE, &at, "must be a prime");
        }
    }
}

fn is_prime(number: u64) -> bool {
    number >= 2
        && (2..).take_while(|divisor| divisor * divisor <= number).all(|divisor| !number.is_multiple_of(divisor))
}
