//! The condition on the path.

use std::fmt;

use super::scan::Hint;
use super::template::Template;
use crate::engine::matcher::FullMatch;
use crate::resource::Problem;
use crate::resource::route::{PathSpecifier, RouteMatch};

/// A compiled path specifier.
#[derive(Debug)]
pub(super) enum PathMatch {
    Prefix(Box<[u8]>),
    Path(Box<[u8]>),
    Separated(Box<[u8]>),
    AnyCase(Form, Box<[u8]>),
    Regex(FullMatch),
    Template(Box<Template>),
    Connect,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Prefix,
    Path,
    Separated,
}

impl PathMatch {
    /// Compiles the path specifier of a match.
    pub(super) fn compile(config: &RouteMatch) -> Result<Self, (&'static str, Problem)> {
        let text = |form: Form, text: &str| match (config.case_sensitive, form) {
            (false, form) => Self::AnyCase(form, text.as_bytes().into()),
            (true, Form::Prefix) => Self::Prefix(text.as_bytes().into()),
            (true, Form::Path) => Self::Path(text.as_bytes().into()),
            (true, Form::Separated) => Self::Separated(text.as_bytes().into()),
        };
        Ok(match &config.path {
            PathSpecifier::Prefix(prefix) => text(Form::Prefix, prefix),
            PathSpecifier::Path(path) => text(Form::Path, path),
            PathSpecifier::PathSeparatedPrefix(prefix) => {
                if prefix.len() < 2 || prefix.ends_with('/') || prefix.contains(['?', '#']) {
                    let why = format!("{prefix:?} must have two characters or more, no ? or # and no / at its end");
                    return Err(("path_separated_prefix", Problem::Value(why)));
                }
                text(Form::Separated, prefix)
            }
            PathSpecifier::SafeRegex(pattern) => {
                Self::Regex(FullMatch::compile(pattern).map_err(|problem| ("safe_regex.regex", problem))?)
            }
            PathSpecifier::UriTemplate(template) => {
                let template = Template::compile(template).map_err(|problem| ("path_match_policy", problem))?;
                Self::Template(Box::new(template))
            }
            PathSpecifier::Connect => Self::Connect,
        })
    }

    /// Whether a path (without query) matches. CONNECT requests have no path: only [`Self::Connect`] takes them.
    pub(super) fn matches(&self, path: &[u8], connect: bool) -> bool {
        if connect || matches!(self, Self::Connect) {
            return connect && matches!(self, Self::Connect);
        }
        match self {
            Self::Prefix(prefix) => path.starts_with(prefix),
            Self::Path(whole) => *path == **whole,
            Self::Separated(prefix) => separated(path, prefix.len()) && path.starts_with(prefix),
            Self::AnyCase(form, text) => {
                let fits = match form {
                    Form::Prefix => true,
                    Form::Path => path.len() == text.len(),
                    Form::Separated => separated(path, text.len()),
                };
                fits && path.get(..text.len()).is_some_and(|head| head.eq_ignore_ascii_case(text))
            }
            Self::Regex(regex) => regex.matches(path),
            Self::Template(template) => template.matches(path),
            Self::Connect => false,
        }
    }

    /// What a path must have for this to match, for the quick test.
    pub(super) fn hint(&self) -> Hint {
        match self {
            Self::Prefix(text) | Self::Path(text) | Self::Separated(text) => Hint::begins_with(text),
            _ => Hint::default(),
        }
    }

    /// How much of the path a prefix rewrite replaces: the matched prefix, else (`None`) the whole path.
    pub(super) fn matched_prefix(&self) -> Option<usize> {
        match self {
            Self::Prefix(text) | Self::Separated(text) | Self::AnyCase(Form::Prefix | Form::Separated, text) => {
                Some(text.len())
            }
            _ => None,
        }
    }

    /// The template, if this is one.
    pub(super) fn template(&self) -> Option<&Template> {
        match self {
            Self::Template(template) => Some(template),
            _ => None,
        }
    }
}

/// Whether a path ends, or goes on with `/`, at `length`.
fn separated(path: &[u8], length: usize) -> bool {
    path.len() == length || path.get(length) == Some(&b'/')
}

impl fmt::Display for PathMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (form, text) = match self {
            Self::Prefix(text) => ("prefix", text),
            Self::Path(text) => ("path", text),
            Self::Separated(text) => ("path_separated_prefix", text),
            Self::AnyCase(Form::Prefix, text) => ("prefix in any case", text),
            Self::AnyCase(Form::Path, text) => ("path in any case", text),
            Self::AnyCase(Form::Separated, text) => ("path_separated_prefix in any case", text),
            Self::Regex(regex) => return write!(f, "safe_regex {:?}", regex.source()),
            Self::Template(template) => return write!(f, "path template {:?}", template.source()),
            Self::Connect => return f.write_str("connect_matcher"),
        };
        write!(f, "{form} {:?}", String::from_utf8_lossy(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: PathSpecifier, case_sensitive: bool, requested: &str) -> bool {
        let matcher = PathMatch::compile(&RouteMatch { case_sensitive, ..RouteMatch::new(path) }).unwrap();
        matcher.matches(requested.as_bytes(), false)
    }

    #[test]
    fn a_prefix_is_plain_text() {
        for prefix in ["/foo", "/a/rather/long/prefix/foo"] {
            for (rest, expected) in [("", true), ("bar", true), ("/x", true)] {
                assert_eq!(check(PathSpecifier::Prefix(prefix.into()), true, &format!("{prefix}{rest}")), expected);
            }
            assert!(!check(PathSpecifier::Prefix(prefix.into()), true, &prefix[..prefix.len() - 1]));
            assert!(!check(PathSpecifier::Prefix(prefix.into()), true, &prefix.to_uppercase()));
            assert!(check(PathSpecifier::Prefix(prefix.into()), false, &format!("{}bar", prefix.to_uppercase())));
        }
        assert!(check(PathSpecifier::Prefix(String::new()), true, "/x"));
        assert!(!check(PathSpecifier::Prefix("/x/same-tail".into()), true, "/y/same-tail"));
    }

    #[test]
    fn an_exact_path_is_the_whole_path() {
        let exact = || PathSpecifier::Path("/Ab".into());
        assert!(check(exact(), true, "/Ab") && !check(exact(), true, "/Ab/") && !check(exact(), true, "/aB"));
        assert!(check(exact(), false, "/aB") && !check(exact(), false, "/aBc"));
    }

    #[test]
    fn a_separated_prefix_ends_at_a_slash() {
        let separated = || PathSpecifier::PathSeparatedPrefix("/a".into());
        for (path, expected) in
            [("/a", true), ("/a/", true), ("/a/b", true), ("/ab", false), ("/A", false), ("/a%2fb", false)]
        {
            assert_eq!(check(separated(), true, path), expected, "{path}");
        }
        assert!(check(separated(), false, "/A/b") && !check(separated(), false, "/Ab"));
    }

    #[test]
    fn a_separated_prefix_that_cannot_be_one_is_refused() {
        for bad in ["/a/", "/", "/a?b", "/a#b", "", "a"] {
            assert!(
                PathMatch::compile(&RouteMatch::new(PathSpecifier::PathSeparatedPrefix(bad.into()))).is_err(),
                "{bad}"
            );
        }
    }

    #[test]
    fn a_regex_stays_case_sensitive() {
        let regex = || PathSpecifier::SafeRegex("/a[0-9]+".into());
        assert!(check(regex(), false, "/a12") && !check(regex(), false, "/A12") && !check(regex(), true, "/a12/x"));
    }

    #[test]
    fn connect_requests_are_only_for_connect_matchers() {
        let connect = PathMatch::compile(&RouteMatch::new(PathSpecifier::Connect)).unwrap();
        let prefix = PathMatch::compile(&RouteMatch::prefix("/")).unwrap();
        assert!(connect.matches(b"/", true) && !connect.matches(b"/", false));
        assert!(!prefix.matches(b"/", true) && prefix.matches(b"/", false));
    }
}
