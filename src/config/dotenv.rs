//! `.dev.vars`, read as Wrangler reads it.
//!
//! The grammar is that of JavaScript's `dotenv`: a line that is no assignment is passed over, nothing is substituted
//! (a password may hold a `$`), and quotes are only needed around `#`, line ends and surrounding blanks.

use std::collections::BTreeMap;

/// Reads every assignment; the last one of a name counts.
pub(super) fn parse(text: &str) -> BTreeMap<String, String> {
    let text = text.trim_start_matches('\u{feff}').replace("\r\n", "\n").replace('\r', "\n");
    let mut values = BTreeMap::new();
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let line_end = rest.find('\n').unwrap_or(rest.len());
        let mut next = line_end;
        if let Some(start) = separator(&rest[..line_end])
            && let Some(name) = name(&rest[..start])
        {
            let value_start = start + 1;
            let value = match quoted(&rest[value_start..]) {
                Some((value, length)) => {
                    next = value_start + length;
                    value
                }
                None => bare(&rest[value_start..line_end]),
            };
            values.insert(name.to_owned(), value);
        }
        rest = rest[next..].split_once('\n').map_or("", |(_, after)| after);
    }
    values
}

/// What ends the name: a `=`, or a `:` before a blank.
fn separator(line: &str) -> Option<usize> {
    let at = line.find(['=', ':'])?;
    (line[at..].starts_with('=') || line[at + 1..].starts_with(char::is_whitespace)).then_some(at)
}

fn name(text: &str) -> Option<&str> {
    let text = text.trim();
    let exported = text.strip_prefix("export").filter(|rest| rest.starts_with(char::is_whitespace));
    let name = exported.map_or(text, str::trim_start);
    let possible = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    (!name.is_empty() && name.chars().all(possible)).then_some(name)
}

/// A value in quotes, which may go over several lines, and where it ends; `None` when it isn't a proper one.
fn quoted(text: &str) -> Option<(String, usize)> {
    let blanks = text.len() - text.trim_start_matches([' ', '\t']).len();
    let quote = text[blanks..].chars().next().filter(|c| matches!(c, '\'' | '"' | '`'))?;
    let start = blanks + 1;
    let mut escaped = false;
    let end = text[start..].find(|c| {
        let closes = c == quote && !escaped;
        escaped = c == '\\' && !escaped;
        closes
    })? + start;
    let after = text[end + 1..].split('\n').next().unwrap_or_default().trim();
    if !after.is_empty() && !after.starts_with('#') {
        return None;
    }
    Some((unescaped(&text[start..end], quote), end + 1))
}

/// A value to the end of its line. It may be in quotes for all that, such as one that ends in a backslash or holds a quote.
fn bare(text: &str) -> String {
    let text = text.split('#').next().unwrap_or_default().trim();
    let Some(first) = text.chars().next() else { return String::new() };
    let quoted = matches!(first, '\'' | '"' | '`') && text.len() > 1 && text.ends_with(first);
    unescaped(if quoted { &text[1..text.len() - 1] } else { text }, first)
}

/// What stands between quotes like `quote`: between double ones, line ends may be written.
fn unescaped(text: &str, quote: char) -> String {
    if quote == '"' { text.replace("\\n", "\n").replace("\\r", "\r") } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::parse;

    /// What dotenv 16.6 makes of each line.
    #[test]
    fn lines_are_read_as_dotenv_reads_them() {
        for (line, value) in [
            ("P='it's'", "it's"),
            ("P=\"a\"b\"", "a\"b"),
            ("P='abc\\'\nQ='x'", "abc\\"),
            ("P=\"abc\\\"", "abc\\"),
            ("P=\"a\\nb\"c\"", "a\nb\"c"),
            ("P='", "'"),
            ("P: foo", "foo"),
            ("export\tP=1", "1"),
            ("P=a:b=c", "a:b=c"),
            ("P=", ""),
        ] {
            assert_eq!(parse(line).get("P").map(String::as_str), Some(value), "{line}");
        }
        assert!(!parse("P:foo\nexportP=1").contains_key("P"));
    }
}
