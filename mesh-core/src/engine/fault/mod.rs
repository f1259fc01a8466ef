//! Fault injection: delays, errors and slow responses for a share of the requests.
//!
//! Envoy's `envoy.filters.http.fault`. A response's rate is settled first, then the delay; the error is drawn when
//! the delay is over. All faults of one request take one place among the active ones, until its response has ended
//! or its caller went away. Runtime keys do not exist here.
//!
//! ```text
//! begin ──▶ Injection ─┬─ delay ──▶ (the driver waits) ──▶ after_delay ─┬─▶ on
//!                      └─ no delay ─────────────────────────────────────┴─▶ reply
//! ```

mod gate;
mod settings;
#[cfg(test)]
mod tests;

pub use self::gate::{FaultStats, Permit};
pub use self::settings::FaultSettings;

use std::num::NonZeroU64;
use std::time::Duration;

use http::HeaderMap;

use self::gate::Gate;
use super::facts::RequestFacts;
use super::filter::{
    DynamicMetadata, Effect, EffectOutcome, FilterStep, HttpFilter, RequestCx, ResponseCx, RouteConfig,
};
use super::local_reply::{LocalReply, ResponseFlags};
use super::random::Random;
use crate::resource::filter::Fault as Config;
use crate::resource::metadata::Value;
use crate::resource::{FieldPath, Problem};

/// Injects faults into requests, by settings of its own or by those of a route.
#[derive(Clone, Debug)]
pub struct Fault {
    settings: FaultSettings,
    gate: Gate,
}

/// The faults of one request; its place among the active ones goes with it.
#[derive(Debug, Default)]
#[must_use]
pub struct Injection {
    /// Wait this long, then ask [`Fault::after_delay`].
    pub delay: Option<Duration>,
    /// Let so many bytes of the response pass in a second.
    pub rate: Option<NonZeroU64>,
    /// Answer this.
    pub reply: Option<Box<LocalReply>>,
    permit: Option<Permit>,
}

impl Fault {
    /// As configured; `at` is the configuration's place.
    ///
    /// # Errors
    /// As [`FaultSettings::compile`].
    pub fn compile(config: &Config, at: &FieldPath) -> Result<Self, (FieldPath, Problem)> {
        Ok(Self { settings: FaultSettings::compile(config, at)?, gate: Gate::default() })
    }

    /// The filter's own settings.
    #[must_use]
    pub const fn settings(&self) -> &FaultSettings {
        &self.settings
    }

    /// What was injected so far.
    #[must_use]
    pub fn stats(&self) -> FaultStats {
        self.gate.stats()
    }

    /// The faults of a request that arrives. `cluster` is where its route sends it.
    pub fn begin(
        &self,
        settings: &FaultSettings,
        request: &RequestFacts<'_>,
        cluster: Option<&str>,
        random: &mut Random,
    ) -> Injection {
        let mut injection = Injection::default();
        if settings.is_idle() || !settings.is_for(request, cluster) {
            return injection;
        }
        let enter = |held: &mut Option<Permit>| {
            if held.is_none() {
                *held = self.gate.enter(settings.max_active);
            }
            held.is_some()
        };
        injection.rate = settings.rate(request.headers, random).filter(|_| enter(&mut injection.permit));
        if injection.rate.is_some() {
            injection.permit.iter().for_each(Permit::rate_limited);
        }
        injection.delay = settings.delay(request.headers, random).filter(|_| enter(&mut injection.permit));
        match injection.delay {
            Some(_) => injection.permit.iter().for_each(Permit::delayed),
            None => self.abort(&mut injection, settings, request.headers, random),
        }
        injection
    }

    /// The rest of what [`Self::begin`] began, when the delay is over.
    pub fn after_delay(
        &self,
        injection: &mut Injection,
        settings: &FaultSettings,
        headers: &HeaderMap,
        random: &mut Random,
    ) {
        injection.delay = None;
        self.abort(injection, settings, headers, random);
    }

    fn abort(&self, injection: &mut Injection, settings: &FaultSettings, headers: &HeaderMap, random: &mut Random) {
        let Some(reply) = settings.abort(headers, random) else { return };
        if injection.permit.is_none() {
            injection.permit = self.gate.enter(settings.max_active);
        }
        if let Some(permit) = &injection.permit {
            permit.aborted();
            injection.reply = Some(Box::new(reply));
        }
    }

    fn settings_for<'a>(&'a self, cx: &RequestCx<'a>) -> &'a FaultSettings {
        match cx.route_configs.effective() {
            Some(RouteConfig::Fault(settings)) => settings,
            _ => &self.settings,
        }
    }
}

impl Injection {
    /// Whether nothing is injected.
    #[must_use]
    pub const fn is_nothing(&self) -> bool {
        self.permit.is_none()
    }
}

/// Where the metadata of a fault is told.
const NAMESPACE: &str = "envoy.filters.http.fault";

fn tell(metadata: &mut DynamicMetadata, settings: &FaultSettings) {
    if let Some(Value::Struct(fields)) = &settings.metadata {
        metadata.merge(NAMESPACE, fields.clone());
    }
}

/// What is to happen next by what was injected, which is remembered.
fn step(cx: &mut RequestCx<'_>, settings: &FaultSettings, mut injection: Injection) -> FilterStep {
    let (delay, reply) = (injection.delay, injection.reply.take());
    if !injection.is_nothing() {
        cx.notes.put(injection);
    }
    if delay.is_some() || reply.is_some() {
        tell(cx.dynamic_metadata, settings);
    }
    match (delay, reply) {
        (Some(delay), _) => {
            *cx.flags |= ResponseFlags::DI;
            FilterStep::Ask(Box::new(Effect::Sleep(delay)))
        }
        (None, Some(reply)) => FilterStep::Reply(reply),
        (None, None) => FilterStep::Continue,
    }
}

impl HttpFilter for Fault {
    fn waits_for_route(&self) -> bool {
        self.settings.is_idle()
    }

    fn on_request(&self, cx: &mut RequestCx<'_>) -> FilterStep {
        let settings = self.settings_for(cx);
        let facts = RequestFacts::of_head(cx.head, cx.connection, cx.dynamic_metadata.all());
        let cluster = cx.route.and_then(|route| route.cluster(&facts));
        let injection = self.begin(settings, &facts, cluster, cx.random);
        step(cx, settings, injection)
    }

    fn on_effect(&self, cx: &mut RequestCx<'_>, _: EffectOutcome) -> FilterStep {
        let settings = self.settings_for(cx);
        let mut injection = cx.notes.take::<Injection>().unwrap_or_default();
        self.after_delay(&mut injection, settings, &cx.head.headers, cx.random);
        step(cx, settings, injection)
    }

    fn on_response(&self, cx: &mut ResponseCx<'_>) {
        if let Some(rate) = cx.notes.find::<Injection>().and_then(|injection| injection.rate) {
            cx.body.throttle = Some(cx.body.throttle.map_or(rate, |other| other.min(rate)));
        }
    }
}
