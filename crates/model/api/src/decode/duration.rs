//! Durations as Go writes them.

use super::node::{Node, Problems, Read};

/// Units, and how many nanoseconds each is. Those that begin like a shorter one come first.
const UNITS: [(&str, u64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("\u{b5}s", 1_000),
    ("\u{3bc}s", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// Reads a duration such as `90s`, `1m30s`, `1.5h` or `0`, in milliseconds; what is less is cut off.
pub(super) fn milliseconds(node: Node<'_>, problems: &mut Problems) -> Read<u64> {
    let text = node.text(problems)?;
    match nanoseconds(text) {
        Some(nanoseconds) => Ok(nanoseconds / 1_000_000),
        None => Err(node.expected("a duration such as 90s, 1m30s or 500ms", problems)),
    }
}

/// At most 290 years, as Go has it.
fn nanoseconds(text: &str) -> Option<u64> {
    if text == "0" {
        return Some(0);
    }
    let mut rest = text;
    let mut total: u64 = 0;
    while !rest.is_empty() || text.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at(digits);
        let (unit, factor) = UNITS.iter().find(|(unit, _)| after.starts_with(unit))?;
        total = total.checked_add(scaled(number, *factor)?)?;
        rest = &after[unit.len()..];
    }
    i64::try_from(total).is_ok().then_some(total)
}

/// A number with digits after a point, times the factor, cut off.
fn scaled(number: &str, factor: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return None;
    }
    let whole: u64 = if whole.is_empty() {
        0
    } else {
        whole.parse().ok()?
    };
    let mut total = whole.checked_mul(factor)?;
    let mut unit = factor;
    for digit in fraction.bytes() {
        unit /= 10;
        total = total.checked_add(u64::from(digit - b'0') * unit)?;
    }
    Some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, ms) in [
            ("0", 0),
            ("90s", 90_000),
            ("1m30s", 90_000),
            ("500ms", 500),
            ("1.5h", 5_400_000),
            (".5s", 500),
            ("1.s", 1_000),
            ("1h1m1s1ms1us1ns", 3_661_001),
            ("999us", 0),
            ("5\u{b5}s", 0),
        ] {
            assert_eq!(
                nanoseconds(text).map(|ns| ns / 1_000_000),
                Some(ms),
                "{text}"
            );
        }
        for text in [
            "",
            "5",
            "s",
            ".s",
            "-5s",
            "+5s",
            "5 s",
            "1..5s",
            "5d",
            "s5",
            "99999999h",
            "1m30",
        ] {
            assert_eq!(nanoseconds(text), None, "{text}");
        }
    }
}
