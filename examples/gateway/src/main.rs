//! An ingress on the SDK: `gateway mesh/` serves the Istio Gateways of a folder that select it, `gateway envoy.yaml` the listeners
//! of a static Envoy configuration. Ctrl-C drains.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::Parser;
use mesh_sdk::{Mesh, ProxyRole, RequestCompat, Severity};

/// Serves the listeners of a configuration for callers outside.
#[derive(Debug, Parser)]
struct Args {
    /// A folder of Istio YAML, or a static Envoy configuration in YAML or JSON.
    config: PathBuf,
    /// Namespace of the gateway, and of objects that name none.
    #[arg(long, default_value = "istio-system")]
    namespace: String,
    /// Labels by which Gateways select it.
    #[arg(long, value_parser = label, value_delimiter = ',', default_value = "istio=ingressgateway")]
    labels: Vec<(String, String)>,
    /// The address by which others know this machine.
    #[arg(long)]
    ip: Option<IpAddr>,
    /// Open every listener on a free port of loopback, whatever address it names.
    #[arg(long)]
    loopback: bool,
    /// Do as Envoy does also where a library's users expect something else.
    #[arg(long)]
    envoy_compat: bool,
    /// Serve admin pages there, such as 127.0.0.1:15000.
    #[arg(long)]
    admin: Option<String>,
}

fn label(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("expected key=value")?;
    Ok((key.to_owned(), value.to_owned()))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args = Args::parse();
    let mut mesh = Mesh::builder().role(ProxyRole::Router).namespace(args.namespace).labels(args.labels);
    mesh = if args.config.is_dir() { mesh.directory(args.config) } else { mesh.envoy_config(args.config) };
    if args.envoy_compat {
        mesh = mesh.request_compat(RequestCompat::envoy());
    }
    if let Some(ip) = args.ip {
        mesh = mesh.ip(ip);
    }
    if let Some(admin) = args.admin {
        mesh = mesh.admin(admin);
    }
    let mesh = mesh.build().await?;
    for finding in mesh.findings().iter().filter(|finding| finding.severity < Severity::Note) {
        eprintln!("{}: {finding}", finding.severity.as_str());
    }
    mesh.ready().await?;
    let gateway = match args.loopback {
        true => mesh.gateway().on_loopback().open().await?,
        false => mesh.gateway().open().await?,
    };
    for (name, address) in gateway.addresses() {
        println!("listener {name} on {address}");
    }
    println!("ready");
    let serving = tokio::spawn(gateway.serve());
    tokio::signal::ctrl_c().await?;
    mesh.shutdown().await;
    serving.await?;
    Ok(())
}
