//! Copies of a request for the mirrors of its route: forks that share its pin and nothing else.
//!
//! Envoy's shadowing: drawn per mirror once the head is final, sent once whatever becomes of the request, never retried,
//! with the request's timeout, by the default priority. A mirror whose cluster is unknown copies nothing; CONNECT
//! and upgrades are never copied. The body is the driver's.

use std::sync::Arc;
use std::time::Duration;

use http::{Method, Request};
use smallvec::SmallVec;

use super::attempt::{AttemptPlan, Filtered, millis};
use super::downstream;
use super::outbound::{Place, facts_of, table};
use super::responder::in_process;
use super::upgrade;
use crate::engine::headers::FormatContext;
use crate::engine::random::Random;
use crate::engine::routing::{ClusterId, ClusterRef, Mirror};
use crate::engine::timeout::{self, Timeouts};
use crate::resource::metadata::Metadata;
use crate::resource::route::RoutingPriority;
use crate::state::{ClusterState, Lane, Total};

/// How long a copy may take, once its body is sent, when its route has no timeout: nobody waits for it, and it
/// must not stay for ever.
pub const LONGEST_COPY: Duration = Duration::from_secs(300);

/// A copy of a request, without its body.
#[derive(Debug)]
pub struct Fork {
    /// What is sent.
    pub request: Filtered<()>,
    /// Whom to tell when it is not, or not to its end.
    pub lost: Lost,
}

/// Counts a copy that was dropped, at the cluster that it was for.
#[derive(Clone, Debug)]
pub struct Lost {
    state: Arc<ClusterState>,
    lane: Lane,
}

impl Lost {
    /// Counts.
    pub fn count(&self) {
        self.state.count(Total::MirrorDropped, self.lane);
    }
}

impl<B> Filtered<B> {
    /// Whether the route has mirrors; on most there are none, and this is all they cost.
    #[inline]
    #[must_use]
    pub fn has_mirrors(&self) -> bool {
        table(&self.plan.pin, self.plan.place)
            .is_some_and(|table| !table.routes.route(self.plan.place.decision).mirrors().is_empty())
    }

    /// The copies of this request that are to be sent: each mirror is drawn for.
    #[must_use]
    pub fn forks(&mut self) -> SmallVec<[Fork; 1]> {
        let Self { request, plan } = self;
        let Some(table) = table(&plan.pin, plan.place) else { return SmallVec::new() };
        if request.method() == Method::CONNECT || upgrade::is_asked(request) {
            return SmallVec::new();
        }
        let random = &mut plan.random;
        let mirrors = table.routes.route(plan.place.decision).mirrors();
        let mut drawn: SmallVec<[(&Mirror, Random); 1]> = SmallVec::new();
        for mirror in mirrors {
            if mirror.takes(random.bits()) {
                drawn.push((mirror, random.fork()));
            }
        }
        let place = Place { table: plan.place.table, decision: table.routes.unrouted(plan.place.decision) };
        let fork = |(mirror, random): (&Mirror, Random)| {
            let cluster = cluster_of(mirror, request, plan)?;
            let lost = Lost { state: Arc::clone(plan.pin.cluster(cluster)?.state()), lane: plan.lane };
            let plan = AttemptPlan {
                pin: plan.pin.clone(),
                random,
                place,
                cluster,
                priority: RoutingPriority::Default,
                timeouts: timeouts(&plan.timeouts),
                attempts: 0,
                tried: None,
                overrides: None,
                ..*plan
            };
            let request = head(mirror, request, &plan.timeouts);
            Some(Fork { request: Filtered { request, plan }, lost })
        };
        drawn.into_iter().filter_map(fork).collect()
    }
}

/// The cluster that a mirror copies to: by name, or as the request says.
fn cluster_of<B>(mirror: &Mirror, request: &Request<B>, plan: &AttemptPlan) -> Option<ClusterId> {
    match &mirror.cluster {
        ClusterRef::Cluster(id, _) => Some(*id),
        ClusterRef::Header(key) => {
            let none = Metadata::new();
            let facts = facts_of(request, &none, None);
            let name = std::str::from_utf8(key.first(&facts)?).ok().filter(|name| !name.is_empty())?;
            plan.pin.cluster_by_name(name).map(|cluster| cluster.id())
        }
    }
}

fn head<B>(mirror: &Mirror, request: &Request<B>, timeouts: &Timeouts) -> Request<()> {
    let mut copy = Request::new(());
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.version_mut() = request.version();
    *copy.headers_mut() = request.headers().clone();
    // A copy has no tries that could each have a limit.
    if let Some(whole) = timeouts.response
        && copy.headers().contains_key(timeout::EXPECTED_TIMEOUT)
    {
        copy.headers_mut().insert(timeout::EXPECTED_TIMEOUT, millis(whole));
    }
    downstream::forwarded_by_us(&mut copy, request);
    let connection = in_process(request.version());
    mirror.apply(&mut copy, &FormatContext::for_request(&connection, &Metadata::new()));
    copy
}

fn timeouts(of_request: &Timeouts) -> Timeouts {
    let response = Some(of_request.response.unwrap_or(LONGEST_COPY));
    Timeouts { response, from_grpc: of_request.from_grpc, ..Timeouts::default() }
}
