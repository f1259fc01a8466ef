//! Mixer's quota as a filter of our own: what requests are charged, by which limit, in cells of which dimensions.
//!
//! The objects (handler, instance, rule, QuotaSpec, QuotaSpecBinding) are joined before: only what a request meets is here.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::resource::matcher::StringMatcher;

/// The quotas of one workload's port.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Quotas {
    /// In the order of the configuration. All that apply must have something left.
    pub charges: Vec<Charge>,
}

/// What some requests are charged.
#[derive(Clone, Debug, PartialEq)]
pub struct Charge {
    /// The quota's name as the caller is told.
    pub quota: String,
    /// How much one request costs, above 0.
    pub amount: u32,
    /// Which requests: all clauses of any entry hold; empty is every request.
    pub matches: Vec<Vec<(Attribute, StringMatcher)>>,
    /// Which limit takes the charge: the first whose condition holds. None: the request is not charged.
    pub routes: Vec<QuotaRoute>,
}

/// A limit with the condition of its rule.
#[derive(Clone, Debug, PartialEq)]
pub struct QuotaRoute {
    /// The rule's condition.
    pub matches: Expression,
    /// The instance's dimensions, by name.
    pub dimensions: BTreeMap<String, Expression>,
    /// The limit.
    pub limit: QuotaLimit,
}

/// `quotas[]` of a handler. Its state lives for as long as some configuration has exactly this limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuotaLimit {
    /// Handler and instance: what state belongs to.
    pub name: String,
    /// The limit of a cell.
    pub max_amount: u64,
    /// The window; zero never ends.
    pub valid_duration: Duration,
    /// How the window is counted.
    pub algorithm: Algorithm,
    /// Other limits for some dimensions; the first that fits counts.
    pub overrides: Vec<QuotaOverride>,
    /// `minDeduplicationDuration`.
    pub min_deduplication: Duration,
}

/// `overrides[]`. Nothing is inherited from the quota.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuotaOverride {
    /// All of these must be equal, as text.
    pub dimensions: BTreeMap<String, String>,
    /// The limit.
    pub max_amount: u64,
    /// The window.
    pub valid_duration: Duration,
}

/// `rateLimitAlgorithm`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// No span of the window's length has more than the limit.
    RollingWindow,
    /// The count starts anew when the window is over; a window starts with the first charge.
    FixedWindow,
}

/// An attribute expression. Its types were checked before.
#[derive(Clone, Debug, PartialEq)]
pub enum Expression {
    /// A text.
    Text(String),
    /// A number.
    Integer(i64),
    /// `true` or `false`.
    Bool(bool),
    /// Something of the request.
    Attribute(Attribute),
    /// A function of others.
    Call(Function, Vec<Self>),
}

/// What can be asked of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Attribute {
    /// `request.headers[…]`, in lower case.
    Header(String),
    /// `request.query_params[…]`.
    QueryParameter(String),
    /// `request.path`: with query.
    Path,
    /// `request.url_path`.
    UrlPath,
    /// `request.host`.
    Host,
    /// `request.method`.
    Method,
    /// `request.scheme`.
    Scheme,
    /// `source.ip`.
    SourceIp,
    /// `destination.ip`.
    DestinationIp,
    /// `destination.port`.
    DestinationPort,
    /// `connection.mtls`.
    MutualTls,
    /// `connection.sni`.
    ServerName,
    /// `context.protocol`: `grpc` or `http`.
    Protocol,
    /// Known by name, and never there.
    Absent(String),
}

/// Functions and operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Function {
    /// `||`.
    Or,
    /// `&&`.
    And,
    /// `!`.
    Not,
    /// `==`.
    Equal,
    /// `!=`.
    NotEqual,
    /// `<`.
    Less,
    /// `<=`.
    LessOrEqual,
    /// `>`.
    Greater,
    /// `>=`.
    GreaterOrEqual,
    /// `a | b`: the first that is there and not empty, else the last.
    Default,
    /// `match(text, pattern)`: the pattern begins or ends with `*`, or is exact.
    Match,
    /// `text.startsWith(prefix)`.
    StartsWith,
    /// `text.endsWith(suffix)`.
    EndsWith,
    /// `toLower(text)`.
    Lower,
    /// `reverse(text)`.
    Reverse,
    /// `conditional(c, a, b)`, `c ? a : b`.
    Conditional,
}
