//! One value against the rules of its field.
//!
//! A kind of rule that is not implemented refuses the value: what cannot be judged is not accepted. A test walks the
//! whole API and finds no such rule.

use std::collections::{BTreeMap, HashMap, HashSet};

use mesh_core::resource::Problem;
use mesh_proto::descriptors::prost_reflect::{DynamicMessage, Kind, MapKey, Value};
use mesh_proto::validate::field_rules::Type;
use mesh_proto::validate::{EnumRules, FieldRules, MapRules, RepeatedRules};

use super::{number, text};
use crate::decode::refused::{At, Refused, refuse};

/// Whether a field with these rules must be set.
pub(super) fn is_required(rules: &FieldRules) -> bool {
    rules.message.is_some_and(|rules| rules.required())
        || match &rules.r#type {
            Some(Type::Duration(rules)) => rules.required(),
            Some(Type::Any(rules)) => rules.required(),
            Some(Type::Timestamp(rules)) => rules.required(),
            _ => false,
        }
}

/// Checks a value that is set, or that is its type's default in a field without presence. `kind` is the kind of the
/// field, or of its elements.
pub(super) fn check(rules: &FieldRules, value: &Value, kind: &Kind, at: &At<'_>) -> Result<(), Refused> {
    let Some(rule) = &rules.r#type else {
        return Ok(());
    };
    match (rule, value) {
        (Type::Repeated(rules), Value::List(list)) => repeated(rules, list, kind, at),
        (Type::Map(rules), Value::Map(entries)) => map(rules, entries, kind, at),
        (Type::Enum(rules), Value::EnumNumber(number)) => enumeration(rules, *number, kind, at),
        (Type::Duration(rules), Value::Message(message)) => wrong(at, number::duration(rules, &parts(message))),
        (Type::Any(_), Value::Message(_)) => Ok(()),
        (_, Value::Message(wrapper)) => match wrapper.get_field_by_name("value") {
            Some(inner) => scalar(rule, &inner, at),
            None => Err(unjudged(at)),
        },
        _ => scalar(rule, value, at),
    }
}

fn scalar(rule: &Type, value: &Value, at: &At<'_>) -> Result<(), Refused> {
    let broken = match (rule, value) {
        (Type::String(rules), Value::String(text)) => text::string(rules, text),
        (Type::Bytes(rules), Value::Bytes(bytes)) => text::bytes(rules, bytes),
        (Type::Bool(rules), Value::Bool(value)) => {
            rules.r#const.filter(|only| only != value).map(|only| format!("must be {only}"))
        }
        _ => match number::scalar(rule, value) {
            Some(broken) => broken,
            None => return Err(unjudged(at)),
        },
    };
    wrong(at, broken)
}

fn enumeration(rules: &EnumRules, number: i32, kind: &Kind, at: &At<'_>) -> Result<(), Refused> {
    let defined = match kind {
        Kind::Enum(descriptor) => descriptor.get_value(number).is_some(),
        _ => return Err(unjudged(at)),
    };
    let listed = rules.r#in.is_empty() || rules.r#in.contains(&number);
    let only = rules.r#const.is_none_or(|only| only == number);
    if (defined || !rules.defined_only()) && listed && only && !rules.not_in.contains(&number) {
        Ok(())
    } else {
        Err(refuse(at, format!("{number} is not a value of this enum that is allowed")))
    }
}

fn repeated(rules: &RepeatedRules, list: &[Value], kind: &Kind, at: &At<'_>) -> Result<(), Refused> {
    if rules.ignore_empty() && list.is_empty() {
        return Ok(());
    }
    count(list.len(), rules.min_items, rules.max_items, "item", at)?;
    if rules.unique() {
        let mut seen = HashSet::new();
        for (index, item) in list.iter().enumerate() {
            if !seen.insert(format!("{item:?}")) {
                return Err(refuse(&at.index(index), "is there twice"));
            }
        }
    }
    if let Some(items) = &rules.items {
        for (index, item) in list.iter().enumerate() {
            check(items, item, kind, &at.index(index))?;
        }
    }
    Ok(())
}

fn map(rules: &MapRules, map: &HashMap<MapKey, Value>, kind: &Kind, at: &At<'_>) -> Result<(), Refused> {
    if rules.ignore_empty() && map.is_empty() {
        return Ok(());
    }
    count(map.len(), rules.min_pairs, rules.max_pairs, "entry", at)?;
    if rules.no_sparse() {
        return Err(unjudged(at));
    }
    let Kind::Message(entry) = kind else {
        return Err(unjudged(at));
    };
    for (key, value) in by_key(map) {
        let here = at.key(&key);
        if let Some(keys) = &rules.keys {
            check(keys, &Value::String(key.clone()), &Kind::String, &here)?;
        }
        if let Some(values) = &rules.values {
            check(values, value, &entry.map_entry_value_field().kind(), &here)?;
        }
    }
    Ok(())
}

/// A map's entries in the order of their keys, so that the first error is always the same.
pub(super) fn by_key(map: &HashMap<MapKey, Value>) -> BTreeMap<String, &Value> {
    let text = |key: &MapKey| match key {
        MapKey::Bool(key) => key.to_string(),
        MapKey::I32(key) => key.to_string(),
        MapKey::I64(key) => key.to_string(),
        MapKey::U32(key) => key.to_string(),
        MapKey::U64(key) => key.to_string(),
        MapKey::String(key) => key.clone(),
    };
    map.iter().map(|(key, value)| (text(key), value)).collect()
}

fn count(length: usize, min: Option<u64>, max: Option<u64>, what: &str, at: &At<'_>) -> Result<(), Refused> {
    let length = length as u64;
    if min.is_some_and(|min| length < min) {
        let min = min.unwrap_or_default();
        return Err(refuse(at, format!("needs at least {min} {what}")));
    }
    if max.is_some_and(|max| length > max) {
        let max = max.unwrap_or_default();
        return Err(refuse(at, format!("{length} are more than the {max} allowed")));
    }
    Ok(())
}

/// Seconds and nanoseconds of a `google.protobuf.Duration`.
fn parts(message: &DynamicMessage) -> (i64, i32) {
    let part = |name| message.get_field_by_name(name);
    let seconds = part("seconds").and_then(|value| value.as_i64());
    let nanos = part("nanos").and_then(|value| value.as_i32());
    (seconds.unwrap_or_default(), nanos.unwrap_or_default())
}

fn wrong(at: &At<'_>, broken: Option<String>) -> Result<(), Refused> {
    broken.map_or(Ok(()), |broken| Err(refuse(at, broken)))
}

fn unjudged(at: &At<'_>) -> Refused {
    refuse(at, Problem::Unsupported("a validation rule of this field".to_owned()))
}
