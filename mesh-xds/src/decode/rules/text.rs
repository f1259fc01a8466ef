//! Strings and bytes against their rules.

use std::collections::HashMap;
use std::sync::{LazyLock, PoisonError, RwLock};

use mesh_proto::validate::string_rules::WellKnown;
use mesh_proto::validate::{BytesRules, KnownRegex, StringRules};
use regex::Regex;

/// What is wrong with a string, or nothing.
pub(super) fn string(rules: &StringRules, text: &str) -> Option<String> {
    if rules.ignore_empty() && text.is_empty() {
        return None;
    }
    let characters = text.chars().count() as u64;
    let bytes = text.len() as u64;
    let checks = [
        length(characters, rules.len, rules.min_len, rules.max_len, "character"),
        length(bytes, rules.len_bytes, rules.min_bytes, rules.max_bytes, "byte"),
        affixes(rules, text),
        rules.pattern.as_deref().and_then(|pattern| matches(pattern, text)),
        rules.well_known.and_then(|kind| well_known(kind, rules.strict(), text)),
    ];
    checks.into_iter().flatten().next()
}

/// What is wrong with bytes, or nothing.
pub(super) fn bytes(rules: &BytesRules, bytes: &[u8]) -> Option<String> {
    if rules.ignore_empty() && bytes.is_empty() {
        return None;
    }
    let plain = BytesRules { len: None, min_len: None, max_len: None, ignore_empty: None, ..rules.clone() };
    if plain != BytesRules::default() {
        return Some("has a validation rule that is not supported".to_owned());
    }
    length(bytes.len() as u64, rules.len, rules.min_len, rules.max_len, "byte")
}

fn length(length: u64, exact: Option<u64>, min: Option<u64>, max: Option<u64>, unit: &str) -> Option<String> {
    let plural = |count: u64| if count == 1 { "" } else { "s" };
    match (exact, min, max) {
        (Some(exact), ..) if length != exact => Some(format!("must be {exact} {unit}{} long", plural(exact))),
        (_, Some(min), _) if length < min && length == 0 => Some("must not be empty".to_owned()),
        (_, Some(min), _) if length < min => Some(format!("must be at least {min} {unit}{} long", plural(min))),
        (.., Some(max)) if length > max => Some(format!("must be at most {max} {unit}{} long", plural(max))),
        _ => None,
    }
}

fn affixes(rules: &StringRules, text: &str) -> Option<String> {
    let listed = |list: &[String]| list.iter().any(|one| one == text);
    match rules {
        StringRules { r#const: Some(only), .. } if only != text => Some(format!("{text:?} must be {only:?}")),
        StringRules { prefix: Some(prefix), .. } if !text.starts_with(prefix.as_str()) => {
            Some(format!("{text:?} must begin with {prefix:?}"))
        }
        StringRules { suffix: Some(suffix), .. } if !text.ends_with(suffix.as_str()) => {
            Some(format!("{text:?} must end with {suffix:?}"))
        }
        StringRules { contains: Some(part), .. } if !text.contains(part.as_str()) => {
            Some(format!("{text:?} must contain {part:?}"))
        }
        StringRules { not_contains: Some(part), .. } if text.contains(part.as_str()) => {
            Some(format!("{text:?} must not contain {part:?}"))
        }
        _ if !rules.r#in.is_empty() && !listed(&rules.r#in) => {
            Some(format!("{text:?} is not one of {}", rules.r#in.join(", ")))
        }
        _ if listed(&rules.not_in) => Some(format!("{text:?} is not allowed")),
        _ => None,
    }
}

fn well_known(kind: WellKnown, strict: bool, text: &str) -> Option<String> {
    let WellKnown::WellKnownRegex(kind) = kind else {
        return Some("has a validation rule that is not supported".to_owned());
    };
    let (what, valid) = match (KnownRegex::try_from(kind), strict) {
        (Ok(KnownRegex::HttpHeaderName), true) => ("header name", strict_name(text)),
        (Ok(KnownRegex::HttpHeaderValue), true) => ("header value", strict_value(text)),
        (Ok(KnownRegex::HttpHeaderName), false) => ("header name", loose(text)),
        (Ok(KnownRegex::HttpHeaderValue), false) => ("header value", loose(text)),
        (Ok(KnownRegex::Unknown) | Err(_), _) => return None,
    };
    (!valid).then(|| format!("{text:?} is no {what}"))
}

/// `^:?[0-9a-zA-Z!#$%&'*+-.^_|~\x60]+$`; the range `+-.` takes the comma along.
fn strict_name(text: &str) -> bool {
    let name = text.strip_prefix(':').unwrap_or(text);
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+,-.^_|~`".contains(&byte);
    !name.is_empty() && name.bytes().all(allowed)
}

fn strict_value(text: &str) -> bool {
    text.bytes().all(|byte| byte == b'\t' || !byte.is_ascii_control())
}

fn loose(text: &str) -> bool {
    !text.bytes().any(|byte| matches!(byte, 0 | b'\n' | b'\r'))
}

fn matches(pattern: &str, text: &str) -> Option<String> {
    static COMPILED: LazyLock<RwLock<HashMap<String, Option<Regex>>>> = LazyLock::new(RwLock::default);
    #[allow(clippy::disallowed_methods, reason = "anchored when it is compiled, below")]
    let full_match = |regex: &Regex| regex.is_match(text);
    let say = |regex: Option<&Regex>| match regex {
        Some(regex) if full_match(regex) => None,
        Some(_) => Some(format!("{text:?} does not match {pattern:?}")),
        None => Some("has a validation rule that is not supported".to_owned()),
    };
    let compiled = COMPILED.read().unwrap_or_else(PoisonError::into_inner);
    if let Some(regex) = compiled.get(pattern) {
        return say(regex.as_ref());
    }
    drop(compiled);
    let regex = Regex::new(&format!(r"\A(?:{pattern})\z")).ok();
    let answer = say(regex.as_ref());
    COMPILED.write().unwrap_or_else(PoisonError::into_inner).insert(pattern.to_owned(), regex);
    answer
}
