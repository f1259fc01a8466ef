//! `StringMatcher`, `HeaderMatcher`, `MetadataMatcher` and what is made of them.
//!
//! Regular expressions stay text: the engines compile and refuse them. A specifier that nobody knows here refuses the
//! resource, since a condition that is dropped matches too much (S24).

use mesh_core::resource::Problem;
use mesh_core::resource::matcher::{
    HeaderMatcher, HeaderSpecifier, MetadataMatcher, StringMatcher, StringPattern, ValueMatcher,
};
use mesh_core::resource::route::RegexRewrite;
use mesh_proto::envoy::config::route::v3 as route;
use mesh_proto::envoy::r#type::matcher::v3 as pb;

use super::refused::{At, Refused, refuse, unsupported};

/// A `StringMatcher`.
pub(super) fn string(at: &At<'_>, matcher: &pb::StringMatcher) -> Result<StringMatcher, Refused> {
    use pb::string_matcher::MatchPattern;
    let pattern = match &matcher.match_pattern {
        None => return Err(refuse(&at.field("match_pattern"), Problem::Missing)),
        Some(MatchPattern::Exact(text)) => StringPattern::Exact(text.clone()),
        Some(MatchPattern::Prefix(text)) => StringPattern::Prefix(text.clone()),
        Some(MatchPattern::Suffix(text)) => StringPattern::Suffix(text.clone()),
        Some(MatchPattern::Contains(text)) => StringPattern::Contains(text.clone()),
        Some(MatchPattern::SafeRegex(regex)) => StringPattern::SafeRegex(regex.regex.clone()),
        Some(MatchPattern::Custom(_)) => return Err(unsupported(&at.field("custom"), "a custom string matcher")),
    };
    Ok(StringMatcher { pattern, ignore_case: matcher.ignore_case })
}

/// A `RegexMatchAndSubstitute`.
pub(super) fn regex_rewrite(at: &At<'_>, rewrite: &pb::RegexMatchAndSubstitute) -> Result<RegexRewrite, Refused> {
    let Some(pattern) = &rewrite.pattern else {
        return Err(refuse(&at.field("pattern"), Problem::Missing));
    };
    Ok(RegexRewrite { pattern: pattern.regex.clone(), substitution: rewrite.substitution.clone() })
}

/// A list of `HeaderMatcher`s.
pub(super) fn headers(at: &At<'_>, matchers: &[route::HeaderMatcher]) -> Result<Vec<HeaderMatcher>, Refused> {
    matchers.iter().enumerate().map(|(index, one)| header(&at.index(index), one)).collect()
}

/// A `HeaderMatcher`.
pub(super) fn header(at: &At<'_>, matcher: &route::HeaderMatcher) -> Result<HeaderMatcher, Refused> {
    use route::header_matcher::HeaderMatchSpecifier as Specifier;
    let plain = |pattern| HeaderSpecifier::String(StringMatcher::new(pattern));
    let specifier = match &matcher.header_match_specifier {
        None => HeaderSpecifier::Present(true),
        Some(Specifier::PresentMatch(present)) => HeaderSpecifier::Present(*present),
        Some(Specifier::RangeMatch(range)) => HeaderSpecifier::Range { start: range.start, end: range.end },
        Some(Specifier::StringMatch(matcher)) => HeaderSpecifier::String(string(&at.field("string_match"), matcher)?),
        Some(Specifier::ExactMatch(text)) => plain(StringPattern::Exact(text.clone())),
        Some(Specifier::PrefixMatch(text)) => plain(StringPattern::Prefix(text.clone())),
        Some(Specifier::SuffixMatch(text)) => plain(StringPattern::Suffix(text.clone())),
        Some(Specifier::ContainsMatch(text)) => plain(StringPattern::Contains(text.clone())),
        Some(Specifier::SafeRegexMatch(regex)) => plain(StringPattern::SafeRegex(regex.regex.clone())),
    };
    Ok(HeaderMatcher {
        name: matcher.name.clone(),
        specifier,
        invert_match: matcher.invert_match,
        treat_missing_header_as_empty: matcher.treat_missing_header_as_empty,
    })
}

/// A `MetadataMatcher`.
pub(super) fn metadata(at: &At<'_>, matcher: &pb::MetadataMatcher) -> Result<MetadataMatcher, Refused> {
    use pb::metadata_matcher::path_segment::Segment;
    let path = matcher.path.iter().enumerate().map(|(index, one)| match &one.segment {
        Some(Segment::Key(key)) => Ok(key.clone()),
        None => Err(refuse(&at.field("path").index(index).field("segment"), Problem::Missing)),
    });
    let path = path.collect::<Result<_, _>>()?;
    let at = at.field("value");
    let Some(wanted) = &matcher.value else {
        return Err(refuse(&at, Problem::Missing));
    };
    Ok(MetadataMatcher { filter: matcher.filter.clone(), path, value: value(&at, wanted)?, invert: matcher.invert })
}

fn value(at: &At<'_>, matcher: &pb::ValueMatcher) -> Result<ValueMatcher, Refused> {
    use pb::double_matcher::MatchPattern as Double;
    use pb::list_matcher::MatchPattern as List;
    use pb::value_matcher::MatchPattern;
    let missing = |at: &At<'_>| Err(refuse(&at.field("match_pattern"), Problem::Missing));
    Ok(match &matcher.match_pattern {
        None => return missing(at),
        Some(MatchPattern::NullMatch(_)) => ValueMatcher::Null,
        Some(MatchPattern::BoolMatch(wanted)) => ValueMatcher::Bool(*wanted),
        Some(MatchPattern::PresentMatch(present)) => ValueMatcher::Present(*present),
        Some(MatchPattern::StringMatch(matcher)) => ValueMatcher::String(string(&at.field("string_match"), matcher)?),
        Some(MatchPattern::DoubleMatch(double)) => match &double.match_pattern {
            None => return missing(&at.field("double_match")),
            Some(Double::Exact(number)) => ValueMatcher::Double(*number),
            Some(Double::Range(range)) => ValueMatcher::DoubleRange { start: range.start, end: range.end },
        },
        Some(MatchPattern::ListMatch(list)) => match &list.match_pattern {
            None => return missing(&at.field("list_match")),
            Some(List::OneOf(one)) => {
                ValueMatcher::ListOneOf(Box::new(value(&at.field("list_match").field("one_of"), one)?))
            }
        },
        Some(MatchPattern::OrMatch(or)) => {
            let at = at.field("or_match");
            let at = at.field("value_matchers");
            let several = or.value_matchers.iter().enumerate().map(|(index, one)| value(&at.index(index), one));
            ValueMatcher::Or(several.collect::<Result<_, _>>()?)
        }
    })
}
