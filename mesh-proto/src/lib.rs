//! The vocabulary: Envoy v3 messages, their JSON form, and the walk over fields nobody reads.
//!
//! Everybody else in the workspace names protobuf types through this crate, so that the crate that generates them
//! is a choice made in one place. Nothing here judges a value (that is `mesh_xds::decode`) and nothing here knows Istio's
//! objects (that is `mesh-istio`).

pub mod any;
pub mod canonical;
pub mod descriptors;
pub mod json;
pub mod mixer;
pub mod path;
pub mod type_url;
pub mod unknown;
pub mod well_known;

mod typed_struct;
mod wire;

pub use envoy_types::pb::{cel, envoy, google, validate};
pub use prost;

/// How deep messages may nest, counting the resource itself, `Any` payloads included. Deeper input is an error everywhere in this
/// crate: Envoy's own configuration stays below 30, and recursion must end before the stack does.
pub const MAX_DEPTH: usize = 64;

/// The older half of the xDS vocabulary that is not Envoy's own.
pub mod udpa {
    pub use envoy_types::pb::udpa::annotations;

    /// Types that configuration uses.
    pub mod r#type {
        /// Version 1.
        pub mod v1 {
            pub use crate::typed_struct::UdpaTypedStruct as TypedStruct;
        }
    }
}

/// The xDS vocabulary that is not Envoy's own.
pub mod xds {
    pub use envoy_types::pb::xds::{annotations, core};

    /// Types that configuration uses.
    pub mod r#type {
        pub use envoy_types::pb::xds::r#type::matcher;

        /// Version 3.
        pub mod v3 {
            pub use crate::typed_struct::XdsTypedStruct as TypedStruct;
            pub use envoy_types::pb::xds::r#type::v3::*;
        }
    }
}
