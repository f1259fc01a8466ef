//! Envoy's response flags: what went wrong with a request, as access logs and metrics write it.
//!
//! A set of bits; the order of the constants is the order of printing. Envoy prints in the order of setting:
//! injected delays and faults first, then refusals by policy, then `URX`, then the cause of the last try.

use std::fmt;
use std::ops::{BitOr, BitOrAssign};

/// A set of response flags. Prints as `URX,UF`, or `-` when empty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ResponseFlags(u32);

macro_rules! flags {
    ($($(#[$doc:meta])* $name:ident = $bit:literal;)*) => {
        impl ResponseFlags {
            $($(#[$doc])* pub const $name: Self = Self(1 << $bit);)*

            const NAMES: &[(Self, &'static str)] = &[$((Self::$name, stringify!($name))),*];
        }
    };
}

flags! {
    /// A delay was injected.
    DI = 0;
    /// A fault was injected.
    FI = 1;
    /// The local rate limit was reached.
    RL = 2;
    /// The rate limit service failed.
    RLSE = 3;
    /// The external authorizer refused.
    UAEX = 4;
    /// A reserved header had an invalid value.
    IH = 5;
    /// No route.
    NR = 6;
    /// No such cluster.
    NC = 7;
    /// A filter's configuration has not arrived.
    NFCF = 8;
    /// Retries were exhausted.
    URX = 9;
    /// No healthy host.
    UH = 10;
    /// The connection to the upstream was not made.
    UF = 11;
    /// The upstream ended the connection.
    UC = 12;
    /// The upstream reset the stream.
    UR = 13;
    /// A circuit breaker was open.
    UO = 14;
    /// The upstream took too long.
    UT = 15;
    /// The upstream broke the protocol.
    UPE = 16;
    /// The upstream stream's maximum duration passed.
    UMSDR = 17;
    /// We reset the stream.
    LR = 18;
    /// The connection's or request's maximum duration passed.
    DT = 19;
    /// Nothing moved for the idle timeout.
    SI = 20;
    /// The caller broke the protocol.
    DPE = 21;
    /// The caller went away.
    DC = 22;
    /// The caller reset the stream.
    DR = 23;
    /// The host's name was not resolved.
    DF = 24;
    /// The overload manager refused.
    OM = 25;
    /// The drop policy of the cluster's endpoints refused.
    DO = 26;
    /// A local health check failed.
    LH = 27;
}

impl ResponseFlags {
    /// No flag.
    pub const NONE: Self = Self(0);

    /// Both sets.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether every flag of `other` is set.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether no flag is set.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The short names, in the order of printing.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Self::NAMES.iter().filter(move |(flag, _)| self.contains(*flag)).map(|(_, name)| *name)
    }
}

impl BitOr for ResponseFlags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        self.union(other)
    }
}

impl BitOrAssign for ResponseFlags {
    fn bitor_assign(&mut self, other: Self) {
        *self = self.union(other);
    }
}

impl fmt::Display for ResponseFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("-");
        }
        for (at, name) in self.names().enumerate() {
            if at > 0 {
                f.write_str(",")?;
            }
            f.write_str(name)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::ResponseFlags as Flags;

    #[test]
    fn flags_print_in_envoys_order() {
        assert_eq!(Flags::NONE.to_string(), "-");
        assert_eq!((Flags::UF | Flags::URX).to_string(), "URX,UF");
        assert_eq!((Flags::UT | Flags::URX).to_string(), "URX,UT");
        assert_eq!((Flags::FI | Flags::DI).to_string(), "DI,FI");
    }

    #[test]
    fn every_flag_has_a_bit_of_its_own() {
        let mut all = Flags::NONE;
        for (flag, name) in Flags::NAMES {
            assert!(!all.contains(*flag), "{name}");
            all |= *flag;
        }
        assert_eq!(all.names().count(), Flags::NAMES.len());
    }
}
