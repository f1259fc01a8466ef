//! What fails a build, and what does not.

use mesh_sdk::{BuildError, Mesh};

use crate::support::{listener, service};

#[tokio::test]
async fn a_mesh_without_a_source_or_with_an_unreadable_directory_is_not_built() {
    assert!(matches!(Mesh::builder().build().await, Err(BuildError::NoSource)));
    let missing = tempfile::tempdir().unwrap().path().join("missing");
    let error = Mesh::builder().directory(&missing).build().await.unwrap_err();
    assert!(matches!(&error, BuildError::Directory { path, .. } if *path == missing), "{error}");
}

#[tokio::test]
async fn admin_pages_that_cannot_be_served_fail_the_build() {
    let yaml = || service("reviews", &[]);
    let taken = listener().await;
    let error = Mesh::builder().literal(yaml()).admin(taken.local_addr().unwrap()).build().await.unwrap_err();
    assert!(matches!(error, BuildError::Admin { .. }), "{error}");
    let error = Mesh::builder().literal(yaml()).admin("0.0.0.0:0").build().await.unwrap_err();
    assert!(matches!(error, BuildError::AdminNotLoopback { .. }), "{error}");
    let error = Mesh::builder().literal(yaml()).admin("nonsense").build().await.unwrap_err();
    assert!(matches!(error, BuildError::AdminAddress { .. }), "{error}");
    let open = Mesh::builder().literal(yaml()).danger_admin_on_any_address("127.0.0.1:0").build().await.unwrap();
    assert!(open.admin_address().is_some());
}

#[test]
fn without_a_runtime_a_mesh_is_not_built() {
    let mut build = std::pin::pin!(Mesh::builder().literal("").build());
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    let std::task::Poll::Ready(built) = build.as_mut().poll(&mut cx) else { panic!("it cannot wait") };
    assert!(matches!(built, Err(BuildError::NoRuntime)));
}
