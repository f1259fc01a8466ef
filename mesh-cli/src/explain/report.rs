//! The walk as a page: a label for each step, what it came to, and the object behind it.

use http::{HeaderName, Request, header};
use mesh_core::engine::local_reply::{LocalReply, ResponseFlags};
use mesh_core::engine::routing::ClusterRef;
use mesh_core::resource::route::{ClusterSpecifier, FractionalPercent, Route, RouteAction};
use mesh_istio::{ObjectId, ProxyContext, Severity};

use super::cluster;
use super::origin::{Origin, place};
use super::walk::{End, Walk};
use super::words;
use crate::Outcome;
use crate::page::Table;
use crate::remark::Remark;

/// Room for the labels of steps, so that all of them stand in one column.
const LABEL: usize = INDENT.len() + "connections".len();
const INDENT: &str = "  ";

/// What is being written.
struct Page<'a> {
    walk: &'a Walk,
    origin: &'a Origin<'a>,
    text: String,
    /// Objects that had a part in it.
    involved: Vec<ObjectId>,
    good: bool,
}

pub(super) fn print(
    walk: &Walk,
    request: &Request<()>,
    proxy: &ProxyContext,
    origin: &Origin<'_>,
    remarks: &[Remark],
) -> Outcome {
    let mut page = Page { walk, origin, text: String::new(), involved: Vec::new(), good: true };
    page.request(request, proxy);
    page.routes();
    match &walk.end {
        End::Answered(reply) if page.destinations().is_empty() => page.answer(reply),
        end => page.forwarded(request, end),
    }
    page.remarks(remarks);
    Outcome { text: page.text, good: page.good, aside: String::new() }
}

impl Page<'_> {
    fn put(&mut self, table: &Table) {
        self.text.push_str(&table.lines_behind(LABEL, ""));
    }

    fn request(&mut self, request: &Request<()>, proxy: &ProxyContext) {
        let mut rows = Table::default();
        rows.row(["request".into(), format!("{} {}", request.method(), request.uri())]);
        for (name, value) in request.headers() {
            rows.row([String::new(), format!("{name}: {}", String::from_utf8_lossy(value.as_bytes()))]);
        }
        let labels: Vec<_> = proxy.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let labels = if labels.is_empty() { "no labels".to_owned() } else { labels.join(",") };
        rows.row(["caller".into(), format!("namespace {}, {labels}", proxy.namespace)]);
        self.put(&rows);
    }

    /// Listener, virtual host and routes.
    fn routes(&mut self) {
        let mut rows = Table::default();
        let mut row = |label: &str, text: String| rows.row([label.to_owned(), text]);
        let walk = self.walk;
        match (&walk.scope, &walk.table) {
            (None, _) => row("listener", format!("none for port {}", walk.port)),
            (Some(scope), None) => row("listener", format!("{}, whose routes are missing", scope.listener)),
            (Some(scope), Some(table)) => {
                row("listener", scope.listener.to_string());
                row("routes", table.config.name.to_string());
            }
        }
        let Some(explanation) = &walk.explanation else {
            self.put(&rows);
            return;
        };
        match &explanation.virtual_host {
            None => row("virtual host", format!("none for {}", explanation.authority)),
            Some(host) => {
                row("virtual host", format!("{} (domain {})", host.name, host.domain));
                let hostname = host.name.rsplit_once(':').map_or(&*host.name, |(hostname, _)| hostname);
                if let Some(service) = self.origin.service(hostname) {
                    row("", place(&service.object));
                }
            }
        }
        self.put(&rows);
        let mut rows = Table::default();
        let mut label = "no match";
        for skipped in &explanation.skipped {
            let object = self.object(skipped.index);
            rows.row([
                std::mem::take(&mut label).into(),
                number(skipped.index, &skipped.name),
                skipped.reason.clone(),
                object,
            ]);
        }
        if let Some((name, index, action)) = &explanation.route {
            let object = self.object(*index);
            rows.row(["match".into(), number(*index, name), action_words(walk.route_at(*index), action), object]);
        } else if explanation.virtual_host.is_some() {
            rows.row(["match".into(), "none".into()]);
        }
        let mut label = "not for us";
        for (rule, why, object) in self.for_others() {
            rows.row([std::mem::take(&mut label).into(), rule, why, object]);
        }
        self.put(&rows);
    }

    /// The object of a route, noted as involved.
    fn object(&mut self, route: usize) -> String {
        let object = self.walk.route_at(route).and_then(|route| self.origin.of_metadata(&route.metadata));
        self.involved.extend(object.map(|object| object.id.clone()));
        object.map_or_else(String::new, |object| place(object))
    }

    /// Rules of the VirtualServices at hand that are for other callers.
    fn for_others(&self) -> Vec<(String, String, String)> {
        let Some(host) = self.walk.virtual_host() else { return Vec::new() };
        let mut objects: Vec<_> = host.routes.iter().filter_map(|one| self.origin.of_metadata(&one.metadata)).collect();
        objects.dedup_by(|a, b| a.id == b.id);
        let others = objects.into_iter().flat_map(|object| {
            let others = self.origin.for_others(object, self.walk.port);
            others.into_iter().map(|(rule, why)| (rule, why, place(object)))
        });
        others.collect()
    }

    fn answer(&mut self, reply: &LocalReply) {
        let mut rows = Table::default();
        let flags = reply.flags;
        let flags = if flags == ResponseFlags::NONE { String::new() } else { format!(", flag {flags}") };
        rows.row(["answer".into(), format!("{}{flags} ({})", reply.status, reply.details)]);
        for (name, value) in &reply.headers {
            rows.row([String::new(), format!("{name}: {}", String::from_utf8_lossy(value.as_bytes()))]);
        }
        self.good = reply.flags == ResponseFlags::NONE;
        self.put(&rows);
    }

    fn forwarded(&mut self, request: &Request<()>, end: &End) {
        let Some((config, compiled)) = self.walk.route() else { return };
        let (priority, mut rows) = (compiled.priority(), Table::default());
        let mut row = |label: &str, text: String| rows.row([label.to_owned(), text]);
        if let End::Forwarded { head, timeouts } = end {
            row("timeout", words::timeouts(timeouts));
            row("retries", words::retries(compiled.retry_policy().map(|policy| &**policy)));
            if changes_by_destination(config) {
                row("sent as", "each destination changes the request on its own".to_owned());
            } else {
                for (at, line) in changes(request, head).into_iter().enumerate() {
                    row(if at == 0 { "sent as" } else { "" }, line);
                }
            }
        }
        for mirror in compiled.mirrors() {
            let share = mirror.runtime_fraction.map_or_else(|| "100%".to_owned(), percent);
            row("mirror", format!("{share} to {}", name_of(&mirror.cluster)));
        }
        self.put(&rows);
        let authority = request.uri().authority();
        let called = format!("{}:{}", authority.map_or("", |authority| authority.host()), self.walk.port);
        for (share, name) in self.destinations() {
            let cluster = self.walk.snapshot.cluster_by_name(&name).map(|cluster| &**cluster);
            let described = cluster::describe(&name, cluster, priority, &called, self.origin);
            self.text.push_str(&format!("\nto {share}{name}\n"));
            self.text.push_str(&described.rows.lines_behind(LABEL - INDENT.len(), INDENT));
            self.good &= described.reachable;
            self.involved.extend(described.objects);
        }
    }

    /// The clusters that the route sends to, with their shares; empty when it sends nowhere.
    fn destinations(&self) -> Vec<(String, String)> {
        let Some((Route { action: RouteAction::Forward(forward), .. }, _)) = self.walk.route() else {
            return Vec::new();
        };
        match &forward.cluster {
            ClusterSpecifier::WeightedClusters(weighted) => {
                let total: u64 = weighted.clusters.iter().map(|one| u64::from(one.weight)).sum();
                let used = weighted.clusters.iter().filter(|one| one.weight > 0);
                used.map(|one| (format!("{} ", share(one.weight, total)), specified(&one.cluster))).collect()
            }
            other => vec![(String::new(), specified(other))],
        }
    }

    /// What is said of the objects involved, and what was refused: it may be what is missing here.
    fn remarks(&mut self, remarks: &[Remark]) {
        let about = |remark: &&Remark| {
            let finding = &remark.finding;
            let ours = finding.object.as_ref().is_some_and(|object| self.involved.contains(object));
            let names_ours = || self.involved.iter().any(|id| finding.reason.contains(&format!("{id} ")));
            match finding.severity {
                Severity::Refused => true,
                Severity::Note => false,
                _ => ours || names_ours(),
            }
        };
        let mut rows = Table::default();
        for remark in remarks.iter().filter(about) {
            let severity = remark.finding.severity.as_str().to_owned();
            rows.row([remark.place(), remark.subject(), severity, remark.text()]);
        }
        if !rows.is_empty() {
            self.text.push_str("\nremarks\n");
            self.text.push_str(&rows.lines(INDENT));
        }
    }
}

/// `#2 jason`.
fn number(index: usize, name: &str) -> String {
    if name.is_empty() { format!("#{index}") } else { format!("#{index} {name}") }
}

/// What the route does; of a split only that it is one, since nothing is drawn here.
fn action_words(route: Option<&Route>, action: &str) -> String {
    match route.map(|route| &route.action) {
        Some(RouteAction::Forward(forward)) => match &forward.cluster {
            ClusterSpecifier::WeightedClusters(weighted) => format!("split over {} clusters", weighted.clusters.len()),
            other => format!("cluster {}", specified(other)),
        },
        _ => action.to_owned(),
    }
}

fn specified(cluster: &ClusterSpecifier) -> String {
    match cluster {
        ClusterSpecifier::Cluster(name) => name.to_string(),
        ClusterSpecifier::ClusterHeader(name) => format!("what header {name} names"),
        _ => "another split".to_owned(),
    }
}

fn name_of(cluster: &ClusterRef) -> String {
    match cluster {
        ClusterRef::Cluster(_, name) => name.to_string(),
        ClusterRef::Header(name) => format!("what header {name} names"),
    }
}

fn changes_by_destination(route: &Route) -> bool {
    match &route.action {
        RouteAction::Forward(forward) => match &forward.cluster {
            ClusterSpecifier::WeightedClusters(weighted) => weighted
                .clusters
                .iter()
                .any(|one| one.host_rewrite_literal.is_some() || one.request_headers != Default::default()),
            _ => false,
        },
        _ => false,
    }
}

/// How the request leaves, where it differs from how it came. Deadlines are told as timeouts.
fn changes(before: &Request<()>, after: &Request<()>) -> Vec<String> {
    let mut lines = Vec::new();
    let path = |request: &Request<()>| request.uri().path_and_query().map(ToString::to_string);
    if path(before) != path(after) {
        lines.push(format!("path {}", path(after).unwrap_or_default()));
    }
    let host = |request: &Request<()>| {
        let header =
            request.headers().get(header::HOST).map(|host| String::from_utf8_lossy(host.as_bytes()).into_owned());
        header.or_else(|| request.uri().authority().map(ToString::to_string))
    };
    if host(before) != host(after) {
        lines.push(format!("host {}", host(after).unwrap_or_default()));
    }
    let told = |name: &HeaderName| {
        *name == header::HOST || name.as_str() == "grpc-timeout" || name.as_str().starts_with("x-envoy-")
    };
    for name in after.headers().keys().filter(|name| !told(name)) {
        let values = |request: &Request<()>| {
            let values = request.headers().get_all(name).iter();
            values.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).collect::<Vec<_>>()
        };
        if values(before) != values(after) {
            lines.push(format!("{name}: {}", values(after).join(", ")));
        }
    }
    let gone = before.headers().keys().filter(|name| !told(name) && !after.headers().contains_key(*name));
    lines.extend(gone.map(|name| format!("without {name}")));
    lines
}

/// `80%`, `33.3%`.
fn share(weight: u32, total: u64) -> String {
    let tenths = (u64::from(weight) * 1000 + total / 2).checked_div(total).unwrap_or_default();
    if tenths.is_multiple_of(10) { format!("{}%", tenths / 10) } else { format!("{}.{}%", tenths / 10, tenths % 10) }
}

fn percent(fraction: FractionalPercent) -> String {
    let share = f64::from(fraction.numerator) * 100.0 / f64::from(fraction.denominator.max(1));
    format!("{}%", share.min(100.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_percent_with_a_tenth_where_needed() {
        assert_eq!((share(80, 100), share(1, 3), share(0, 0)), ("80%".into(), "33.3%".into(), "0%".into()));
        assert_eq!(percent(FractionalPercent { numerator: 5, denominator: 10_000 }), "0.05%");
    }

    #[test]
    fn changes_show_what_is_other_than_before() {
        let before = Request::get("http://a/x").header("k", "1").header("gone", "1").body(()).unwrap();
        let after = Request::get("http://a/y").header("k", "2").header("host", "b").header("x-envoy-z", "1").body(());
        assert_eq!(changes(&before, &after.unwrap()), ["path /y", "host b", "k: 2", "without gone"]);
        assert!(changes(&before, &before).is_empty());
    }
}
