//! `CircuitBreakers`: concurrency limits per routing priority.

use mesh_core::resource::cluster::{CircuitBreakers, RetryBudget, Thresholds};
use mesh_core::resource::route::RoutingPriority;
use mesh_proto::envoy::config::cluster::v3 as pb;

use super::super::refused::{At, Refused};
use super::super::route::priority;
use super::super::scalar::{number, percent};

pub(super) fn breakers(at: &At<'_>, message: Option<&pb::CircuitBreakers>) -> Result<CircuitBreakers, Refused> {
    let list = at.field("thresholds");
    let (mut default, mut high) = (None, None);
    for (index, one) in message.into_iter().flat_map(|message| &message.thresholds).enumerate() {
        let at = list.index(index);
        let slot = match priority(&at.field("priority"), one.priority)? {
            RoutingPriority::Default => &mut default,
            RoutingPriority::High => &mut high,
        };
        let thresholds = thresholds(&at, one)?;
        // Of several for one priority Envoy takes the first.
        slot.get_or_insert(thresholds);
    }
    Ok(CircuitBreakers { default: default.unwrap_or_default(), high: high.unwrap_or_default() })
}

fn thresholds(at: &At<'_>, message: &pb::circuit_breakers::Thresholds) -> Result<Thresholds, Refused> {
    let default = Thresholds::default();
    let retry_budget = match &message.retry_budget {
        None => None,
        Some(budget) => {
            let default = RetryBudget::default();
            let at = at.field("retry_budget");
            Some(RetryBudget {
                budget_percent: percent(&at.field("budget_percent"), budget.budget_percent)?
                    .unwrap_or(default.budget_percent),
                min_retry_concurrency: number(budget.min_retry_concurrency).unwrap_or(default.min_retry_concurrency),
            })
        }
    };
    Ok(Thresholds {
        max_connections: number(message.max_connections).unwrap_or(default.max_connections),
        max_pending_requests: number(message.max_pending_requests).unwrap_or(default.max_pending_requests),
        max_requests: number(message.max_requests).unwrap_or(default.max_requests),
        max_retries: number(message.max_retries).unwrap_or(default.max_retries),
        retry_budget,
        max_connection_pools: number(message.max_connection_pools).unwrap_or(default.max_connection_pools),
    })
}
