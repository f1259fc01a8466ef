//! HTTP/1.1 on bare TCP, because the scripts ask for what no server library would send.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::journal::{Arrival, Journal};
use super::script::{Instead, Script};
use crate::observed::{Headers, Seen};

pub(super) async fn serve(listener: TcpListener, port: u16, journal: Arc<Journal>) {
    while let Ok((stream, _)) = listener.accept().await {
        let journal = Arc::clone(&journal);
        tokio::spawn(async move {
            let _ = stream.set_nodelay(true);
            let mut stream = BufReader::new(stream);
            while let Some(request) = read(&mut stream).await {
                if respond(stream.get_mut(), request, port, &journal).await.is_none() {
                    return;
                }
            }
        });
    }
}

struct Request {
    method: String,
    path: String,
    headers: Headers,
    body: usize,
}

impl Request {
    fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(one, _)| one == name).map_or("", |(_, value)| value)
    }
}

/// One whole request; `None` when the connection ended before.
async fn read(stream: &mut BufReader<TcpStream>) -> Option<Request> {
    let start = line(stream).await?;
    let mut words = start.split(' ');
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = Headers::new();
    loop {
        let line = line(stream).await?;
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(':')?;
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let mut request = Request { method, path, headers, body: 0 };
    if request.header("transfer-encoding").contains("chunked") {
        loop {
            let size = usize::from_str_radix(line(stream).await?.split(';').next()?.trim(), 16).ok()?;
            skip(stream, size).await?;
            line(stream).await?;
            if size == 0 {
                break;
            }
            request.body += size;
        }
    } else if let Ok(length) = request.header("content-length").parse() {
        skip(stream, length).await?;
        request.body = length;
    }
    Some(request)
}

async fn line(stream: &mut BufReader<TcpStream>) -> Option<String> {
    let mut bytes = Vec::new();
    stream.read_until(b'\n', &mut bytes).await.ok().filter(|read| *read > 0)?;
    let text = String::from_utf8_lossy(&bytes);
    Some(text.trim_end_matches(['\r', '\n']).to_owned())
}

async fn skip(stream: &mut (impl AsyncRead + Unpin), mut size: usize) -> Option<()> {
    let mut buffer = [0; 4096];
    while size > 0 {
        let most = size.min(buffer.len());
        size -= stream.read(&mut buffer[..most]).await.ok().filter(|read| *read > 0)?;
    }
    Some(())
}

/// Plays the request's script; `None` when the connection is at its end.
async fn respond(stream: &mut TcpStream, request: Request, port: u16, journal: &Journal) -> Option<()> {
    let script = Script::parse(request.header("x-up"), port);
    let id = request.header("x-id").to_owned();
    let echo =
        serde_json::json!({ "port": port, "method": request.method, "path": request.path, "id": id }).to_string();
    let seen = Seen { port, method: request.method, path: request.path };
    let arrival =
        Arrival { seen, headers: super::journal_headers(request.headers), body: request.body, at: Instant::now() };
    let before = journal.note(&id, arrival);
    if let Some(delay) = script.delay {
        tokio::time::sleep(delay).await;
    }
    match script.instead {
        Some(Instead::Reset) => {
            let _ = socket2::SockRef::from(&*stream).set_linger(Some(Duration::ZERO));
            return None;
        }
        Some(Instead::Close) => return None,
        Some(Instead::Garbage) => {
            stream.write_all(b"this is no HTTP at all\r\n\r\n").await.ok()?;
            return None;
        }
        Some(Instead::Partial) => {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nabc").await.ok()?;
            return None;
        }
        Some(other) => panic!("{other:?} is for HTTP/2"),
        None => {}
    }
    if let Some(pause) = script.slow_body {
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nabc").await.ok()?;
        tokio::time::sleep(pause).await;
        return stream.write_all(b"def").await.ok();
    }
    let status = script.status(before);
    // Neither of them has a body.
    let echo = if matches!(status, 204 | 304) { String::new() } else { echo };
    let mut head = format!("HTTP/1.1 {status} Whatever\r\nserver: upstream\r\nx-port: {port}\r\n");
    if !echo.is_empty() {
        head.push_str(&format!("content-length: {}\r\n", echo.len()));
    }
    for (name, value) in &script.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    head.push_str(&echo);
    stream.write_all(head.as_bytes()).await.ok()
}
