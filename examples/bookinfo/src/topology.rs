//! Which instances there are, and the loopback port that each prefers.

use std::io;
use std::net::Ipv4Addr;

use tokio::net::TcpListener;

/// A service of the shop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum App {
    /// The page that a reader opens. HTTP.
    Productpage,
    /// What a book is. HTTP.
    Details,
    /// What readers say of a book. gRPC.
    Reviews,
    /// How many stars they give. HTTP.
    Ratings,
    /// Book numbers; outside the mesh. HTTP.
    Isbn,
}

impl App {
    /// The value of the label `app`, and the Service's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Productpage => "productpage",
            Self::Details => "details",
            Self::Reviews => "reviews",
            Self::Ratings => "ratings",
            Self::Isbn => "isbn",
        }
    }

    /// The name of the Service's port, which tells its protocol.
    #[must_use]
    pub const fn port_name(self) -> &'static str {
        match self {
            Self::Reviews => "grpc",
            _ => "http",
        }
    }
}

/// One instance of one version of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Workload {
    /// The service.
    pub app: App,
    /// The value of the label `version`.
    pub version: &'static str,
    /// Counts the instances of a version, from 0.
    pub replica: u16,
}

impl Workload {
    /// Such as `reviews-v1`: what all instances of the version are called in the table.
    #[must_use]
    pub fn deployment(&self) -> String {
        format!("{}-{}", self.app.name(), self.version)
    }

    /// Such as `reviews-v1-0`.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}-{}-{}", self.app.name(), self.version, self.replica)
    }
}

/// Every version, and how many instances of it run.
const DEPLOYMENTS: [(App, &str, u16); 7] = [
    (App::Productpage, "v1", 2),
    (App::Details, "v1", 2),
    (App::Reviews, "v1", 3),
    (App::Reviews, "v2", 2),
    (App::Reviews, "v3", 2),
    (App::Ratings, "v1", 2),
    (App::Isbn, "v1", 1),
];

/// All instances, in the order of their ports.
pub fn workloads() -> impl Iterator<Item = Workload> {
    DEPLOYMENTS
        .into_iter()
        .flat_map(|(app, version, replicas)| (0..replicas).map(move |replica| Workload { app, version, replica }))
}

/// Binds a loopback port for every instance: `base_port` and those that follow it, or any free port for one that is
/// taken. With a `base_port` of 0 all are free ones.
///
/// # Errors
/// Not even a free port can be bound.
pub async fn bind(base_port: u16) -> io::Result<Vec<(Workload, TcpListener)>> {
    let mut bound = Vec::new();
    for (workload, offset) in workloads().zip(0_u16..) {
        let preferred = if base_port == 0 { 0 } else { base_port.saturating_add(offset) };
        let listener = match TcpListener::bind((Ipv4Addr::LOCALHOST, preferred)).await {
            Ok(listener) => listener,
            Err(_) => TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?,
        };
        bound.push((workload, listener));
    }
    Ok(bound)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]
    use super::*;

    #[tokio::test]
    async fn a_taken_port_is_replaced_by_a_free_one() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = taken.local_addr().unwrap().port();
        let bound = bind(port).await.unwrap();
        assert_eq!(bound.len(), workloads().count());
        assert_ne!(bound[0].1.local_addr().unwrap().port(), port);
    }
}
