//! An explicit `tls` of a DestinationRule as the cluster's transport socket.
//!
//! TLS is not spoken yet. It is lowered all the same, so that the one place that judges resources refuses the cluster: nobody who asked
//! for TLS may get plain text. Automatic mutual TLS is not lowered: without certificates there is nothing to offer.

use mesh_proto::any::pack;
use mesh_proto::envoy::config::core::v3 as core;
use mesh_proto::envoy::config::core::v3::{TransportSocket, transport_socket};
use mesh_proto::envoy::extensions::transport_sockets::tls::v3 as tls;
use mesh_proto::envoy::extensions::transport_sockets::tls::v3::common_tls_context::{
    CombinedCertificateValidationContext, ValidationContextType,
};
use mesh_proto::envoy::extensions::transport_sockets::tls::v3::tls_parameters::TlsProtocol;
use mesh_proto::envoy::r#type::matcher::v3::{StringMatcher, string_matcher::MatchPattern};

use super::values::{bool_value, seconds};
use crate::object::{ClientTlsSettings, TlsMode};

/// What the socket needs to know of the cluster it is for.
pub(super) struct Upstream<'a> {
    pub(super) server_name: String,
    pub(super) identities: &'a [String],
    pub(super) http2: bool,
}

pub(super) fn socket(settings: Option<&ClientTlsSettings>, upstream: &Upstream<'_>) -> Option<TransportSocket> {
    let settings = settings?;
    let mutual = match settings.mode {
        TlsMode::Disable => return None,
        TlsMode::IstioMutual => true,
        TlsMode::Simple | TlsMode::Mutual => false,
    };
    let names: &[String] =
        if settings.subject_alt_names.is_empty() && mutual { upstream.identities } else { &settings.subject_alt_names };
    let match_names = names
        .iter()
        .map(|name| StringMatcher { match_pattern: Some(MatchPattern::Exact(name.clone())), ignore_case: false });
    #[allow(deprecated, reason = "istiod writes the older field, which takes URIs and DNS names alike")]
    let validation =
        tls::CertificateValidationContext { match_subject_alt_names: match_names.collect(), ..Default::default() };
    let root = if mutual {
        Some("ROOTCA".to_owned())
    } else if settings.insecure_skip_verify == Some(true) {
        None
    } else {
        Some(file_secret("file-root", &[&settings.ca_certificates], "system"))
    };
    let own = match settings.mode {
        TlsMode::IstioMutual => Some("default".to_owned()),
        TlsMode::Mutual if !settings.credential_name.is_empty() => {
            Some(format!("kubernetes://{}", settings.credential_name))
        }
        TlsMode::Mutual => Some(file_secret("file-cert", &[&settings.client_certificate, &settings.private_key], "")),
        _ => None,
    };
    let mut alpn: Vec<String> =
        if mutual { vec!["istio-peer-exchange".to_owned(), "istio".to_owned()] } else { Vec::new() };
    if upstream.http2 {
        alpn.push("h2".to_owned());
    }
    let context = tls::UpstreamTlsContext {
        common_tls_context: Some(tls::CommonTlsContext {
            tls_params: Some(tls::TlsParameters {
                tls_minimum_protocol_version: TlsProtocol::TlSv12.into(),
                tls_maximum_protocol_version: TlsProtocol::TlSv13.into(),
                ..tls::TlsParameters::default()
            }),
            tls_certificate_sds_secret_configs: own.map(secret).into_iter().collect(),
            alpn_protocols: alpn,
            validation_context_type: Some(ValidationContextType::CombinedValidationContext(
                CombinedCertificateValidationContext {
                    default_validation_context: Some(validation),
                    validation_context_sds_secret_config: root.map(secret),
                    ..CombinedCertificateValidationContext::default()
                },
            )),
            ..tls::CommonTlsContext::default()
        }),
        sni: if settings.sni.is_empty() && mutual { upstream.server_name.clone() } else { settings.sni.clone() },
        auto_host_sni: settings.sni.is_empty() && !mutual,
        auto_sni_san_validation: !mutual && names.is_empty() && settings.insecure_skip_verify != Some(true),
        ..tls::UpstreamTlsContext::default()
    };
    Some(TransportSocket {
        name: "envoy.transport_sockets.tls".to_owned(),
        config_type: Some(transport_socket::ConfigType::TypedConfig(pack(&context))),
    })
}

/// The socket of a chain for callers within the mesh: both sides show a certificate of the trust domain.
pub(super) fn inbound_socket(trust_domain: &str, http: bool) -> TransportSocket {
    const CIPHERS: [&str; 6] = [
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        "ECDHE-RSA-AES256-GCM-SHA384",
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        "ECDHE-RSA-AES128-GCM-SHA256",
        "AES256-GCM-SHA384",
        "AES128-GCM-SHA256",
    ];
    let own = StringMatcher {
        match_pattern: Some(MatchPattern::Prefix(format!("spiffe://{trust_domain}/"))),
        ignore_case: false,
    };
    #[allow(deprecated, reason = "istiod writes the older field, which takes URIs and DNS names alike")]
    let validation = tls::CertificateValidationContext { match_subject_alt_names: vec![own], ..Default::default() };
    let peer_exchange = (!http).then_some("istio-peer-exchange");
    let context = tls::DownstreamTlsContext {
        common_tls_context: Some(tls::CommonTlsContext {
            tls_params: Some(tls::TlsParameters {
                tls_minimum_protocol_version: TlsProtocol::TlSv12.into(),
                tls_maximum_protocol_version: TlsProtocol::TlSv13.into(),
                cipher_suites: CIPHERS.map(str::to_owned).to_vec(),
                ..tls::TlsParameters::default()
            }),
            tls_certificate_sds_secret_configs: vec![secret("default".to_owned())],
            alpn_protocols: peer_exchange.into_iter().chain(["h2", "http/1.1"]).map(str::to_owned).collect(),
            validation_context_type: Some(ValidationContextType::CombinedValidationContext(
                CombinedCertificateValidationContext {
                    default_validation_context: Some(validation),
                    validation_context_sds_secret_config: Some(secret("ROOTCA".to_owned())),
                    ..CombinedCertificateValidationContext::default()
                },
            )),
            ..tls::CommonTlsContext::default()
        }),
        require_client_certificate: bool_value(true),
        ..tls::DownstreamTlsContext::default()
    };
    TransportSocket {
        name: "envoy.transport_sockets.tls".to_owned(),
        config_type: Some(transport_socket::ConfigType::TypedConfig(pack(&context))),
    }
}

/// The name by which istiod refers to files: `file-cert:cert~key`.
fn file_secret(prefix: &str, files: &[&String], none: &str) -> String {
    let joined = files.iter().map(|file| file.as_str()).collect::<Vec<_>>().join("~");
    format!("{prefix}:{}", if joined.is_empty() { none } else { &joined })
}

fn secret(name: String) -> tls::SdsSecretConfig {
    let grpc = core::GrpcService {
        target_specifier: Some(core::grpc_service::TargetSpecifier::EnvoyGrpc(core::grpc_service::EnvoyGrpc {
            cluster_name: "sds-grpc".to_owned(),
            ..core::grpc_service::EnvoyGrpc::default()
        })),
        ..core::GrpcService::default()
    };
    let api = core::ApiConfigSource {
        api_type: core::api_config_source::ApiType::Grpc.into(),
        transport_api_version: core::ApiVersion::V3.into(),
        grpc_services: vec![grpc],
        set_node_on_first_message_only: true,
        ..core::ApiConfigSource::default()
    };
    tls::SdsSecretConfig {
        name,
        sds_config: Some(core::ConfigSource {
            initial_fetch_timeout: seconds(0),
            resource_api_version: core::ApiVersion::V3.into(),
            config_source_specifier: Some(core::config_source::ConfigSourceSpecifier::ApiConfigSource(api)),
            ..core::ConfigSource::default()
        }),
    }
}
