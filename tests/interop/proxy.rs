//! The two proxies as processes: started, asked where they listen, and ended by their number, also when a test panics
//! or is killed.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How long a proxy may take to begin.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs what is named until the pipe to this script closes: whoever holds the other end cannot end without that.
const WITH_US: &str =
    "\"$@\" </dev/null & child=$!; trap '' TERM; cat >/dev/null; kill -9 $child 2>/dev/null; wait $child";

/// A proxy that runs.
#[derive(Debug)]
pub(crate) struct Proxy {
    /// `e` or `g`: part of the ids of requests.
    pub(crate) letter: char,
    addresses: BTreeMap<String, SocketAddr>,
    child: Child,
}

impl Proxy {
    /// Starts Envoy, and waits until that many listeners are open.
    pub(crate) async fn envoy(folder: &Path, config: &Path, listeners: usize) -> Self {
        let binary = std::env::var("INTEROP_ENVOY").expect("INTEROP_ENVOY names the binary: run `make interop`");
        let (admin, log) = (folder.join("admin"), folder.join("envoy.log"));
        let _ = std::fs::remove_file(&admin);
        let mut command = with_us(&binary);
        command.arg("--config-path").arg(config).arg("--admin-address-path").arg(&admin);
        command.args(["--use-dynamic-base-id", "--concurrency", "1", "--log-level", "error"]);
        let child = command.stdout(Stdio::null()).stderr(std::fs::File::create(&log).unwrap()).spawn().unwrap();
        let mut this = Self { letter: 'e', addresses: BTreeMap::new(), child };
        let began = Instant::now();
        while this.addresses.len() < listeners {
            let said = std::fs::read_to_string(&log).unwrap_or_default();
            assert!(began.elapsed() < PATIENCE && !said.contains("exiting"), "Envoy does not start:\n{said}");
            tokio::time::sleep(Duration::from_millis(100)).await;
            if let Ok(address) = std::fs::read_to_string(&admin)
                && let Ok(address) = address.trim().parse()
            {
                this.addresses = open(address).await.unwrap_or_default();
            }
        }
        this
    }

    /// Starts the gateway, which tells by itself where it listens.
    pub(crate) async fn gateway(folder: &Path, config: &Path, node: &str) -> Self {
        let binary = std::env::var("INTEROP_GATEWAY").expect("INTEROP_GATEWAY names the binary: run `make interop`");
        let log = std::fs::File::create(folder.join("gateway.log")).unwrap();
        let mut command = with_us(&binary);
        command.arg(config).arg("--loopback").arg("--envoy-compat").args(["--ip", node]);
        let mut child = command.stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut this = Self { letter: 'g', addresses: BTreeMap::new(), child };
        let addresses = tokio::task::spawn_blocking(move || {
            let mut addresses = BTreeMap::new();
            for line in lines.by_ref() {
                let line = line.unwrap();
                if line == "ready" {
                    return addresses;
                }
                let listener = line.strip_prefix("listener ").and_then(|rest| rest.rsplit_once(" on "));
                let (name, address) = listener.unwrap_or_else(|| panic!("the gateway says {line:?}"));
                addresses.insert(name.to_owned(), address.parse().unwrap());
            }
            panic!("the gateway does not start: see target/interop/gateway.log");
        });
        this.addresses = tokio::time::timeout(PATIENCE, addresses).await.expect("the gateway starts").unwrap();
        this
    }

    /// Where a listener is open.
    pub(crate) fn address(&self, listener: &str) -> SocketAddr {
        let address = self.addresses.get(listener);
        *address.unwrap_or_else(|| panic!("{listener} is not open: see target/interop/gateway.log"))
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // Closing its pipe is what ends it.
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

fn with_us(binary: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", WITH_US, "interop", binary]).stdin(Stdio::piped());
    command
}

/// Where logs and the configuration are.
pub(crate) fn folder() -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/interop");
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// Envoy's open listeners, by its admin page.
async fn open(admin: SocketAddr) -> Option<BTreeMap<String, SocketAddr>> {
    let mut stream = TcpStream::connect(admin).await.ok()?;
    let request = format!("GET /listeners?format=json HTTP/1.1\r\nhost: {admin}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).await.ok()?;
    // The page comes in chunks: what is no line of a chunk's size is of the page.
    let page = text.split_once("\r\n\r\n")?.1;
    let json: Value = serde_json::from_str(&page[page.find('{')?..=page.rfind('}')?]).ok()?;
    let one = |status: &Value| {
        let socket = &status["local_address"]["socket_address"];
        let port = socket["port_value"].as_u64().and_then(|port| u16::try_from(port).ok())?;
        Some((status["name"].as_str()?.to_owned(), SocketAddr::from(([127, 0, 0, 1], port))))
    };
    json["listener_statuses"].as_array()?.iter().map(one).collect()
}
