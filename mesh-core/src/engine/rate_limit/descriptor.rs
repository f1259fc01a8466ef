//! What rate limits say of one request: entries of key and value. Borrowed from the request where they can be.

use smallvec::SmallVec;

use crate::resource::rate_limit::Hits;

/// What all rate limits say of a request.
pub type Descriptors<'a> = SmallVec<[Descriptor<'a>; 2]>;

/// What one rate limit says of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Descriptor<'a> {
    /// In the order of the actions.
    pub entries: SmallVec<[Entry<'a>; 2]>,
    /// What the request costs.
    pub hits: Hits,
    /// Whether the response tells the state of its bucket; `None` leaves it to the filter.
    pub x_ratelimit_headers: Option<bool>,
}

/// A key with its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The key.
    pub key: &'a str,
    /// The value.
    pub value: Text<'a>,
}

/// The text of an entry.
#[derive(Clone, Debug)]
pub enum Text<'a> {
    /// As it stands somewhere.
    Borrowed(&'a [u8]),
    /// Made for this request; an IP address fits without an allocation.
    Made(SmallVec<[u8; 64]>),
}

impl<'a> Entry<'a> {
    /// An entry whose value stands somewhere.
    #[must_use]
    pub const fn new(key: &'a str, value: &'a [u8]) -> Self {
        Self { key, value: Text::Borrowed(value) }
    }
}

impl Text<'_> {
    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Borrowed(bytes) => bytes,
            Self::Made(bytes) => bytes,
        }
    }
}

impl PartialEq for Text<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.bytes() == other.bytes()
    }
}

impl Eq for Text<'_> {}

/// A hash of keys and values with their lengths, eight bytes at a time. Only narrows down what is compared.
pub(super) fn hash<'e>(entries: impl Iterator<Item = (&'e [u8], &'e [u8])>) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut mix = |word: u64| hash = (hash ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
    let mut text = |bytes: &[u8]| {
        let (words, rest) = bytes.as_chunks::<8>();
        words.iter().for_each(|word| mix(u64::from_le_bytes(*word)));
        let rest = rest.iter().fold(0, |word, byte| word << 8 | u64::from(*byte));
        mix(rest ^ (bytes.len() as u64) << 56);
    };
    for (key, value) in entries {
        text(key);
        text(value);
    }
    hash
}
