//! Regular expressions of users: RE2 syntax, matched as a whole, bounded in size.
//!
//! The bounds are Istio's (1,024 characters) and ours on the compiled form (1 MiB), so that a rule cannot eat a process.

use regex::RegexBuilder;

/// Longest expression that Istio accepts, in characters.
const MAX_CHARACTERS: usize = 1024;
/// Largest compiled form, in bytes.
const MAX_COMPILED: usize = 1 << 20;

/// Whether an expression may be used; else why not, in one line.
pub(super) fn check(regex: &str) -> Result<(), String> {
    if regex.is_empty() {
        return Err("an empty regular expression matches nothing useful".to_owned());
    }
    if regex.chars().count() > MAX_CHARACTERS {
        return Err(format!("regular expression is longer than {MAX_CHARACTERS} characters"));
    }
    // Alone first, so that a text that only balances within our brackets does not pass; then anchored, as it will be matched.
    let compiled = build(regex).and_then(|()| build(&format!("^(?:{regex})$")));
    match compiled {
        Ok(()) => Ok(()),
        Err(regex::Error::CompiledTooBig(limit)) => {
            Err(format!("regular expression needs more than {limit} bytes when compiled"))
        }
        Err(error) => {
            // The last line of a syntax error says what is wrong; those before draw it.
            let text = error.to_string();
            let last = text.lines().last().unwrap_or_default().trim();
            Err(format!("regular expression {regex:?}: {}", last.strip_prefix("error: ").unwrap_or(last)))
        }
    }
}

fn build(regex: &str) -> Result<(), regex::Error> {
    RegexBuilder::new(regex).size_limit(MAX_COMPILED).build().map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_expressions_are_fine() {
        for regex in [".*", "^(.*?;)?(user=jason)(;.*)?$", "a|b", r"\d+"] {
            assert_eq!(check(regex), Ok(()), "{regex}");
        }
    }

    #[test]
    fn what_cannot_be_compiled_is_named() {
        assert!(check("").is_err());
        assert!(check("(").is_err_and(|reason| reason.contains("unclosed group")));
        assert!(check("(?=x)").is_err());
        assert!(check(&"a".repeat(1025)).is_err_and(|reason| reason.contains("1024")));
        // An injection of an anchor's end must not get out of the group.
        assert!(check("a)|(b").is_err());
    }

    #[test]
    fn more_than_a_mebibyte_compiled_is_refused() {
        assert!(check(r"(\w{100}){100}").is_err_and(|reason| reason.contains("1048576 bytes when compiled")));
    }
}
