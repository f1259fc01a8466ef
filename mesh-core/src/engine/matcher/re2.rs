//! From RE2's syntax, which Envoy's configuration is written in, to the syntax of the `regex` crate.
//!
//! Where both read the same text differently, the result says in the crate's syntax what RE2 would have
//! understood; what RE2 refuses is refused. The differences that matter: `\d \s \w \b` are ASCII in RE2; `[`,
//! `&&`, `--` and `~~` have no meaning inside a class; a `{` that starts no count is itself; `\Q...\E` quotes;
//! `\<` is a `<`; the flags `x`, `u` and `R` do not exist.

const DIGIT: &str = "0-9";
const SPACE: &str = r"\t\n\f\r\x20";
const WORD: &str = "0-9A-Za-z_";

/// Translates a pattern.
///
/// # Errors
/// What RE2 refuses, as text.
pub(super) fn translate(pattern: &str) -> Result<String, String> {
    let mut out = String::with_capacity(pattern.len() + 16);
    let mut rest = pattern;
    let mut depth = 0_usize;
    while let Some(char) = take(&mut rest) {
        match char {
            '\\' => escape(&mut rest, &mut out, false)?,
            '[' => class(&mut rest, &mut out)?,
            '(' => {
                out.push('(');
                if group(&mut rest, &mut out)? {
                    depth += 1;
                }
            }
            ')' => {
                depth = depth.checked_sub(1).ok_or("unexpected )")?;
                out.push(')');
            }
            '{' => match count(rest) {
                Some(length) => {
                    out.push('{');
                    out.push_str(&rest[..length]);
                    rest = &rest[length..];
                }
                None => out.push_str("\\{"),
            },
            '}' => out.push_str("\\}"),
            other => out.push(other),
        }
    }
    if depth > 0 {
        return Err("missing )".to_owned());
    }
    Ok(out)
}

fn take(rest: &mut &str) -> Option<char> {
    let char = rest.chars().next()?;
    *rest = &rest[char.len_utf8()..];
    Some(char)
}

/// How long a count is, `}` included, that starts behind a `{`: `3}`, `3,}` or `3,5}`.
fn count(rest: &str) -> Option<usize> {
    let (inside, _) = rest.split_once('}')?;
    let (from, to) = inside.split_once(',').unwrap_or((inside, ""));
    let number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    (!from.is_empty() && number(from) && number(to)).then_some(inside.len() + 1)
}

/// What follows a `(`; whether a `)` must close it.
fn group(rest: &mut &str, out: &mut String) -> Result<bool, String> {
    let Some(inside) = rest.strip_prefix('?') else { return Ok(true) };
    if let Some(name) = inside.strip_prefix("P<").or_else(|| inside.strip_prefix('<'))
        && !name.starts_with(['=', '!'])
    {
        let (name, behind) = name.split_once('>').ok_or("a group's name without >")?;
        out.push_str("?P<");
        out.push_str(name);
        out.push('>');
        *rest = behind;
        return Ok(true);
    }
    let end = inside.find([':', ')']).ok_or("missing ) behind (?")?;
    let flags = &inside[..end];
    if !flags.chars().all(|flag| "imsU-".contains(flag)) {
        return Err(format!("(?{flags} is not known"));
    }
    out.push('?');
    out.push_str(&inside[..=end]);
    *rest = &inside[end + 1..];
    Ok(inside[end..].starts_with(':'))
}

/// What follows a `\`.
fn escape(rest: &mut &str, out: &mut String, in_class: bool) -> Result<(), String> {
    let char = take(rest).ok_or("a backslash at the end")?;
    match char {
        'd' | 's' | 'w' | 'D' | 'S' | 'W' => {
            let set = match char.to_ascii_lowercase() {
                'd' => DIGIT,
                's' => SPACE,
                _ => WORD,
            };
            match (char.is_ascii_uppercase(), in_class) {
                (false, true) => out.push_str(set),
                (false, false) => out.extend(["[", set, "]"]),
                (true, _) => out.extend(["[^", set, "]"]),
            }
        }
        'Q' if !in_class => {
            let (quoted, behind) = rest.split_once("\\E").unwrap_or((rest, ""));
            out.push_str(&regex::escape(quoted));
            *rest = behind;
        }
        // The end of a quotation that was not begun is nothing.
        'E' if !in_class => {}
        'b' | 'B' if !in_class => out.extend(["(?-u:\\", if char == 'b' { "b" } else { "B" }, ")"]),
        'A' | 'z' if !in_class => out.extend(['\\', char]),
        'a' | 'f' | 'n' | 'r' | 't' | 'v' | 'x' | 'p' | 'P' => {
            out.extend(['\\', char]);
            // What belongs to it must not be read as anything else.
            if let Some(inside) = rest.strip_prefix('{')
                && matches!(char, 'x' | 'p' | 'P')
            {
                let (name, behind) = inside.split_once('}').ok_or("missing }")?;
                out.extend(["{", name, "}"]);
                *rest = behind;
            }
        }
        '0'..='7' => {
            let digits = rest.bytes().take(2).take_while(|byte| matches!(byte, b'0'..=b'7')).count();
            if char != '0' && digits == 0 {
                return Err(format!("\\{char}: back references do not exist"));
            }
            let value =
                u32::from_str_radix(&format!("{char}{}", &rest[..digits]), 8).map_err(|error| error.to_string())?;
            out.push_str(&format!("\\x{{{value:x}}}"));
            *rest = &rest[digits..];
        }
        other if other.is_ascii() && !other.is_ascii_alphanumeric() => literal(other, out),
        other => return Err(format!("\\{other} is not known")),
    }
    Ok(())
}

fn literal(char: char, out: &mut String) {
    // The crate lets every ASCII punctuation but these be escaped to mean itself.
    if !matches!(char, '<' | '>' | '_') && char.is_ascii_punctuation() {
        out.push('\\');
    }
    out.push(char);
}

/// A class, behind its `[`.
fn class(rest: &mut &str, out: &mut String) -> Result<(), String> {
    out.push('[');
    if let Some(behind) = rest.strip_prefix('^') {
        out.push('^');
        *rest = behind;
    }
    let mut first = true;
    let mut after_dash = false;
    loop {
        let char = take(rest).ok_or("missing ]")?;
        let mut dash = false;
        match char {
            ']' if !first => {
                out.push(']');
                return Ok(());
            }
            '\\' => escape(rest, out, true)?,
            '[' if rest.starts_with(':') && rest.contains(":]") => {
                let (name, behind) = rest.split_once(":]").ok_or("missing :]")?;
                out.extend(["[", name, ":]"]);
                *rest = behind;
            }
            // A dash is a range unless it is first or ends one.
            '-' if !first && !after_dash => {
                dash = true;
                out.push('-');
            }
            ']' | '[' | '&' | '~' | '-' | '^' => literal(char, out),
            other => out.push(other),
        }
        first = false;
        after_dash = dash;
    }
}

#[cfg(test)]
mod tests {
    use crate::engine::matcher::FullMatch;

    fn matches(pattern: &str, text: &str) -> bool {
        FullMatch::compile(pattern).unwrap().matches(text.as_bytes())
    }

    #[test]
    fn perl_classes_are_ascii() {
        assert!(matches("\\d\\w\\s", "1a "));
        assert!(!matches("\\d", "\u{0661}"), "an Arabic one is no digit of RE2");
        assert!(!matches("\\w", "\u{e4}"));
        assert!(matches("\\D", "\u{0661}") && matches("[^\\d]", "\u{0661}") && matches("[\\D]", "\u{e4}"));
        assert!(!matches("\\s", "\u{b}") && matches("\\S", "\u{b}"));
        assert!(matches("a\\b.*", "a c") && !matches("a\\b.*", "ac"));
    }

    #[test]
    fn what_is_special_only_to_the_crate_is_literal() {
        assert!(matches("[[a]", "[") && matches("[a&&b]", "&") && matches("[~~]", "~"));
        assert!(matches("[+--]", ",") && matches("[a-]", "-") && matches("[-a]", "-") && matches("[]a]", "]"));
        assert!(matches("/users/{id}", "/users/{id}") && matches("a{,2}", "a{,2}") && matches("a{2}", "aa"));
        assert!(matches("\\<a\\>\\_", "<a>_") && matches("\\/\\-\\.", "/-."));
        assert!(matches("[[:alpha:]]+", "ab") && matches("[^[:alpha:]]", "1"));
    }

    #[test]
    fn quotation_octal_and_properties_are_known() {
        assert!(matches("\\Qa.b\\E.", "a.bx") && !matches("\\Qa.b\\E", "axb"));
        assert!(matches("\\101", "A") && matches("\\x41\\x{42}", "AB") && matches("\\pL\\p{Greek}", "a\u{3b1}"));
        assert!(matches("(?P<n>a)(?i:b)(?s).", "aB\n"));
    }

    #[test]
    fn what_re2_refuses_is_refused() {
        for pattern in [
            "a)", "(a", "[a", "\\", "\\1", "\\k", "(?=a)", "(?!a)", "(?<=a)", "(?x) a", "(?u:a)", "*", "[b-a]", "(?P<n",
        ] {
            assert!(FullMatch::compile(pattern).is_err(), "{pattern}");
        }
    }
}
