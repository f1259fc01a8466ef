//! Leaving HTTP: upgrades only where configuration allows them, CONNECT never.

use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use mesh_core::resource::header_mutation::{AppendAction, HeaderMutations, HeaderValueOption};
use mesh_core::resource::route::{Forward, PathSpecifier, Route, RouteAction, RouteMatch, UpgradeConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tower::ServiceExt;

use crate::mesh::{Mesh, Setup, ask, forward, get, http1, http2, route, within};
use crate::server::{H1Server, H2Server, echo};

fn websocket() -> Request<Full<bytes::Bytes>> {
    let mut request = get("/chat");
    for (name, value) in [("connection", "Upgrade"), ("upgrade", "websocket"), ("sec-websocket-version", "13")] {
        request.headers_mut().insert(name, value.parse().unwrap());
    }
    request
}

/// Switches protocols, then sends everything back.
async fn websocket_server() -> H1Server {
    H1Server::start(|mut connection| async move {
        let head = connection.head().await.unwrap().to_ascii_lowercase();
        assert!(head.contains("upgrade: websocket") && head.contains("connection: upgrade"), "{head}");
        connection.send("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n").await;
        while let Some(byte) = connection.take(1).await {
            connection.stream.write_all(&byte).await.unwrap();
        }
    })
    .await
}

fn setup(server: &H1Server, of_manager: &[&str], of_route: &[(&str, bool)]) -> Setup {
    let upgrade_configs = of_route
        .iter()
        .map(|(name, enabled)| UpgradeConfig { upgrade_type: (*name).to_owned(), enabled: *enabled })
        .collect();
    let forward = Forward { upgrade_configs, ..forward("c") };
    let mut setup = Setup::new(vec![http1("c", server.address)], vec![route("/", forward)]);
    setup.manager.upgrades = of_manager.iter().map(|name| (*name).to_owned()).collect();
    setup
}

#[tokio::test]
async fn an_upgrade_that_is_allowed_passes_in_both_directions() {
    for (of_manager, of_route) in [(&["websocket"][..], &[][..]), (&[], &[("websocket", true)])] {
        let server = websocket_server().await;
        let client = Mesh::new(setup(&server, of_manager, of_route)).client();
        let mut response = within(client.oneshot(websocket())).await.unwrap();
        assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
        assert_eq!(response.headers()["upgrade"], "websocket");
        let mut tunnel = TokioIo::new(within(hyper::upgrade::on(&mut response)).await.unwrap());
        tunnel.write_all(b"ping").await.unwrap();
        let mut back = [0; 4];
        within(tunnel.read_exact(&mut back)).await.unwrap();
        assert_eq!(&back, b"ping");
    }
}

#[tokio::test]
async fn s17_an_upgrade_that_nothing_allows_is_answered_here() {
    for (of_manager, of_route) in [(&[][..], &[][..]), (&["websocket"], &[("WebSocket", false)]), (&["other"], &[])] {
        let server = websocket_server().await;
        let client = Mesh::new(setup(&server, of_manager, of_route)).client();
        let answer = ask(&client, websocket()).await;
        assert_eq!((answer.outcome(), &*answer.info.details), ((403, "-".to_owned()), "upgrade_failed"));
        assert_eq!((answer.text(), server.connections()), ("", 0));
    }
}

#[tokio::test]
async fn an_upgrade_without_a_route_is_a_missing_route() {
    let server = websocket_server().await;
    let setup = Setup::new(vec![http1("c", server.address)], vec![route("/other", forward("c"))]);
    let answer = ask(&Mesh::new(setup).client(), websocket()).await;
    assert_eq!((answer.outcome(), &*answer.info.details), ((404, "NR".to_owned()), "route_not_found"));
}

#[tokio::test]
async fn a_server_that_does_not_switch_answers_as_to_any_request() {
    let server = H1Server::start(|mut connection| async move {
        while connection.request().await.is_some() {
            connection.respond(400, b"no").await;
        }
    })
    .await;
    let client = Mesh::new(setup(&server, &["websocket"], &[])).client();
    for _ in 0..2 {
        let answer = ask(&client, websocket()).await;
        assert_eq!((answer.status.as_u16(), answer.text()), (400, "no"));
    }
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn an_upgrade_cannot_pass_to_an_http2_upstream() {
    let server = H2Server::serve(|_| {}, echo).await;
    let mut setup = Setup::to(http2("c", server.address));
    setup.manager.upgrades = vec!["websocket".to_owned()];
    let answer = ask(&Mesh::new(setup).client(), websocket()).await;
    assert_eq!((answer.outcome(), &*answer.info.details), ((403, "-".to_owned()), "upgrade_failed"));
}

#[tokio::test]
async fn connect_needs_a_route_of_its_own_and_is_refused_even_then() {
    let server = H1Server::echo().await;
    let connect = || Request::connect("svc.test:9080").body(Full::<bytes::Bytes>::default()).unwrap();
    let client = Mesh::new(Setup::to(http1("c", server.address))).client();
    let answer = ask(&client, connect()).await;
    assert_eq!((answer.outcome(), &*answer.info.details), ((404, "NR".to_owned()), "route_not_found"));

    let upgrade_configs = vec![UpgradeConfig { upgrade_type: "CONNECT".to_owned(), enabled: true }];
    let action = RouteAction::Forward(Box::new(Forward { upgrade_configs, ..forward("c") }));
    let route = Route::new(RouteMatch::new(PathSpecifier::Connect), action);
    let client = Mesh::new(Setup::new(vec![http1("c", server.address)], vec![route])).client();
    let answer = ask(&client, connect()).await;
    assert_eq!((answer.outcome(), &*answer.info.details), ((403, "-".to_owned()), "upgrade_failed"));
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn a_refusal_carries_the_headers_of_its_route() {
    let server = websocket_server().await;
    let mut route = route("/", forward("c"));
    let add = vec![HeaderValueOption::new("x-route", "1", AppendAction::AppendIfExistsOrAdd)];
    route.response_headers = HeaderMutations { add, ..HeaderMutations::default() };
    let client = Mesh::new(Setup::new(vec![http1("c", server.address)], vec![route])).client();
    let response = within(client.oneshot(websocket())).await.unwrap();
    assert_eq!(response.headers().get_all("x-route").iter().count(), 1);
    assert!(response.into_body().collect().await.unwrap().to_bytes().is_empty());
    assert_eq!(server.connections(), 0);
}
