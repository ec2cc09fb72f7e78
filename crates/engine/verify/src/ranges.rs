//! Sets of numbers.

/// A set of numbers as ranges: sorted, disjoint, not touching each other.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Ranges(Vec<(u128, u128)>);

impl Ranges {
    /// All numbers of so many bits, 1 to 128.
    #[must_use]
    pub fn of_bits(bits: u32) -> Self {
        Self(vec![(0, ones(bits))])
    }

    /// One number.
    #[must_use]
    pub fn one(number: u128) -> Self {
        Self(vec![(number, number)])
    }

    /// The union of ranges with both ends included, in any order.
    #[must_use]
    pub fn of(mut ranges: Vec<(u128, u128)>) -> Self {
        ranges.sort_unstable();
        let mut out: Vec<(u128, u128)> = Vec::with_capacity(ranges.len());
        for (first, last) in ranges {
            match out.last_mut() {
                Some(before) if first <= before.1.saturating_add(1) => {
                    before.1 = before.1.max(last);
                }
                _ => out.push((first, last)),
            }
        }
        Self(out)
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    #[must_use]
    pub fn contains(&self, number: u128) -> bool {
        let after = self.0.partition_point(|(first, _)| *first <= number);
        after > 0 && number <= self.0[after - 1].1
    }

    /// The ranges, in order.
    pub fn iter(&self) -> impl Iterator<Item = (u128, u128)> + '_ {
        self.0.iter().copied()
    }

    /// The least number.
    #[must_use]
    pub fn first(&self) -> Option<u128> {
        self.0.first().map(|(first, _)| *first)
    }

    #[must_use]
    pub fn intersect(&self, other: &Self) -> Self {
        // Look-ups cut large sets by small ones: walk the small one.
        let (small, large) = if self.0.len() <= other.0.len() {
            (self, other)
        } else {
            (other, self)
        };
        let mut out = Vec::new();
        for (first, last) in small.iter() {
            let from = large.0.partition_point(|(_, end)| *end < first);
            for (a, b) in &large.0[from..] {
                if *a > last {
                    break;
                }
                out.push((first.max(*a), last.min(*b)));
            }
        }
        Self(out)
    }

    /// The numbers that `other` does not hold.
    #[must_use]
    pub fn without(&self, other: &Self) -> Self {
        let mut out = Vec::new();
        let mut holes = other.0.iter().peekable();
        for (first, last) in self.iter() {
            let mut from = Some(first);
            while let Some((a, b)) = holes.peek().copied().copied() {
                if a > last {
                    break;
                }
                if let Some(start) = from
                    && a > start
                {
                    out.push((start, a - 1));
                }
                if b >= first {
                    from = from.and_then(|start| Some(start.max(b.checked_add(1)?)));
                }
                if b > last {
                    break;
                }
                holes.next();
            }
            if let Some(start) = from.filter(|start| *start <= last) {
                out.push((start, last));
            }
        }
        Self(out)
    }
}

/// A number of so many ones.
pub(crate) fn ones(bits: u32) -> u128 {
    u128::MAX.checked_shr(128 - bits.min(128)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every pair of subsets of eight numbers, against bit sets.
    #[test]
    fn small_sets_behave_like_bits() {
        let set = |bits: u32| {
            let numbers = (0..8).filter(|place| bits >> place & 1 == 1);
            Ranges::of(numbers.map(|n| (n, n)).collect())
        };
        let bits = |set: &Ranges| {
            (0..8)
                .filter(|n| set.contains(*n))
                .fold(0, |b, n| b | 1 << n)
        };
        for one in 0..256 {
            for other in 0..256 {
                let (a, b) = (set(one), set(other));
                assert_eq!(bits(&a.intersect(&b)), one & other);
                assert_eq!(bits(&a.without(&b)), one & !other, "{one:b} {other:b}");
                assert_eq!(a.without(&b), set(one & !other), "{one:b} {other:b}");
            }
        }
    }

    #[test]
    fn the_highest_number_is_a_number() {
        let all = Ranges::of_bits(128);
        assert_eq!(
            all.without(&Ranges::one(u128::MAX)),
            Ranges::of(vec![(0, u128::MAX - 1)])
        );
        assert!(all.without(&all).is_empty());
        assert_eq!(ones(8), 255);
        assert_eq!(ones(0), 0);
    }
}
