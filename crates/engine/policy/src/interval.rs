//! Sets of port numbers as sorted, disjoint, inclusive intervals.

/// First and last.
pub(crate) type Interval = (u16, u16);

pub(crate) const ALL: &[Interval] = &[(0, u16::MAX)];

/// Sorts and joins what overlaps or touches.
pub(crate) fn normal(mut intervals: Vec<Interval>) -> Vec<Interval> {
    intervals.retain(|(first, last)| first <= last);
    intervals.sort_unstable();
    let mut out: Vec<Interval> = Vec::with_capacity(intervals.len());
    for (first, last) in intervals {
        match out.last_mut() {
            Some(top) if u32::from(first) <= u32::from(top.1) + 1 => top.1 = top.1.max(last),
            _ => out.push((first, last)),
        }
    }
    out
}

pub(crate) fn union(a: &[Interval], b: &[Interval]) -> Vec<Interval> {
    normal(a.iter().chain(b).copied().collect())
}

pub(crate) fn complement(a: &[Interval]) -> Vec<Interval> {
    let mut out = Vec::with_capacity(a.len() + 1);
    let mut next = 0u32;
    for &(first, last) in a {
        if u32::from(first) > next {
            out.push((port(next), first - 1));
        }
        next = u32::from(last) + 1;
    }
    if let Ok(first) = u16::try_from(next) {
        out.push((first, u16::MAX));
    }
    out
}

pub(crate) fn intersection(a: &[Interval], b: &[Interval]) -> Vec<Interval> {
    let mut out = Vec::new();
    let (mut i, mut j) = (0, 0);
    while i < a.len() && j < b.len() {
        let (first, last) = (a[i].0.max(b[j].0), a[i].1.min(b[j].1));
        if first <= last {
            out.push((first, last));
        }
        if a[i].1 < b[j].1 { i += 1 } else { j += 1 }
    }
    out
}

pub(crate) fn difference(a: &[Interval], b: &[Interval]) -> Vec<Interval> {
    intersection(a, &complement(b))
}

pub(crate) fn contains(a: &[Interval], value: u16) -> bool {
    let after = a.partition_point(|(first, _)| *first <= value);
    after > 0 && value <= a[after - 1].1
}

/// The value must be a port number.
fn port(value: u32) -> u16 {
    u16::try_from(value).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agree_with_membership() {
        let sets: [&[Interval]; 6] = [
            &[],
            ALL,
            &[(0, 0)],
            &[(u16::MAX, u16::MAX)],
            &[(10, 20), (30, 30), (40, 50)],
            &[(5, 10), (12, 12), (20, 35), (65_000, u16::MAX)],
        ];
        for a in sets {
            assert_eq!(normal(a.to_vec()), a);
            for b in sets {
                let (or, and) = (union(a, b), intersection(a, b));
                let (minus, not) = (difference(a, b), complement(a));
                for value in 0..=u16::MAX {
                    let (x, y) = (contains(a, value), contains(b, value));
                    assert_eq!(contains(&or, value), x || y);
                    assert_eq!(contains(&and, value), x && y);
                    assert_eq!(contains(&minus, value), x && !y);
                    assert_eq!(contains(&not, value), !x);
                }
            }
        }
    }

    #[test]
    fn touching_intervals_join() {
        assert_eq!(normal(vec![(5, 6), (1, 2), (3, 4), (9, 8)]), [(1, 6)]);
    }
}
