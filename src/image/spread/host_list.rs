//! Host lists of Slurm: `n[01-03,7],m1` (scontrol(1), "show hostnames").

use crate::error::{Error, Result};

/// Largest number of hosts in a list.
pub const MOST_HOSTS: usize = 65_536;
/// Longest list in bytes.
const LONGEST: usize = 1 << 20;
/// Longest name of a host (RFC 1035, 2.3.4).
const LONGEST_NAME: usize = 253;

/// Returns the hosts of a list, in its order. Errors: a malformed list, more than [`MOST_HOSTS`] hosts.
pub fn expand(text: &str) -> Result<Vec<String>> {
    let bad = |why: &str| {
        let shown: String = text.chars().take(80).collect();
        Error::invalid(format!("'{}' is not a list of hosts: {why}", shown.escape_debug()))
    };
    if text.len() > LONGEST {
        return Err(bad("it is too long"));
    }
    let mut hosts = Vec::new();
    for item in items(text).map_err(bad)? {
        expand_item(item, &mut hosts).map_err(bad)?;
    }
    Ok(hosts)
}

/// Splits at commas outside of brackets.
fn items(text: &str) -> Result<Vec<&str>, &'static str> {
    let (mut parts, mut start, mut is_inside) = (Vec::new(), 0, false);
    for (at, c) in text.char_indices() {
        match c {
            '[' if is_inside => return Err("a bracket in brackets"),
            '[' => is_inside = true,
            ']' if !is_inside => return Err("a bracket too much"),
            ']' => is_inside = false,
            ',' if !is_inside => {
                parts.push(text.get(start..at).unwrap_or_default());
                start = at + 1;
            }
            _ => {}
        }
    }
    if is_inside {
        return Err("a bracket is open");
    }
    parts.push(text.get(start..).unwrap_or_default());
    Ok(parts)
}

/// Adds the hosts of an item, which may have several pairs of brackets: `r[1-2]n[1-4]`.
fn expand_item(item: &str, hosts: &mut Vec<String>) -> Result<(), &'static str> {
    let mut names = vec![String::new()];
    let mut rest = item;
    while let Some((before, after)) = rest.split_once('[') {
        let (ranges, behind) = after.split_once(']').ok_or("a bracket is open")?;
        let numbers = numbers(ranges)?;
        if numbers.len().saturating_mul(names.len()).saturating_add(hosts.len()) > MOST_HOSTS {
            return Err("too many hosts");
        }
        let with = |name: &String| -> Vec<String> {
            numbers.iter().map(|number| format!("{name}{before}{number}")).collect()
        };
        names = names.iter().flat_map(with).collect();
        rest = behind;
    }
    if hosts.len() + names.len() > MOST_HOSTS {
        return Err("too many hosts");
    }
    for mut name in names {
        name += rest;
        let is_known = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        let is_name = !name.is_empty() && name.len() <= LONGEST_NAME && name.chars().all(is_known);
        if !is_name || name.starts_with('-') {
            return Err("a name is no host's");
        }
        hosts.push(name);
    }
    Ok(())
}

/// Expands `01-03,7`. Zeros before a number are kept, as its width.
fn numbers(ranges: &str) -> Result<Vec<String>, &'static str> {
    let mut all = Vec::new();
    for range in ranges.split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let number = |text: &str| {
            let is_number = !text.is_empty() && text.len() <= 9;
            let is_number = is_number && text.bytes().all(|byte| byte.is_ascii_digit());
            if is_number { text.parse::<u32>().map_err(|_| NO_NUMBER) } else { Err(NO_NUMBER) }
        };
        let (from, to) = (number(first)?, number(last)?);
        let count = to.checked_sub(from).ok_or("a range goes backwards")?;
        if all.len() + count as usize >= MOST_HOSTS {
            return Err("too many hosts");
        }
        let width = first.len();
        all.extend((from..=to).map(|number| format!("{number:0width$}")));
    }
    Ok(all)
}

const NO_NUMBER: &str = "a range has no number";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lists_are_expanded_as_slurm_does() {
        let cases = [
            ("n1", "n1"),
            ("n[01-03,7],m1", "n01 n02 n03 n7 m1"),
            ("a,b-c,d.e", "a b-c d.e"),
            ("n[9-11]", "n9 n10 n11"),
            ("n[008-010]x", "n008x n009x n010x"),
            ("r[1-2]n[1-2]", "r1n1 r1n2 r2n1 r2n2"),
        ];
        for (list, hosts) in cases {
            assert_eq!(expand(list).unwrap().join(" "), hosts, "{list}");
        }
    }

    #[test]
    fn malformed_and_huge_lists_are_refused() {
        let long = "a,".repeat(MOST_HOSTS) + "a";
        for list in [
            "",
            ",",
            "a,,b",
            "n[",
            "n]",
            "n[]",
            "n[1",
            "n[2-1]",
            "n[[1]]",
            "n[1-]",
            "n[-1]",
            "n[a]",
            "n[0-999999999]",
            "n[0-65535]n[0-65535]",
            "n[1-9999999999]",
            "-x",
            "a b",
            "a/b",
            &long,
        ] {
            let error = expand(list).unwrap_err().to_string();
            assert!(error.contains("is not a list of hosts"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn no_list_panics(text in "[n0-9,\\[\\]-]{0,40}") {
            if let Ok(hosts) = expand(&text) {
                prop_assert!(hosts.len() <= MOST_HOSTS && !hosts.is_empty());
            }
        }
    }
}
