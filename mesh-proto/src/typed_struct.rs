//! The two `TypedStruct` messages, which the generated types leave out (see `proto/` beside this crate's sources).
//!
//! They are the same message under two names; `any::resolve` turns either into the message it stands for.

use prost::Name;

use crate::google::protobuf::Struct;

macro_rules! typed_struct {
    ($(#[$doc:meta])* $rust:ident, $package:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, prost::Message)]
        pub struct $rust {
            /// The type that `value` stands for.
            #[prost(string, tag = "1")]
            pub type_url: String,
            /// That type's JSON form.
            #[prost(message, optional, tag = "2")]
            pub value: Option<Struct>,
        }

        impl Name for $rust {
            const NAME: &'static str = "TypedStruct";
            const PACKAGE: &'static str = $package;

            fn type_url() -> String {
                format!("{}{}", crate::type_url::PREFIX, Self::full_name())
            }
        }
    };
}

typed_struct!(
    /// A message given as its type and its JSON form, by its older name, which Istio still writes.
    UdpaTypedStruct,
    "udpa.type.v1"
);
typed_struct!(
    /// A message given as its type and its JSON form.
    XdsTypedStruct,
    "xds.type.v3"
);
