//! Which set fields of a resource nobody reads: no configuration is dropped in silence.
//!
//! prost forgets what it does not know, and a decoder forgets what it does not read, so the wire bytes are walked against the
//! descriptors. [`walk`] visits every set field; [`unread_fields`] keeps those that a [`ReadSet`] does not list, field numbers that
//! nobody knows, and `Any` payloads of unknown types. Nothing here judges values, and well-known messages (durations, wrappers,
//! `Struct`, ...) count as one value: who reads the field reads all of it.
//!
//! ```
//! use mesh_proto::{json, unknown};
//!
//! let cluster = "envoy.config.cluster.v3.Cluster";
//! let reads = unknown::ReadSet::new(&[(cluster, &["name", "connect_timeout"])])?;
//! let bytes = json::encode(cluster, &serde_json::json!({ "name": "a", "connectTimeout": "1s", "dnsRefreshRate": "5s" }))?;
//! let unread = unknown::unread_fields(cluster, &bytes, &reads)?;
//! assert_eq!(unread.len(), 1);
//! assert_eq!(unread[0].path, "dns_refresh_rate");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod read_set;
mod walk;

pub use self::read_set::{ReadSet, ReadSetError};
pub use self::walk::{Descend, Found, WalkError, walk};

use std::fmt;

use crate::path::FieldPath;

/// Something that is set in a resource and that nobody reads.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnreadField {
    /// Where it is: `virtual_hosts[0].routes[1].route.timeout`, `virtual_hosts[0].#99`.
    pub path: String,
    /// What it is.
    pub what: Unread,
}

/// What kind of thing nobody reads.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Unread {
    /// A field of the API.
    Field {
        /// The full name of the message it belongs to.
        message: String,
        /// Its name.
        field: String,
    },
    /// A field that the API of this build does not have.
    Number {
        /// The full name of the message it was found in.
        message: String,
        /// Its number.
        number: u32,
    },
    /// A name in a `TypedStruct` that the API of this build does not have.
    Name {
        /// The full name of the message that the `TypedStruct` stands for.
        message: String,
        /// The path within it.
        name: String,
    },
    /// What an `Any` or a `TypedStruct` holds, of a type that the API of this build does not have.
    Type {
        /// The type as given.
        type_url: String,
    },
}

impl fmt::Display for UnreadField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path)?;
        match &self.what {
            Unread::Field { message, field } => write!(f, " ({message}.{field})"),
            Unread::Number { message, number } => {
                write!(f, " (field {number} is unknown in {message})")
            }
            Unread::Name { message, name } => write!(f, " ({name} is unknown in {message})"),
            Unread::Type { type_url } => write!(f, " (type {type_url:?} is unknown)"),
        }
    }
}

/// Lists what is set in an encoded message and not in `reads`, in wire order.
///
/// A field that is not read is listed once, however many elements it has, and nothing below it is. Sub-messages reached through a
/// read field are judged by their own entry in `reads`; a message without an entry has no field that is read.
///
/// # Errors
/// As [`walk`].
pub fn unread_fields(type_name: &str, bytes: &[u8], reads: &ReadSet) -> Result<Vec<UnreadField>, WalkError> {
    let mut unread = Vec::new();
    walk(type_name, bytes, &mut |path: &FieldPath<'_>, found: Found<'_>| {
        let what = match found {
            Found::Field(field) if reads.contains(field) => return Descend::Into,
            Found::Field(field) => {
                Unread::Field { message: field.parent_message().full_name().to_owned(), field: field.name().to_owned() }
            }
            Found::UnknownNumber { message, number } => {
                Unread::Number { message: message.full_name().to_owned(), number }
            }
            Found::UnknownName { message, name } => {
                Unread::Name { message: message.full_name().to_owned(), name: name.to_owned() }
            }
            Found::UnknownType { type_url } => Unread::Type { type_url: type_url.to_owned() },
        };
        unread.push(UnreadField { path: path.to_string(), what });
        Descend::Skip
    })?;
    Ok(unread)
}

#[cfg(test)]
mod tests;
