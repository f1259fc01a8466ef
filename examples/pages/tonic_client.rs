//! A tonic client over the mesh: `cargo run --example tonic_client`, while `make demo` runs.
//!
//! The generated client takes the mesh's channel as it would take tonic's own.

use bookinfo::proto::{ListRequest, ReviewsClient};
use mesh_sdk::{Mesh, ResponseInfo};

/// Two of the demo's instances, and a rule: jason is answered by v3.
const MESH: &str = "\
apiVersion: v1
kind: Service
metadata: {name: reviews, namespace: default}
spec: {selector: {app: reviews}, ports: [{name: grpc, port: 9080}]}
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: reviews-v1, namespace: default}
spec: {address: 127.0.0.1, ports: {grpc: 19084}, labels: {app: reviews, version: v1}}
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: reviews-v3, namespace: default}
spec: {address: 127.0.0.1, ports: {grpc: 19089}, labels: {app: reviews, version: v3}}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: reviews, namespace: default}
spec: {host: reviews, subsets: [{name: v1, labels: {version: v1}}, {name: v3, labels: {version: v3}}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews, namespace: default}
spec:
  hosts: [reviews]
  http:
  - match: [{headers: {end-user: {exact: jason}}}]
    route: [{destination: {host: reviews, subset: v3}}]
  - route: [{destination: {host: reviews, subset: v1}}]
";

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mesh = Mesh::builder().literal(MESH).namespace("default").build().await?;
    let mut reviews = ReviewsClient::new(mesh.channel("reviews:9080"));
    for user in ["anna", "jason"] {
        let mut request = tonic::Request::new(ListRequest { product: 0 });
        request.metadata_mut().insert("end-user", user.parse()?);
        let response = reviews.list(request).await?;
        let upstream = response.extensions().get::<ResponseInfo>().and_then(|info| info.upstream.clone());
        println!("{user}: {} by {upstream:?}", response.get_ref().version);
    }
    mesh.shutdown().await;
    Ok(())
}
