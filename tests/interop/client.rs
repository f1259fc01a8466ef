//! A client that sends what a case says, byte by byte for HTTP/1.1, and reads all that comes.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use mesh_tests::observed::Headers;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::case::Request;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// What came back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Answer {
    /// 0 when there was none.
    pub(crate) status: u16,
    pub(crate) headers: Headers,
    pub(crate) body: String,
    pub(crate) trailers: Headers,
    /// The body, or the stream, broke off.
    pub(crate) broken: bool,
}

pub(crate) async fn send(address: SocketAddr, request: &Request, id: &str) -> Answer {
    let answer =
        async { if request.http2 { http2(address, request, id).await } else { http1(address, request, id).await } };
    tokio::time::timeout(PATIENCE, answer).await.ok().flatten().unwrap_or_default()
}

fn lines(request: &Request, id: &str) -> Headers {
    let mut lines = vec![("x-id".to_owned(), id.to_owned())];
    if !request.up.is_empty() {
        lines.push(("x-up".to_owned(), request.up.clone()));
    }
    for line in &request.headers {
        let (name, value) = line.split_once(": ").unwrap_or_else(|| panic!("{line:?} is no header line"));
        lines.push((name.to_owned(), value.to_owned()));
    }
    lines
}

async fn http1(address: SocketAddr, request: &Request, id: &str) -> Option<Answer> {
    let version = if request.http10 { "HTTP/1.0" } else { "HTTP/1.1" };
    let mut head = format!("{} {} {version}\r\n", request.method, request.path);
    if !request.host.is_empty() {
        head.push_str(&format!("host: {}\r\n", request.host));
    }
    for (name, value) in lines(request, id) {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    if request.body > 0 {
        head.push_str(&format!("content-length: {}\r\n", request.body));
    }
    head.push_str("\r\n");
    let mut stream = BufReader::new(TcpStream::connect(address).await.ok()?);
    let message = [head.into_bytes(), vec![b'x'; request.body]].concat();
    // An answer may come, and the connection end, before all is sent.
    let (mut read, mut write) = tokio::io::split(&mut stream);
    let (_, answer) = tokio::join!(async { write.write_all(&message).await.ok() }, answer(&mut read, request));
    answer
}

async fn answer(read: &mut (impl AsyncReadExt + Unpin), request: &Request) -> Option<Answer> {
    let mut stream = BufReader::new(read);
    let start = line(&mut stream).await?;
    let mut answer = Answer { status: start.split(' ').nth(1)?.parse().ok()?, ..Answer::default() };
    loop {
        let line = line(&mut stream).await?;
        let Some((name, value)) = line.split_once(':') else { break };
        answer.headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let header = |name: &str| answer.headers.iter().find(|(one, _)| one == name).map(|(_, value)| value.as_str());
    let mut body = Vec::new();
    if request.method == "HEAD" || matches!(answer.status, 204 | 304) {
    } else if header("transfer-encoding").is_some_and(|value| value.contains("chunked")) {
        let whole = chunks(&mut stream, &mut body).await;
        answer.broken = whole.is_none();
    } else if let Some(length) = header("content-length").and_then(|length| length.parse::<u64>().ok()) {
        let read = (&mut stream).take(length).read_to_end(&mut body).await.unwrap_or(body.len());
        answer.broken = (read as u64) < length;
    } else {
        answer.broken = stream.read_to_end(&mut body).await.is_err();
    }
    answer.body = String::from_utf8_lossy(&body).into_owned();
    Some(answer)
}

async fn line(stream: &mut (impl AsyncBufReadExt + Unpin)) -> Option<String> {
    let mut bytes = Vec::new();
    stream.read_until(b'\n', &mut bytes).await.ok().filter(|read| *read > 0)?;
    Some(String::from_utf8_lossy(&bytes).trim_end_matches(['\r', '\n']).to_owned())
}

async fn chunks(stream: &mut (impl AsyncBufReadExt + Unpin), body: &mut Vec<u8>) -> Option<()> {
    loop {
        let size = u64::from_str_radix(line(stream).await?.split(';').next()?.trim(), 16).ok()?;
        if size == 0 {
            while !line(stream).await?.is_empty() {}
            return Some(());
        }
        let mut chunk = Vec::new();
        (&mut *stream).take(size).read_to_end(&mut chunk).await.ok()?;
        body.extend_from_slice(&chunk);
        if (chunk.len() as u64) < size {
            return None;
        }
        line(stream).await?;
    }
}

async fn http2(address: SocketAddr, request: &Request, id: &str) -> Option<Answer> {
    let stream = TcpStream::connect(address).await.ok()?;
    let (client, connection) = h2::client::handshake(stream).await.ok()?;
    let driver = tokio::spawn(connection);
    let mut client = client.ready().await.ok()?;
    let uri = format!("http://{}{}", request.host, request.path);
    let mut head = http::Request::builder().method(request.method.as_str()).uri(uri);
    for (name, value) in lines(request, id) {
        head = head.header(name, value);
    }
    let (response, mut body) = client.send_request(head.body(()).ok()?, request.body == 0).ok()?;
    if request.body > 0 {
        body.send_data(Bytes::from(vec![b'x'; request.body]), true).ok()?;
    }
    let response = response.await;
    let mut answer = Answer::default();
    match response {
        Err(_) => answer.broken = true,
        Ok(response) => {
            answer.status = response.status().as_u16();
            answer.headers = of(response.headers());
            let (mut body, mut received) = (response.into_body(), Vec::new());
            while let Some(data) = body.data().await {
                let Ok(data) = data else {
                    answer.broken = true;
                    break;
                };
                let _ = body.flow_control().release_capacity(data.len());
                received.extend_from_slice(&data);
            }
            answer.body = String::from_utf8_lossy(&received).into_owned();
            if let Ok(Some(trailers)) = body.trailers().await {
                answer.trailers = of(&trailers);
            }
        }
    }
    driver.abort();
    Some(answer)
}

fn of(map: &HeaderMap) -> Headers {
    map.iter().map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned())).collect()
}
