//! `FilterChain` and its match: which connections, and what is done with them.

use mesh_core::resource::listener::{FilterChain, FilterChainMatch};
use mesh_proto::envoy::config::core::v3::transport_socket::ConfigType;
use mesh_proto::envoy::config::listener::v3 as pb;
use pb::filter_chain_match::ConnectionSourceType;

use super::super::context::Context;
use super::super::extension::Extension;
use super::super::refused::{At, Refused, conflict, refuse, unsupported};
use super::super::scalar::{cidr, flag, known, number, port};
use super::network_filter;

/// A chain. One for TLS refuses the listener, except of an inbound one: there it stands, so that its port is not served in plain text, and takes nobody.
pub(super) fn chain(
    cx: &mut Context,
    at: &At<'_>,
    message: pb::FilterChain,
    inbound: bool,
) -> Result<FilterChain, Refused> {
    let mut transport_socket = false;
    if flag(message.use_proxy_proto) {
        return Err(unsupported(&at.field("use_proxy_proto"), "the PROXY protocol"));
    }
    if let Some(socket) = &message.transport_socket {
        let at = at.field("transport_socket");
        let kind = match &socket.config_type {
            Some(ConfigType::TypedConfig(any)) => Extension::of(&at.field("typed_config"), any)?.type_name().to_owned(),
            None => socket.name.clone(),
        };
        match kind.as_str() {
            "envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer" | "envoy.transport_sockets.raw_buffer" => {}
            "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext" | "envoy.transport_sockets.tls" => {
                if !inbound {
                    return Err(unsupported(&at, "TLS of downstream connections"));
                }
                transport_socket = true;
                cx.not_in_force(&at, "TLS of downstream connections is not in force: no connection takes this chain");
            }
            _ => return Err(unsupported(&at, format!("a transport socket of type {kind:?}"))),
        }
    }
    Ok(FilterChain {
        name: message.name.into(),
        matches: chain_match(&at.field("filter_chain_match"), message.filter_chain_match.unwrap_or_default())?,
        handler: network_filter::handler(cx, &at.field("filters"), &message.filters)?,
        transport_socket,
    })
}

fn chain_match(at: &At<'_>, message: pb::FilterChainMatch) -> Result<FilterChainMatch, Refused> {
    // Conditions on the caller. A chain that takes more connections than it says must not be.
    let by_source = [
        ("source_prefix_ranges", !message.source_prefix_ranges.is_empty()),
        ("direct_source_prefix_ranges", !message.direct_source_prefix_ranges.is_empty()),
        ("source_ports", !message.source_ports.is_empty()),
        ("address_suffix", !message.address_suffix.is_empty()),
        ("suffix_len", message.suffix_len.is_some()),
    ];
    if let Some((field, _)) = by_source.iter().find(|(_, set)| *set) {
        return Err(unsupported(&at.field(field), "this condition of a filter chain"));
    }
    let source_at = at.field("source_type");
    if known::<ConnectionSourceType>(&source_at, message.source_type)? != ConnectionSourceType::Any {
        return Err(unsupported(&source_at, "this condition of a filter chain"));
    }
    let port_at = at.field("destination_port");
    let destination_port = match number(message.destination_port) {
        Some(number) => Some(port(&port_at, number)?),
        None => None,
    };
    let ranges_at = at.field("prefix_ranges");
    let ranges = message.prefix_ranges.iter().enumerate();
    let names_at = at.field("server_names");
    for (index, name) in message.server_names.iter().enumerate() {
        if name.strip_prefix("*.").unwrap_or(name).contains('*') {
            return Err(refuse(
                &names_at.index(index),
                format!("{name:?}: a wildcard stands for whole labels at the start"),
            ));
        }
    }
    Ok(FilterChainMatch {
        destination_port,
        prefix_ranges: ranges.map(|(index, range)| cidr(&ranges_at.index(index), range)).collect::<Result<_, _>>()?,
        transport_protocol: message.transport_protocol,
        application_protocols: message.application_protocols,
        server_names: message.server_names.iter().map(|name| name.to_ascii_lowercase()).collect(),
    })
}

/// Refuses two chains that a connection could match equally well, as Envoy does.
pub(super) fn refuse_overlaps(at: &At<'_>, chains: &[FilterChain]) -> Result<(), Refused> {
    for (index, chain) in chains.iter().enumerate() {
        if let Some(first) = chains[..index].iter().position(|other| overlap(&other.matches, &chain.matches)) {
            let why = format!("filter_chains[{first}] has the same or an overlapping match");
            return Err(conflict(&at.index(index).field("filter_chain_match"), why));
        }
    }
    Ok(())
}

fn overlap(a: &FilterChainMatch, b: &FilterChainMatch) -> bool {
    a.destination_port == b.destination_port
        && a.transport_protocol == b.transport_protocol
        && share(&a.prefix_ranges, &b.prefix_ranges, |a, b| same_network(*a, *b))
        && share(&a.server_names, &b.server_names, |a, b| a == b)
        && share(&a.application_protocols, &b.application_protocols, |a, b| a == b)
}

/// Whether two lists have an entry in common; the empty list is an entry of its own.
fn share<T>(a: &[T], b: &[T], same: impl Fn(&T, &T) -> bool) -> bool {
    (a.is_empty() && b.is_empty()) || a.iter().any(|a| b.iter().any(|b| same(a, b)))
}

fn same_network((a, a_bits): (std::net::IpAddr, u8), (b, b_bits): (std::net::IpAddr, u8)) -> bool {
    use std::net::IpAddr::{V4, V6};
    if a_bits != b_bits {
        return false;
    }
    match (a, b) {
        (V4(a), V4(b)) => a_bits == 0 || (u32::from(a) ^ u32::from(b)) >> (32 - a_bits.min(32)) == 0,
        (V6(a), V6(b)) => a_bits == 0 || (u128::from(a) ^ u128::from(b)) >> (128 - a_bits.min(128)) == 0,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chains_overlap_when_every_condition_shares_a_value() {
        let chain = |names: &[&str], alpn: &[&str], range: &[&str]| FilterChainMatch {
            server_names: names.iter().map(|&name| name.to_owned()).collect(),
            application_protocols: alpn.iter().map(|&name| name.to_owned()).collect(),
            prefix_ranges: range.iter().filter_map(|ip| Some((ip.parse().ok()?, 8))).collect(),
            ..FilterChainMatch::default()
        };
        assert!(overlap(&chain(&[], &[], &[]), &chain(&[], &[], &[])));
        assert!(overlap(&chain(&["a", "b"], &["h2"], &[]), &chain(&["b", "c"], &["h2", "x"], &[])));
        assert!(!overlap(&chain(&["a", "b"], &["h2"], &[]), &chain(&["b"], &["x"], &[])));
        assert!(!overlap(&chain(&["a"], &[], &[]), &chain(&[], &[], &[])));
        assert!(overlap(&chain(&[], &[], &["10.1.0.0"]), &chain(&[], &[], &["10.2.0.0"])));
        assert!(!overlap(&chain(&[], &[], &["10.0.0.0"]), &chain(&[], &[], &["11.0.0.0"])));
    }
}
