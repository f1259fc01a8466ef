//! Mixer's quota, a filter of our own: see `mesh_proto::mixer`.

use mesh_core::resource::filter::{
    Algorithm, Attribute, Charge, Expression, Function, QuotaLimit, QuotaOverride, QuotaRoute, Quotas,
};
use mesh_core::resource::matcher::{StringMatcher, StringPattern};
use mesh_proto::google::protobuf::Any;
use mesh_proto::mixer as pb;

use super::super::refused::{At, Refused, refuse};

/// `at` is the `Any`.
pub(super) fn config(at: &At<'_>, any: &Any) -> Result<Box<Quotas>, Refused> {
    let at = at.field("value");
    let message = pb::Quotas::of_any(any).map_err(|error| refuse(&at, error))?;
    let at = at.field("charges");
    let charges = message.charges.into_iter().enumerate().map(|(index, one)| charge(&at.index(index), one));
    Ok(Box::new(Quotas { charges: charges.collect::<Result<_, _>>()? }))
}

fn charge(at: &At<'_>, message: pb::Charge) -> Result<Charge, Refused> {
    let match_at = at.field("match");
    let clauses = message.matches.into_iter().enumerate().map(|(index, clauses)| {
        let at = match_at.index(index);
        let clauses = clauses.into_iter().enumerate().map(|(index, one)| {
            let pattern = match one.matcher {
                pb::Matcher::Exact(text) => StringPattern::Exact(text),
                pb::Matcher::Prefix(text) => StringPattern::Prefix(text),
                pb::Matcher::Regex(text) => StringPattern::SafeRegex(text),
            };
            Ok((attribute(&at.index(index), &one.attribute, &one.key)?, StringMatcher::new(pattern)))
        });
        clauses.collect::<Result<Vec<_>, Refused>>()
    });
    let matches = clauses.collect::<Result<_, _>>()?;
    let routes_at = at.field("routes");
    let routes = message.routes.into_iter().enumerate().map(|(index, one)| route(&routes_at.index(index), one));
    let routes = routes.collect::<Result<_, _>>()?;
    Ok(Charge { quota: message.quota, amount: message.amount, matches, routes })
}

fn route(at: &At<'_>, message: pb::Route) -> Result<QuotaRoute, Refused> {
    let dimensions_at = at.field("dimensions");
    let dimensions = message.dimensions.into_iter().map(|(name, tokens)| {
        let value = expression(&dimensions_at.key(&name), &tokens)?;
        Ok((name, value))
    });
    let limit = message.limit;
    let overrides = limit.overrides.into_iter().map(|one| QuotaOverride {
        dimensions: one.dimensions,
        max_amount: one.max_amount,
        valid_duration: one.valid_duration,
    });
    Ok(QuotaRoute {
        matches: match &message.matches[..] {
            [] => Expression::Bool(true),
            tokens => expression(&at.field("match"), tokens)?,
        },
        dimensions: dimensions.collect::<Result<_, _>>()?,
        limit: QuotaLimit {
            name: limit.name,
            max_amount: limit.max_amount,
            valid_duration: limit.valid_duration,
            algorithm: if limit.fixed_window { Algorithm::FixedWindow } else { Algorithm::RollingWindow },
            overrides: overrides.collect(),
            min_deduplication: limit.min_deduplication,
        },
    })
}

/// So deep an expression may nest: it is evaluated by going into it.
const DEEPEST: usize = 64;

fn expression(at: &At<'_>, tokens: &[pb::Token]) -> Result<Expression, Refused> {
    let mut values: Vec<(Expression, usize)> = Vec::new();
    for (index, token) in tokens.iter().enumerate() {
        let at = at.index(index);
        let value = match token {
            pb::Token::Text(text) => (Expression::Text(text.clone()), 1),
            pb::Token::Integer(number) => (Expression::Integer(*number), 1),
            pb::Token::Bool(value) => (Expression::Bool(*value), 1),
            pb::Token::Attribute(name, key) => (Expression::Attribute(attribute(&at, name, key)?), 1),
            pb::Token::Call(name, count) => {
                let (function, wanted) =
                    function(name).ok_or_else(|| refuse(&at, format!("{name:?} is no function")))?;
                let first = values.len().checked_sub(wanted).filter(|_| wanted == usize::from(*count));
                let first = first.ok_or_else(|| refuse(&at, format!("{name:?} is of {wanted} values")))?;
                let arguments = values.split_off(first);
                let depth = arguments.iter().map(|(_, depth)| *depth).max().unwrap_or(0) + 1;
                if depth > DEEPEST {
                    return Err(refuse(&at, format!("nests more than {DEEPEST} deep")));
                }
                (Expression::Call(function, arguments.into_iter().map(|(value, _)| value).collect()), depth)
            }
        };
        values.push(value);
    }
    match values.pop() {
        Some((value, _)) if values.is_empty() => Ok(value),
        _ => Err(refuse(at, "is not one expression")),
    }
}

fn function(name: &str) -> Option<(Function, usize)> {
    Some(match name {
        "||" => (Function::Or, 2),
        "&&" => (Function::And, 2),
        "!" => (Function::Not, 1),
        "==" => (Function::Equal, 2),
        "!=" => (Function::NotEqual, 2),
        "<" => (Function::Less, 2),
        "<=" => (Function::LessOrEqual, 2),
        ">" => (Function::Greater, 2),
        ">=" => (Function::GreaterOrEqual, 2),
        "|" => (Function::Default, 2),
        "match" => (Function::Match, 2),
        "startsWith" => (Function::StartsWith, 2),
        "endsWith" => (Function::EndsWith, 2),
        "toLower" => (Function::Lower, 1),
        "reverse" => (Function::Reverse, 1),
        "conditional" => (Function::Conditional, 3),
        _ => return None,
    })
}

fn attribute(at: &At<'_>, name: &str, key: &str) -> Result<Attribute, Refused> {
    Ok(match name {
        "request.headers" => Attribute::Header(key.to_ascii_lowercase()),
        "request.query_params" => Attribute::QueryParameter(key.to_owned()),
        "request.path" => Attribute::Path,
        "request.url_path" => Attribute::UrlPath,
        "request.host" => Attribute::Host,
        "request.method" => Attribute::Method,
        "request.scheme" => Attribute::Scheme,
        "source.ip" => Attribute::SourceIp,
        "destination.ip" => Attribute::DestinationIp,
        "destination.port" => Attribute::DestinationPort,
        "connection.mtls" => Attribute::MutualTls,
        "connection.sni" => Attribute::ServerName,
        "context.protocol" => Attribute::Protocol,
        "" => return Err(refuse(at, "an attribute needs a name")),
        _ => Attribute::Absent(if key.is_empty() { name.to_owned() } else { format!("{name}[{key}]") }),
    })
}
