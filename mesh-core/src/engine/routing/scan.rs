//! The quick test that goes before a route's whole comparison.
//!
//! Of a case-sensitive path condition the last eight bytes are known, and where in a path they must stand.
//! Comparing them as one word passes over nearly every route that does not match; it never passes over one
//! that does.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;

use smallvec::SmallVec;

use super::hosts::NameHasher;

/// How long a path is looked at.
const LENGTH: usize = u8::MAX as usize;
const WORD: usize = size_of::<u64>();

/// The word that must end at `length` in a path. With length 0 there is none, and every path passes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Hint {
    word: u64,
    length: u8,
}

/// The beginning of a path, behind as many zeros as a word is long.
#[derive(Debug)]
pub(super) struct Window([u8; LENGTH + WORD + 1]);

impl Window {
    pub(super) fn new(path: &[u8]) -> Self {
        let mut bytes = [0; LENGTH + WORD + 1];
        let length = path.len().min(LENGTH);
        bytes[WORD..WORD + length].copy_from_slice(&path[..length]);
        Self(bytes)
    }

    /// The word that ends at `length`; what is before the path's beginning or behind its end is zero.
    fn word(&self, length: u8) -> u64 {
        let at = usize::from(length);
        self.0[at..at + WORD].try_into().map_or(0, u64::from_le_bytes)
    }

    /// Whether a path condition with this hint can hold.
    pub(super) fn may_match(&self, hint: Hint) -> bool {
        self.word(hint.length) == hint.word
    }
}

impl Hint {
    /// The hint for paths that begin with `text`.
    pub(super) fn begins_with(text: &[u8]) -> Self {
        let text = &text[..text.len().min(LENGTH)];
        let length = u8::try_from(text.len()).unwrap_or_default();
        Self { word: Window::new(text).word(length), length }
    }
}

/// What [`Window::word`] gives, for a single look.
fn word_of(path: &[u8], length: u8) -> u64 {
    let end = usize::from(length);
    if let Some(start) = end.checked_sub(WORD)
        && let Some(word) = path.get(start..end)
    {
        return word.try_into().map_or(0, u64::from_le_bytes);
    }
    // Short of a word at its beginning or its end: what is missing is zero.
    let mut word = [0; WORD];
    for (at, byte) in word.iter_mut().enumerate() {
        *byte = (end + at).checked_sub(WORD).and_then(|at| path.get(at)).copied().unwrap_or_default();
    }
    u64::from_le_bytes(word)
}

/// The hints of one virtual host's routes, in order.
#[derive(Debug)]
pub(super) enum Index {
    /// Compared one after another.
    Scan(Box<[Hint]>),
    /// Looked up: by length and word, the numbers of the routes in order; those without a word always pass.
    Lookup { lengths: Box<[(u8, Words)]>, always: Box<[u32]> },
}

type Words = HashMap<u64, SmallVec<[u32; 2]>, BuildHasherDefault<NameHasher>>;

/// From how many routes on, and at how many routes per different length, looking up costs less than comparing.
const WORTHWHILE: usize = 16;
const PER_LENGTH: usize = 4;

impl Index {
    pub(super) fn new(hints: Box<[Hint]>) -> Self {
        let mut lengths: Vec<(u8, Words)> = Vec::new();
        let mut always = Vec::new();
        for (at, hint) in (0u32..).zip(&hints) {
            if hint.length == 0 {
                always.push(at);
                continue;
            }
            let known = lengths.iter().position(|(length, _)| *length == hint.length).unwrap_or_else(|| {
                lengths.push((hint.length, Words::default()));
                lengths.len() - 1
            });
            lengths[known].1.entry(hint.word).or_default().push(at);
        }
        if hints.len() < WORTHWHILE || lengths.len() * PER_LENGTH > hints.len() {
            return Self::Scan(hints);
        }
        Self::Lookup { lengths: lengths.into(), always: always.into() }
    }

    /// The first route, in order, that passes the quick test and then `matches`.
    pub(super) fn find(&self, path: &[u8], mut matches: impl FnMut(usize) -> bool) -> Option<usize> {
        match self {
            Self::Scan(hints) => {
                let window = Window::new(path);
                let mut candidates = hints.iter().enumerate().filter(|(_, hint)| window.may_match(**hint));
                candidates.find(|(at, _)| matches(*at)).map(|(at, _)| at)
            }
            Self::Lookup { lengths, always } => {
                let mut sources: SmallVec<[&[u32]; 8]> = SmallVec::new();
                sources.push(always);
                sources
                    .extend(lengths.iter().filter_map(|(length, words)| Some(&**words.get(&word_of(path, *length))?)));
                loop {
                    // The sources are few and each is in order: the next candidate is the least of their heads.
                    let next = sources.iter_mut().filter(|source| !source.is_empty()).min_by_key(|source| source[0])?;
                    let (at, rest) = (next[0] as usize, &next[1..]);
                    *next = rest;
                    if matches(at) {
                        return Some(at);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_path_that_begins_with_the_text_is_passed_over() {
        for length in [0, 1, 2, 7, 8, 9, 16, 100, 254, 255, 256, 257, 1000] {
            let text: Vec<u8> = (0..length).map(|at| b'a' + u8::try_from(at % 26).unwrap()).collect();
            for more in [0, 1, 8, 300] {
                let path = [&text[..], &vec![b'x'; more]].concat();
                assert!(Window::new(&path).may_match(Hint::begins_with(&text)), "{length} {more}");
            }
        }
    }

    #[test]
    fn looking_up_finds_what_comparing_finds_in_the_same_order() {
        let texts = ["/a/1", "/a/2", "/b", "/b/1", "/", "/a", "/a/1", "/c/1", "/c/2", "/c/3", "/b/2", "/b/3"];
        let mut hints: Vec<Hint> =
            texts.iter().cycle().take(60).map(|text| Hint::begins_with(text.as_bytes())).collect();
        hints[20] = Hint::default();
        let (scan, lookup) = (Index::Scan(hints.clone().into()), Index::new(hints.into()));
        assert!(matches!(lookup, Index::Lookup { .. }));
        for path in ["/a/1", "/a/12", "/b/3/x", "/", "/zzz", "", "/c/2"] {
            let path = path.as_bytes();
            let all = |index: &Index| {
                let mut seen = Vec::new();
                assert_eq!(
                    index.find(path, |at| {
                        seen.push(at);
                        false
                    }),
                    None
                );
                seen
            };
            assert_eq!(all(&scan), all(&lookup), "{path:?}");
            assert_eq!(scan.find(path, |at| at > 20), lookup.find(path, |at| at > 20), "{path:?}");
            for length in [0, 1, 2, 7, 8, 9, 200] {
                assert_eq!(Window::new(path).word(length), word_of(path, length), "{path:?} {length}");
            }
        }
    }

    #[test]
    fn a_path_with_another_end_or_none_is_passed_over() {
        let hint = Hint::begins_with(b"/api/v1/service-099");
        for path in ["/api/v1/service-098", "/api/v1/service-09", "/", "", "/x/api/v1/service-099"] {
            assert!(!Window::new(path.as_bytes()).may_match(hint), "{path}");
        }
        assert!(!Window::new(b"/b").may_match(Hint::begins_with(b"/a")));
        assert!(Window::new(b"/b").may_match(Hint::default()));
    }
}
