//! A table of expressions on one request.

use http::{Request, Uri};

use super::*;
use crate::engine::facts::{ConnectionFacts, TlsFacts};
use crate::resource::metadata::Metadata;

fn text(text: &str) -> Expression {
    Expression::Text(text.into())
}

fn of(attribute: Attribute) -> Expression {
    Expression::Attribute(attribute)
}

fn header(name: &str) -> Expression {
    of(Attribute::Header(name.into()))
}

fn call(function: Function, arguments: &[Expression]) -> Expression {
    Expression::Call(function, arguments.to_vec())
}

#[test]
fn each_attribute_and_function_gives_what_mixer_gives() {
    use Function::*;
    let uri = Uri::builder().path_and_query("/shop/cart?user=ann&x").build().unwrap();
    let request =
        Request::get(uri).header("host", "a.test").header("x-user", "Bob").header("x-none", "").body(()).unwrap();
    let connection = ConnectionFacts {
        remote: Some(([10, 0, 0, 1], 1234).into()),
        local: Some(([10, 0, 0, 2], 9080).into()),
        tls: Some(TlsFacts { presented: true, validated: true, server_name: "sni".into(), ..TlsFacts::default() }),
        ..ConnectionFacts::default()
    };
    let nothing = Metadata::new();
    let facts = RequestFacts::of(&request, &connection, &nothing);
    let cx = ExpressionCx { facts: &facts, grpc: false };
    let absent = || of(Attribute::Absent("source.labels[app]".into()));
    let (yes, no) = (Expression::Bool(true), Expression::Bool(false));
    let number = Expression::Integer;
    for (expression, expected) in [
        (header("x-user"), Some("Bob")),
        (header("x-missing"), None),
        (of(Attribute::QueryParameter("user".into())), Some("ann")),
        (of(Attribute::QueryParameter("x".into())), Some("")),
        (of(Attribute::QueryParameter("y".into())), None),
        (of(Attribute::Path), Some("/shop/cart?user=ann&x")),
        (of(Attribute::UrlPath), Some("/shop/cart")),
        (of(Attribute::Host), Some("a.test")),
        (of(Attribute::Method), Some("GET")),
        (of(Attribute::Scheme), Some("https")),
        (of(Attribute::SourceIp), Some("10.0.0.1")),
        (of(Attribute::DestinationIp), Some("10.0.0.2")),
        (of(Attribute::DestinationPort), Some("9080")),
        (of(Attribute::MutualTls), Some("true")),
        (of(Attribute::ServerName), Some("sni")),
        (of(Attribute::Protocol), Some("http")),
        (absent(), None),
        (call(Default, &[absent(), text("unknown")]), Some("unknown")),
        (call(Default, &[header("x-none"), text("unknown")]), Some("unknown")),
        (call(Default, &[header("x-user"), text("unknown")]), Some("Bob")),
        (call(Default, &[absent(), absent()]), None),
        (call(Equal, &[header("x-user"), text("Bob")]), Some("true")),
        (call(NotEqual, &[header("x-user"), text("Bob")]), Some("false")),
        (call(Equal, &[absent(), text("Bob")]), None),
        (call(And, &[no.clone(), call(Equal, &[absent(), text("Bob")])]), Some("false")),
        (call(Or, &[yes.clone(), call(Equal, &[absent(), text("Bob")])]), Some("true")),
        (call(Not, std::slice::from_ref(&no)), Some("true")),
        (call(Not, &[text("no truth")]), None),
        (call(Less, &[number(1), number(2)]), Some("true")),
        (call(LessOrEqual, &[number(2), number(2)]), Some("true")),
        (call(Greater, &[number(1), number(2)]), Some("false")),
        (call(GreaterOrEqual, &[number(i64::MIN), number(i64::MAX)]), Some("false")),
        (call(Less, &[number(1), text("2")]), None),
        (call(Match, &[of(Attribute::UrlPath), text("/shop*")]), Some("true")),
        (call(Match, &[of(Attribute::UrlPath), text("*/cart")]), Some("true")),
        (call(Match, &[of(Attribute::UrlPath), text("/shop")]), Some("false")),
        (call(StartsWith, &[header("x-user"), text("Bo")]), Some("true")),
        (call(EndsWith, &[header("x-user"), text("Bo")]), Some("false")),
        (call(Lower, &[header("x-user")]), Some("bob")),
        (call(Reverse, &[header("x-user")]), Some("boB")),
        (call(Conditional, &[yes, text("a"), text("b")]), Some("a")),
        (call(Conditional, &[no, text("a"), text("b")]), Some("b")),
        (call(Conditional, &[]), None),
    ] {
        let value =
            evaluate(&expression, &cx).ok().map(|value| String::from_utf8(value.into_text().into_owned()).unwrap());
        assert_eq!(value.as_deref(), expected, "{expression:?}");
    }
}
