//! The quick test that goes before a route's whole comparison.
//!
//! Of a case-sensitive path condition the last eight bytes are known, and where in a path they must stand.
//! Comparing them as one word passes over nearly every route that does not match; it never passes over one
//! that does.

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
    fn a_path_with_another_end_or_none_is_passed_over() {
        let hint = Hint::begins_with(b"/api/v1/service-099");
        for path in ["/api/v1/service-098", "/api/v1/service-09", "/", "", "/x/api/v1/service-099"] {
            assert!(!Window::new(path.as_bytes()).may_match(hint), "{path}");
        }
        assert!(!Window::new(b"/b").may_match(Hint::begins_with(b"/a")));
        assert!(Window::new(b"/b").may_match(Hint::default()));
    }
}
