//! Who may ask: only somebody who called this machine by a name that no foreign DNS server controls.
//!
//! Without this, a page of `evil.example` could let that name point to 127.0.0.1 and read the configuration
//! with its visitor's browser (DNS rebinding).

use std::net::IpAddr;

use http::Request;
use http::header::HOST;
use http::uri::Authority;

/// Whether every host that the request names is this machine. With `loopback`, the address must be a loopback
/// one; without, when the user has opened the pages to others, any address that is not a name will do.
pub(super) fn is_local<B>(request: &Request<B>, loopback: bool) -> bool {
    let mut hosts = request.headers().get_all(HOST).iter();
    let Some(first) = hosts.next() else { return false };
    let named = request.uri().authority();
    hosts.next().is_none()
        && first.to_str().ok().and_then(|host| host.parse().ok()).is_some_and(|host| is_here(&host, loopback))
        && named.is_none_or(|authority| is_here(authority, loopback))
}

fn is_here(authority: &Authority, loopback: bool) -> bool {
    if authority.as_str().contains('@') {
        return false;
    }
    let host = authority.host();
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    match bare.parse::<IpAddr>() {
        Ok(ip) => ip.is_loopback() || !loopback,
        Err(_) => host.eq_ignore_ascii_case("localhost"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(hosts: &[&str], uri: &str, loopback: bool) -> bool {
        let request = hosts.iter().fold(Request::builder().uri(uri), |request, host| request.header(HOST, *host));
        is_local(&request.body(()).unwrap(), loopback)
    }

    #[test]
    fn only_names_of_this_machine_are_taken() {
        for host in ["127.0.0.1", "127.0.0.1:15000", "127.1.2.3", "localhost:1", "LOCALHOST", "[::1]:15000"] {
            assert!(verdict(&[host], "/", true), "{host}");
        }
        for host in
            ["evil.example", "localhost.evil.example", "10.0.0.1", "127.0.0.1.evil.example", "", "a@localhost", "[::2]"]
        {
            assert!(!verdict(&[host], "/", true), "{host}");
        }
        assert!(!verdict(&[], "/", true));
        assert!(!verdict(&["localhost", "evil.example"], "/", true));
        assert!(!verdict(&["localhost"], "http://evil.example/", true));
    }

    #[test]
    fn pages_opened_to_others_take_addresses_but_no_names() {
        assert!(verdict(&["10.0.0.1:15000"], "/", false));
        assert!(!verdict(&["evil.example"], "/", false));
    }
}
