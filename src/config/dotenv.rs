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
        if let Some(start) = rest[..line_end].find('=')
            && let Some(name) = name(&rest[..start])
        {
            let value_start = start + 1;
            let value = match quoted(&rest[value_start..]) {
                Some((value, length)) => {
                    next = value_start + length;
                    value
                }
                None => bare(&rest[value_start..line_end]).to_owned(),
            };
            values.insert(name.to_owned(), value);
        }
        rest = rest[next..].split_once('\n').map_or("", |(_, after)| after);
    }
    values
}

fn name(text: &str) -> Option<&str> {
    let text = text.trim();
    let name = text.strip_prefix("export ").unwrap_or(text).trim_start();
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
    let value = &text[start..end];
    let value = if quote == '"' { value.replace("\\n", "\n").replace("\\r", "\r") } else { value.to_owned() };
    Some((value, end + 1))
}

fn bare(text: &str) -> &str {
    text.split('#').next().unwrap_or_default().trim()
}
