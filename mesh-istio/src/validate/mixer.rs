//! Rules of Mixer's objects, as far as quotas need them: what the adapters' and the template's own validation refuses.

use super::Rules;
use crate::finding::code;
use crate::mixer::{Type, attribute, is_quota_adapter, parse};
use crate::object::{Handler, Instance, QuotaSpec, QuotaSpecBinding, RateLimitAlgorithm, Rule, StringMatch};

pub(super) fn handler(rules: &mut Rules<'_>, spec: &Handler) {
    let redis = spec.compiled_adapter.eq_ignore_ascii_case("redisquota");
    if !["memquota", "redisquota"].contains(&spec.compiled_adapter.as_str()) && is_quota_adapter(&spec.compiled_adapter)
    {
        let reason = format!(
            "{:?} is taken as {}: Mixer compares with case",
            spec.compiled_adapter,
            spec.compiled_adapter.to_ascii_lowercase()
        );
        rules.warn(code::QUOTA_COMPAT, "spec.compiledAdapter", reason);
    }
    let at = "spec.params";
    if redis {
        rules.warn(
            code::INEFFECTIVE,
            &format!("{at}.redisServerUrl"),
            "redisquota counts in this process, not in Redis",
        );
        if spec.params.connection_pool_size < 0 {
            rules.refuse(code::INVALID_VALUE, &format!("{at}.connectionPoolSize"), "must not be below 0");
        }
    } else {
        match spec.params.min_deduplication_duration {
            None => rules.warn(
                code::QUOTA_COMPAT,
                &format!("{at}.minDeduplicationDuration"),
                "is missing and taken as 1s: Mixer requires it",
            ),
            Some(duration) if duration.is_zero() => {
                rules.refuse(code::BAD_DURATION, &format!("{at}.minDeduplicationDuration"), "must be above 0");
            }
            Some(_) => {}
        }
    }
    for (index, quota) in spec.params.quotas.iter().enumerate() {
        let at = format!("{at}.quotas[{index}]");
        if quota.name.is_empty() {
            rules.refuse(code::REQUIRED, &format!("{at}.name"), "a name is required");
        }
        if spec.params.quotas[..index].iter().any(|other| other.name == quota.name) {
            rules.refuse(code::DUPLICATE_VALUE, &format!("{at}.name"), format!("{} has a limit already", quota.name));
        }
        amount(rules, &format!("{at}.maxAmount"), quota.max_amount, redis);
        for (index, one) in quota.overrides.iter().enumerate() {
            amount(rules, &format!("{at}.overrides[{index}].maxAmount"), one.max_amount, redis);
            if one.dimensions.is_empty() {
                rules.refuse(code::REQUIRED, &format!("{at}.overrides[{index}].dimensions"), "dimensions are required");
            }
        }
        if !redis && quota.rate_limit_algorithm.is_some() {
            rules.warn(
                code::QUOTA_COMPAT,
                &format!("{at}.rateLimitAlgorithm"),
                "is of redisquota, and honoured for memquota too",
            );
        }
        if redis {
            let window = quota.valid_duration.unwrap_or_default();
            if window.is_zero() {
                rules.refuse(code::BAD_DURATION, &format!("{at}.validDuration"), "must be above 0");
            }
            let bucket = quota.bucket_duration.unwrap_or_default();
            if quota.rate_limit_algorithm == Some(RateLimitAlgorithm::RollingWindow)
                && (bucket.is_zero() || bucket >= window)
            {
                rules.refuse(
                    code::BAD_DURATION,
                    &format!("{at}.bucketDuration"),
                    "must be above 0 and below validDuration",
                );
            }
        }
    }
}

fn amount(rules: &mut Rules<'_>, at: &str, amount: i64, redis: bool) {
    if amount < i64::from(redis) {
        rules.refuse(code::INVALID_VALUE, at, if redis { "must be above 0" } else { "must not be below 0" });
    }
}

pub(super) fn instance(rules: &mut Rules<'_>, spec: &Instance) {
    for (name, text) in &spec.params.dimensions {
        let at = format!("spec.params.dimensions[{name}]");
        match parse(text) {
            Err(reason) => rules.refuse(code::INVALID_VALUE, &at, reason),
            Ok((_, Type::Map)) => rules.refuse(code::INVALID_VALUE, &at, "is a map"),
            Ok(_) => {}
        }
    }
}

pub(super) fn rule(rules: &mut Rules<'_>, spec: &Rule) {
    if !spec.r#match.trim().is_empty() {
        match parse(&spec.r#match) {
            Err(reason) => rules.refuse(code::INVALID_VALUE, "spec.match", reason),
            Ok((_, Type::Bool)) => {}
            Ok((_, kind)) => rules.refuse(code::INVALID_VALUE, "spec.match", format!("is {}, not bool", kind.name())),
        }
    }
    for (index, action) in spec.actions.iter().enumerate() {
        if action.handler.is_empty() {
            rules.refuse(code::REQUIRED, &format!("spec.actions[{index}].handler"), "a handler is required");
        }
    }
}

pub(super) fn quota_spec(rules: &mut Rules<'_>, spec: &QuotaSpec) {
    for (r, rule) in spec.rules.iter().enumerate() {
        for (q, quota) in rule.quotas.iter().enumerate() {
            let at = format!("spec.rules[{r}].quotas[{q}]");
            if quota.quota.is_empty() {
                rules.refuse(code::REQUIRED, &format!("{at}.quota"), "a quota is required");
            }
            if u32::try_from(quota.charge.unwrap_or(1)).is_err() {
                rules.refuse(code::INVALID_VALUE, &format!("{at}.charge"), "must be within 0 and 4294967295");
            }
        }
        for (m, entry) in rule.r#match.iter().enumerate() {
            for (name, matcher) in &entry.clause {
                let at = format!("spec.rules[{r}].match[{m}].clause[{name}]");
                let bare = name.split('[').next().unwrap_or_default();
                match attribute(bare) {
                    None => rules.refuse(code::INVALID_VALUE, &at, format!("{bare} is no attribute")),
                    Some(_)
                        if bare.starts_with("request.") || bare.starts_with("connection.") || bare == "source.ip" => {}
                    Some(_) => rules.not_in_force(&at, "is not known of a request here: it never matches"),
                }
                if let StringMatch::Regex(regex) = matcher {
                    rules.regex(&at, regex);
                }
            }
        }
    }
}

pub(super) fn binding(rules: &mut Rules<'_>, spec: &QuotaSpecBinding) {
    for (index, service) in spec.services.iter().enumerate() {
        let at = format!("spec.services[{index}]");
        if service.name.is_empty() && service.service.is_empty() {
            rules.refuse(code::REQUIRED, &format!("{at}.name"), "a name or a service is required");
        }
        if !service.labels.is_empty() {
            rules.not_in_force(&format!("{at}.labels"), "labels of a service choose nothing here");
        }
    }
    for (index, reference) in spec.quota_specs.iter().enumerate() {
        if reference.name.is_empty() {
            rules.refuse(code::REQUIRED, &format!("spec.quotaSpecs[{index}].name"), "a name is required");
        }
    }
}
