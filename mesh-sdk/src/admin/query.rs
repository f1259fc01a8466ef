//! The query part of a page's address.

use http::Uri;
use percent_encoding::percent_decode_str;

/// Names and values in order; a name without `=` has an empty value.
#[derive(Debug, Default)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    pub(super) fn of(uri: &Uri) -> Self {
        let decode = |text: &str| percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned();
        let pairs = uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
        Self(
            pairs
                .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
                .map(|(name, value)| (decode(name), decode(value)))
                .collect(),
        )
    }

    /// The first value of a name.
    pub(super) fn value(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Whether a flag is there and not switched off.
    pub(super) fn flag(&self, name: &str) -> bool {
        self.value(name).is_some_and(|value| !matches!(value, "false" | "off" | "0"))
    }

    /// Whether JSON is asked for.
    pub(super) fn wants_json(&self) -> bool {
        self.value("format") == Some("json")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_and_values_are_read_decoded() {
        let query = Query::of(&Uri::from_static("/x?include_eds&format=json&name=a%7Cb+c&off=false"));
        assert!(query.flag("include_eds") && query.wants_json());
        assert!(!query.flag("off") && !query.flag("missing"));
        assert_eq!(query.value("name"), Some("a|b c"));
        assert_eq!(Query::of(&Uri::from_static("/x")).value("x"), None);
    }
}
