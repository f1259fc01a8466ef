//! Mixer's quota on its way to a data plane: an extension of our own, which travels as a `TypedStruct` in the place of an
//! HTTP filter's configuration.
//!
//! The form is plain, so that both sides need no more than it: objects are joined, expressions are lists of tokens
//! (arguments first, then their function). Only forms belong here; what they mean is the data plane's.

use std::collections::BTreeMap;
use std::time::Duration;

use prost::Message;
use serde::{Deserialize, Serialize};

use crate::google::protobuf::{Any, Struct};
use crate::json;
use crate::type_url::{self, type_name};
use crate::typed_struct::XdsTypedStruct;

/// The type that the `TypedStruct` names.
pub const TYPE: &str = "mesh.mixer.v1.Quotas";

/// The quotas of one port that is served.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Quotas {
    /// What requests are charged.
    pub charges: Vec<Charge>,
}

/// What some requests are charged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Charge {
    /// The quota's name as callers are told.
    pub quota: String,
    /// How much a request costs.
    pub amount: u32,
    /// Which requests: all clauses of any entry; empty is every one.
    #[serde(default, rename = "match", skip_serializing_if = "Vec::is_empty")]
    pub matches: Vec<Vec<Clause>>,
    /// Which limit takes it: the first whose condition holds.
    pub routes: Vec<Route>,
}

/// A condition on one attribute.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Clause {
    /// The attribute's name.
    pub attribute: String,
    /// The key, of an attribute that is a map.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub key: String,
    /// What its text must be.
    #[serde(rename = "is")]
    pub matcher: Matcher,
}

/// How a text is compared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Matcher {
    /// Equal.
    Exact(String),
    /// Begins with.
    Prefix(String),
    /// Matches as a whole.
    Regex(String),
}

/// A limit with the condition of its rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Route {
    /// The condition; empty always holds.
    #[serde(default, rename = "match", skip_serializing_if = "Vec::is_empty")]
    pub matches: Vec<Token>,
    /// Dimensions by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub dimensions: BTreeMap<String, Vec<Token>>,
    /// The limit.
    pub limit: Limit,
}

/// A limit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Limit {
    /// Handler and instance.
    pub name: String,
    /// The limit of a cell; a number in JSON could not hold all of them.
    #[serde(with = "text")]
    pub max_amount: u64,
    /// The window; zero never ends.
    #[serde(with = "seconds")]
    pub valid_duration: Duration,
    /// The count starts anew when the window is over, instead of rolling.
    #[serde(default)]
    pub fixed_window: bool,
    /// Other limits; the first that fits counts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub overrides: Vec<Override>,
    /// How long an id is known.
    #[serde(with = "seconds")]
    pub min_deduplication: Duration,
}

/// Another limit for some dimensions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Override {
    /// All of these must be equal.
    pub dimensions: BTreeMap<String, String>,
    /// The limit.
    #[serde(with = "text")]
    pub max_amount: u64,
    /// The window.
    #[serde(with = "seconds")]
    pub valid_duration: Duration,
}

/// A part of an expression.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Token {
    /// A text.
    Text(String),
    /// A number.
    Integer(#[serde(with = "text")] i64),
    /// `true` or `false`.
    Bool(bool),
    /// An attribute, with the key of one that is a map.
    Attribute(String, String),
    /// A function of so many values before it.
    Call(String, u8),
}

impl Quotas {
    /// The message that goes into the filter.
    #[must_use]
    pub fn to_any(&self) -> Any {
        // Names and texts: there is nothing in it that JSON or a struct could not hold.
        let json = serde_json::to_value(self).unwrap_or_default();
        let value = json::from_json::<Struct>(&json).ok();
        let typed = XdsTypedStruct { type_url: format!("{}{TYPE}", type_url::PREFIX), value };
        Any { type_url: <XdsTypedStruct as prost::Name>::type_url(), value: typed.encode_to_vec() }
    }

    /// What a `TypedStruct` of this type says.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn of_any(any: &Any) -> Result<Self, String> {
        let typed = XdsTypedStruct::decode(any.value.as_slice()).map_err(|error| error.to_string())?;
        if type_name(&typed.type_url) != TYPE {
            return Err(format!("{} is not {TYPE}", typed.type_url));
        }
        let value = json::to_json_of(&typed.value.unwrap_or_default()).map_err(|error| error.to_string())?;
        serde_json::from_value(value).map_err(|error| error.to_string())
    }
}

/// Whole numbers as texts.
mod text {
    use std::fmt::Display;
    use std::str::FromStr;

    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<T: Display, S: Serializer>(number: &T, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(number)
    }

    pub(super) fn deserialize<'de, T: FromStr, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(|_| D::Error::custom(format!("{text:?} is no whole number within range")))
    }
}

/// Durations as `1.500000000s`.
mod seconds {
    use std::time::Duration;

    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{}.{:09}s", duration.as_secs(), duration.subsec_nanos()))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        let text = String::deserialize(deserializer)?;
        let parse = || {
            let (whole, nanos) = text.strip_suffix('s')?.split_once('.')?;
            let nanos: u32 = nanos.parse().ok().filter(|_| nanos.len() == 9)?;
            Some(Duration::new(whole.parse().ok()?, nanos))
        };
        parse().ok_or_else(|| D::Error::custom(format!("{text:?} is no duration")))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failing test is what unwrap is for")]

    use super::*;

    #[test]
    fn quotas_come_back_as_they_were() {
        let tokens = vec![Token::Attribute("request.headers".into(), "x".into()), Token::Call("!".into(), 1)];
        let limit = Limit {
            name: "h/i".into(),
            max_amount: u64::MAX,
            valid_duration: Duration::from_millis(1_500),
            fixed_window: true,
            overrides: vec![Override {
                dimensions: BTreeMap::from([("d".into(), "v".into())]),
                max_amount: 1,
                valid_duration: Duration::ZERO,
            }],
            min_deduplication: Duration::from_secs(1),
        };
        let clause =
            Clause { attribute: "request.path".into(), key: String::new(), matcher: Matcher::Prefix("/".into()) };
        let route = Route {
            matches: vec![Token::Bool(true), Token::Integer(i64::MIN), Token::Text("t".into())],
            dimensions: BTreeMap::from([("d".into(), tokens)]),
            limit,
        };
        let charge = Charge { quota: "q".into(), amount: 2, matches: vec![vec![clause]], routes: vec![route] };
        let quotas = Quotas { charges: vec![charge] };
        assert_eq!(Quotas::of_any(&quotas.to_any()), Ok(quotas));
    }

    #[test]
    fn what_is_no_quota_is_refused_and_said() {
        let other = Any { type_url: String::new(), value: XdsTypedStruct::default().encode_to_vec() };
        assert_eq!(Quotas::of_any(&other).unwrap_err(), " is not mesh.mixer.v1.Quotas");
        let value =
            json::from_json::<Struct>(&serde_json::json!({ "charges": [{ "quota": "q", "amount": -1 }] })).unwrap();
        let typed = XdsTypedStruct { type_url: format!("{}{TYPE}", type_url::PREFIX), value: Some(value) };
        let any = Any { type_url: String::new(), value: typed.encode_to_vec() };
        assert!(Quotas::of_any(&any).is_err());
    }
}
