//! The language of attribute expressions: text in, typed tokens out, arguments before their function.
//!
//! Operators bind as in Go, of which the language is a part: `|` before comparisons, these before `&&`, that before `||`.

use mesh_proto::mixer::Token;

use super::attribute::{Type, attribute};

/// Reads an expression.
///
/// # Errors
/// What is wrong with it, and the column, from 1.
pub(crate) fn parse(text: &str) -> Result<(Vec<Token>, Type), String> {
    let mut parser = Parser { lexemes: lex(text)?, at: 0, out: Vec::new(), depth: 0 };
    let kind = parser.conditional()?;
    match parser.peek() {
        None => Ok((parser.out, kind)),
        Some(_) => Err(parser.wrong("an operator")),
    }
}

#[derive(Clone, Debug, PartialEq)]
enum Lexeme {
    Name(String),
    Text(String),
    Number(i64),
    Symbol(&'static str),
}

/// Longer ones first.
const SYMBOLS: &[&str] =
    &["||", "&&", "==", "!=", "<=", ">=", "<", ">", "|", "!", "(", ")", "[", "]", ".", ",", "?", ":", "-"];

fn lex(text: &str) -> Result<Vec<(Lexeme, usize)>, String> {
    let mut lexemes = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start();
        let column = text.len() - rest.len() + 1;
        let Some(first) = rest.chars().next() else { return Ok(lexemes) };
        let (lexeme, length) = if first == '"' || first == '`' {
            quoted(rest, first).ok_or_else(|| format!("column {column}: a text without end"))?
        } else if first.is_ascii_digit() {
            let length = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
            let number = rest[..length].parse().map_err(|_| format!("column {column}: a number out of range"))?;
            (Lexeme::Number(number), length)
        } else if first.is_ascii_alphabetic() || first == '_' {
            let length = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
            (Lexeme::Name(rest[..length].to_owned()), length)
        } else {
            let symbol = SYMBOLS.iter().find(|symbol| rest.starts_with(**symbol));
            let symbol = symbol.ok_or_else(|| format!("column {column}: {first:?} means nothing here"))?;
            (Lexeme::Symbol(symbol), symbol.len())
        };
        lexemes.push((lexeme, column));
        rest = &rest[length..];
    }
}

/// A quoted text and its length in the source; a backslash keeps the next character.
fn quoted(source: &str, quote: char) -> Option<(Lexeme, usize)> {
    let mut out = String::new();
    let mut chars = source.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        match c {
            c if c == quote => return Some((Lexeme::Text(out), at + c.len_utf8())),
            '\\' if quote == '"' => match chars.next()?.1 {
                'n' => out.push('\n'),
                't' => out.push('\t'),
                other => out.push(other),
            },
            c => out.push(c),
        }
    }
    None
}

struct Parser {
    lexemes: Vec<(Lexeme, usize)>,
    at: usize,
    out: Vec<Token>,
    depth: usize,
}

/// So deep an expression may nest.
const DEEPEST: usize = 32;

impl Parser {
    fn peek(&self) -> Option<&Lexeme> {
        self.lexemes.get(self.at).map(|(lexeme, _)| lexeme)
    }

    fn takes(&mut self, symbol: &str) -> bool {
        let found = matches!(self.peek(), Some(Lexeme::Symbol(known)) if *known == symbol);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, symbol: &str) -> Result<(), String> {
        if self.takes(symbol) { Ok(()) } else { Err(self.wrong(&format!("{symbol:?}"))) }
    }

    fn wrong(&self, wanted: &str) -> String {
        match self.lexemes.get(self.at) {
            Some((_, column)) => format!("column {column}: expected {wanted}"),
            None => format!("at its end: expected {wanted}"),
        }
    }

    fn call(&mut self, name: &str, arguments: u8) {
        self.out.push(Token::Call(name.to_owned(), arguments));
    }

    fn same(&self, what: &str, a: Type, b: Type) -> Result<Type, String> {
        if a == b { Ok(a) } else { Err(format!("{what}: {} and {} do not fit", a.name(), b.name())) }
    }

    fn want(&self, what: &str, wanted: Type, is: Type) -> Result<(), String> {
        let why = || format!("{what}: expected {}, found {}", wanted.name(), is.name());
        if is == wanted { Ok(()) } else { Err(why()) }
    }

    fn conditional(&mut self) -> Result<Type, String> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(format!("nests more than {DEEPEST} deep"));
        }
        let condition = self.binary(0)?;
        let kind = if self.takes("?") {
            self.want("?:", Type::Bool, condition)?;
            let yes = self.conditional()?;
            self.expect(":")?;
            let no = self.conditional()?;
            self.call("conditional", 3);
            self.same("?:", yes, no)?
        } else {
            condition
        };
        self.depth -= 1;
        Ok(kind)
    }

    fn binary(&mut self, level: usize) -> Result<Type, String> {
        const LEVELS: &[&[&str]] = &[&["||"], &["&&"], &["==", "!=", "<=", ">=", "<", ">"], &["|"]];
        let Some(operators) = LEVELS.get(level) else { return self.unary() };
        let mut left = self.binary(level + 1)?;
        let mut length = 0;
        while let Some(operator) = operators.iter().find(|operator| self.takes(operator)) {
            length += 1;
            if length > DEEPEST {
                return Err(format!("more than {DEEPEST} of {operator} in a row"));
            }
            let right = self.binary(level + 1)?;
            left = match *operator {
                "||" | "&&" => {
                    self.want(operator, Type::Bool, left)?;
                    self.want(operator, Type::Bool, right)?;
                    Type::Bool
                }
                "==" | "!=" => {
                    self.same(operator, left, right)?;
                    Type::Bool
                }
                "|" => self.same(operator, left, right)?,
                _ => {
                    if !matches!(self.same(operator, left, right)?, Type::Integer | Type::Text) {
                        return Err(format!("{operator}: {} has no order", left.name()));
                    }
                    Type::Bool
                }
            };
            self.call(operator, 2);
        }
        Ok(left)
    }

    fn unary(&mut self) -> Result<Type, String> {
        if self.takes("!") {
            self.depth += 1;
            if self.depth > DEEPEST {
                return Err(format!("nests more than {DEEPEST} deep"));
            }
            let kind = self.unary()?;
            self.depth -= 1;
            self.want("!", Type::Bool, kind)?;
            self.call("!", 1);
            return Ok(Type::Bool);
        }
        let mut kind = self.primary()?;
        while self.takes(".") {
            kind = self.method(kind)?;
        }
        Ok(kind)
    }

    fn primary(&mut self) -> Result<Type, String> {
        let Some(lexeme) = self.peek().cloned() else { return Err(self.wrong("a value")) };
        self.at += 1;
        match lexeme {
            Lexeme::Text(text) => {
                self.out.push(Token::Text(text));
                Ok(Type::Text)
            }
            Lexeme::Number(number) => {
                self.out.push(Token::Integer(number));
                Ok(Type::Integer)
            }
            Lexeme::Symbol("-") => match self.peek() {
                Some(Lexeme::Number(number)) => {
                    self.out.push(Token::Integer(-number));
                    self.at += 1;
                    Ok(Type::Integer)
                }
                _ => Err(self.wrong("a number")),
            },
            Lexeme::Symbol("(") => {
                let kind = self.conditional()?;
                self.expect(")")?;
                Ok(kind)
            }
            Lexeme::Symbol(_) => {
                self.at -= 1;
                Err(self.wrong("a value"))
            }
            Lexeme::Name(name) => self.named(name),
        }
    }

    fn named(&mut self, mut name: String) -> Result<Type, String> {
        match name.as_str() {
            "true" | "false" => {
                self.out.push(Token::Bool(name == "true"));
                return Ok(Type::Bool);
            }
            _ if self.takes("(") => return self.function(&name),
            _ => {}
        }
        // As many parts as there are, but a method of text is not part of a name.
        while let (Some((Lexeme::Symbol("."), _)), Some((Lexeme::Name(part), _))) =
            (self.lexemes.get(self.at), self.lexemes.get(self.at + 1))
        {
            if matches!(self.lexemes.get(self.at + 2), Some((Lexeme::Symbol("("), _))) {
                break;
            }
            name = format!("{name}.{part}");
            self.at += 2;
        }
        let Some(kind) = attribute(&name) else { return Err(format!("{name} is no attribute")) };
        if kind != Type::Map {
            self.out.push(Token::Attribute(name, String::new()));
            return Ok(kind);
        }
        self.expect("[")?;
        let Some(Lexeme::Text(key)) = self.peek().cloned() else { return Err(self.wrong("a text")) };
        self.at += 1;
        self.expect("]")?;
        self.out.push(Token::Attribute(name, key));
        Ok(Type::Text)
    }

    fn arguments(&mut self) -> Result<Vec<Type>, String> {
        let mut kinds = Vec::new();
        if self.takes(")") {
            return Ok(kinds);
        }
        loop {
            kinds.push(self.conditional()?);
            if self.takes(")") {
                return Ok(kinds);
            }
            self.expect(",")?;
        }
    }

    fn function(&mut self, name: &str) -> Result<Type, String> {
        let first = self.out.len();
        let kinds = self.arguments()?;
        match (name, &kinds[..]) {
            ("match", [Type::Text, Type::Text]) => {
                self.call("match", 2);
                Ok(Type::Bool)
            }
            ("toLower" | "reverse", [Type::Text]) => {
                self.call(name, 1);
                Ok(Type::Text)
            }
            ("conditional", [Type::Bool, yes, no]) => {
                self.call("conditional", 3);
                self.same("conditional", *yes, *no)
            }
            ("ip", [Type::Text]) => self
                .constant(first, name, Type::Ip, |text| text.parse::<std::net::IpAddr>().ok().map(|ip| ip.to_string())),
            ("timestamp", [Type::Text]) => {
                self.constant(first, name, Type::Time, |text| text.ends_with('Z').then(|| text.to_owned()))
            }
            ("duration", [Type::Text]) => self.constant(first, name, Type::Duration, |text| Some(text.to_owned())),
            ("email" | "dnsName" | "uri", [Type::Text]) => {
                self.constant(first, name, Type::Text, |text| (!text.is_empty()).then(|| text.to_owned()))
            }
            (
                "match" | "toLower" | "reverse" | "conditional" | "ip" | "timestamp" | "email" | "dnsName" | "uri",
                kinds,
            ) => {
                let kinds: Vec<_> = kinds.iter().map(|kind| kind.name()).collect();
                Err(format!("{name}({}) does not fit", kinds.join(", ")))
            }
            _ => Err(format!("{name} is no function that is known here")),
        }
    }

    /// A function of a constant, which is settled now.
    fn constant(
        &mut self,
        first: usize,
        name: &str,
        kind: Type,
        judge: impl Fn(&str) -> Option<String>,
    ) -> Result<Type, String> {
        match self.out.get(first..) {
            Some([Token::Text(text)]) => match judge(text) {
                Some(text) => {
                    self.out.truncate(first);
                    self.out.push(Token::Text(text));
                    Ok(kind)
                }
                None => Err(format!("{name}({text:?}) is none")),
            },
            _ => Err(format!("{name} is of a text that is written out")),
        }
    }

    fn method(&mut self, of: Type) -> Result<Type, String> {
        let Some(Lexeme::Name(name)) = self.peek().cloned() else { return Err(self.wrong("a method")) };
        self.at += 1;
        self.expect("(")?;
        let kinds = self.arguments()?;
        match (of, name.as_str(), &kinds[..]) {
            (Type::Text, "startsWith" | "endsWith", [Type::Text]) => {
                self.call(&name, 2);
                Ok(Type::Bool)
            }
            _ => Err(format!("{name} is no method of {}", of.name())),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

    use super::*;

    fn text(tokens: &[Token]) -> String {
        let one = |token: &Token| match token {
            Token::Text(text) => format!("{text:?}"),
            Token::Integer(number) => number.to_string(),
            Token::Bool(value) => value.to_string(),
            Token::Attribute(name, key) if key.is_empty() => name.clone(),
            Token::Attribute(name, key) => format!("{name}[{key}]"),
            Token::Call(name, count) => format!("{name}/{count}"),
        };
        tokens.iter().map(one).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn expressions_are_read_as_mixer_reads_them() {
        for (source, expected) in [
            (r#"request.headers["x-user"] | "unknown""#, r#"request.headers[x-user] "unknown" |/2"#),
            (
                r#"destination.labels["app"] | destination.service.name | "unknown""#,
                r#"destination.labels[app] destination.service.name |/2 "unknown" |/2"#,
            ),
            (
                r#"source.namespace | "a" == "b" || true && !false"#,
                r#"source.namespace "a" |/2 "b" ==/2 true false !/1 &&/2 ||/2"#,
            ),
            (
                r#"match(request.path, "/api/*") && request.size > -5"#,
                r#"request.path "/api/*" match/2 request.size -5 >/2 &&/2"#,
            ),
            (r#"request.path.startsWith("/a")"#, r#"request.path "/a" startsWith/2"#),
            (r#"request.headers["x"].endsWith("\"q")"#, r#"request.headers[x] "\"q" endsWith/2"#),
            (r#"source.ip == ip("10.0.0.1")"#, r#"source.ip "10.0.0.1" ==/2"#),
            (r#"connection.mtls ? "yes" : "no""#, r#"connection.mtls "yes" "no" conditional/3"#),
            (
                r#"conditional(true, toLower(request.host), `raw\`)"#,
                r#"true request.host toLower/1 "raw\\" conditional/3"#,
            ),
            ("(((true)))", "true"),
        ] {
            assert_eq!(text(&parse(source).unwrap().0), expected, "{source}");
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (source, expected) in [
            ("", "at its end: expected a value"),
            ("true true", "column 6: expected an operator"),
            ("request.nothing == 1", "request.nothing is no attribute"),
            ("request.size == \"1\"", "==: number and text do not fit"),
            ("request.path && true", "&&: expected bool, found text"),
            ("!request.path", "!: expected bool, found text"),
            ("request.headers", "at its end: expected \"[\""),
            ("request.headers[1]", "column 17: expected a text"),
            ("source.ip < destination.ip", "<: address has no order"),
            ("\"open", "column 1: a text without end"),
            ("true # x", "column 6: '#' means nothing here"),
            ("99999999999999999999", "column 1: a number out of range"),
            ("f(1)", "f is no function that is known here"),
            ("match(1, 2)", "match(number, number) does not fit"),
            ("ip(\"ten\") == source.ip", "ip(\"ten\") is none"),
            ("ip(request.path) == source.ip", "ip is of a text that is written out"),
            ("request.path.size()", "size is no method of text"),
            ("true ? 1 : \"a\"", "?:: number and text do not fit"),
        ] {
            assert_eq!(parse(source).unwrap_err(), expected, "{source}");
        }
        for deep in ["(".repeat(100_000), "!".repeat(100_000), "true || ".repeat(100_000)] {
            assert!(parse(&deep).is_err());
        }
    }
}
