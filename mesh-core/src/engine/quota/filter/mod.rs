//! The filter: who is over a quota is answered 429, or `RESOURCE_EXHAUSTED`.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use http::StatusCode;
use smallvec::SmallVec;

use super::cells::{Allocation, Cells};
use super::expression::{Evaluated, ExpressionCx, Unknown, evaluate, of_request};
use crate::engine::filter::{FilterStep, HttpFilter, RequestCx};
use crate::engine::local_reply::{LocalReply, ResponseFlags};
use crate::engine::matcher::StringMatch;
use crate::engine::rate_limit::{Count, Counts};
use crate::resource::filter::{Attribute, Expression, QuotaLimit, Quotas as Config};
use crate::resource::{FieldPath, Problem};

/// `RESOURCE_EXHAUSTED`.
const RESOURCE_EXHAUSTED: u32 = 8;

/// State by limit: two filters with the same limit count together, and a filter that is made again finds its counts.
#[derive(Debug, Default)]
pub struct Registry(Vec<(QuotaLimit, Weak<Cells>)>);

impl Registry {
    fn cells(&mut self, limit: &QuotaLimit) -> Arc<Cells> {
        if let Some(cells) = self.0.iter().find(|(known, _)| known == limit).and_then(|(_, cells)| cells.upgrade()) {
            return cells;
        }
        self.0.retain(|(_, cells)| cells.strong_count() > 0);
        let cells = Arc::new(Cells::new(limit));
        self.0.push((limit.clone(), Arc::downgrade(&cells)));
        cells
    }
}

/// The quotas of one port.
#[derive(Debug)]
pub struct Quota {
    charges: Box<[Charge]>,
    counts: Counts,
}

#[derive(Debug)]
struct Charge {
    quota: Box<str>,
    amount: u32,
    matches: Box<[Clauses]>,
    routes: Box<[Route]>,
}

type Clauses = Box<[(Attribute, StringMatch)]>;

#[derive(Debug)]
struct Route {
    matches: Expression,
    dimensions: BTreeMap<String, Expression>,
    limit: QuotaLimit,
    cells: Arc<Cells>,
}

impl Quota {
    /// Compiles quotas; `at` is their place. Limits that are known to `registry` keep their state.
    ///
    /// # Errors
    /// Where and what is wrong: a charge of nothing, a matcher that does not compile.
    pub fn compile(config: &Config, at: &FieldPath, registry: &mut Registry) -> Result<Self, (FieldPath, Problem)> {
        let list = at.field("charges");
        let mut charges = Vec::with_capacity(config.charges.len());
        for (index, charge) in config.charges.iter().enumerate() {
            let at = list.index(index);
            if charge.amount == 0 {
                return Err((at.field("amount"), Problem::from("must be above 0")));
            }
            let matches_at = at.field("match");
            let clauses = charge.matches.iter().enumerate().map(|(index, clauses)| {
                let compiled = clauses.iter().map(|(attribute, matcher)| {
                    let compiled = StringMatch::compile(matcher);
                    Ok((attribute.clone(), compiled.map_err(|problem| (matches_at.index(index), problem))?))
                });
                compiled.collect::<Result<Clauses, _>>()
            });
            let routes = charge.routes.iter().map(|route| Route {
                matches: route.matches.clone(),
                dimensions: route.dimensions.clone(),
                cells: registry.cells(&route.limit),
                limit: route.limit.clone(),
            });
            charges.push(Charge {
                quota: charge.quota.as_str().into(),
                amount: charge.amount,
                routes: routes.collect(),
                matches: clauses.collect::<Result<_, _>>()?,
            });
        }
        Ok(Self { charges: charges.into(), counts: Counts::default() })
    }

    /// What the quotas did: `enabled` counts requests that were charged, `shadow_mode` those that an expression could not
    /// be evaluated for and that passed without a charge.
    #[must_use]
    pub const fn counts(&self) -> &Counts {
        &self.counts
    }
}

impl HttpFilter for Quota {
    fn on_request(&self, cx: &mut RequestCx<'_>) -> FilterStep {
        let facts = cx.facts();
        let expressions = ExpressionCx { facts: &facts, grpc: cx.grpc };
        let mut exhausted = SmallVec::<[&str; 2]>::new();
        let mut charged = false;
        for charge in &self.charges {
            if !charge.applies(&expressions) {
                continue;
            }
            match charge.take(&expressions, cx.now) {
                Ok(None) => {}
                Ok(Some(granted)) => {
                    charged = true;
                    if !granted {
                        exhausted.push(&charge.quota);
                    }
                }
                Err(Unknown) => self.counts.add(cx.lane, Count::ShadowMode),
            }
        }
        if charged {
            self.counts.add(cx.lane, Count::Enabled);
            self.counts.add(cx.lane, if exhausted.is_empty() { Count::Ok } else { Count::RateLimited });
        }
        if exhausted.is_empty() {
            return FilterStep::Continue;
        }
        self.counts.add(cx.lane, Count::Enforced);
        FilterStep::Reply(Box::new(reply(&exhausted, cx.grpc)))
    }
}

fn reply(exhausted: &[&str], grpc: bool) -> LocalReply {
    let message = format!("Quota is exhausted for: {}", exhausted.join(", "));
    let body = if grpc { message } else { format!("RESOURCE_EXHAUSTED:{message}") };
    LocalReply::new(StatusCode::TOO_MANY_REQUESTS, body, "quota_exhausted", ResponseFlags::RL)
        .with_grpc_status(RESOURCE_EXHAUSTED)
}

impl Charge {
    fn applies(&self, cx: &ExpressionCx<'_>) -> bool {
        let holds = |(attribute, matcher): &(Attribute, StringMatch)| {
            of_request(attribute, cx).is_some_and(|value| matcher.matches(&value.into_text()))
        };
        self.matches.is_empty() || self.matches.iter().any(|clauses| clauses.iter().all(holds))
    }

    /// Whether there was something left; `None` when no limit takes the charge.
    fn take(&self, cx: &ExpressionCx<'_>, now: std::time::Instant) -> Result<Option<bool>, Unknown> {
        let mut failed = false;
        for route in &self.routes {
            match evaluate(&route.matches, cx) {
                Ok(Evaluated::Bool(true)) => return route.take(self.amount, cx, now).map(Some),
                Ok(_) => {}
                // The rule is passed over.
                Err(Unknown) => failed = true,
            }
        }
        if failed { Err(Unknown) } else { Ok(None) }
    }
}

impl Route {
    fn take(&self, amount: u32, cx: &ExpressionCx<'_>, now: std::time::Instant) -> Result<bool, Unknown> {
        let mut values = SmallVec::<[(&str, std::borrow::Cow<'_, [u8]>); 4]>::new();
        for (name, expression) in &self.dimensions {
            values.push((name, evaluate(expression, cx)?.into_text()));
        }
        // No key is empty; lengths keep different values apart.
        let mut key = SmallVec::<[u8; 128]>::from_slice(b"q");
        for (name, value) in &values {
            key.extend_from_slice(name.as_bytes());
            key.extend_from_slice(&value.len().to_le_bytes());
            key.extend_from_slice(value);
        }
        let fits = |wanted: &BTreeMap<String, String>| {
            wanted.iter().all(|(name, wanted)| {
                values.iter().any(|(known, value)| *known == name.as_str() && **value == *wanted.as_bytes())
            })
        };
        let special = self.limit.overrides.iter().find(|one| fits(&one.dimensions));
        let (max_amount, valid_duration) = special
            .map_or((self.limit.max_amount, self.limit.valid_duration), |one| (one.max_amount, one.valid_duration));
        let granted = self.cells.allocate(
            &Allocation {
                key: &key,
                amount: amount.into(),
                best_effort: false,
                max_amount,
                valid_duration,
                deduplication: None,
            },
            now,
        );
        Ok(granted.amount == u64::from(amount))
    }
}

#[cfg(test)]
mod tests;
