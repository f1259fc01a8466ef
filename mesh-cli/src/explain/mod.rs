//! `mesh explain`: one request, followed through what is in force for one workload, with the object and file behind
//! each step.
//!
//! The steps are the library's own ([`walk`]); this room only asks them and puts the answers into words.

mod cluster;
mod origin;
mod report;
mod walk;
mod words;

use http::{HeaderValue, Request, Uri, header};
use mesh_istio::{LoadOptions, World};

use crate::Outcome;
use crate::args::ExplainArgs;
use crate::folder;
use crate::judged::Judged;
use crate::remark;
use origin::Origin;
use walk::Walk;

pub(crate) fn run(args: &ExplainArgs) -> Result<Outcome, String> {
    let request = request(args)?;
    let folder = folder::read(&args.path)?;
    let (proxy, mesh) = (args.mesh.proxy(), args.mesh.config());
    let mut options = LoadOptions::default();
    options.namespace.clone_from(&proxy.namespace);
    let world = World::load_with(&folder.files, &options);
    let judged = [Judged::new(&world, &proxy, &mesh)];
    let remarks = remark::all(&folder, &world, &mesh, &judged);
    let walk = Walk::new(&judged[0].snapshot, &request);
    let origin = Origin::new(&world, &proxy, &mesh);
    Ok(report::print(&walk, &request, &proxy, &origin, &remarks))
}

/// The request as a client in the process would make it.
fn request(args: &ExplainArgs) -> Result<Request<()>, String> {
    let url = &args.url;
    let known = url.scheme_str().is_some_and(|scheme| scheme == "http" || scheme == "https");
    if !known || url.authority().is_none() {
        return Err(format!("{url}: a whole URL is required, such as http://reviews:9080/reviews/1"));
    }
    let mut request = Request::new(());
    *request.method_mut() = args.method.clone();
    *request.uri_mut() = url.clone();
    for (name, value) in &args.headers {
        if name == header::HOST {
            *request.uri_mut() = with_host(url, value)?;
        } else {
            request.headers_mut().append(name, value.clone());
        }
    }
    Ok(request)
}

/// The same URL for another host: `-H 'host: ...'` means the authority, as with other clients.
fn with_host(url: &Uri, host: &HeaderValue) -> Result<Uri, String> {
    let mut parts = url.clone().into_parts();
    parts.authority = Some(host.as_bytes().try_into().map_err(|_| format!("{host:?} is no host"))?);
    Uri::from_parts(parts).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Args, Command};
    use clap::Parser;

    fn parsed(arguments: &[&str]) -> Result<Request<()>, String> {
        let whole = ["mesh", "explain", "dir"].iter().chain(arguments);
        match Args::parse_from(whole).command {
            Command::Explain(args) => request(&args),
            _ => Err("not asked for".to_owned()),
        }
    }

    #[test]
    fn a_host_header_takes_the_place_of_the_urls_host() {
        let request = parsed(&["GET", "http://a:80/x?y", "-H", "Host: b:81", "-H", "k: 1", "-H", "k: 2"]).unwrap();
        assert_eq!(request.uri(), "http://b:81/x?y");
        assert_eq!(request.headers().get_all("k").iter().count(), 2);
        assert!(!request.headers().contains_key(header::HOST));
    }

    #[test]
    fn a_url_without_scheme_or_host_is_refused() {
        assert!(parsed(&["GET", "/x"]).is_err());
        assert!(parsed(&["GET", "ftp://a/x"]).is_err());
        assert!(parsed(&["GET", "reviews:9080"]).is_err());
    }
}
