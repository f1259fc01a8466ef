#![allow(unused, reason = "probe")]
use http::*;
use mesh_core::engine::facts::*;
use mesh_core::engine::headers::FormatContext;
use mesh_core::engine::routing::*;
use mesh_core::resource::matcher::*;
use mesh_core::resource::metadata::Metadata;
use mesh_core::resource::route::*;
#[inline(never)]
fn probe(t: &RouteTable, f: &RequestFacts<'_>, r: u64) -> u32 {
    let d = t.decide(f, r).unwrap();
    match t.action(d, f) {
        Decided::Forward(Some(c)) => c.0,
        _ => 0,
    }
}
fn main() {
    let headers = std::env::args().nth(1).unwrap() == "h";
    let mut routes: Vec<_> = (0..99)
        .map(|i| {
            let mut m = RouteMatch::prefix(format!("/api/v1/service-{i:03}"));
            if headers {
                m = RouteMatch::prefix("/");
                m.headers
                    .push(HeaderMatcher::new("x-user", HeaderSpecifier::String(StringMatcher::exact(format!("u{i}")))));
            }
            Route::new(m, RouteAction::Forward(Box::new(Forward::to("a"))))
        })
        .collect();
    let w = WeightedClusters {
        clusters: vec![WeightedCluster::new("x", 80), WeightedCluster::new("y", 20)],
        random_value_header: None,
    };
    routes.push(Route::new(
        RouteMatch::prefix("/"),
        RouteAction::Forward(Box::new(Forward::new(ClusterSpecifier::WeightedClusters(w)))),
    ));
    let mut vh = vec![];
    for i in 0..200 {
        vh.push(VirtualHost {
            name: format!("v{i}").into(),
            domains: vec![format!("svc-{i}.default.svc.cluster.local"), format!("svc-{i}.default"), format!("svc-{i}")],
            routes: vec![],
            ..Default::default()
        });
    }
    vh.push(VirtualHost {
        name: "r".into(),
        domains: vec!["reviews.default.svc.cluster.local".into(), "*".into()],
        routes,
        ..Default::default()
    });
    let c = RouteConfiguration {
        name: "rc".into(),
        virtual_hosts: vh,
        ignore_port_in_host_matching: true,
        ..Default::default()
    };
    let t = RouteTable::compile(&c, &mut |_| ClusterId(1)).unwrap();
    let mut req = Request::get("http://reviews.default.svc.cluster.local:9080/api/v1/service-099/x?y=1")
        .header("x-user", "jason")
        .header("accept", "*/*")
        .body(())
        .unwrap();
    let con = ConnectionFacts::default();
    let m = Metadata::new();
    let n: u64 = std::env::args().nth(2).unwrap().parse().unwrap();
    let mut s = 0;
    {
        let f = RequestFacts::of(&req, &con, &m);
        for i in 0..n {
            s += probe(&t, std::hint::black_box(&f), i);
        }
    }
    let d = {
        let f = RequestFacts::of(&req, &con, &m);
        t.decide(&f, 1).unwrap()
    };
    for _ in 0..n {
        t.apply_request(d, &mut req, &FormatContext::for_request(&con, &m)).unwrap();
    }
    println!("{s}");
}
