//! Which chains a port has by PeerAuthentication.

use mesh_istio::{MeshConfig, ProxyContext, Severity, World};

use crate::support::{listener, lowered_for, of};

const SERVED: &str = "\
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: web}
spec:
  hosts: [web.default.svc.cluster.local]
  ports: [{number: 80, name: http, protocol: HTTP, targetPort: 8080}, {number: 90, name: tcp, protocol: TCP, targetPort: 9090}]
  resolution: STATIC
  endpoints: [{address: 10.1.0.1}]
---
";

fn policy(name: &str, namespace: &str, spec: &str) -> String {
    format!(
        "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {{name: {name}, namespace: {namespace}}}\nspec: {{{spec}}}\n---\n"
    )
}

/// Chains as `name transport applications`, with `+` for those with a socket of their own.
fn chains(policies: &str) -> Vec<String> {
    let proxy = ProxyContext::new("default").label("app", "web").ip("10.1.0.1".parse().unwrap());
    let lowered = lowered_for(&format!("{SERVED}{policies}"), &proxy, &MeshConfig::default());
    let inbound = listener(&lowered, "virtualInbound");
    let chains = inbound["filterChains"].as_array().unwrap().iter().skip(1);
    chains
        .map(|chain| {
            let matches = &chain["filterChainMatch"];
            let alpn: Vec<_> = matches["applicationProtocols"].as_array().into_iter().flatten().collect();
            format!(
                "{} {}{} {}",
                chain["name"].as_str().unwrap(),
                matches["transportProtocol"].as_str().unwrap(),
                if chain.get("transportSocket").is_some() { "+" } else { "" },
                alpn.iter().map(|name| name.as_str().unwrap()).collect::<Vec<_>>().join(",")
            )
        })
        .collect()
}

const PLAIN: [&str; 4] = [
    "virtualInbound-catchall-http raw_buffer http/1.1,h2c",
    "virtualInbound raw_buffer ",
    "0.0.0.0_8080 raw_buffer ",
    "0.0.0.0_9090 raw_buffer ",
];

const STRICT: [&str; 4] = [
    "virtualInbound-catchall-http tls+ istio-http/1.0,istio-http/1.1,istio-h2",
    "virtualInbound tls+ ",
    "0.0.0.0_8080 tls+ ",
    "0.0.0.0_9090 tls+ ",
];

const PERMISSIVE: [&str; 10] = [
    "virtualInbound-catchall-http tls+ istio-http/1.0,istio-http/1.1,istio-h2",
    "virtualInbound-catchall-http raw_buffer http/1.1,h2c",
    "virtualInbound tls+ istio,istio-peer-exchange",
    "virtualInbound tls ",
    "virtualInbound raw_buffer ",
    "0.0.0.0_8080 tls+ istio,istio-peer-exchange,istio-http/1.0,istio-http/1.1,istio-h2",
    "0.0.0.0_8080 raw_buffer ",
    "0.0.0.0_9090 tls+ istio,istio-peer-exchange",
    "0.0.0.0_9090 tls ",
    "0.0.0.0_9090 raw_buffer ",
];

#[test]
fn a_policy_leaves_plain_text_only_where_it_allows_it() {
    assert_eq!(chains(""), PLAIN);
    for (policies, expected) in [
        (policy("p", "default", "mtls: {mode: STRICT}"), &STRICT[..]),
        (policy("p", "default", "mtls: {mode: PERMISSIVE}"), &PERMISSIVE),
        (policy("p", "default", "mtls: {mode: DISABLE}"), &PLAIN),
        // What is not said comes from above, and at last from Istio.
        (policy("p", "default", ""), &PERMISSIVE),
        (policy("p", "istio-system", "mtls: {mode: STRICT}"), &STRICT),
        (policy("p", "istio-system", "mtls: {mode: STRICT}") + &policy("q", "default", "mtls: {mode: UNSET}"), &STRICT),
        (
            policy("p", "istio-system", "mtls: {mode: STRICT}") + &policy("q", "default", "mtls: {mode: DISABLE}"),
            &PLAIN,
        ),
        // Of other workloads and namespaces, and with a selector in the root namespace: nothing.
        (policy("p", "other", "mtls: {mode: STRICT}"), &PLAIN),
        (policy("p", "default", "selector: {matchLabels: {app: x}}, mtls: {mode: STRICT}"), &PLAIN),
        (policy("p", "istio-system", "selector: {matchLabels: {app: web}}, mtls: {mode: STRICT}"), &PLAIN),
        // The oldest of a namespace.
        (policy("p", "default", "mtls: {mode: STRICT}") + &policy("q", "default", "mtls: {mode: DISABLE}"), &STRICT),
    ] {
        assert_eq!(chains(&policies), expected, "{policies}");
    }
    let by_port = policy(
        "p",
        "default",
        "selector: {matchLabels: {app: web}}, mtls: {mode: STRICT}, portLevelMtls: {8080: {mode: DISABLE}, 9090: {mode: UNSET}}",
    );
    let [catch_http, catch, _, tcp] = STRICT;
    assert_eq!(chains(&by_port), [catch_http, catch, PLAIN[2], tcp]);
}

#[test]
fn what_is_wrong_with_a_policy_for_peers_is_refused_by_field() {
    for (spec, said) in [
        ("mtls: {mode: BLAH}", "WRONG_TYPE spec.mtls.mode"),
        ("portLevelMtls: {80: {mode: STRICT}}", "REQUIRED spec.portLevelMtls: portLevelMtls requires selector"),
        ("selector: {matchLabels: {a: b}}, portLevelMtls: {}", "REQUIRED spec.portLevelMtls: at least one"),
        ("selector: {matchLabels: {a: b}}, portLevelMtls: {0: {mode: STRICT}}", "INVALID_VALUE spec.portLevelMtls[0]"),
        ("selector: {matchLabels: {a: b}}, portLevelMtls: {x: {mode: STRICT}}", "INVALID_VALUE spec.portLevelMtls[x]"),
        ("selector: {matchLabels: {a: '*'}}", "BAD_SELECTOR spec.selector.matchLabels[a]"),
    ] {
        let world = World::load([("x", policy("p", "default", spec))]);
        let refused: Vec<_> = of(world.findings(), Severity::Refused)
            .into_iter()
            .map(|line| line.replace("x:4: PeerAuthentication/default/p: ", ""))
            .collect();
        assert!(refused.len() == 1 && refused[0].starts_with(said), "{spec}: {refused:?}");
        assert!(world.objects().is_empty());
    }
}
