//! Where this mesh does what its users expect instead of what Envoy does: each a named switch with a default.

/// The switches, by default as users of a library expect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Hash)]
#[non_exhaustive]
pub struct RequestCompat {
    /// What a gRPC caller is told when a timeout of the route or of the last try passes.
    pub grpc_timeout_status: GrpcTimeoutStatus,
    /// Whether outlier detection may eject one host although that is more than the share allowed, where the settings do
    /// not say (`always_eject_one_host`).
    pub always_eject_one: AlwaysEjectOne,
}

impl RequestCompat {
    /// Strictly as Envoy does, in everything.
    #[must_use]
    pub const fn envoy() -> Self {
        Self { grpc_timeout_status: GrpcTimeoutStatus::Envoy, always_eject_one: AlwaysEjectOne::Never }
    }
}

/// The status of a gRPC call that took too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Hash)]
pub enum GrpcTimeoutStatus {
    /// `DEADLINE_EXCEEDED` (4), as a gRPC application expects of its own deadline.
    #[default]
    DeadlineExceeded,
    /// `UNAVAILABLE` (14), as Envoy answers.
    Envoy,
}

/// Whether one host is ejected however few there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Hash)]
pub enum AlwaysEjectOne {
    /// One is: with the usual share of 10 % a service of two or three pods would never lose a bad one otherwise. So do
    /// older releases of Envoy, and gRPC (A50).
    #[default]
    UnlessForbidden,
    /// None is beyond the share, as in Envoy today.
    Never,
}
