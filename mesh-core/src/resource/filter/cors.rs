//! `envoy.extensions.filters.http.cors.v3.CorsPolicy`.

use crate::resource::matcher::StringMatcher;
use crate::resource::route::FractionalPercent;

/// Which pages of other origins may do what. What a level leaves out, a less specific one says.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct CorsPolicy {
    /// `allow_origin_string_match`: one of these must match, or match `*`.
    pub allow_origins: Vec<StringMatcher>,
    /// `allow_methods`: a header's value; `*` is the one that is asked for. Empty is unset.
    pub allow_methods: String,
    /// `allow_headers`: a header's value; `*` are those that are asked for. Empty is unset.
    pub allow_headers: String,
    /// `expose_headers`: a header's value. Empty is unset.
    pub expose_headers: String,
    /// `max_age`: a header's value. Empty is unset.
    pub max_age: String,
    /// `allow_credentials`.
    pub allow_credentials: Option<bool>,
    /// `allow_private_network_access`.
    pub allow_private_network_access: Option<bool>,
    /// `forward_not_matching_preflights`, default true.
    pub forward_not_matching_preflights: Option<bool>,
    /// `filter_enabled`: for how many requests the policy is in force; `None` all.
    pub filter_enabled: Option<FractionalPercent>,
    /// `shadow_enabled`: for how many of the others origins are counted all the same; `None` none.
    pub shadow_enabled: Option<FractionalPercent>,
}
