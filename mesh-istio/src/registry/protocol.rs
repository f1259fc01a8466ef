//! Protocols of service ports: from `appProtocol`, the port's name, or the word in a ServiceEntry.
//!
//! Follows Istio's `pkg/config/protocol` and its Kubernetes port conversion.

/// What is spoken on a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Protocol {
    /// HTTP/1.x.
    Http,
    /// HTTP/2.
    Http2,
    /// HTTP within TLS that is not ours.
    Https,
    /// gRPC.
    Grpc,
    /// gRPC-Web.
    GrpcWeb,
    /// HTTP with absolute URIs.
    HttpProxy,
    /// Bytes.
    Tcp,
    /// TLS that is not ours.
    Tls,
    /// MongoDB.
    Mongo,
    /// Redis.
    Redis,
    /// MySQL.
    MySql,
    /// Datagrams, which are left alone.
    Udp,
    /// Found out by looking at the first bytes.
    Auto,
}

impl Protocol {
    /// Reads a protocol by name, without case. What nobody knows is [`Protocol::Auto`].
    #[must_use]
    pub fn parse(text: &str) -> Self {
        match text.to_ascii_lowercase().as_str() {
            "http" => Self::Http,
            "http2" | "kubernetes.io/h2c" => Self::Http2,
            "https" | "kubernetes.io/wss" => Self::Https,
            "grpc" => Self::Grpc,
            "grpc-web" => Self::GrpcWeb,
            "http_proxy" => Self::HttpProxy,
            "tcp" => Self::Tcp,
            "tls" => Self::Tls,
            "mongo" => Self::Mongo,
            "redis" => Self::Redis,
            "mysql" => Self::MySql,
            "udp" => Self::Udp,
            "kubernetes.io/ws" => Self::Http,
            _ => Self::Auto,
        }
    }

    /// The protocol of a Kubernetes port: transport, then `appProtocol`, then the name, then well-known numbers.
    #[must_use]
    pub fn of_kubernetes_port(transport: &str, app_protocol: Option<&str>, name: &str, number: u32) -> Self {
        if transport == "UDP" {
            return Self::Udp;
        }
        let text = match app_protocol {
            Some(text) => text,
            // The only protocol with a hyphen of its own.
            None if name.get(..8).is_some_and(|start| start.eq_ignore_ascii_case("grpc-web")) => "grpc-web",
            None => name.split('-').next().unwrap_or_default(),
        };
        match Self::parse(text) {
            // Servers that speak first would never be recognised by looking: SMTP, DNS, MySQL, MongoDB.
            Self::Auto if matches!(number, 25 | 53 | 3306 | 27017) => Self::Tcp,
            // A name cannot say "UDP" on another transport.
            Self::Udp => Self::Auto,
            protocol => protocol,
        }
    }

    /// Whether requests on it are routed as HTTP.
    #[must_use]
    pub const fn is_http(self) -> bool {
        matches!(self, Self::Http | Self::Http2 | Self::Grpc | Self::GrpcWeb | Self::HttpProxy)
    }

    /// Whether it is HTTP/2 by declaration.
    #[must_use]
    pub const fn is_http2(self) -> bool {
        matches!(self, Self::Http2 | Self::Grpc | Self::GrpcWeb)
    }

    /// Whether it is routed by the server name of a TLS handshake that is not ours.
    #[must_use]
    pub const fn is_tls(self) -> bool {
        matches!(self, Self::Https | Self::Tls)
    }

    /// Whether HTTP routes apply: declared HTTP, or found out.
    #[must_use]
    pub const fn is_http_or_auto(self) -> bool {
        self.is_http() || matches!(self, Self::Auto)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_app_protocols_of_kubernetes_ports() {
        let cases = [
            ("TCP", None, "http", 80, Protocol::Http),
            ("TCP", None, "http-web", 80, Protocol::Http),
            ("TCP", None, "GRPC-x", 80, Protocol::Grpc),
            ("TCP", None, "grpc-web-1", 80, Protocol::GrpcWeb),
            ("TCP", None, "", 80, Protocol::Auto),
            ("TCP", None, "web", 80, Protocol::Auto),
            ("TCP", None, "db", 3306, Protocol::Tcp),
            ("TCP", Some("kubernetes.io/h2c"), "http", 80, Protocol::Http2),
            ("TCP", Some("mystery"), "http", 80, Protocol::Auto),
            ("UDP", None, "dns", 53, Protocol::Udp),
            ("TCP", None, "udp-x", 80, Protocol::Auto),
            ("TCP", None, "https", 443, Protocol::Https),
        ];
        for (transport, app, name, number, want) in cases {
            assert_eq!(Protocol::of_kubernetes_port(transport, app, name, number), want, "{name} {app:?}");
        }
    }
}
