//! A file of tests: `{tests: [{test_name, input, validate}]}`, JSON or YAML, every field by Envoy's name.
//!
//! An unknown field is an error with its line: a test that silently checks less than its author meant is none.

use std::path::Path;

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use mesh_core::resource::metadata::{Metadata, Value as Fact};
use mesh_istio::Text;
use serde_json::{Map, Value};

use super::matching::{Expected, Side};

/// All tests of a file, in order.
pub(super) struct Suite {
    pub(super) tests: Vec<Test>,
}

/// One test.
pub(super) struct Test {
    pub(super) name: String,
    pub(super) line: u32,
    pub(super) input: Input,
    pub(super) texts: Vec<ExpectedText>,
    pub(super) headers: Vec<Expected>,
}

/// The request of a test.
pub(super) struct Input {
    pub(super) authority: String,
    pub(super) path: String,
    pub(super) method: Method,
    pub(super) ssl: bool,
    /// What every draw gives: weighted clusters take it modulo the sum of their weights.
    pub(super) random_value: u64,
    /// The runtime key that is on.
    pub(super) runtime: String,
    /// Headers of the request, `x-forwarded-proto` and `x-envoy-internal` included.
    pub(super) request_headers: HeaderMap,
    /// Headers of the upstream's response.
    pub(super) response_headers: HeaderMap,
    pub(super) dynamic_metadata: Metadata,
}

/// A field of `validate` whose value is compared as text.
pub(super) struct ExpectedText {
    pub(super) field: TextField,
    pub(super) value: String,
    pub(super) line: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TextField {
    Cluster,
    VirtualCluster,
    VirtualHost,
    PathRewrite,
    HostRewrite,
    PathRedirect,
    CodeRedirect,
}

impl TextField {
    const ALL: [Self; 7] = [
        Self::Cluster,
        Self::VirtualCluster,
        Self::VirtualHost,
        Self::PathRewrite,
        Self::HostRewrite,
        Self::PathRedirect,
        Self::CodeRedirect,
    ];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Cluster => "cluster_name",
            Self::VirtualCluster => "virtual_cluster_name",
            Self::VirtualHost => "virtual_host_name",
            Self::PathRewrite => "path_rewrite",
            Self::HostRewrite => "host_rewrite",
            Self::PathRedirect => "path_redirect",
            Self::CodeRedirect => "code_redirect",
        }
    }
}

/// What is wrong, and the path where.
type Wrong = (String, String);

impl Suite {
    /// # Errors
    /// The file cannot be read, or is no file of tests: with file, line, field and reason.
    pub(super) fn read(path: &Path) -> Result<Self, String> {
        let text = super::read(path)?;
        let value = text.value();
        Self::parse(&value, &text).map_err(|(at, why)| format!("{}:{}: {at}: {why}", path.display(), text.line_of(&at)))
    }

    fn parse(value: &Value, text: &Text) -> Result<Self, Wrong> {
        let mut root = Fields::of(value, String::new())?;
        let at = "tests".to_owned();
        let tests = root.list("tests")?.ok_or_else(|| (at.clone(), "is required".to_owned()))?;
        root.end()?;
        if tests.is_empty() {
            return Err((at, "there is no test".to_owned()));
        }
        let test = |(index, value)| test(value, format!("{at}[{index}]"), text);
        Ok(Self { tests: tests.iter().enumerate().map(test).collect::<Result<_, _>>()? })
    }
}

fn test(value: &Value, at: String, text: &Text) -> Result<Test, Wrong> {
    let mut fields = Fields::of(value, at.clone())?;
    let name = fields.text("test_name")?.filter(|name| !name.is_empty());
    let name = name.ok_or_else(|| (format!("{at}.test_name"), "is required".to_owned()))?;
    let input = input(fields.required("input")?, format!("{at}.input"))?;
    let mut validate = Fields::of(fields.required("validate")?, format!("{at}.validate"))?;
    fields.end()?;
    let mut texts = Vec::new();
    for field in TextField::ALL {
        let path = validate.path(field.name());
        let value = if field == TextField::CodeRedirect {
            validate.number(field.name())?.map(|code| code.to_string())
        } else {
            validate.text(field.name())?
        };
        texts.extend(value.map(|value| ExpectedText { field, value, line: text.line_of(&path) }));
    }
    let mut headers = Vec::new();
    for (field, side) in [("request_header_matches", Side::Request), ("response_header_matches", Side::Response)] {
        let path = validate.path(field);
        for (index, matcher) in validate.list(field)?.unwrap_or_default().iter().enumerate() {
            let path = format!("{path}[{index}]");
            headers.push(Expected::parse(matcher, side, text.line_of(&path), &path)?);
        }
    }
    if texts.is_empty() && headers.is_empty() && validate.0.is_empty() {
        return Err((validate.1, "nothing is expected".to_owned()));
    }
    validate.end()?;
    Ok(Test { name, line: text.line_of(&at), input, texts, headers })
}

fn input(value: &Value, at: String) -> Result<Input, Wrong> {
    let mut fields = Fields::of(value, at)?;
    let required = |fields: &mut Fields<'_>, name: &str| {
        let text = fields.text(name)?.filter(|text| !text.is_empty());
        text.ok_or_else(|| (fields.path(name), "is required".to_owned()))
    };
    let authority = required(&mut fields, "authority")?;
    let path = required(&mut fields, "path")?;
    let method = required(&mut fields, "method")?;
    let method = method.parse().map_err(|_| (fields.path("method"), format!("{method:?} is no HTTP method")))?;
    let ssl = fields.flag("ssl")?;
    let internal = fields.flag("internal")?;
    let mut request_headers = HeaderMap::new();
    request_headers.insert("x-forwarded-proto", HeaderValue::from_static(if ssl { "https" } else { "http" }));
    if internal {
        request_headers.insert("x-envoy-internal", HeaderValue::from_static("true"));
    }
    headers(&mut fields, "additional_request_headers", &mut request_headers)?;
    let mut response_headers = HeaderMap::new();
    headers(&mut fields, "additional_response_headers", &mut response_headers)?;
    let random_value = fields.number("random_value")?.unwrap_or_default();
    let runtime = fields.text("runtime")?.unwrap_or_default();
    let dynamic_metadata = metadata(&mut fields)?;
    fields.end()?;
    Ok(Input {
        authority,
        path,
        method,
        ssl,
        random_value,
        runtime,
        request_headers,
        response_headers,
        dynamic_metadata,
    })
}

/// A list of `HeaderValue`s: `{key, value}`.
fn headers(fields: &mut Fields<'_>, name: &str, into: &mut HeaderMap) -> Result<(), Wrong> {
    let at = fields.path(name);
    for (index, one) in fields.list(name)?.unwrap_or_default().iter().enumerate() {
        let mut one = Fields::of(one, format!("{at}[{index}]"))?;
        let key = one.text("key")?.unwrap_or_default();
        let value = one.text("value")?.unwrap_or_default();
        let bad = |field: &str, text: &str| (one.path(field), format!("{text:?} does not belong there"));
        let header = HeaderName::from_bytes(key.as_bytes()).map_err(|_| bad("key", &key))?;
        into.append(header, HeaderValue::from_str(&value).map_err(|_| bad("value", &value))?);
        one.end()?;
    }
    Ok(())
}

/// `dynamic_metadata`: configurations of Envoy's `set_metadata` filter, in either of their forms.
fn metadata(fields: &mut Fields<'_>) -> Result<Metadata, Wrong> {
    let mut out = Metadata::new();
    let at = fields.path("dynamic_metadata");
    for (index, one) in fields.list("dynamic_metadata")?.unwrap_or_default().iter().enumerate() {
        let at = format!("{at}[{index}]");
        let mut one = Fields::of(one, at.clone())?;
        for (inner, value) in one.list("metadata")?.unwrap_or_default().iter().enumerate() {
            let mut fields = Fields::of(value, format!("{at}.metadata[{inner}]"))?;
            set(&mut fields, &mut out)?;
            fields.end()?;
        }
        if !one.0.is_empty() {
            set(&mut one, &mut out)?;
        }
        one.end()?;
    }
    Ok(out)
}

/// One value for one namespace. A second value for a namespace is merged into the first where it may be, as the filter does.
fn set(fields: &mut Fields<'_>, out: &mut Metadata) -> Result<(), Wrong> {
    let namespace = fields.text("metadata_namespace")?.unwrap_or_default();
    let may_replace = fields.flag("allow_overwrite")?;
    let Some(Fact::Struct(value)) = fields.take("value").map(|(_, value)| fact(value)) else {
        return Err((fields.path("value"), "a map is required".to_owned()));
    };
    match out.get_mut(&namespace) {
        Some(Fact::Struct(known)) => {
            for (key, value) in value {
                if may_replace || !known.contains_key(&key) {
                    known.insert(key, value);
                }
            }
        }
        _ => {
            out.insert(namespace, Fact::Struct(value));
        }
    }
    Ok(())
}

fn fact(value: &Value) -> Fact {
    match value {
        Value::Null => Fact::Null,
        Value::Bool(value) => Fact::Bool(*value),
        Value::Number(value) => Fact::Number(value.as_f64().unwrap_or_default()),
        Value::String(value) => Fact::Text(value.clone()),
        Value::Array(values) => Fact::List(values.iter().map(fact).collect()),
        Value::Object(map) => Fact::Struct(map.iter().map(|(key, value)| (key.clone(), fact(value))).collect()),
    }
}

/// The fields of an object that nobody has taken yet, and the object's path.
struct Fields<'a>(Vec<(&'a String, &'a Value)>, String);

impl<'a> Fields<'a> {
    fn of(value: &'a Value, at: String) -> Result<Self, Wrong> {
        match value {
            Value::Object(map) => Ok(Self(Map::iter(map).collect(), at)),
            _ => Err((at, "a map is required".to_owned())),
        }
    }

    fn path(&self, name: &str) -> String {
        if self.1.is_empty() { name.to_owned() } else { format!("{}.{name}", self.1) }
    }

    /// A field under its `.proto` name or in camel case, unless it is null.
    fn take(&mut self, name: &str) -> Option<(&'a String, &'a Value)> {
        let same = |given: &str| given == name || given == camel(name);
        let at = self.0.iter().position(|(given, value)| same(given) && !value.is_null())?;
        Some(self.0.remove(at))
    }

    fn required(&mut self, name: &str) -> Result<&'a Value, Wrong> {
        self.take(name).map(|(_, value)| value).ok_or_else(|| (self.path(name), "is required".to_owned()))
    }

    fn text(&mut self, name: &str) -> Result<Option<String>, Wrong> {
        match self.take(name) {
            None => Ok(None),
            Some((_, Value::String(text))) => Ok(Some(text.clone())),
            Some(_) => Err((self.path(name), "text is required".to_owned())),
        }
    }

    fn flag(&mut self, name: &str) -> Result<bool, Wrong> {
        match self.take(name) {
            None => Ok(false),
            Some((_, Value::Bool(flag))) => Ok(*flag),
            Some(_) => Err((self.path(name), "true or false is required".to_owned())),
        }
    }

    fn number(&mut self, name: &str) -> Result<Option<u64>, Wrong> {
        let number = match self.take(name) {
            None => return Ok(None),
            Some((_, Value::Number(number))) => number.as_u64(),
            Some((_, Value::String(text))) => text.parse().ok(),
            Some(_) => None,
        };
        number.map(Some).ok_or_else(|| (self.path(name), "a number from 0 on is required".to_owned()))
    }

    fn list(&mut self, name: &str) -> Result<Option<&'a [Value]>, Wrong> {
        match self.take(name) {
            None => Ok(None),
            Some((_, Value::Array(values))) => Ok(Some(values)),
            Some(_) => Err((self.path(name), "a list is required".to_owned())),
        }
    }

    fn end(&self) -> Result<(), Wrong> {
        match self.0.iter().find(|(_, value)| !value.is_null()) {
            None => Ok(()),
            Some((name, _)) => Err((self.path(name), "unknown field".to_owned())),
        }
    }
}

fn camel(name: &str) -> String {
    let mut words = name.split('_');
    let mut out = words.next().unwrap_or_default().to_owned();
    for word in words {
        let (first, rest) = word.split_at(word.len().min(1));
        out.push_str(&first.to_ascii_uppercase());
        out.push_str(rest);
    }
    out
}
