//! By which names a caller reaches a service: the domains of its virtual host.
//!
//! Ports are ignored when hosts are compared, so none are written. Follows istiod's `generateVirtualHostDomains`.

use crate::registry::RegistryService;

/// Names of a service as a caller in `namespace` may write them; the full name first.
pub(super) fn of_service(service: &RegistryService, namespace: &str) -> Vec<String> {
    let mut out = vec![service.hostname.clone()];
    // A wildcard has no absolute form.
    if !service.hostname.starts_with('*') {
        out.push(format!("{}.", service.hostname));
    }
    out.extend(short_names(&service.hostname, namespace));
    if service.headless {
        let pods: Vec<_> = out.iter().filter(|name| !name.ends_with('.')).map(|name| format!("*.{name}")).collect();
        out.extend(pods);
    }
    for address in &service.addresses {
        // IPv6 stands in brackets in an authority.
        out.push(if address.contains(':') { format!("[{address}]") } else { address.clone() });
    }
    out
}

/// `reviews.default.svc.cluster.local` as `reviews` (from within its namespace), `reviews.default.svc`, `reviews.default`. Names that are
/// not of this form have none, whoever declares them.
fn short_names(hostname: &str, namespace: &str) -> Vec<String> {
    let Some(svc) = hostname.find(".svc.").filter(|at| *at > 0) else {
        return Vec::new();
    };
    let Some(dot) = hostname.find('.').filter(|dot| *dot < svc) else {
        return Vec::new();
    };
    let (name, with_namespace) = (&hostname[..dot], &hostname[..svc]);
    let mut out = Vec::new();
    if &hostname[dot + 1..svc] == namespace {
        out.push(name.to_owned());
    }
    out.push(format!("{with_namespace}.svc"));
    out.push(with_namespace.to_owned());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_names_depend_on_the_callers_namespace() {
        let host = "reviews.shop.svc.cluster.local";
        assert_eq!(short_names(host, "shop"), ["reviews", "reviews.shop.svc", "reviews.shop"]);
        assert_eq!(short_names(host, "other"), ["reviews.shop.svc", "reviews.shop"]);
        for host in ["api.example.com", "svc.cluster.local", ".svc.x", "a.svc.b"] {
            assert!(short_names(host, "shop").is_empty(), "{host}");
        }
    }
}
