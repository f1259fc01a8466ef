//! The vocabulary: Envoy v3 messages, their JSON form, and the walk over fields nobody reads.
