//! Listeners as compiled: which routes serve a port that is dialled, which chain a port that we serve.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::net::SocketAddr;
use std::sync::Arc;

use smallvec::SmallVec;

use crate::engine::filter::FilterSet;
use crate::resource::Name;
use crate::resource::listener::{ChainHandler, FilterChain, HttpConnectionManager, Listener};

/// Number of a route table within a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TableId(pub(super) u32);

/// The routes of one connection manager, as a request path needs them.
#[derive(Clone, Debug)]
pub struct HttpScope {
    /// The connection manager, as configured.
    pub manager: Arc<HttpConnectionManager>,
    /// Its routes, inline or by name; the slot is empty while they have not arrived.
    pub table: TableId,
    /// The listener it belongs to.
    pub listener: Name,
    /// Its filters in order; `None` when there are none.
    pub filters: Option<Arc<FilterSet>>,
}

/// A chain of an inbound listener.
#[derive(Clone, Debug)]
pub struct InboundChain {
    /// As configured.
    pub chain: Arc<FilterChain>,
    /// Its routes, when it speaks HTTP.
    pub http: Option<HttpScope>,
}

/// All listeners, indexed by how the request path asks for them.
#[derive(Clone, Debug, Default)]
pub(super) struct ListenerIndex {
    /// Outbound HTTP by port: listeners on any address first.
    pub(super) outbound: HashMap<u16, Vec<HttpScope>, BuildHasherDefault<PortHasher>>,
    /// Outbound for ports that nobody declared (`virtualOutbound`).
    pub(super) fallback: Option<HttpScope>,
    /// API listeners (gRPC style) by name, `host:port`.
    pub(super) api: HashMap<Name, HttpScope>,
    /// Inbound listeners.
    pub(super) inbound: Vec<Inbound>,
    /// Listeners that a gateway may open.
    pub(super) served: HashMap<Name, Inbound>,
}

/// Spreads port numbers; there is nobody to defend against, since only configuration adds any.
#[derive(Clone, Default)]
pub(super) struct PortHasher(u64);

impl Hasher for PortHasher {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u16(u16::from(*byte)));
    }

    fn write_u16(&mut self, port: u16) {
        self.0 = (self.0 ^ u64::from(port)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 32)
    }
}

/// One listener with all its chains.
#[derive(Clone, Debug)]
pub(super) struct Inbound {
    pub(super) listener: Arc<Listener>,
    pub(super) chains: Vec<InboundChain>,
    pub(super) default: Option<InboundChain>,
}

/// What an accepted connection is known by before it is handled.
#[derive(Clone, Copy, Debug)]
pub struct AcceptedConnection<'a> {
    /// Our own address: the port decides.
    pub local: SocketAddr,
    /// `raw_buffer`, or `tls` once TLS was seen.
    pub transport_protocol: &'a str,
    /// The ALPN protocols offered.
    pub application_protocols: &'a [&'a str],
    /// The SNI; empty without TLS.
    pub server_name: &'a str,
}

impl Inbound {
    /// Envoy's chain matching: destination port, address, SNI, transport, ALPN; each step keeps the most
    /// specific chains and never goes back.
    pub(super) fn chain(&self, connection: &AcceptedConnection<'_>) -> Option<&InboundChain> {
        let mut left: Chains<'_> = self.chains.iter().collect();
        most_specific(&mut left, |one| match one.chain.matches.destination_port {
            Some(port) => (port == connection.local.port()).then_some(1),
            None => Some(0),
        });
        most_specific(&mut left, |one| {
            let ranges = &one.chain.matches.prefix_ranges;
            if ranges.is_empty() {
                return Some(0);
            }
            let ip = connection.local.ip();
            ranges
                .iter()
                .filter(|(net, length)| contains(*net, *length, ip))
                .map(|(_, length)| usize::from(*length) + 1)
                .max()
        });
        most_specific(&mut left, |one| {
            let names = &one.chain.matches.server_names;
            if names.is_empty() {
                return Some(0);
            }
            names.iter().filter_map(|name| server_name_score(name, connection.server_name)).max()
        });
        most_specific(&mut left, |one| match one.chain.matches.transport_protocol.as_str() {
            "" => Some(0),
            wanted => (wanted == connection.transport_protocol).then_some(1),
        });
        most_specific(&mut left, |one| {
            let wanted = &one.chain.matches.application_protocols;
            if wanted.is_empty() {
                return Some(0);
            }
            wanted.iter().any(|alpn| connection.application_protocols.contains(&alpn.as_str())).then_some(1)
        });
        // TLS is not spoken: a chain for it keeps its connections from any other, and takes none.
        left.first().copied().or(self.default.as_ref()).filter(|one| !one.chain.transport_socket)
    }
}

type Chains<'a> = SmallVec<[&'a InboundChain; 16]>;

/// Keeps the entries of the highest score; `None` is no match.
fn most_specific(left: &mut Chains<'_>, score: impl Fn(&InboundChain) -> Option<usize>) {
    let best = left.iter().filter_map(|one| score(one)).max();
    left.retain(|one: &mut &InboundChain| best.is_some() && score(one) == best);
}

fn server_name_score(pattern: &str, name: &str) -> Option<usize> {
    if pattern.eq_ignore_ascii_case(name) {
        return Some(usize::MAX);
    }
    let suffix = pattern.strip_prefix('*')?;
    let tail = name.len().checked_sub(suffix.len()).filter(|at| *at > 0)?;
    name.as_bytes()[tail..].eq_ignore_ascii_case(suffix.as_bytes()).then_some(suffix.len())
}

pub(crate) fn contains(net: std::net::IpAddr, length: u8, ip: std::net::IpAddr) -> bool {
    use std::net::IpAddr::{V4, V6};
    match (net, ip) {
        (V4(net), V4(ip)) => prefix_equal(&net.octets(), &ip.octets(), length),
        (V6(net), V6(ip)) => prefix_equal(&net.octets(), &ip.octets(), length),
        _ => false,
    }
}

fn prefix_equal(a: &[u8], b: &[u8], length: u8) -> bool {
    let bits = usize::from(length).min(a.len() * 8);
    let (whole, rest) = (bits / 8, bits % 8);
    a[..whole] == b[..whole] && (rest == 0 || (a[whole] ^ b[whole]) >> (8 - rest) == 0)
}

/// The connection manager of a chain, if it has one.
pub(super) fn manager(chain: &FilterChain) -> Option<&Arc<HttpConnectionManager>> {
    match &chain.handler {
        ChainHandler::Http(manager) => Some(manager),
        ChainHandler::Tcp { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::listener::{Direction, FilterChainMatch};
    use crate::resource::metadata::Metadata;

    fn chain(name: &str, matches: FilterChainMatch) -> InboundChain {
        let chain = FilterChain {
            name: name.into(),
            matches,
            handler: ChainHandler::Tcp { cluster: "c".into() },
            transport_socket: false,
        };
        InboundChain { chain: Arc::new(chain), http: None }
    }

    fn inbound(chains: Vec<InboundChain>) -> Inbound {
        let listener = Listener {
            name: "virtualInbound".into(),
            address: None,
            direction: Direction::Inbound,
            use_original_dst: true,
            bind_to_port: false,
            filter_chains: Vec::new(),
            default_filter_chain: None,
            api_listener: None,
            metadata: Metadata::new(),
        };
        Inbound { listener: Arc::new(listener), chains, default: None }
    }

    fn accepted(port: u16, transport: &'static str) -> AcceptedConnection<'static> {
        AcceptedConnection {
            local: ([127, 0, 0, 1], port).into(),
            transport_protocol: transport,
            application_protocols: &[],
            server_name: "",
        }
    }

    fn matches(port: Option<u16>, transport: &str) -> FilterChainMatch {
        FilterChainMatch { destination_port: port, transport_protocol: transport.into(), ..FilterChainMatch::default() }
    }

    #[test]
    fn the_destination_port_decides_before_the_transport() {
        let listener = inbound(vec![chain("any", matches(None, "")), chain("tls", matches(Some(80), "tls"))]);
        assert_eq!(listener.chain(&accepted(80, "tls")).map(|one| &*one.chain.name), Some("tls"));
        assert_eq!(listener.chain(&accepted(81, "raw_buffer")).map(|one| &*one.chain.name), Some("any"));
        // A strict port does not fall back to the catch-all for plaintext.
        assert!(listener.chain(&accepted(80, "raw_buffer")).is_none());
    }

    #[test]
    fn a_chain_for_tls_takes_its_connections_and_serves_none() {
        let tls = |port, transport| {
            let InboundChain { chain, http } = chain("tls", matches(port, transport));
            InboundChain { chain: Arc::new(FilterChain { transport_socket: true, ..(*chain).clone() }), http }
        };
        let listener = inbound(vec![chain("any", matches(None, "")), tls(Some(80), "tls"), tls(Some(81), "")]);
        for (port, transport) in [(80, "tls"), (80, "raw_buffer"), (81, "tls"), (81, "raw_buffer")] {
            assert!(listener.chain(&accepted(port, transport)).is_none(), "{port} {transport}");
        }
        assert!(listener.chain(&accepted(82, "raw_buffer")).is_some());
    }

    #[test]
    fn longer_prefixes_and_exact_names_win() {
        let net = |ip: [u8; 4], length| FilterChainMatch {
            prefix_ranges: vec![(ip.into(), length)],
            ..FilterChainMatch::default()
        };
        let listener = inbound(vec![chain("wide", net([127, 0, 0, 0], 8)), chain("narrow", net([127, 0, 0, 1], 32))]);
        assert_eq!(listener.chain(&accepted(1, "raw_buffer")).map(|one| &*one.chain.name), Some("narrow"));
        assert_eq!(server_name_score("*.a.example", "x.A.example"), Some(10));
        assert_eq!(server_name_score("*.a.example", ".a.example"), None);
    }
}
