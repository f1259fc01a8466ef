//! URI templates: `envoy.extensions.path.match.uri_template` and the rewrite that belongs to it.
//!
//! `*` stands for one segment or a part of one, `**` for the rest of the path (last, a literal may follow),
//! `{name}` captures a segment, `{name=pattern}` what the pattern takes. The characters that a wildcard takes
//! are those that Envoy lets it take.

use std::fmt::Write as _;

use crate::engine::matcher::FullMatch;
use crate::resource::Problem;

/// What a path may consist of, as the inside of a class.
const PATH: &str = r"a-zA-Z0-9\-._~%!$&'()+,;:@=";
/// Variables in one template at most, as in Envoy.
const MAX_VARIABLES: usize = 5;
/// Length of a variable's name at most, as in Envoy.
const MAX_NAME: usize = 16;

/// A compiled template. Its regular expression has one group for each variable.
#[derive(Debug)]
pub(super) struct Template {
    source: Box<str>,
    regex: FullMatch,
    variables: Box<[Box<str>]>,
}

impl Template {
    /// Compiles a template.
    pub(super) fn compile(template: &str) -> Result<Self, Problem> {
        let wrong = |why: &str| Problem::Value(format!("{template:?} is no path template: {why}"));
        if !template.starts_with('/') {
            return Err(wrong("it must start with /"));
        }
        let mut reader = Reader { rest: template, regex: String::new(), variables: Vec::new(), last: Last::Literal };
        reader.read(false).map_err(|why| wrong(&why))?;
        let regex = FullMatch::compile(&reader.regex)?;
        Ok(Self { source: template.into(), regex, variables: reader.variables.into() })
    }

    /// The template as it was configured.
    pub(super) fn source(&self) -> &str {
        &self.source
    }

    /// Whether a path matches.
    pub(super) fn matches(&self, path: &[u8]) -> bool {
        self.regex.matches(path)
    }
}

/// What the piece before was: two wildcards need something between them.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Last {
    Literal,
    Wildcard,
    /// `**`: no other wildcard and no `/` may follow.
    Rest,
}

struct Reader<'t> {
    rest: &'t str,
    regex: String,
    variables: Vec<Box<str>>,
    last: Last,
}

impl Reader<'_> {
    fn read(&mut self, in_variable: bool) -> Result<(), String> {
        while let Some(char) = self.rest.chars().next() {
            match char {
                '}' if in_variable => return Ok(()),
                '*' => {
                    self.wildcard()?;
                    if let Some(rest) = self.rest.strip_prefix("**") {
                        self.rest = rest;
                        let _ = write!(self.regex, "[{PATH}/]*");
                        self.last = Last::Rest;
                    } else {
                        self.rest = &self.rest[1..];
                        let _ = write!(self.regex, "[{PATH}]+");
                        self.last = Last::Wildcard;
                    }
                }
                '{' if !in_variable => self.variable()?,
                '/' if self.last == Last::Rest => return Err("** must be the last wildcard".to_owned()),
                '/' if self.rest.starts_with("//") => return Err("it has an empty segment".to_owned()),
                literal if literal == '/' || (literal.is_ascii_graphic() && !"*{}\"<>\\^`|#?[]".contains(literal)) => {
                    // Envoy compares literals as they are; only what a regular expression reads otherwise is escaped.
                    if !literal.is_ascii_alphanumeric() {
                        self.regex.push('\\');
                    }
                    self.regex.push(literal);
                    self.rest = &self.rest[1..];
                    if self.last != Last::Rest {
                        self.last = Last::Literal;
                    }
                }
                other => return Err(format!("{other:?} has no place in it")),
            }
        }
        if in_variable { Err("missing }".to_owned()) } else { Ok(()) }
    }

    fn wildcard(&self) -> Result<(), String> {
        match self.last {
            Last::Literal => Ok(()),
            Last::Wildcard => Err("two wildcards in a row".to_owned()),
            Last::Rest => Err("** must be the last wildcard".to_owned()),
        }
    }

    /// `{name}` or `{name=pattern}`.
    fn variable(&mut self) -> Result<(), String> {
        self.wildcard()?;
        let end = self.rest.find(['=', '}']).ok_or("missing }")?;
        let name = &self.rest[1..end];
        let starts_well = name.starts_with(|char: char| char.is_ascii_alphabetic());
        if !starts_well
            || name.len() > MAX_NAME
            || !name.chars().all(|char| char.is_ascii_alphanumeric() || char == '_')
        {
            return Err(format!("{name:?} is no variable name of up to {MAX_NAME} letters, digits and _"));
        }
        if self.variables.iter().any(|other| **other == *name) {
            return Err(format!("{name:?} is there twice"));
        }
        if self.variables.len() == MAX_VARIABLES {
            return Err(format!("it has over {MAX_VARIABLES} variables"));
        }
        self.variables.push(name.into());
        self.regex.push('(');
        if self.rest[end..].starts_with('=') {
            self.rest = &self.rest[end + 1..];
            if self.rest.starts_with('}') {
                return Err("a variable without a pattern".to_owned());
            }
            self.read(true)?;
        } else {
            self.rest = &self.rest[end..];
            let _ = write!(self.regex, "[{PATH}]+");
            self.last = Last::Wildcard;
        }
        self.rest = self.rest.strip_prefix('}').ok_or("missing }")?;
        self.regex.push(')');
        Ok(())
    }
}

/// A compiled rewrite: literals and variables of the template that matched.
#[derive(Debug)]
pub(super) struct TemplateRewrite(Box<[Piece]>);

#[derive(Debug)]
enum Piece {
    Text(Box<str>),
    /// The group of a variable.
    Group(usize),
}

impl TemplateRewrite {
    /// Compiles a rewrite for the variables of `template`.
    pub(super) fn compile(rewrite: &str, template: Option<&Template>) -> Result<Self, Problem> {
        let wrong = |why: String| Problem::Value(format!("{rewrite:?} is no path template rewrite: {why}"));
        let Some(template) = template else {
            return Err(Problem::Conflict("needs a match by path_match_policy with a URI template".to_owned()));
        };
        if !rewrite.starts_with('/') {
            return Err(wrong("it must start with /".to_owned()));
        }
        let mut pieces = Vec::new();
        let mut rest = rewrite;
        while let Some(open) = rest.find(['{', '}']) {
            if open > 0 {
                pieces.push(Piece::Text(rest[..open].into()));
            }
            let (name, behind) = rest[open..]
                .strip_prefix('{')
                .and_then(|inside| inside.split_once('}'))
                .ok_or_else(|| wrong("unbalanced braces".to_owned()))?;
            let at = template.variables.iter().position(|variable| **variable == *name);
            let at = at.ok_or_else(|| wrong(format!("{name:?} is no variable of {:?}", template.source)))?;
            pieces.push(Piece::Group(at + 1));
            rest = behind;
        }
        if !rest.is_empty() {
            pieces.push(Piece::Text(rest.into()));
        }
        Ok(Self(pieces.into()))
    }

    /// The new path for one that `template` matched.
    pub(super) fn apply(&self, template: &Template, path: &[u8]) -> Option<Vec<u8>> {
        let groups = template.regex.groups(path)?;
        let mut out = Vec::with_capacity(path.len());
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => out.extend_from_slice(text.as_bytes()),
                Piece::Group(group) => out.extend_from_slice(groups.get(*group)?.as_bytes()),
            }
        }
        Some(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_take_segments() {
        for (template, path, expected) in [
            ("/a/*/c/**", "/a/b/c/d/e", true),
            ("/a/*/c/**", "/a/b/c/", true),
            ("/a/*/c/**", "/a/b/c", false),
            ("/a/*/c/**", "/a/b/x/c/d", false),
            ("/a/*/c/**", "/a//c/d", false),
            ("/**", "/", true),
            ("/**.mpd", "/content/india/manifest.mpd", true),
            ("/videos/*/*/*.m4s", "/videos/1/hls/1080p.m4s", true),
            ("/videos/*/*/*.m4s", "/videos/1/hls/1080p_m4s", false),
            ("/{x=*}/{y=**}", "/a/b/c", true),
            ("/{country}/{lang=a/*}", "/be/a/fr", true),
            ("/a.b", "/axb", false),
        ] {
            assert_eq!(Template::compile(template).unwrap().matches(path.as_bytes()), expected, "{template} {path}");
        }
    }

    #[test]
    fn what_is_no_template_is_refused() {
        for bad in [
            "",
            "a",
            "/{*}",
            "/{**}",
            "/**/a",
            "/*{x}",
            "/**/**",
            "/{x}{y}",
            "/{x",
            "/x}",
            "/{x}/{x}",
            "/{1x}",
            "/{x=}",
            "/{x={y}}",
            "//a",
            "/a?b",
            "/a b",
            "/{a_name_of_17_char}",
            "/{a}/{b}/{c}/{d}/{e}/{f}",
            "/{y=**}/z",
            "/\u{e4}",
        ] {
            assert!(Template::compile(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_rewrite_puts_variables_where_it_says() {
        let template = Template::compile("/{country}/{lang=**}").unwrap();
        let rewrite = TemplateRewrite::compile("/x/{lang}/{country}", Some(&template)).unwrap();
        assert_eq!(rewrite.apply(&template, b"/be/fr/a").unwrap(), b"/x/fr/a/be");
        for bad in ["/{nope}", "/{lang", "/lang}", "lang", ""] {
            assert!(TemplateRewrite::compile(bad, Some(&template)).is_err(), "{bad}");
        }
        assert!(TemplateRewrite::compile("/x", None).is_err());
    }
}
