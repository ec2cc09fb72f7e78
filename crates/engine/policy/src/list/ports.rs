//! Sets of ports under which addresses are behind services. Equal sets are stored once.

use std::collections::VecDeque;
use std::sync::Arc;

use ocicat_api::core::SlicePort;
use rustc_hash::FxHashMap;

use crate::class::Signature;
use crate::slab::QuestionId;

/// The number of every set beyond the limit: its ports cannot be known.
pub(crate) const TOO_MANY: u16 = u16::MAX;

/// So many sets that rules ask for are told apart at a time. 0 is no set.
const LIMIT: u16 = TOO_MANY - 1;

/// A number that was given back is used again only when all others were in use before.
#[derive(Debug, Default)]
pub(crate) struct PortSets {
    numbers: FxHashMap<Arc<[SlicePort]>, u16>,
    /// The first has number 1. Each with how often it is held.
    items: Vec<(Arc<[SlicePort]>, u32)>,
    free: VecDeque<u16>,
}

impl PortSets {
    pub(super) fn acquire(&mut self, ports: &Arc<[SlicePort]>) -> u16 {
        if let Some(&number) = self.numbers.get(ports) {
            self.items[usize::from(number) - 1].1 += 1;
            return number;
        }
        let item = (ports.clone(), 1);
        let next = u16::try_from(self.items.len() + 1).unwrap_or(TOO_MANY);
        let number = if next <= LIMIT {
            self.items.push(item);
            next
        } else if let Some(number) = self.free.pop_front() {
            self.items[usize::from(number) - 1] = item;
            number
        } else {
            return TOO_MANY;
        };
        self.numbers.insert(ports.clone(), number);
        number
    }

    /// The number of a set that is held.
    pub(super) fn find(&self, ports: &Arc<[SlicePort]>) -> u16 {
        self.numbers.get(ports).copied().unwrap_or(TOO_MANY)
    }

    pub(super) fn release(&mut self, number: u16) {
        if number == TOO_MANY {
            return;
        }
        let (ports, count) = &mut self.items[usize::from(number) - 1];
        *count -= 1;
        if *count == 0 {
            let ports = std::mem::replace(ports, Arc::from([]));
            self.numbers.remove(&ports);
            self.free.push_back(number);
        }
    }

    /// The sets with which addresses of the class are behind the service of the question.
    pub(crate) fn of<'a>(
        &'a self,
        signature: &'a Signature,
        question: QuestionId,
    ) -> impl Iterator<Item = &'a [SlicePort]> + 'a {
        let numbers = signature.ports(question).filter(|number| *number > 0);
        numbers.filter_map(|number| Some(&*self.items.get(usize::from(number) - 1)?.0))
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.numbers.is_empty()
    }
}
