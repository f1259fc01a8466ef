//! Brings a request's path into one form before policy, routing and the application look at it.
//!
//! `normalize_path`, `merge_slashes` and `path_with_escaped_slashes_action` of Envoy's connection manager, in
//! its order: fragments are refused, escaped slashes dealt with, dot segments and needless escapes resolved,
//! runs of slashes merged. The query is never touched. What is sent upstream is the path that was judged.

use http::HeaderValue;

use crate::engine::local_reply::LocalReply;
use crate::resource::listener::{EscapedSlashes, PathNormalization};

/// What came of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Prepared {
    /// It stays as it is.
    Unchanged,
    /// It becomes this, query included.
    Changed(String),
    /// The request is answered instead.
    Reply(Box<LocalReply>),
}

/// Prepares path and query as they were sent.
#[must_use]
pub fn prepare(path_and_query: &str, how: PathNormalization) -> Prepared {
    let refused = || Prepared::Reply(Box::new(LocalReply::path_normalization_failed()));
    let (path, query) = match path_and_query.find('?') {
        Some(at) => path_and_query.split_at(at),
        None => (path_and_query, ""),
    };
    // `*` is the path of OPTIONS for the server as a whole.
    if path_and_query.contains('#') || !(path.starts_with('/') || path == "*") {
        return refused();
    }
    if !needs_work(path.as_bytes(), how) {
        return Prepared::Unchanged;
    }
    let mut bytes = path.as_bytes().to_vec();
    let mut redirect = false;
    if how.escaped_slashes != EscapedSlashes::KeepUnchanged
        && let Some(unescaped) = unescape_slashes(&bytes)
    {
        match how.escaped_slashes {
            EscapedSlashes::RejectRequest => return refused(),
            EscapedSlashes::UnescapeAndRedirect => redirect = true,
            EscapedSlashes::UnescapeAndForward | EscapedSlashes::KeepUnchanged => {}
        }
        bytes = unescaped;
    }
    if how.normalize {
        match normalized(&bytes) {
            Some(normal) => bytes = normal,
            None => return refused(),
        }
    }
    if how.merge_slashes {
        bytes.dedup_by(|next, before| *next == b'/' && *before == b'/');
    }
    // A broken escape beside a whole one can make a new one (`%%32e` makes `%2e`): the next one to look would
    // see another path.
    if bytes.contains(&b'%') && !is_final(&bytes, how) {
        return refused();
    }
    // Only whole ASCII characters were replaced, by ASCII characters.
    let Ok(new) = String::from_utf8(bytes) else { return refused() };
    if redirect {
        return match HeaderValue::from_str(&format!("{new}{query}")) {
            Ok(location) => Prepared::Reply(Box::new(LocalReply::unescaped_path_redirect(location))),
            Err(_) => refused(),
        };
    }
    if new == path { Prepared::Unchanged } else { Prepared::Changed(new + query) }
}

/// Whether a path has anything in it that preparing could change. Ordinary paths have not.
fn needs_work(path: &[u8], how: PathNormalization) -> bool {
    let escapes = how.normalize || how.escaped_slashes != EscapedSlashes::KeepUnchanged;
    let dots = how.normalize && path.windows(2).any(|pair| pair == b"/." || pair == b"\\.");
    (escapes && path.contains(&b'%'))
        || (how.normalize && path.contains(&b'\\'))
        || dots
        || (how.merge_slashes && path.windows(2).any(|pair| pair == b"//"))
}

/// Whether preparing the path again would leave it as it is.
fn is_final(path: &[u8], how: PathNormalization) -> bool {
    if how.escaped_slashes != EscapedSlashes::KeepUnchanged && unescape_slashes(path).is_some() {
        return false;
    }
    !how.normalize || normalized(path).is_some_and(|again| again == path)
}

/// The path with `%2F` and `%5C` as characters; `None` when it has neither.
fn unescape_slashes(path: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(path.len());
    let mut at = 0;
    while let Some(byte) = path.get(at) {
        match escaped(&path[at..]) {
            Some(slash @ (b'/' | b'\\')) => {
                out.push(slash);
                at += 3;
            }
            _ => {
                out.push(*byte);
                at += 1;
            }
        }
    }
    (out.len() != path.len()).then_some(out)
}

/// RFC 3986 normalisation as Envoy does it: unreserved characters unescaped, `\` as `/`, dot segments resolved;
/// other escapes and empty segments stay. `None` for an escaped NUL.
fn normalized(path: &[u8]) -> Option<Vec<u8>> {
    let mut plain = Vec::with_capacity(path.len());
    let mut at = 0;
    while let Some(byte) = path.get(at) {
        match escaped(&path[at..]) {
            Some(0) => return None,
            Some(unreserved) if unreserved.is_ascii_alphanumeric() || b"-._~".contains(&unreserved) => {
                plain.push(unreserved);
                at += 3;
            }
            _ => {
                plain.push(if *byte == b'\\' { b'/' } else { *byte });
                at += 1;
            }
        }
    }
    if plain.first() != Some(&b'/') {
        return Some(plain);
    }
    let mut segments: Vec<&[u8]> = Vec::new();
    let mut ends_in_directory = false;
    for segment in plain[1..].split(|byte| *byte == b'/') {
        ends_in_directory = matches!(segment, b"." | b"..");
        match segment {
            b"." => {}
            // Above the root stays at the root.
            b".." => drop(segments.pop()),
            other => segments.push(other),
        }
    }
    if ends_in_directory {
        segments.push(b"");
    }
    let mut out = Vec::with_capacity(plain.len());
    for segment in segments {
        out.push(b'/');
        out.extend_from_slice(segment);
    }
    Some(out)
}

/// The byte that an escape at the beginning of `text` stands for.
fn escaped(text: &[u8]) -> Option<u8> {
    let [b'%', high, low, ..] = text else { return None };
    let digit = |byte: u8| char::from(byte).to_digit(16);
    u8::try_from(digit(*high)? * 16 + digit(*low)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: PathNormalization =
        PathNormalization { normalize: false, merge_slashes: false, escaped_slashes: EscapedSlashes::KeepUnchanged };
    const BASE: PathNormalization = PathNormalization { normalize: true, ..NONE };
    const MERGE_SLASHES: PathNormalization = PathNormalization { merge_slashes: true, ..BASE };
    const DECODE_AND_MERGE_SLASHES: PathNormalization =
        PathNormalization { escaped_slashes: EscapedSlashes::UnescapeAndForward, ..MERGE_SLASHES };
    const REJECT: PathNormalization =
        PathNormalization { escaped_slashes: EscapedSlashes::RejectRequest, ..MERGE_SLASHES };
    const REDIRECT: PathNormalization =
        PathNormalization { escaped_slashes: EscapedSlashes::UnescapeAndRedirect, ..MERGE_SLASHES };

    fn prepared(path: &str, how: PathNormalization) -> String {
        match prepare(path, how) {
            Prepared::Unchanged => path.to_owned(),
            Prepared::Changed(new) => {
                assert_ne!(new, path);
                new
            }
            Prepared::Reply(reply) => match reply.headers.get("location") {
                Some(location) => format!("{} {}", reply.status.as_u16(), location.to_str().unwrap()),
                None => reply.status.as_u16().to_string(),
            },
        }
    }

    #[test]
    fn s01_paths_have_one_form_in_each_of_istios_four_modes() {
        for (path, none, base, merge, decode) in [
            ("/admin", "/admin", "/admin", "/admin", "/admin"),
            ("//admin", "//admin", "//admin", "/admin", "/admin"),
            ("/a/../b", "/a/../b", "/b", "/b", "/b"),
            ("/a/./b", "/a/./b", "/a/b", "/a/b", "/a/b"),
            ("/../x", "/../x", "/x", "/x", "/x"),
            ("/a/b/..", "/a/b/..", "/a/", "/a/", "/a/"),
            ("/a/%2e%2E/b", "/a/%2e%2E/b", "/b", "/b", "/b"),
            ("/a%2e%2e/b", "/a%2e%2e/b", "/a../b", "/a../b", "/a../b"),
            ("/%61%7Eu", "/%61%7Eu", "/a~u", "/a~u", "/a~u"),
            ("/a\\b", "/a\\b", "/a/b", "/a/b", "/a/b"),
            ("/a\\..\\b", "/a\\..\\b", "/b", "/b", "/b"),
            ("/a%2fb", "/a%2fb", "/a%2fb", "/a%2fb", "/a/b"),
            ("/a%5Cb", "/a%5Cb", "/a%5Cb", "/a%5Cb", "/a/b"),
            ("/a%2F..%2fb", "/a%2F..%2fb", "/a%2F..%2fb", "/a%2F..%2fb", "/b"),
            ("/a%2f%2fb", "/a%2f%2fb", "/a%2f%2fb", "/a%2f%2fb", "/a/b"),
            ("/a%zz", "/a%zz", "/a%zz", "/a%zz", "/a%zz"),
            ("/a%252e", "/a%252e", "/a%252e", "/a%252e", "/a%252e"),
            ("//a///b//", "//a///b//", "//a///b//", "/a/b/", "/a/b/"),
            ("/a//../b", "/a//../b", "/a/b", "/a/b", "/a/b"),
            ("/a/%%32e%2e/b", "/a/%%32e%2e/b", "400", "400", "400"),
            ("/a%00b", "/a%00b", "400", "400", "400"),
            ("/%", "/%", "/%", "/%", "/%"),
            ("*", "*", "*", "*", "*"),
        ] {
            for (how, expected) in
                [(NONE, none), (BASE, base), (MERGE_SLASHES, merge), (DECODE_AND_MERGE_SLASHES, decode)]
            {
                assert_eq!(prepared(path, how), expected, "{path} {how:?}");
            }
        }
    }

    #[test]
    fn s01_preparing_twice_is_preparing_once() {
        // Every path of up to four pieces out of those that matter.
        let pieces = ["/", "..", ".", "%2e", "%2F", "%5c", "\\", "a", "%25", "%", "%32", "2e"];
        let mut paths = vec!["/".to_owned()];
        for _ in 0..4 {
            let longer: Vec<_> =
                paths.iter().flat_map(|path| pieces.iter().map(move |piece| format!("{path}{piece}"))).collect();
            paths = longer;
            for path in &paths {
                for how in [BASE, MERGE_SLASHES, DECODE_AND_MERGE_SLASHES] {
                    let once = prepared(path, how);
                    if once != "400" {
                        assert_eq!(prepared(&once, how), once, "{path} {how:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn s01_escaped_slashes_are_rejected_or_redirected_when_asked() {
        for path in ["/a%2fb", "/a%5Cb", "/a%2F..%2fb", "/a%2f%2fb"] {
            assert_eq!(prepared(path, REJECT), "400", "{path}");
        }
        assert_eq!(prepared("/a%2fb", REDIRECT), "307 /a/b");
        assert_eq!(prepared("/a%2F..%2fb", REDIRECT), "307 /b");
        assert_eq!(prepared("/a%2fb?x=%2f", REDIRECT), "307 /a/b?x=%2f");
        assert_eq!(prepared("/a?x=%2f", REJECT), "/a?x=%2f");
    }

    #[test]
    fn s02_a_fragment_is_rejected_in_every_mode() {
        for path in ["/a#f", "/a?x=1#f", "/#", "#"] {
            for how in [NONE, BASE, MERGE_SLASHES, DECODE_AND_MERGE_SLASHES, REJECT, REDIRECT] {
                assert_eq!(prepared(path, how), "400", "{path}");
            }
        }
    }

    #[test]
    fn s03_the_query_is_never_touched() {
        for query in ["?x=/../y//z%61", "?", "?a%2fb\\..", "?x?y"] {
            for how in [BASE, MERGE_SLASHES, DECODE_AND_MERGE_SLASHES, REJECT] {
                assert_eq!(prepared(&format!("/a{query}"), how), format!("/a{query}"));
                assert_eq!(prepared(&format!("/b/../a{query}"), how), format!("/a{query}"));
            }
        }
    }

    #[test]
    fn s13_a_path_that_does_not_start_with_a_slash_is_rejected() {
        for path in ["svc/method", "", "?x", "http://a/b", "%2fa", "\\a"] {
            for how in [NONE, BASE, DECODE_AND_MERGE_SLASHES] {
                assert_eq!(prepared(path, how), "400", "{path:?}");
            }
        }
    }
}
