//! `mesh lower`: the resources of a node, by kind.

use serde_json::Value;

use crate::{folder, mesh, path};

const NODE: &str = "sidecar~127.0.0.1~productpage-1.default~default.svc.cluster.local";

fn names(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect()
}

#[test]
fn every_resource_of_a_node_is_printed_as_envoy_has_it_in_json() {
    let run = mesh(&["lower", "shop", "--node", NODE]);
    assert_eq!((run.code, run.err.as_str()), (0, ""));
    let all: Value = serde_json::from_str(&run.out).unwrap();
    assert_eq!(all.as_object().unwrap().keys().collect::<Vec<_>>(), ["clusters", "endpoints", "listeners", "routes"]);
    assert!(names(&all["listeners"]).contains(&"0.0.0.0_9080"));
    assert!(names(&all["routes"]).contains(&"9080"));
    assert!(names(&all["clusters"]).contains(&"outbound|9080||reviews.default.svc.cluster.local"));
    let clusters = all["endpoints"].as_array().unwrap().iter().map(|one| one["clusterName"].as_str().unwrap());
    assert!(clusters.clone().any(|name| name == "outbound|9080||reviews.default.svc.cluster.local"));
}

#[test]
fn only_the_kinds_that_are_asked_for_are_printed() {
    let run = mesh(&["lower", "shop", "--node", NODE, "--type", "routes", "--type", "endpoints"]);
    let some: Value = serde_json::from_str(&run.out).unwrap();
    assert_eq!(some.as_object().unwrap().keys().collect::<Vec<_>>(), ["endpoints", "routes"]);
}

#[test]
fn labels_and_namespace_of_the_node_decide() {
    let folder = folder(
        "apiVersion: v1\nkind: Service\nmetadata: {name: a, namespace: there}\nspec: {ports: [{name: http, port: 80}]}\n---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: a, namespace: there}\nspec:\n  hosts: [a]\n  http: [{match: [{sourceLabels: {app: x}}], directResponse: {status: 204}}]\n",
    );
    let routes = |node: &str, labels: &str| {
        let run = mesh(&["lower", path(&folder), "--node", node, "--labels", labels, "--type", "routes"]);
        assert_eq!(run.code, 0, "{}", run.err);
        run.out
    };
    let (here, there) = ("sidecar~127.0.0.1~b.here~here.svc.cluster.local", "sidecar~127.0.0.1~b.there~x");
    assert!(routes(here, "app=x").contains("\"status\": 204"));
    assert!(!routes(here, "app=y").contains("\"status\": 204"));
    // Only callers of its own namespace may write the short name.
    assert!(routes(there, "app=y").contains("\"a\",") && !routes(here, "app=y").contains("\"a\","));
}

#[test]
fn what_is_refused_is_named_beside_the_resources_of_its_siblings() {
    let run = mesh(&["lower", "broken", "--node", NODE, "--type", "clusters"]);
    assert_eq!(run.code, 1);
    assert!(
        run.err.contains("refused: broken/03-values.yaml:19: VirtualService/default/negative-weight: "),
        "{}",
        run.err
    );
    let clusters: Value = serde_json::from_str(&run.out).unwrap();
    assert!(names(&clusters["clusters"]).contains(&"BlackHoleCluster"));
}
