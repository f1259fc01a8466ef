//! Attribute expressions, evaluated on a request. Texts are borrowed where they can be.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::net::SocketAddr;

use crate::engine::facts::RequestFacts;
use crate::resource::filter::{Attribute, Expression, Function};

/// What expressions look at.
#[derive(Clone, Copy, Debug)]
pub struct ExpressionCx<'a> {
    /// The request.
    pub facts: &'a RequestFacts<'a>,
    /// Whether it is gRPC.
    pub grpc: bool,
}

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub enum Evaluated<'a> {
    /// A text.
    Text(Cow<'a, [u8]>),
    /// A number.
    Integer(i64),
    /// `true` or `false`.
    Bool(bool),
}

/// An attribute that the request does not have, and no default for it; or values that do not fit the operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unknown;

/// Evaluates an expression.
///
/// # Errors
/// [`Unknown`].
pub fn evaluate<'a>(expression: &'a Expression, cx: &ExpressionCx<'a>) -> Result<Evaluated<'a>, Unknown> {
    match expression {
        Expression::Text(text) => Ok(Evaluated::Text(Cow::Borrowed(text.as_bytes()))),
        Expression::Integer(number) => Ok(Evaluated::Integer(*number)),
        Expression::Bool(value) => Ok(Evaluated::Bool(*value)),
        Expression::Attribute(attribute) => of_request(attribute, cx).ok_or(Unknown),
        Expression::Call(function, arguments) => call(*function, arguments, cx),
    }
}

impl<'a> Evaluated<'a> {
    /// Its text, as keys and overrides compare it.
    #[must_use]
    pub fn into_text(self) -> Cow<'a, [u8]> {
        match self {
            Self::Text(text) => text,
            Self::Integer(number) => Cow::Owned(number.to_string().into_bytes()),
            Self::Bool(value) => Cow::Borrowed(if value { b"true" } else { b"false" }),
        }
    }

    fn is_empty(&self) -> bool {
        matches!(self, Self::Text(text) if text.is_empty())
    }
}

/// An attribute of a request; `None` when the request does not have it.
pub(super) fn of_request<'a>(attribute: &Attribute, cx: &ExpressionCx<'a>) -> Option<Evaluated<'a>> {
    let facts = cx.facts;
    let text = |text: &'a str| Some(Evaluated::Text(Cow::Borrowed(text.as_bytes())));
    let ip = |address: Option<SocketAddr>| {
        Some(Evaluated::Text(Cow::Owned(address?.ip().to_canonical().to_string().into_bytes())))
    };
    match attribute {
        Attribute::Header(name) => match name.as_str() {
            ":path" => text(facts.path),
            ":method" => text(facts.method.as_str()),
            ":authority" | "host" => text(facts.authority),
            name => Some(Evaluated::Text(Cow::Borrowed(facts.headers.get(name)?.as_bytes()))),
        },
        Attribute::QueryParameter(name) => {
            let parameters = facts.query()?.split('&').map(|one| one.split_once('=').unwrap_or((one, "")));
            text({ parameters }.find(|(key, _)| key == name)?.1)
        }
        Attribute::Path => text(facts.path),
        Attribute::UrlPath => text(facts.path_only()),
        Attribute::Host => text(facts.authority),
        Attribute::Method => text(facts.method.as_str()),
        Attribute::Scheme => text(facts.scheme),
        Attribute::SourceIp => ip(facts.connection.remote),
        Attribute::DestinationIp => ip(facts.connection.local),
        Attribute::DestinationPort => Some(Evaluated::Integer(facts.connection.local?.port().into())),
        Attribute::MutualTls => {
            Some(Evaluated::Bool(facts.connection.tls.as_ref().is_some_and(|tls| tls.presented && tls.validated)))
        }
        Attribute::ServerName => text(&facts.connection.tls.as_ref()?.server_name),
        Attribute::Protocol => text(if cx.grpc { "grpc" } else { "http" }),
        Attribute::Absent(_) => None,
    }
}

fn call<'a>(function: Function, arguments: &'a [Expression], cx: &ExpressionCx<'a>) -> Result<Evaluated<'a>, Unknown> {
    let at = |index: usize| evaluate(arguments.get(index).ok_or(Unknown)?, cx);
    let truth = |index| match at(index)? {
        Evaluated::Bool(value) => Ok(value),
        _ => Err(Unknown),
    };
    let text = |index| match at(index)? {
        Evaluated::Text(text) => Ok(text),
        _ => Err(Unknown),
    };
    let order = || match (at(0)?, at(1)?) {
        (Evaluated::Integer(a), Evaluated::Integer(b)) => Ok(a.cmp(&b)),
        (Evaluated::Text(a), Evaluated::Text(b)) => Ok(a.cmp(&b)),
        _ => Err(Unknown),
    };
    Ok(Evaluated::Bool(match function {
        Function::Or => truth(0)? || truth(1)?,
        Function::And => truth(0)? && truth(1)?,
        Function::Not => !truth(0)?,
        Function::Equal => at(0)? == at(1)?,
        Function::NotEqual => at(0)? != at(1)?,
        Function::Less => order()? == Ordering::Less,
        Function::LessOrEqual => order()? != Ordering::Greater,
        Function::Greater => order()? == Ordering::Greater,
        Function::GreaterOrEqual => order()? != Ordering::Less,
        Function::StartsWith => text(0)?.starts_with(&text(1)?),
        Function::EndsWith => text(0)?.ends_with(&text(1)?),
        Function::Match => matches(&text(0)?, &text(1)?),
        Function::Default => {
            return match at(0) {
                Ok(value) if !value.is_empty() => Ok(value),
                _ => at(1),
            };
        }
        Function::Conditional => return if truth(0)? { at(1) } else { at(2) },
        Function::Lower => return Ok(Evaluated::Text(Cow::Owned(text(0)?.to_ascii_lowercase()))),
        Function::Reverse => {
            let reversed = String::from_utf8_lossy(&text(0)?).chars().rev().collect::<String>();
            return Ok(Evaluated::Text(Cow::Owned(reversed.into_bytes())));
        }
    }))
}

/// `*` at either end of the pattern stands for any text.
fn matches(text: &[u8], pattern: &[u8]) -> bool {
    match pattern {
        [prefix @ .., b'*'] => text.starts_with(prefix),
        [b'*', suffix @ ..] => text.ends_with(suffix),
        exact => text == exact,
    }
}

#[cfg(test)]
mod tests;
