//! For the tests of filters: a mesh with one route, filters of one's own, and a clock that stands still.
#![allow(clippy::disallowed_methods, reason = "any instant will do to count from")]

use std::sync::Arc;
use std::time::Instant;

use http::{Request, Response};

use super::Accepted;
use super::filters::{FilterExit, FilterOutcome};
use crate::engine::filter::Effect;
use crate::engine::local_reply::{LocalReply, ResponseFlags};
use crate::resource::Invalid;
use crate::resource::cluster::{Cluster, Discovery};
use crate::resource::endpoint::ClusterLoadAssignment;
use crate::resource::filter::{FilterConfig, RouteConfig};
use crate::resource::listener::{
    ChainHandler, Direction, FilterChain, FilterChainMatch, HttpConnectionManager, HttpFilter, Listener,
    ListenerAddress, RouteSource,
};
use crate::resource::metadata::Metadata;
use crate::resource::rate_limit::RateLimit;
use crate::resource::route::{
    FilterOverride, Forward, PerFilterConfig, Route, RouteAction, RouteConfiguration, RouteMatch, VirtualHost,
};
use crate::snapshot::{Change, Compiler, SnapshotStore, Update};
use crate::state::Lane;

/// One filter by the name `f`, and what three levels say to it.
pub(crate) struct Trial {
    compiler: Compiler,
    store: SnapshotStore,
    pub(crate) now: Instant,
    seed: u64,
}

/// What the levels say.
#[derive(Clone, Default)]
pub(crate) struct Levels {
    pub(crate) route_configuration: Option<RouteConfig>,
    pub(crate) virtual_host: Option<RouteConfig>,
    pub(crate) route: Option<RouteConfig>,
    /// What the route does; `None` forwards.
    pub(crate) action: Option<RouteAction>,
    /// `rate_limits` of the virtual host.
    pub(crate) rate_limits: Vec<RateLimit>,
}

/// What became of a request.
pub(crate) struct Sent {
    /// The request that goes on, or the answer.
    pub(crate) result: Result<Request<()>, LocalReply>,
    /// All that was asked for on the way, which was there at once.
    pub(crate) asked: Vec<Effect>,
    exit: Option<FilterExit>,
}

impl Trial {
    pub(crate) fn new(filter: FilterConfig, levels: Levels) -> Self {
        let mut compiler = Compiler::new(1).with_service_cluster("shop");
        let store = SnapshotStore::new(Arc::clone(compiler.current()));
        let up = Cluster::new("up", Discovery::Static(ClusterLoadAssignment::default()));
        let update = Update { clusters: vec![Change::Set(Arc::new(up))], ..Update::default() };
        store.publish(&compiler.apply(update).0);
        let mut trial = Self { compiler, store, now: Instant::now(), seed: 0 };
        assert_eq!(trial.push(filter, levels), vec![]);
        trial
    }

    /// Another version; what is refused stays as it was.
    pub(crate) fn push(&mut self, filter: FilterConfig, levels: Levels) -> Vec<Invalid> {
        let (next, refused) = self.compiler.apply(Update {
            listeners: vec![Change::Set(Arc::new(listener(filter)))],
            routes: vec![Change::Set(Arc::new(routes(levels)))],
            ..Update::default()
        });
        self.store.publish(&next);
        refused
    }

    pub(crate) fn send(&mut self, request: Request<()>) -> Sent {
        self.seed += 1;
        let pin = self.store.pin(Lane::default());
        let accepted = Accepted::new(request, pin, Lane::default(), self.seed, self.now);
        let mut outcome = match accepted.route() {
            Ok(routed) => routed.filter(self.now),
            Err(answered) => return Sent { result: Err(answered.reply), asked: Vec::new(), exit: None },
        };
        let mut asked = Vec::new();
        loop {
            let (result, exit) = match outcome {
                FilterOutcome::Forward(filtered, exit) => {
                    let (head, body, _) = filtered.into_parts();
                    (Ok(Request::from_parts(head, body)), exit)
                }
                FilterOutcome::Reply(answered, exit) => (Err(answered.reply), exit),
                FilterOutcome::Ask(effect, waiting) => {
                    let outcome_of = crate::engine::filter::EffectOutcome::Slept;
                    asked.push(effect);
                    outcome = waiting.resume(outcome_of, self.now);
                    continue;
                }
            };
            return Sent { result, asked, exit };
        }
    }
}

impl Sent {
    /// Whether there was a filter to pass.
    pub(crate) const fn met_filters(&self) -> bool {
        self.exit.is_some()
    }

    /// What the caller gets of this response.
    pub(crate) fn respond(self, response: Response<()>, now: Instant) -> (Response<()>, Option<FilterExit>) {
        match self.exit {
            None => (response, None),
            Some(mut exit) => (exit.on_response(response, None, now), Some(exit)),
        }
    }

    /// The flags that filters set, beside those of an answer.
    pub(crate) fn flags(&self) -> ResponseFlags {
        self.exit.as_ref().map_or(ResponseFlags::NONE, FilterExit::flags)
    }

    /// What the caller gets of the answer.
    pub(crate) fn answer(self, now: Instant) -> Response<()> {
        let Err(reply) = self.result else { panic!("the request goes on") };
        let (head, _) = reply.into_head(false);
        let response = Response::from_parts(head, ());
        match self.exit {
            None => response,
            Some(mut exit) => exit.on_response(response, None, now),
        }
    }
}

fn says(config: Option<RouteConfig>) -> PerFilterConfig {
    config.into_iter().map(|config| ("f".into(), FilterOverride::with(config))).collect()
}

fn routes(levels: Levels) -> RouteConfiguration {
    let action = levels.action.unwrap_or_else(|| RouteAction::Forward(Box::new(Forward::to("up"))));
    let mut route = Route::new(RouteMatch::prefix("/"), action);
    route.per_filter_config = says(levels.route);
    let host = VirtualHost {
        name: "all".into(),
        domains: vec!["*".into()],
        routes: vec![route],
        per_filter_config: says(levels.virtual_host),
        rate_limits: levels.rate_limits,
        ..VirtualHost::default()
    };
    RouteConfiguration {
        name: "r".into(),
        virtual_hosts: vec![host],
        per_filter_config: says(levels.route_configuration),
        ..RouteConfiguration::default()
    }
}

fn listener(config: FilterConfig) -> Listener {
    let mut manager = HttpConnectionManager::new(RouteSource::Rds("r".into()));
    manager.http_filters = vec![HttpFilter { name: "f".into(), disabled: false, config }];
    Listener {
        name: "l".into(),
        address: Some(ListenerAddress { ip: [0, 0, 0, 0].into(), port: 80 }),
        direction: Direction::Outbound,
        use_original_dst: false,
        bind_to_port: false,
        filter_chains: vec![FilterChain {
            name: "c".into(),
            matches: FilterChainMatch::default(),
            handler: ChainHandler::Http(Arc::new(manager)),
            transport_socket: false,
        }],
        default_filter_chain: None,
        api_listener: None,
        metadata: Metadata::new(),
    }
}
