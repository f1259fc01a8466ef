//! One level's changes to headers, compiled.
//!
//! Envoy's order within a level: removals, then the new values of all additions are computed, then what
//! overwrites, then what appends. So no addition sees another one's result.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use smallvec::SmallVec;

use super::context::FormatContext;
use super::format::Format;
use crate::engine::matcher::StringMatch;
use crate::resource::header_mutation::{AppendAction, HeaderMutations};
use crate::resource::{FieldPath, Problem};

/// A level's compiled changes.
#[derive(Clone, Debug, Default)]
pub struct HeaderChanges {
    remove: Box<[HeaderName]>,
    remove_matching: Box<[StringMatch]>,
    add: Box<[Addition]>,
}

#[derive(Clone, Debug)]
struct Addition {
    name: HeaderName,
    value: Value,
    action: AppendAction,
    keep_empty: bool,
}

#[derive(Clone, Debug)]
enum Value {
    Fixed(HeaderValue),
    Format(Format),
}

/// A computed addition that is yet to be put in.
#[derive(Clone, Debug)]
pub struct Change<'m> {
    name: &'m HeaderName,
    value: HeaderValue,
    action: AppendAction,
}

impl HeaderChanges {
    /// Compiles one level. `add` and `remove` are the paths of its two fields.
    ///
    /// # Errors
    /// Where and why: no header name, `host` or a pseudo header, a format string that does not compile.
    pub fn compile(
        config: &HeaderMutations,
        add: &FieldPath,
        remove: &FieldPath,
    ) -> Result<Self, (FieldPath, Problem)> {
        Self::compile_at(config, |number| add.index(number), |number| remove.index(number))
    }

    /// Compiles one entry of a list of `HeaderMutation`s, which changes one header; `at` is its path.
    ///
    /// # Errors
    /// As [`Self::compile`]; a pattern of names that does not compile.
    pub fn compile_entry(config: &HeaderMutations, at: &FieldPath) -> Result<Self, (FieldPath, Problem)> {
        let mut changes = Self::compile_at(config, |_| at.field("append"), |_| at.field("remove"))?;
        let matching = config.remove_matching.iter().map(|matcher| {
            let place = || at.field("remove_on_match").field("key_matcher");
            StringMatch::compile(matcher).map_err(|problem| (place(), problem))
        });
        changes.remove_matching = matching.collect::<Result<_, _>>()?;
        Ok(changes)
    }

    fn compile_at(
        config: &HeaderMutations,
        add: impl Fn(usize) -> FieldPath,
        remove: impl Fn(usize) -> FieldPath,
    ) -> Result<Self, (FieldPath, Problem)> {
        let removed = config
            .remove
            .iter()
            .enumerate()
            .map(|(at, name)| header_name(name, "removed").map_err(|problem| (remove(at), problem)));
        let added = config.add.iter().enumerate().map(|(at, option)| {
            let at = add(at).field("header");
            let name = header_name(&option.key, "modified").map_err(|problem| (at.field("key"), problem))?;
            let wrong = |problem| (at.field("value"), problem);
            let format = Format::compile(&option.value).map_err(wrong)?;
            let value = match format.literal() {
                Some(text) => Value::Fixed(
                    HeaderValue::from_str(text)
                        .map_err(|_| wrong(Problem::Value(format!("{text:?} is no header value"))))?,
                ),
                None => Value::Format(format),
            };
            Ok(Addition { name, value, action: option.append_action, keep_empty: option.keep_empty_value })
        });
        Ok(Self {
            remove: removed.collect::<Result<_, _>>()?,
            remove_matching: Box::default(),
            add: added.collect::<Result<_, _>>()?,
        })
    }

    /// Whether nothing is changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.remove_matching.is_empty() && self.add.is_empty()
    }

    /// Whether a value is made of the request.
    #[must_use]
    pub fn reads_request(&self) -> bool {
        self.add.iter().any(|one| matches!(&one.value, Value::Format(format) if format.reads_request()))
    }

    /// Step one: removes what is to be removed.
    pub fn remove_from(&self, headers: &mut HeaderMap) {
        for name in &self.remove {
            // `remove` takes all lines of a name.
            headers.remove(name);
        }
        if !self.remove_matching.is_empty() {
            self.remove_matching_from(headers);
        }
    }

    /// The host is no header here.
    #[cold]
    fn remove_matching_from(&self, headers: &mut HeaderMap) {
        let hit = |name: &&HeaderName| {
            **name != header::HOST
                && self.remove_matching.iter().any(|matcher| matcher.matches(name.as_str().as_bytes()))
        };
        let names: SmallVec<[HeaderName; 4]> = headers.keys().filter(hit).cloned().collect();
        for name in names {
            headers.remove(name);
        }
    }

    /// Step two: computes the additions for headers that have been through step one.
    ///
    /// A value that no header may hold (a line break out of metadata, say) is left out.
    #[must_use]
    pub fn evaluate(&self, headers: &HeaderMap, cx: &FormatContext<'_>) -> SmallVec<[Change<'_>; 4]> {
        let additions = self.add.iter().filter_map(|one| {
            let there = || headers.contains_key(&one.name);
            let value = match &one.value {
                Value::Fixed(value) => value.clone(),
                Value::Format(format) => {
                    let mut out = Vec::new();
                    format.render(cx, "", &mut out);
                    HeaderValue::from_maybe_shared(Bytes::from(out)).ok()?
                }
            };
            let wanted = (one.keep_empty || !value.is_empty())
                && match one.action {
                    AppendAction::AppendIfExistsOrAdd | AppendAction::OverwriteIfExistsOrAdd => true,
                    AppendAction::AddIfAbsent => !there(),
                    AppendAction::OverwriteIfExists => there(),
                };
            wanted.then_some(Change { name: &one.name, value, action: one.action })
        });
        additions.collect()
    }
}

impl Change<'_> {
    /// Step three: puts computed additions in, overwriting ones first.
    pub fn put(changes: SmallVec<[Self; 4]>, headers: &mut HeaderMap) {
        let overwrites = |change: &Self| {
            matches!(change.action, AppendAction::OverwriteIfExistsOrAdd | AppendAction::OverwriteIfExists)
        };
        for change in changes.iter().filter(|change| overwrites(change)) {
            headers.insert(change.name, change.value.clone());
        }
        for change in changes.into_iter().filter(|change| !overwrites(change)) {
            append(headers, change.name, change.value);
        }
    }
}

/// Adds a value beside those that are there; the headers that Envoy keeps as one line get it behind a comma.
fn append(headers: &mut HeaderMap, name: &HeaderName, value: HeaderValue) {
    if ONE_LINE.contains(name)
        && let Some(before) = headers.get(name)
        && let Ok(joined) =
            HeaderValue::from_maybe_shared(Bytes::from([before.as_bytes(), b",", value.as_bytes()].concat()))
    {
        headers.insert(name, joined);
        return;
    }
    headers.append(name, value);
}

/// Headers of which a second line would be read as a conflict.
const ONE_LINE: [HeaderName; 9] = [
    header::CONTENT_TYPE,
    header::AUTHORIZATION,
    header::USER_AGENT,
    header::SERVER,
    header::VIA,
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("x-forwarded-host"),
    HeaderName::from_static("x-forwarded-proto"),
    HeaderName::from_static("x-request-id"),
];

fn header_name(name: &str, what: &str) -> Result<HeaderName, Problem> {
    if name.starts_with(':') || name.eq_ignore_ascii_case("host") {
        return Err(Problem::Value(format!(
            "{name:?}: pseudo headers and host may not be {what} (host_rewrite changes the host)"
        )));
    }
    HeaderName::from_bytes(name.as_bytes()).map_err(|_| Problem::Value(format!("{name:?} is no header name")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::facts::ConnectionFacts;
    use crate::resource::header_mutation::HeaderValueOption;
    use crate::resource::metadata::{Metadata, Value as Data};

    use AppendAction::{
        AddIfAbsent as Absent, AppendIfExistsOrAdd as Append, OverwriteIfExists as IfExists,
        OverwriteIfExistsOrAdd as Overwrite,
    };

    fn compile(add: &[(&str, &str, AppendAction)], remove: &[&str]) -> Result<HeaderChanges, (FieldPath, Problem)> {
        let config = HeaderMutations {
            add: add.iter().map(|&(key, value, action)| HeaderValueOption::new(key, value, action)).collect(),
            remove: remove.iter().map(|&name| name.to_owned()).collect(),
            remove_matching: vec![],
        };
        HeaderChanges::compile(&config, &"add".into(), &"remove".into())
    }

    fn apply(changes: &HeaderChanges, headers: &mut HeaderMap, metadata: &Metadata) {
        changes.remove_from(headers);
        let connection = ConnectionFacts::default();
        let computed = changes.evaluate(headers, &FormatContext::for_request(&connection, metadata));
        Change::put(computed, headers);
    }

    fn values(headers: &HeaderMap, name: &str) -> Vec<String> {
        headers.get_all(name).iter().map(|value| value.to_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn each_append_action_does_what_it_says() {
        let changes = compile(
            &[
                ("x-app", "n", Append),
                ("x-abs", "n", Absent),
                ("x-ow", "n", Overwrite),
                ("x-owe", "n", IfExists),
                ("x-owe2", "n", IfExists),
                ("x-abs2", "n", Absent),
                ("x-both", "added", Append),
            ],
            &["x-rm", "X-Both"],
        )
        .unwrap();
        let mut headers = HeaderMap::new();
        for name in ["x-app", "x-abs", "x-ow", "x-owe", "x-rm", "x-both"] {
            headers.insert(name, HeaderValue::from_static("o"));
        }
        apply(&changes, &mut headers, &Metadata::new());
        for (name, expected) in [
            ("x-app", &["o", "n"][..]),
            ("x-abs", &["o"]),
            ("x-ow", &["n"]),
            ("x-owe", &["n"]),
            ("x-owe2", &[]),
            ("x-abs2", &["n"]),
            ("x-rm", &[]),
            ("x-both", &["added"]),
        ] {
            assert_eq!(values(&headers, name), expected, "{name}");
        }
    }

    #[test]
    fn overwriting_comes_before_appending_whatever_the_order() {
        let changes = compile(&[("x", "2", Append), ("x", "1", Overwrite)], &[]).unwrap();
        let mut headers = HeaderMap::new();
        apply(&changes, &mut headers, &Metadata::new());
        assert_eq!(values(&headers, "x"), ["1", "2"]);
    }

    #[test]
    fn an_empty_value_is_left_out_unless_kept() {
        let mut config = HeaderMutations {
            add: vec![
                HeaderValueOption::new("x-a", "%DYNAMIC_METADATA(n)%", Append),
                HeaderValueOption::new("x-b", "", Append),
            ],
            ..HeaderMutations::default()
        };
        config.add[1].keep_empty_value = true;
        let changes = HeaderChanges::compile(&config, &"add".into(), &"remove".into()).unwrap();
        let mut headers = HeaderMap::new();
        apply(&changes, &mut headers, &Metadata::new());
        assert_eq!((values(&headers, "x-a").len(), values(&headers, "x-b")), (0, vec![String::new()]));
    }

    #[test]
    fn a_value_that_would_split_the_header_is_left_out() {
        let changes = compile(&[("x-a", "%DYNAMIC_METADATA(n)%", Append)], &[]).unwrap();
        let mut headers = HeaderMap::new();
        apply(&changes, &mut headers, &Metadata::from([("n".to_owned(), Data::Text("v\r\nx-evil: 1".into()))]));
        assert!(headers.is_empty());
    }

    #[test]
    fn appending_to_a_content_type_keeps_one_line() {
        let changes = compile(&[("content-type", "application/json", Append)], &[]).unwrap();
        let mut headers = HeaderMap::new();
        headers.insert("content-type", HeaderValue::from_static("text/plain"));
        apply(&changes, &mut headers, &Metadata::new());
        assert_eq!(values(&headers, "content-type"), ["text/plain,application/json"]);
    }

    #[test]
    fn host_pseudo_headers_and_bad_names_are_refused_where_they_stand() {
        for (add, remove, field) in [
            (Some("Host"), None, "add[0].header.key"),
            (Some(":path"), None, "add[0].header.key"),
            (Some("a b"), None, "add[0].header.key"),
            (None, Some("host"), "remove[0]"),
            (None, Some(":method"), "remove[0]"),
        ] {
            let add: Vec<_> = add.into_iter().map(|name| (name, "v", Append)).collect();
            let remove: Vec<_> = remove.into_iter().collect();
            assert_eq!(compile(&add, &remove).unwrap_err().0.as_str(), field);
        }
        assert_eq!(compile(&[("x", "%NOPE%", Append)], &[]).unwrap_err().0.as_str(), "add[0].header.value");
        assert!(compile(&[("x", "a\nb", Append)], &[]).is_err());
    }
}
