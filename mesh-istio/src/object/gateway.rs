//! `networking.istio.io` Gateway, field for field as in Istio's proto.
//!
//! Only shapes; rules are in `validate`, which node a Gateway is for is in `select`, meaning is in `lower`.

use std::collections::BTreeMap;

use super::decode::{enumeration, message};

message! {
    /// A load balancer at the edge: ports on which it listens, and for which hosts.
    pub struct Gateway {
        /// What it listens on.
        pub servers: Vec<Server>,
        /// Labels of the nodes that it configures; empty: all gateways.
        pub selector: BTreeMap<String, String>,
    }

    /// One port and the hosts that are served there.
    pub struct Server {
        /// The port.
        pub port: Option<Port>,
        /// Address or `unix://` path to listen on; empty: every address.
        pub bind: String,
        /// Hosts as `namespace/host` (of VirtualServices in that namespace) or `host`.
        pub hosts: Vec<String>,
        /// TLS towards callers.
        pub tls: Option<ServerTlsSettings>,
        /// Where unrouted traffic goes; not used by Istio.
        pub default_endpoint: String,
        /// Name, for statistics.
        pub name: String,
    }

    /// A port of a Gateway or a Sidecar.
    pub struct Port {
        /// Number.
        pub number: u32,
        /// HTTP, HTTPS, GRPC, GRPC-WEB, HTTP2, MONGO, TCP, TLS and the like.
        pub protocol: String,
        /// Name.
        pub name: String,
        /// Deprecated; no effect in Istio.
        pub target_port: u32,
    }

    /// TLS towards callers.
    pub struct ServerTlsSettings {
        /// Callers without TLS are sent to `https`.
        pub https_redirect: bool,
        /// Who shows a certificate.
        pub mode: ServerTlsMode,
        /// Certificate file.
        pub server_certificate: String,
        /// Key file.
        pub private_key: String,
        /// CA file.
        pub ca_certificates: String,
        /// Revocation list file.
        pub ca_crl: String,
        /// Secret.
        pub credential_name: String,
        /// Secrets, of certificates of different types.
        pub credential_names: Vec<String>,
        /// Certificate files of different types.
        pub tls_certificates: Vec<TlsCertificate>,
        /// Names the caller may have.
        pub subject_alt_names: Vec<String>,
        /// Hashes of keys the caller may have.
        pub verify_certificate_spki: Vec<String>,
        /// Hashes of certificates the caller may have.
        pub verify_certificate_hash: Vec<String>,
        /// Lowest version.
        pub min_protocol_version: TlsProtocol,
        /// Highest version.
        pub max_protocol_version: TlsProtocol,
        /// Allowed cipher suites.
        pub cipher_suites: Vec<String>,
    }

    /// A certificate and its key.
    pub struct TlsCertificate {
        /// Certificate file.
        pub server_certificate: String,
        /// Key file.
        pub private_key: String,
        /// CA file.
        pub ca_certificates: String,
    }
}

enumeration! {
    /// Who shows a certificate to a caller.
    pub enum ServerTlsMode {
        /// The server behind: connections are passed on by server name.
        Passthrough = 0 "PASSTHROUGH",
        /// The gateway.
        Simple = 1 "SIMPLE",
        /// Gateway and caller.
        Mutual = 2 "MUTUAL",
        /// As `Passthrough`, to services by their server names.
        AutoPassthrough = 3 "AUTO_PASSTHROUGH",
        /// Both, with the mesh's certificates.
        IstioMutual = 4 "ISTIO_MUTUAL",
        /// The gateway, and the caller if it has one.
        OptionalMutual = 5 "OPTIONAL_MUTUAL",
    }

    /// A version of TLS.
    pub enum TlsProtocol {
        /// As Envoy has it.
        TlsAuto = 0 "TLS_AUTO",
        /// 1.0.
        Tlsv10 = 1 "TLSV1_0",
        /// 1.1.
        Tlsv11 = 2 "TLSV1_1",
        /// 1.2.
        Tlsv12 = 3 "TLSV1_2",
        /// 1.3.
        Tlsv13 = 4 "TLSV1_3",
    }
}
