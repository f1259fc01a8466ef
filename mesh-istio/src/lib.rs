//! Istio objects in, Envoy v3 resources out: a small istiod.
