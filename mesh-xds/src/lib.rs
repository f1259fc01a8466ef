//! Configuration on the wire: judges Envoy v3 resources and turns them into mesh-core resources.
