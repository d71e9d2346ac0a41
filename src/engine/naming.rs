//! Names in the target: stable, legal in SQLite, and no two alike.
//!
//! SQLite folds the case of ASCII letters, keeps `sqlite_*` to itself, and `StarbaseDB` keeps `tmp_*`. A name the state
//! already knows never changes; a new one that collides gets a suffix made from its full name at the source, so that it
//! doesn't depend on which other names are there or in which order they are met.

use std::collections::HashSet;

use sha2::{Digest, Sha256};

use crate::batch::hex;

/// What goes before names that SQLite or `StarbaseDB` keep for themselves.
const RESERVED_PREFIX: &str = "source_";

/// Hex digits of the full name's hash that set a contested name apart.
const SUFFIX_DIGITS: usize = 6;

/// A name that wants a place in the target.
pub struct Wish {
    /// Its full name at the source, unique.
    pub full: String,
    /// What it would like to be called.
    pub plain: String,
    /// What it was called in an earlier run, or what the user demands: never changed.
    pub fixed: Option<String>,
}

/// Names of tables for `wishes`, in their order, none equal to another or to one of `taken` when case is folded.
pub fn assign_tables(wishes: &[Wish], taken: impl IntoIterator<Item = String>) -> Vec<String> {
    assign(wishes, taken, |name| if is_reserved(name) { format!("{RESERVED_PREFIX}{name}") } else { name.to_owned() })
}

/// The same for the columns of one table, whose names are never reserved.
pub fn assign_columns(wishes: &[Wish], taken: impl IntoIterator<Item = String>) -> Vec<String> {
    assign(wishes, taken, str::to_owned)
}

fn assign(wishes: &[Wish], taken: impl IntoIterator<Item = String>, legal: impl Fn(&str) -> String) -> Vec<String> {
    let mut used: HashSet<String> = taken.into_iter().map(|name| fold(&name)).collect();
    used.extend(wishes.iter().filter_map(|wish| wish.fixed.as_deref().map(fold)));

    let legal: Vec<String> = wishes.iter().map(|wish| legal(&wish.plain)).collect();
    // Who spells a contested name in lower case has the better claim to it: most SQL does.
    let mut order: Vec<usize> = (0..wishes.len()).filter(|index| wishes[*index].fixed.is_none()).collect();
    order.sort_by_key(|&index| (legal[index] != fold(&legal[index]), wishes[index].full.clone()));

    let mut names: Vec<Option<String>> = wishes.iter().map(|wish| wish.fixed.clone()).collect();
    for index in order {
        let mut name = legal[index].clone();
        let digest = hex(&Sha256::digest(wishes[index].full.as_bytes()));
        let mut digits = SUFFIX_DIGITS;
        while !used.insert(fold(&name)) {
            name = format!("{}_{}", legal[index], &digest[..digits.min(digest.len())]);
            if digits > digest.len() {
                // Full names are unique, unless a source says otherwise.
                name = format!("{name}_{digits}");
            }
            digits += SUFFIX_DIGITS;
        }
        names[index] = Some(name);
    }
    names.into_iter().flatten().collect()
}

/// `name` as SQLite compares it.
pub fn fold(name: &str) -> String {
    name.to_ascii_lowercase()
}

/// Whether the target keeps names like this for others.
pub fn is_reserved(name: &str) -> bool {
    let folded = fold(name);
    folded.starts_with("sqlite_") || folded.starts_with("tmp_")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(full: &str, plain: &str) -> Wish {
        Wish { full: full.to_owned(), plain: plain.to_owned(), fixed: None }
    }

    #[test]
    fn a_source_that_repeats_itself_gets_names_too() {
        let wish = || Wish { full: "a".to_owned(), plain: "a".to_owned(), fixed: None };
        let wishes: Vec<Wish> = std::iter::repeat_with(wish).take(30).collect();
        let names: HashSet<String> = assign_columns(&wishes, Vec::new()).into_iter().collect();
        assert_eq!(names.len(), 30);
    }

    #[test]
    fn lower_case_keeps_the_plain_name_whatever_the_order() {
        let there = assign_tables(&[wish("public.Users", "Users"), wish("public.users", "users")], []);
        let back = assign_tables(&[wish("public.users", "users"), wish("public.Users", "Users")], []);
        assert_eq!(there[1], "users");
        assert!(there[0].starts_with("Users_") && there[0].len() == "Users_".len() + 6);
        assert_eq!([&there[1], &there[0]], [&back[0], &back[1]]);
    }

    #[test]
    fn a_known_name_stays_when_a_better_claim_appears() {
        let known = Wish { fixed: Some("Users".to_owned()), ..wish("public.Users", "Users") };
        let names = assign_tables(&[known, wish("public.users", "users")], []);
        assert_eq!(names[0], "Users");
        assert!(names[1].starts_with("users_"));
    }

    #[test]
    fn reserved_names_get_a_prefix() {
        let names = assign_tables(&[wish("public.tmp_x", "tmp_x"), wish("public.SQLITE_y", "SQLITE_y")], []);
        assert_eq!(names, ["source_tmp_x", "source_SQLITE_y"]);
    }
}
