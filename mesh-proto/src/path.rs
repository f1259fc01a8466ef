//! Where in a message something is: `virtual_hosts[0].routes[1].route.timeout`.
//!
//! A path is a chain of borrowed links on the stack of whoever walks a message, so going down costs no allocation; it becomes text
//! only where something is reported. Names are protobuf field names. What an `Any` holds continues the path of the `Any`.

use std::fmt;

/// The path of a field inside a message; `Display` renders it, and an empty one as nothing.
#[derive(Clone, Copy, Debug)]
pub struct FieldPath<'a> {
    parent: Option<&'a Self>,
    segment: Segment<'a>,
}

#[derive(Clone, Copy, Debug)]
enum Segment<'a> {
    Root,
    Field(&'a str),
    Number(u32),
    Index(usize),
    Key(&'a str),
}

impl<'a> FieldPath<'a> {
    /// The message itself.
    pub const ROOT: Self = Self { parent: None, segment: Segment::Root };

    /// This path extended by a field: `.name`.
    #[must_use]
    pub const fn field(&'a self, name: &'a str) -> Self {
        self.then(Segment::Field(name))
    }

    /// This path extended by a field that only has a number: `.#99`.
    #[must_use]
    pub const fn number(&'a self, number: u32) -> Self {
        self.then(Segment::Number(number))
    }

    /// This path extended by an index into a repeated field: `[1]`.
    #[must_use]
    pub const fn index(&'a self, index: usize) -> Self {
        self.then(Segment::Index(index))
    }

    /// This path extended by the key of a map, whatever its type: `["key"]`.
    #[must_use]
    pub const fn key(&'a self, key: &'a str) -> Self {
        self.then(Segment::Key(key))
    }

    const fn then(&'a self, segment: Segment<'a>) -> Self {
        Self { parent: Some(self), segment }
    }

    fn is_root(&self) -> bool {
        self.parent.is_none()
    }
}

impl fmt::Display for FieldPath<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Paths are as deep as messages may nest, so this recursion is bounded too.
        let mut dot = "";
        if let Some(parent) = self.parent {
            parent.fmt(f)?;
            dot = if parent.is_root() { "" } else { "." };
        }
        match self.segment {
            Segment::Root => Ok(()),
            Segment::Field(name) => write!(f, "{dot}{name}"),
            Segment::Number(number) => write!(f, "{dot}#{number}"),
            Segment::Index(index) => write!(f, "[{index}]"),
            Segment::Key(key) => write!(f, "[{key:?}]"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_reads_as_in_envoys_errors() {
        let root = FieldPath::ROOT;
        assert_eq!(root.to_string(), "");
        let hosts = root.field("virtual_hosts");
        let host = hosts.index(0);
        assert_eq!(host.field("domains").to_string(), "virtual_hosts[0].domains");
        assert_eq!(host.number(99).to_string(), "virtual_hosts[0].#99");
        let map = root.field("filter_metadata");
        assert_eq!(map.key("envoy.lb").field("x").to_string(), "filter_metadata[\"envoy.lb\"].x");
        assert_eq!(root.number(7).to_string(), "#7");
    }
}
