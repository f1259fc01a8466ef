//! Changes to the query of a path, one parameter at a time.
//!
//! As in Envoy the parameters are decoded, changed, and written anew in the order of their names, each with a `=`.
//! Unlike there, they are encoded again: a value that decodes to `&` does not become a parameter of its own.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use http::Uri;
use http::uri::PathAndQuery;

use crate::engine::headers::{Format, FormatContext};
use crate::resource::filter::QueryMutation;
use crate::resource::header_mutation::AppendAction;
use crate::resource::{FieldPath, Problem};

/// A change to a query, compiled.
#[derive(Debug)]
pub(super) enum QueryChange {
    Set { key: Box<[u8]>, value: Format, action: AppendAction },
    Remove(Box<[u8]>),
}

impl QueryChange {
    pub(super) fn compile(config: &QueryMutation, at: &FieldPath) -> Result<Self, (FieldPath, Problem)> {
        match config {
            QueryMutation::Remove(key) if key.is_empty() => Err((at.field("remove"), Problem::Missing)),
            QueryMutation::Remove(key) => Ok(Self::Remove(key.as_bytes().into())),
            QueryMutation::Set { key, value, action } => {
                let at = at.field("append").field("record");
                if key.is_empty() {
                    return Err((at.field("key"), Problem::Missing));
                }
                let value = Format::compile(value).map_err(|problem| (at.field("value"), problem))?;
                Ok(Self::Set { key: key.as_bytes().into(), value, action: *action })
            }
        }
    }

    fn apply(&self, query: &mut Parameters, cx: &FormatContext<'_>) {
        match self {
            Self::Remove(key) => drop(query.remove(&**key)),
            Self::Set { key, value, action } => {
                let there = query.contains_key(&**key);
                let (wanted, instead) = match action {
                    AppendAction::AppendIfExistsOrAdd => (true, false),
                    AppendAction::AddIfAbsent => (!there, false),
                    AppendAction::OverwriteIfExistsOrAdd => (true, true),
                    AppendAction::OverwriteIfExists => (there, true),
                };
                if wanted {
                    let mut text = Vec::new();
                    value.render(cx, "", &mut text);
                    let values = query.entry(key.to_vec()).or_default();
                    if instead {
                        values.clear();
                    }
                    values.push(text);
                }
            }
        }
    }
}

/// The values of each parameter, in the order of their coming.
type Parameters = BTreeMap<Vec<u8>, Vec<Vec<u8>>>;

/// A target with another query, if the changes make one that may be.
pub(super) fn change(uri: &Uri, changes: &[QueryChange], cx: &FormatContext<'_>) -> Option<Uri> {
    let mut query = parse(uri.query().unwrap_or(""));
    for change in changes {
        change.apply(&mut query, cx);
    }
    let mut path = uri.path().to_owned();
    write(&query, &mut path);
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(path).ok()?);
    Uri::from_parts(parts).ok()
}

fn parse(query: &str) -> Parameters {
    let mut parameters = Parameters::new();
    for one in query.split('&').filter(|_| !query.is_empty()) {
        let (key, value) = one.split_once('=').unwrap_or((one, ""));
        parameters.entry(decode(key)).or_default().push(decode(value));
    }
    parameters
}

fn write(query: &Parameters, path: &mut String) {
    let mut before = '?';
    for (key, value) in query.iter().flat_map(|(key, values)| values.iter().map(move |value| (key, value))) {
        path.push(before);
        encode(key, path);
        path.push('=');
        encode(value, path);
        before = '&';
    }
}

fn decode(text: &str) -> Vec<u8> {
    let hex = |byte: Option<&u8>| byte.and_then(|byte| char::from(*byte).to_digit(16));
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let code = || Some(hex(bytes.get(at + 1))? * 16 + hex(bytes.get(at + 2))?);
        match (byte, code().and_then(|code| u8::try_from(code).ok())) {
            (b'%', Some(code)) => {
                decoded.push(code);
                at += 3;
            }
            _ => {
                decoded.push(byte);
                at += 1;
            }
        }
    }
    decoded
}

/// Everything that a query cannot hold, or that would be read as something else.
fn encode(text: &[u8], out: &mut String) {
    for &byte in text {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => out.push(char::from(byte)),
            b'-' | b'.' | b'_' | b'~' | b'!' | b'$' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b':' | b'@'
            | b'/' | b'?' => out.push(char::from(byte)),
            // Writing to a String cannot fail.
            _ => drop(write!(out, "%{byte:02X}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::facts::ConnectionFacts;
    use crate::resource::metadata::Metadata;

    fn changed(uri: &str, mutations: &[QueryMutation]) -> String {
        let root = FieldPath::root();
        let changes: Vec<_> = mutations.iter().map(|one| QueryChange::compile(one, &root).unwrap()).collect();
        let (connection, metadata) = (ConnectionFacts::default(), Metadata::new());
        let uri = uri.parse().unwrap();
        change(&uri, &changes, &FormatContext::for_request(&connection, &metadata)).unwrap().to_string()
    }

    fn set(key: &str, value: &str, action: AppendAction) -> QueryMutation {
        QueryMutation::Set { key: key.to_owned(), value: value.to_owned(), action }
    }

    #[test]
    fn each_action_does_to_a_parameter_what_it_does_to_a_header() {
        use AppendAction::{AddIfAbsent, AppendIfExistsOrAdd, OverwriteIfExists, OverwriteIfExistsOrAdd};
        let remove = QueryMutation::Remove("k".to_owned());
        for (mutation, there, absent) in [
            (set("k", "n", AppendIfExistsOrAdd), "/p?k=1&k=2&k=n&z=", "/p?a=1&k=n"),
            (set("k", "n", AddIfAbsent), "/p?k=1&k=2&z=", "/p?a=1&k=n"),
            (set("k", "n", OverwriteIfExistsOrAdd), "/p?k=n&z=", "/p?a=1&k=n"),
            (set("k", "n", OverwriteIfExists), "/p?k=n&z=", "/p?a=1"),
            (remove, "/p?z=", "/p?a=1"),
        ] {
            assert_eq!(changed("/p?z&k=1&k=2", std::slice::from_ref(&mutation)), there, "{mutation:?}");
            assert_eq!(changed("/p?a=1", std::slice::from_ref(&mutation)), absent, "{mutation:?}");
        }
        assert_eq!(changed("/p?k=1", &[QueryMutation::Remove("k".to_owned())]), "/p");
        assert_eq!(changed("http://a.test:80/p", &[set("k", "v", AddIfAbsent)]), "http://a.test:80/p?k=v");
    }

    #[test]
    fn a_value_stays_one_value_whatever_is_in_it() {
        let add = |value| changed("/p", &[set("k", value, AppendAction::AddIfAbsent)]);
        assert_eq!(add("a&b=c#d e\n"), "/p?k=a%26b%3Dc%23d%20e%0A");
        assert_eq!(add("50%%"), "/p?k=50%25");
        let kept = changed("/p?a%26b=%3d%zz%e4&c=d=e", &[QueryMutation::Remove("x".to_owned())]);
        assert_eq!(kept, "/p?a%26b=%3D%25zz%E4&c=d%3De");
    }

    #[test]
    fn what_names_no_parameter_or_has_no_format_is_refused_where_it_stands() {
        let fields = [
            (QueryMutation::Remove(String::new()), "q.remove"),
            (set("", "v", AppendAction::AddIfAbsent), "q.append.record.key"),
            (set("k", "%NOPE%", AppendAction::AddIfAbsent), "q.append.record.value"),
        ];
        for (mutation, field) in fields {
            assert_eq!(QueryChange::compile(&mutation, &"q".into()).unwrap_err().0.as_str(), field);
        }
    }
}
