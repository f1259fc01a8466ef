//! The names that istiod gives to resources. Users and dashboards know them: they are part of the interface.

/// `outbound|9080|v1|reviews.default.svc.cluster.local`; an empty subset stands for the whole service.
pub(super) fn outbound_cluster(port: u32, subset: &str, hostname: &str) -> String {
    format!("outbound|{port}|{subset}|{hostname}")
}

/// The same as a server name: `outbound_.9080_.v1_.reviews.default.svc.cluster.local`.
pub(super) fn server_name(port: u32, subset: &str, hostname: &str) -> String {
    format!("outbound_.{port}_.{subset}_.{hostname}")
}

/// `inbound|9080||`.
pub(super) fn inbound_cluster(port: u32) -> String {
    format!("inbound|{port}||")
}

/// `0.0.0.0_9080`, `10.0.0.1_9080`.
pub(super) fn listener(address: &str, port: u32) -> String {
    format!("{address}_{port}")
}

pub(super) const BLACK_HOLE: &str = "BlackHoleCluster";
pub(super) const PASSTHROUGH: &str = "PassthroughCluster";
pub(super) const INBOUND_PASSTHROUGH: &str = "InboundPassthroughCluster";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_istiod() {
        assert_eq!(outbound_cluster(80, "", "a.b"), "outbound|80||a.b");
        assert_eq!(server_name(80, "", "a.b"), "outbound_.80_._.a.b");
        assert_eq!(server_name(80, "v1", "a.b"), "outbound_.80_.v1_.a.b");
        assert_eq!(inbound_cluster(80), "inbound|80||");
        assert_eq!(listener("0.0.0.0", 80), "0.0.0.0_80");
    }
}
