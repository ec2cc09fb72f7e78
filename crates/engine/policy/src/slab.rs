//! Numbered storage. A number that was given back rests until the end of the commit, so that
//! nothing made within one commit can be mistaken for something that went in the same one.

use std::marker::PhantomData;
use std::ops::{Index, IndexMut};

/// A number of one kind of thing.
pub(crate) trait Id: Copy {
    fn from_number(number: u32) -> Self;
    fn number(self) -> u32;
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub(crate) struct $name(pub(crate) u32);

        impl Id for $name {
            fn from_number(number: u32) -> Self {
                Self(number)
            }
            fn number(self) -> u32 {
                self.0
            }
        }
    )*};
}

ids! {
    /// An interned set of labels.
    LabelSetId;
    /// What rules can see of an owner of addresses.
    IdentityId;
    /// A Pod or WorkloadEndpoint object.
    EntryId;
    /// A policy object.
    PolicyId;
    /// A question about far addresses.
    QuestionId;
    /// A prefix that matters.
    RegionId;
    /// An address that matters.
    SlotId;
    /// Addresses with the same owners in the same region.
    KindId;
    /// The rules of a policy or profile in one direction.
    BlockId;
    /// A stack, by its place in memory; its number outside is a `StackId`.
    StackIndex;
}

impl Id for ocicat_node::ClassId {
    fn from_number(number: u32) -> Self {
        Self(number)
    }
    fn number(self) -> u32 {
        self.0
    }
}

#[derive(Debug)]
pub(crate) struct Slab<I, T> {
    items: Vec<Option<T>>,
    free: Vec<u32>,
    resting: Vec<u32>,
    kind: PhantomData<I>,
}

impl<I, T> Default for Slab<I, T> {
    fn default() -> Self {
        Self {
            items: Vec::new(),
            free: Vec::new(),
            resting: Vec::new(),
            kind: PhantomData,
        }
    }
}

impl<I: Id, T> Slab<I, T> {
    pub(crate) fn insert(&mut self, item: T) -> I {
        if let Some(number) = self.free.pop() {
            self.items[number as usize] = Some(item);
            return I::from_number(number);
        }
        let number = u32::try_from(self.items.len()).unwrap_or(u32::MAX);
        assert!(
            number < u32::MAX,
            "more than four billion items of one kind"
        );
        self.items.push(Some(item));
        I::from_number(number)
    }

    pub(crate) fn remove(&mut self, id: I) -> Option<T> {
        let item = self.items.get_mut(id.number() as usize)?.take()?;
        self.resting.push(id.number());
        Some(item)
    }

    /// From now on the numbers that were given back may be used again.
    pub(crate) fn end_rest(&mut self) {
        self.free.append(&mut self.resting);
    }

    pub(crate) fn get(&self, id: I) -> Option<&T> {
        self.items.get(id.number() as usize)?.as_ref()
    }

    pub(crate) fn get_mut(&mut self, id: I) -> Option<&mut T> {
        self.items.get_mut(id.number() as usize)?.as_mut()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (I, &T)> {
        (0u32..)
            .zip(&self.items)
            .filter_map(|(n, item)| Some((I::from_number(n), item.as_ref()?)))
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (I, &mut T)> {
        (0u32..)
            .zip(&mut self.items)
            .filter_map(|(n, item)| Some((I::from_number(n), item.as_mut()?)))
    }

    /// One more than the highest number ever in use.
    pub(crate) fn span(&self) -> usize {
        self.items.len()
    }
}

/// Room for lists that are made in every commit: as a rule they are short, and made in the same place.
const KEPT: usize = 64;

/// Empties a list, and gives back its room if that is much.
pub(crate) fn give_back<T>(list: &mut Vec<T>) {
    list.clear();
    if list.capacity() > KEPT {
        *list = Vec::new();
    }
}

impl<I: Id, T> Index<I> for Slab<I, T> {
    type Output = T;

    fn index(&self, id: I) -> &T {
        self.get(id)
            .expect("a number is only held while its item lives")
    }
}

impl<I: Id, T> IndexMut<I> for Slab<I, T> {
    fn index_mut(&mut self, id: I) -> &mut T {
        self.get_mut(id)
            .expect("a number is only held while its item lives")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_rest_before_reuse() {
        let mut slab: Slab<EntryId, char> = Slab::default();
        let a = slab.insert('a');
        assert_eq!(slab.remove(a), Some('a'));
        let b = slab.insert('b');
        assert_ne!(a, b);
        slab.end_rest();
        assert_eq!(slab.insert('c'), a);
        assert_eq!(slab.iter().count(), 2);
    }
}
