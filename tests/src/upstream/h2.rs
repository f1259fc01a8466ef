//! HTTP/2 with prior knowledge over the `h2` crate.

use std::io::Write;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::{HeaderMap, HeaderValue, Request, Response};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::journal::{Arrival, Journal};
use super::script::{Instead, Script};
use crate::observed::{Headers, Seen};

/// What a request's script asks of its connection. The stream comes along unanswered: dropped, it would be reset first.
enum Command {
    GoAway(SendResponse<Bytes>),
    Close(SendResponse<Bytes>),
}

/// A GOAWAY that says that no stream at all was or will be processed (last stream 0, no error).
const GOAWAY: [u8; 17] = [0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

pub(super) async fn serve(listener: TcpListener, port: u16, journal: Arc<Journal>) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(connection(stream, port, Arc::clone(&journal)));
    }
}

async fn connection(stream: TcpStream, port: u16, journal: Arc<Journal>) -> Option<()> {
    let stream = stream.into_std().ok()?;
    // `h2` has no way to say GOAWAY for streams it has taken: that frame goes past it.
    let mut beside = stream.try_clone().ok()?;
    let mut connection = h2::server::handshake(TcpStream::from_std(stream).ok()?).await.ok()?;
    let (sender, mut commands) = mpsc::unbounded_channel();
    let mut unanswered = Vec::new();
    loop {
        tokio::select! {
            accepted = connection.accept() => {
                let (request, response) = accepted?.ok()?;
                tokio::spawn(exchange(request, response, port, Arc::clone(&journal), sender.clone()));
            }
            Some(command) = commands.recv() => match command {
                Command::GoAway(stream) => {
                    unanswered.push(stream);
                    beside.write_all(&GOAWAY).ok()?;
                }
                Command::Close(_stream) => {
                    let _ = beside.shutdown(std::net::Shutdown::Both);
                    return None;
                }
            },
        }
    }
}

async fn exchange(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    port: u16,
    journal: Arc<Journal>,
    connection: mpsc::UnboundedSender<Command>,
) -> Option<()> {
    let (head, mut body) = request.into_parts();
    let mut size = 0;
    while let Some(data) = body.data().await {
        let data = data.ok()?;
        size += data.len();
        body.flow_control().release_capacity(data.len()).ok()?;
    }
    body.trailers().await.ok()?;
    let text = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let (id, script) = (text("x-id"), Script::parse(&text("x-up"), port));
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
    let mut headers: Headers = vec![
        (":authority".to_owned(), head.uri.authority().map(ToString::to_string).unwrap_or_default()),
        (":path".to_owned(), path.clone()),
        (":method".to_owned(), head.method.to_string()),
        (":scheme".to_owned(), head.uri.scheme_str().unwrap_or_default().to_owned()),
    ];
    let lossy = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    headers.extend(head.headers.iter().map(|(name, value)| (name.to_string(), lossy(value))));
    let echo = serde_json::json!({ "port": port, "method": head.method.as_str(), "path": path, "id": id }).to_string();
    let seen = Seen { port, method: head.method.to_string(), path };
    let arrival = Arrival { seen, headers: super::journal_headers(headers), body: size, at: Instant::now() };
    let before = journal.note(&id, arrival);
    if let Some(delay) = script.delay {
        tokio::time::sleep(delay).await;
    }
    let mut response = Response::builder().status(script.status(before));
    for (name, value) in &script.headers {
        response = response.header(name, value);
    }
    match script.instead {
        Some(Instead::StreamReset(code)) => respond.send_reset(Reason::from(code)),
        Some(Instead::GoAway) => drop(connection.send(Command::GoAway(respond))),
        Some(Instead::Close) => drop(connection.send(Command::Close(respond))),
        Some(Instead::TrailersOnly(status)) => {
            let response = response.header("content-type", "application/grpc").header("grpc-status", status);
            respond.send_response(response.header("grpc-message", "m").body(()).ok()?, true).ok()?;
        }
        Some(Instead::Trailers(status)) => {
            let response = response.header("content-type", "application/grpc").body(()).ok()?;
            let mut stream = respond.send_response(response, false).ok()?;
            stream.send_data(Bytes::from_static(&[0; 5]), false).ok()?;
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", HeaderValue::from(status));
            stream.send_trailers(trailers).ok()?;
        }
        Some(other) => panic!("{other:?} is for HTTP/1.1"),
        None if script.status.is_some() => {
            respond.send_response(response.body(()).ok()?, true).ok()?;
        }
        None => {
            let mut stream = respond.send_response(response.body(()).ok()?, false).ok()?;
            stream.send_data(echo.into(), true).ok()?;
        }
    }
    Some(())
}
