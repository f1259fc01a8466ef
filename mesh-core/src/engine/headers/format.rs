//! A substitution format string, compiled: literal text and operators.

use super::context::FormatContext;
use super::operator::Operator;
use super::render::render;
use crate::resource::Problem;

/// A format string such as `p-%REQ(x-id?:authority):8%`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Format {
    pieces: Box<[Piece]>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(Box<str>),
    Operator(Operator),
}

impl Format {
    /// Compiles a format string. `%%` is a percent sign.
    ///
    /// # Errors
    /// A lone `%`, an operator that does not exist or is not supported, parameters that it does not take.
    pub fn compile(text: &str) -> Result<Self, Problem> {
        let mut pieces = Vec::new();
        let mut literal = String::new();
        let mut at = 0;
        while let Some(found) = text[at..].find('%') {
            literal.push_str(&text[at..at + found]);
            at += found + 1;
            let rest = &text[at..];
            if rest.starts_with('%') {
                literal.push('%');
                at += 1;
                continue;
            }
            let (operator, length) = Operator::parse(rest).map_err(|problem| match problem {
                // Where it is, is Envoy's way of saying it.
                Problem::Value(why) => Problem::Value(format!("{text:?}: {why} at position {}", at - 1)),
                other => other,
            })?;
            if !literal.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut literal).into()));
            }
            pieces.push(Piece::Operator(operator));
            at += length;
        }
        literal.push_str(&text[at..]);
        if !literal.is_empty() {
            pieces.push(Piece::Text(literal.into()));
        }
        Ok(Self { pieces: pieces.into() })
    }

    /// The text, when there is no operator in it.
    #[must_use]
    pub fn literal(&self) -> Option<&str> {
        match &*self.pieces {
            [] => Some(""),
            [Piece::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// Whether any operator prints something of the request's headers, method or path.
    #[must_use]
    pub fn reads_request(&self) -> bool {
        self.pieces.iter().any(|piece| matches!(piece, Piece::Operator(operator) if operator.reads_request()))
    }

    /// Appends the text for `cx`; `missing` stands for every value that is not there (`-` in logs, nothing in
    /// headers).
    pub fn render(&self, cx: &FormatContext<'_>, missing: &str, out: &mut Vec<u8>) {
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => out.extend_from_slice(text.as_bytes()),
                Piece::Operator(operator) => {
                    if !render(operator, cx, out) {
                        out.extend_from_slice(missing.as_bytes());
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use http::{HeaderMap, HeaderValue, Method, StatusCode};

    use super::*;
    use crate::engine::facts::{ConnectionFacts, RequestFacts, TlsFacts};
    use crate::engine::headers::{NodeFacts, ResponseFacts, UpstreamFacts};
    use crate::engine::response_flags::ResponseFlags;
    use crate::resource::endpoint::Address;
    use crate::resource::metadata::{Metadata, Value};

    fn print(format: &str) -> String {
        let mut headers = HeaderMap::new();
        headers.insert("x-ow", HeaderValue::from_static("orig"));
        let tls = TlsFacts {
            server_name: "sni.test".into(),
            version: "TLSv1.3".into(),
            peer_uri_sans: vec!["spiffe://a".into(), "spiffe://b".into()],
            peer_subject: "CN=a".into(),
            ..TlsFacts::default()
        };
        let connection = ConnectionFacts {
            remote: Some("127.0.0.1:1000".parse().unwrap()),
            local: Some("[::1]:80".parse().unwrap()),
            protocol: "HTTP/1.1",
            tls: Some(tls),
            slots: None,
        };
        let inner =
            Value::Struct([("k".to_owned(), Value::Number(3.0)), ("t".to_owned(), Value::Text("v\"".into()))].into());
        let metadata = Metadata::from([("ns".to_owned(), inner)]);
        let request = RequestFacts {
            method: &Method::GET,
            scheme: "http",
            authority: "a.test",
            path: "/p?q=1",
            headers: &headers,
            connection: &connection,
            dynamic_metadata: &metadata,
        };
        let node = NodeFacts { hostname: "pod-1".into(), environment: [("X".to_owned(), "env".to_owned())].into() };
        let state = [("key".to_owned(), "state".to_owned())].into();
        let host = Address::Socket(([10, 0, 0, 1], 80).into());
        let cx = FormatContext {
            filter_state: Some(&state),
            request: Some(request),
            response: Some(ResponseFacts { status: StatusCode::BAD_GATEWAY, headers: &headers }),
            upstream: Some(UpstreamFacts { host: &host, metadata: &metadata }),
            route_name: "r",
            cluster_name: "c",
            flags: ResponseFlags::URX | ResponseFlags::UF,
            details: "via_upstream",
            trace_id: "abc",
            start_time: Some(SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_123)),
            duration: Some(Duration::from_millis(7)),
            bytes_sent: 5,
            bytes_received: 6,
            node: Some(&node),
            ..FormatContext::for_request(&connection, &metadata)
        };
        let mut out = Vec::new();
        Format::compile(format).unwrap().render(&cx, "-", &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn every_operator_prints_what_envoy_prints() {
        for (format, expected) in [
            ("plain", "plain"),
            ("50%%", "50%"),
            ("%REQ(X-OW)%|%REQ(nope?x-ow):3%|p-%REQ(nope)%", "orig|ori|p--"),
            (
                "%REQ(:METHOD)% %REQ(:PATH)% %REQ(:AUTHORITY)% %REQ(:SCHEME)% %REQ(host)%",
                "GET /p?q=1 a.test http a.test",
            ),
            ("%RESP(x-ow)% %RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS%", "orig 502 URX,UF via_upstream"),
            (
                "%DOWNSTREAM_REMOTE_ADDRESS% %DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT% %DOWNSTREAM_REMOTE_PORT%",
                "127.0.0.1:1000 127.0.0.1 1000",
            ),
            (
                "%DOWNSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT% %DOWNSTREAM_LOCAL_PORT%",
                "[::1]:80 ::1 80",
            ),
            (
                "%DOWNSTREAM_PEER_URI_SAN% %DOWNSTREAM_PEER_SUBJECT% %DOWNSTREAM_TLS_VERSION%",
                "spiffe://a,spiffe://b CN=a TLSv1.3",
            ),
            ("%REQUESTED_SERVER_NAME% %PROTOCOL%", "sni.test HTTP/1.1"),
            ("%UPSTREAM_HOST% %UPSTREAM_CLUSTER% %ROUTE_NAME% %TRACE_ID%", "10.0.0.1:80 c r abc"),
            ("%UPSTREAM_METADATA([\"ns\", \"k\"])% %UPSTREAM_METADATA(ns:t)%", "3 v\""),
            (
                "%DYNAMIC_METADATA(ns)% %DYNAMIC_METADATA(ns:k)% %DYNAMIC_METADATA(ns:nope)%",
                "{\"k\":3,\"t\":\"v\\\"\"} 3 -",
            ),
            ("%FILTER_STATE(key)% %FILTER_STATE(key:PLAIN):2%", "state st"),
            ("%START_TIME% %START_TIME(%Y/%m/%d %s %3f)%", "2023-11-14T22:13:20.123Z 2023/11/14 1700000000 123"),
            ("%DURATION% %BYTES_SENT% %BYTES_RECEIVED%", "7 5 6"),
            ("%HOSTNAME% %ENVIRONMENT(X)% %ENVIRONMENT(Y)%", "pod-1 env -"),
        ] {
            assert_eq!(print(format), expected, "{format}");
        }
    }

    #[test]
    fn what_is_not_there_is_missing_except_code_and_flags() {
        let (connection, metadata) = (ConnectionFacts::default(), Metadata::new());
        let cx = FormatContext::for_request(&connection, &metadata);
        let mut out = Vec::new();
        Format::compile("%RESPONSE_CODE%|%RESPONSE_FLAGS%|%UPSTREAM_HOST%|%PROTOCOL%|%START_TIME%")
            .unwrap()
            .render(&cx, "", &mut out);
        assert_eq!(out, b"0|-|||");
    }

    #[test]
    fn what_is_no_operator_is_refused() {
        for bad in [
            "50%",
            "%",
            "%NOPE%",
            "%REQ%",
            "%REQ()%",
            "%REQ(a",
            "%REQ(a)",
            "%REQ(a):x%",
            "%PROTOCOL(x)%",
            "%PROTOCOL:3%",
            "%req(a)%",
            "%START_TIME(%Q)%",
            "%CEL(x)%",
            "%DYNAMIC_METADATA()%",
            "%REQ(a b)%",
            "%UPSTREAM_METADATA([\"ns\")%",
            "%REQ(a?b?c)%",
        ] {
            assert!(Format::compile(bad).is_err(), "{bad}");
        }
        assert_eq!(
            Format::compile("50% off").unwrap_err().to_string(),
            "\"50% off\": a % that begins no operator (a literal one is written %%) at position 2"
        );
    }
}
