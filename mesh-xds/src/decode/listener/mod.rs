//! `envoy.config.listener.v3.Listener`.
//!
//! What only concerns sockets is reported and that is all. What decides which connections a
//! chain takes, or what they may do, is either in force or refuses the listener (S24): there is no third way.

mod chain;
mod downstream;
mod http_filter;
mod manager;
mod network_filter;

use mesh_core::resource::Problem;
use mesh_core::resource::listener::{Direction, Listener, ListenerAddress};
use mesh_proto::envoy::config::core::v3::TrafficDirection;
use mesh_proto::envoy::config::listener::v3 as pb;
use pb::listener_filter::ConfigType;

use super::context::Context;
use super::endpoint::listen_address;
use super::extension::Extension;
use super::refused::{At, Refused, conflict, refuse, unsupported};
use super::scalar::{flag, known, metadata};

/// Listener filters that find out what a caller in this process tells us anyway.
const NEEDLESS_FILTERS: &[&str] = &[
    "envoy.extensions.filters.listener.http_inspector.v3.HttpInspector",
    "envoy.extensions.filters.listener.original_dst.v3.OriginalDst",
    "envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector",
    "envoy.filters.listener.http_inspector",
    "envoy.filters.listener.original_dst",
    "envoy.filters.listener.tls_inspector",
];

const ORIGINAL_DST: [&str; 2] =
    ["envoy.extensions.filters.listener.original_dst.v3.OriginalDst", "envoy.filters.listener.original_dst"];

/// A listener.
pub(super) fn listener(cx: &mut Context, at: &At<'_>, message: pb::Listener) -> Result<Listener, Refused> {
    if message.name.is_empty() {
        return Err(refuse(&at.field("name"), Problem::Missing));
    }
    refuse_other_kinds(at, &message)?;
    let restores_destination = listener_filters(at, &message.listener_filters)?;
    let api_listener = match message.api_listener {
        None => None,
        Some(api) => {
            let at = at.field("api_listener");
            let at = at.field("api_listener");
            let any = api.api_listener.ok_or_else(|| refuse(&at, Problem::Missing))?;
            Some(manager::manager(cx, &at, &Extension::of(&at, &any)?)?.into())
        }
    };
    let address = match &message.address {
        Some(address) => {
            let (ip, port) = listen_address(&at.field("address"), address)?;
            Some(ListenerAddress { ip, port })
        }
        None if api_listener.is_some() => None,
        None => return Err(refuse(&at.field("address"), Problem::Missing)),
    };
    let inbound = message.traffic_direction == i32::from(TrafficDirection::Inbound);
    let chains_at = at.field("filter_chains");
    let mut filter_chains = Vec::with_capacity(message.filter_chains.len());
    for (index, one) in message.filter_chains.into_iter().enumerate() {
        filter_chains.push(chain::chain(cx, &chains_at.index(index), one, inbound)?);
    }
    chain::refuse_overlaps(&chains_at, &filter_chains)?;
    let default_filter_chain = match message.default_filter_chain {
        Some(one) => Some(chain::chain(cx, &at.field("default_filter_chain"), one, inbound)?),
        None => None,
    };
    if filter_chains.is_empty() && default_filter_chain.is_none() && api_listener.is_none() {
        return Err(refuse(&chains_at, "there is no filter chain"));
    }
    Ok(Listener {
        name: message.name.into(),
        address,
        direction: match known(&at.field("traffic_direction"), message.traffic_direction)? {
            TrafficDirection::Unspecified => Direction::Unspecified,
            TrafficDirection::Inbound => Direction::Inbound,
            TrafficDirection::Outbound => Direction::Outbound,
        },
        // istiod's `virtualInbound` says it by the listener filter alone.
        use_original_dst: flag(message.use_original_dst) || restores_destination,
        bind_to_port: message.bind_to_port.is_none_or(|bind| bind.value),
        filter_chains,
        default_filter_chain,
        api_listener,
        metadata: metadata(message.metadata),
    })
}

fn refuse_other_kinds(at: &At<'_>, message: &pb::Listener) -> Result<(), Refused> {
    if message.listener_specifier.is_some() {
        return Err(unsupported(&at.field("internal_listener"), "an internal listener"));
    }
    if message.udp_listener_config.is_some() {
        return Err(unsupported(&at.field("udp_listener_config"), "UDP"));
    }
    if message.filter_chain_matcher.is_some() {
        return Err(unsupported(&at.field("filter_chain_matcher"), "choosing filter chains by a matcher"));
    }
    if message.fcds_config.is_some() {
        return Err(unsupported(&at.field("fcds_config"), "filter chain discovery"));
    }
    if !message.filter_chains.is_empty() && message.api_listener.is_some() {
        return Err(conflict(&at.field("filter_chains"), "an API listener has none"));
    }
    Ok(())
}

/// Judges the listener filters, and tells whether one of them restores the connection's original destination.
fn listener_filters(at: &At<'_>, filters: &[pb::ListenerFilter]) -> Result<bool, Refused> {
    let list = at.field("listener_filters");
    let mut restores_destination = false;
    for (index, filter) in filters.iter().enumerate() {
        let at = list.index(index);
        let kind = match &filter.config_type {
            Some(ConfigType::TypedConfig(any)) => Extension::of(&at.field("typed_config"), any)?.type_name().to_owned(),
            Some(ConfigType::ConfigDiscovery(_)) => {
                return Err(unsupported(&at.field("config_discovery"), "extension config discovery"));
            }
            None => filter.name.clone(),
        };
        if !NEEDLESS_FILTERS.contains(&kind.as_str()) {
            return Err(unsupported(&at, format!("listener filter {:?} of type {kind:?}", filter.name)));
        }
        restores_destination |= ORIGINAL_DST.contains(&kind.as_str());
    }
    Ok(restores_destination)
}
