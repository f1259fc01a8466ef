//! `mesh explain`: each step with its reason and its object, and the exit code.

use crate::{folder, mesh, path};

const JASON: &str = r#"request        GET http://reviews:9080/reviews/1
               end-user: jason
               cookie: a=b
caller         namespace default, no labels
listener       0.0.0.0_9080
routes         9080
virtual host   reviews.default.svc.cluster.local:9080 (domain reviews)
               Service/default/reviews  shop/10-services.yaml:2
no match       #0 old                 prefix "/old/" does not match "/reviews/1"                  VirtualService/default/reviews  shop/20-rules.yaml:19
               #1 gone                path "/gone" does not match "/reviews/1"                    VirtualService/default/reviews  shop/20-rules.yaml:19
match          #2 jason               cluster outbound|9080|v2|reviews.default.svc.cluster.local  VirtualService/default/reviews  shop/20-rules.yaml:19
not for us     spec.http[0].match[0]  sourceLabels app=batch are not the caller's                 VirtualService/default/reviews  shop/20-rules.yaml:19
timeout        2s
retries        3, on 5xx, reset; 500ms for each try; back-off 25ms to 250ms; another endpoint if there is one
sent as        path /v2/reviews/1
               host reviews.internal
               x-tester: yes
               without cookie

to outbound|9080|v2|reviews.default.svc.cluster.local
  service      Service/default/reviews  shop/10-services.yaml:2
  rule         DestinationRule/default/reviews  shop/20-rules.yaml:1
  balancing    random
  connections  HTTP/1.1, connect within 1s, idle for 1h at most, 10 requests each at most
  limits       100 connections, 16 waiting requests, 64 requests, 3 retries
  endpoints    127.0.0.12:9080  weight 2  WorkloadEntry/default/reviews-v2  shop/10-services.yaml:16
"#;

const SPLIT: &str = r#"request        GET http://reviews:9080/x
caller         namespace default, no labels
listener       0.0.0.0_9080
routes         9080
virtual host   reviews.default.svc.cluster.local:9080 (domain reviews)
               Service/default/reviews  shop/10-services.yaml:2
no match       #0 old                 prefix "/old/" does not match "/x"           VirtualService/default/reviews  shop/20-rules.yaml:19
               #1 gone                path "/gone" does not match "/x"             VirtualService/default/reviews  shop/20-rules.yaml:19
               #2 jason               prefix "/reviews" does not match "/x"        VirtualService/default/reviews  shop/20-rules.yaml:19
match          #3 everybody           split over 2 clusters                        VirtualService/default/reviews  shop/20-rules.yaml:19
not for us     spec.http[0].match[0]  sourceLabels app=batch are not the caller's  VirtualService/default/reviews  shop/20-rules.yaml:19
timeout        none
retries        2, on connect-failure, refused-stream, cancelled, unavailable; back-off 25ms to 250ms; another endpoint if there is one

to 80% outbound|9080|v1|reviews.default.svc.cluster.local
  service      Service/default/reviews  shop/10-services.yaml:2
  rule         DestinationRule/default/reviews  shop/20-rules.yaml:1
  balancing    round robin
  connections  HTTP/1.1, connect within 1s, idle for 1h at most, 10 requests each at most
  limits       100 connections, 16 waiting requests, 64 requests, 3 retries
  endpoints    127.0.0.11:9080  weight 1  WorkloadEntry/default/reviews-v1  shop/10-services.yaml:9

to 20% outbound|9080|v2|reviews.default.svc.cluster.local
  service      Service/default/reviews  shop/10-services.yaml:2
  rule         DestinationRule/default/reviews  shop/20-rules.yaml:1
  balancing    random
  connections  HTTP/1.1, connect within 1s, idle for 1h at most, 10 requests each at most
  limits       100 connections, 16 waiting requests, 64 requests, 3 retries
  endpoints    127.0.0.12:9080  weight 2  WorkloadEntry/default/reviews-v2  shop/10-services.yaml:16
"#;

#[test]
fn a_request_is_followed_from_its_virtual_host_to_its_endpoints() {
    let url = "http://reviews:9080/reviews/1";
    let run = mesh(&["explain", "shop", "GET", url, "-H", "end-user: jason", "-H", "cookie: a=b"]);
    assert_eq!((run.out.as_str(), run.code, run.err.as_str()), (JASON, 0, ""));
}

#[test]
fn every_cluster_of_a_split_is_shown_with_its_share() {
    let run = mesh(&["explain", "shop", "GET", "http://reviews:9080/x"]);
    assert_eq!((run.out.as_str(), run.code), (SPLIT, 0));
}

#[test]
fn a_mirror_is_shown_with_its_share() {
    let folder = folder(
        "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {ports: [{name: http, port: 80}]}\n---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: a}\nspec:\n  hosts: [a]\n  http: [{route: [{destination: {host: a}}], mirror: {host: a}, mirrorPercentage: {value: 5}}]\n",
    );
    let out = mesh(&["explain", path(&folder), "GET", "http://a/"]).out;
    assert_eq!(step(&out, "mirror"), "5% to outbound|80||a.default.svc.cluster.local");
    assert!(!out.contains("request_mirror_policies is not in force"), "{out}");
}

/// The rest of the line behind a label.
fn step<'a>(out: &'a str, label: &str) -> &'a str {
    out.lines().find_map(|line| line.trim_start().strip_prefix(label)).unwrap_or_default().trim_start()
}

#[test]
fn rules_for_callers_with_certain_labels_match_those_callers() {
    let run = mesh(&["explain", "shop", "GET", "http://reviews:9080/x", "--labels", "app=batch,version=v1"]);
    assert!(step(&run.out, "match").starts_with("#0 batch  cluster outbound|9080|v1|reviews."), "{}", run.out);
    assert_eq!(step(&run.out, "caller"), "namespace default, app=batch,version=v1");
    assert!(!run.out.contains("not for us"), "{}", run.out);
}

#[test]
fn redirects_and_direct_responses_are_answers_of_a_route() {
    let redirect = mesh(&["explain", "shop", "GET", "http://reviews:9080/old/1"]);
    assert_eq!((step(&redirect.out, "answer"), redirect.code), ("302 Found (direct_response)", 0));
    assert_eq!(step(&redirect.out, "location:"), "http://reviews:9080/new");
    let gone = mesh(&["explain", "shop", "GET", "http://reviews:9080/gone"]);
    assert_eq!((step(&gone.out, "answer"), gone.code), ("410 Gone (direct_response)", 0));
}

#[test]
fn a_host_that_nobody_declared_is_passed_through_or_refused_as_the_mesh_says() {
    let through = mesh(&["explain", "shop", "GET", "http://nobody:9080/"]);
    assert_eq!((step(&through.out, "to "), through.code), ("PassthroughCluster", 0));
    assert_eq!(step(&through.out, "endpoints"), "nobody:9080, which the caller names");
    let refused = mesh(&["explain", "shop", "GET", "http://nobody:9080/", "--registry-only"]);
    assert_eq!(step(&refused.out, "answer"), "502 Bad Gateway (direct_response)");
    let other_port = mesh(&["explain", "shop", "GET", "http://10.0.0.1:7777/"]);
    assert_eq!(step(&other_port.out, "listener"), "virtualOutbound");
}

#[test]
fn a_cluster_without_endpoints_is_no_healthy_upstream() {
    let run = mesh(&["explain", "shop", "GET", "http://empty:9080/"]);
    assert_eq!(run.code, 1);
    assert_eq!(step(&run.out, "endpoints"), "none: nobody stands behind it, the request is answered 503 (UH)");
}

#[test]
fn a_missing_cluster_is_shown_with_what_was_said_of_its_rule() {
    let run = mesh(&["explain", "broken", "GET", "http://reviews:9080/x"]);
    assert_eq!(run.code, 1);
    assert_eq!(step(&run.out, "endpoints"), "none: there is no such cluster, the request is answered 503 (NC)");
    let remarks = run.out.split("\nremarks\n").nth(1).unwrap();
    let place = "  broken/04-dangling.yaml:12  VirtualService/default/dangling         warning  ";
    assert!(remarks.contains(&format!("{place}spec.http[1].route[0].destination.subset: ")), "{remarks}");
    // Refused objects may be what is missing; a rule that lost its host to this one is named, too.
    assert!(remarks.contains("VirtualService/default/negative-weight  refused"), "{remarks}");
    assert!(remarks.contains("VirtualService/default/second-claim     warning"), "{remarks}");
    assert!(!remarks.contains("ratings-copies"), "{remarks}");
}

#[test]
fn a_request_that_no_route_takes_is_answered_404() {
    let folder = folder(
        "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {ports: [{name: http, port: 80}]}\n---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: a}\nspec:\n  hosts: [a]\n  http: [{match: [{method: {exact: POST}}], route: [{destination: {host: a}}]}]\n",
    );
    let run = mesh(&["explain", path(&folder), "get", "http://a/"]);
    assert_eq!((step(&run.out, "answer"), run.code), ("404 Not Found, flag NR (route_not_found)", 1), "{}", run.out);
    assert!(step(&run.out, "no match").starts_with("#0  header :method exact \"POST\" is not so"), "{}", run.out);
    assert_eq!(step(&run.out, "match "), "none");
}

#[test]
fn a_grpc_deadline_is_the_timeout() {
    let url = "http://ratings:9081/ratings.Ratings/Get";
    let headers = ["-H", "content-type: application/grpc", "-H", "grpc-timeout: 1S"];
    let run = mesh(&[&["explain", "shop", "POST", url][..], &headers].concat());
    assert_eq!((step(&run.out, "timeout"), run.code), ("1s, by the caller's gRPC deadline", 0));
    assert!(
        step(&run.out, "endpoints").ends_with("EndpointSlice/default/ratings-1  shop/10-services.yaml:30"),
        "{}",
        run.out
    );
}

#[test]
fn names_are_not_resolved() {
    let run = mesh(&["explain", "shop", "GET", "http://currency.example.com/"]);
    assert_eq!(run.code, 0);
    assert_eq!(step(&run.out, "endpoints"), "currency.example.com:8080  weight 1");
    assert!(run.out.contains("names are resolved while running"));
}

#[test]
fn short_names_and_objects_without_a_namespace_belong_to_the_namespace_given() {
    let run = mesh(&["explain", "shop", "GET", "http://reviews:9080/gone", "--namespace", "store"]);
    assert!(step(&run.out, "virtual host").starts_with("reviews.store.svc.cluster.local:9080"), "{}", run.out);
    let domain = ["explain", "shop", "GET", "http://reviews:9080/gone", "--cluster-domain", "mesh.internal"];
    assert!(step(&mesh(&domain).out, "virtual host").starts_with("reviews.default.svc.mesh.internal:9080"));
}
