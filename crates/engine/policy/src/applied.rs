//! The rules that make a row: those whose far side is not false.

use ocicat_api::rule::Action;
use ocicat_flow::RuleRef;

use crate::block::{Block, Truth};
use crate::cover::{Plane, Services};
use crate::list::TOO_MANY;
use crate::paint::{Sheet, rule_ref};
use crate::rule::Rule;
use crate::stack::Step;

/// A set of protocols.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Protocols([u64; 4]);

impl Protocols {
    pub(crate) fn insert(&mut self, protocol: u8) {
        self.0[usize::from(protocol / 64)] |= 1 << (protocol % 64);
    }

    pub(crate) fn add(&mut self, others: Self) {
        for (word, other) in self.0.iter_mut().zip(others.0) {
            *word |= other;
        }
    }

    pub(crate) fn contains(self, protocol: u8) -> bool {
        self.0[usize::from(protocol / 64)] & (1 << (protocol % 64)) != 0
    }

    /// In ascending order.
    pub(crate) fn iter(self) -> impl Iterator<Item = u8> {
        let words = [0u8, 64, 128, 192].into_iter().zip(self.0);
        words.flat_map(|(first, mut word)| {
            std::iter::from_fn(move || {
                let bit = u8::try_from(word.trailing_zeros()).ok()?;
                word = (word != 0).then(|| word & (word - 1))?;
                Some(first + bit)
            })
        })
    }
}

/// A rule whose far side is not false.
pub(crate) struct Applied<'a> {
    pub(crate) step: u32,
    pub(crate) resume: u32,
    pub(crate) block: &'a Block,
    pub(crate) index: u32,
    pub(crate) action: Action,
    /// Nothing but protocol and ports is open.
    pub(crate) certain: bool,
    pub(crate) services: Services<'a>,
    /// The protocols that it treats differently from those that nobody names.
    pub(crate) named: Protocols,
    /// It matches no protocol but these.
    only_named: bool,
    /// It asks for source ports.
    pub(crate) by_source: bool,
}

impl<'a> Applied<'a> {
    /// `None` if the step is no rule or cannot match.
    pub(crate) fn new(sheet: &Sheet<'a>, number: u32, far: Truth) -> Option<Self> {
        let Step::Rule {
            block,
            index,
            resume,
            open,
        } = sheet.steps[number as usize]
        else {
            return None;
        };
        let block = &sheet.blocks[block];
        let rule = &block.body.rules[index as usize];
        let asked = &block.body.asked[index as usize];
        let known = asked.backend.is_none_or(|question| {
            let mut sets = sheet.signature.ports(question);
            sets.all(|number| number != TOO_MANY)
        });
        let certain = far == Truth::Yes && !rule.unreadable && !open && known;
        let idle = matches!(rule.action, Action::Allow | Action::Log) && !certain;
        if far == Truth::No || idle {
            return None;
        }
        let services = Services::new(sheet, &rule.services, asked);
        Some(Self {
            step: number,
            resume,
            block,
            index,
            action: rule.action,
            certain,
            named: named(rule, &services),
            only_named: rule.services.iter().all(|s| s.protocol.is_some()),
            by_source: rule.services.iter().any(|s| s.source.is_some()),
            services,
        })
    }

    /// Whether the rule may match protocols that nobody names.
    pub(crate) fn concerns_rest(&self) -> bool {
        !self.only_named
    }

    /// Whether the rule may match a part of the plane.
    pub(crate) fn concerns(&self, plane: Plane) -> bool {
        !self.only_named || plane.protocol.is_some_and(|p| self.named.contains(p))
    }

    pub(crate) fn rule_ref(&self) -> RuleRef {
        rule_ref(self.block, self.index)
    }
}

fn named(rule: &Rule, services: &Services<'_>) -> Protocols {
    let mut named = Protocols::default();
    for service in &rule.services {
        let of_service = service.protocol.into_iter().chain(service.not_protocol);
        of_service.for_each(|protocol| named.insert(protocol));
        if service.icmp.is_some() || service.not_icmp.is_some() {
            named.insert(1);
            named.insert(58);
        }
    }
    services.protocols().for_each(|p| named.insert(p));
    named
}

#[derive(Debug, Clone, Copy)]
enum Place {
    Shared(usize),
    Own(usize),
}

/// Room for [`Rules`], to be used again.
#[derive(Debug, Default)]
pub(crate) struct RulesRoom {
    places: Vec<u32>,
    chosen: Vec<Place>,
}

/// The rules of a stack that make a row.
pub(crate) struct Rules<'a> {
    pub(crate) sheet: Sheet<'a>,
    /// Those that are the same for every class, in no order.
    shared: Vec<Applied<'a>>,
    /// By step: what is known of it.
    places: Vec<u32>,
    /// Those of this row only.
    own: Vec<Applied<'a>>,
    /// The rules of the row.
    chosen: Vec<Place>,
}

/// Nothing is known of a step yet; the step matches nothing. Otherwise its place among the shared
/// ones, from 1.
const NEW: u32 = 0;
const NOTHING: u32 = u32::MAX;

impl<'a> Rules<'a> {
    pub(crate) fn new(sheet: Sheet<'a>, room: RulesRoom) -> Self {
        let RulesRoom { mut places, chosen } = room;
        places.clear();
        places.resize(sheet.steps.len(), NEW);
        Self {
            sheet,
            shared: Vec::with_capacity(16),
            places,
            own: Vec::new(),
            chosen,
        }
    }

    pub(crate) fn into_room(self) -> RulesRoom {
        RulesRoom {
            places: self.places,
            chosen: self.chosen,
        }
    }

    pub(crate) fn clear(&mut self) {
        self.own.clear();
        self.chosen.clear();
    }

    /// Adds a step, after those before it.
    pub(crate) fn add(&mut self, step: u32, far: Truth) {
        let Some((block, index)) = self.sheet.steps[step as usize].rule() else {
            return;
        };
        if far == Truth::Yes {
            match self.places[step as usize] {
                NEW => {}
                NOTHING => return,
                place => return self.chosen.push(Place::Shared(place as usize - 1)),
            }
        }
        let applied = Applied::new(&self.sheet, step, far);
        let asked = &self.sheet.blocks[block].body.asked[index as usize];
        if far == Truth::Yes && asked.numbered().next().is_none() {
            self.places[step as usize] = NOTHING;
            if let Some(applied) = applied {
                self.chosen.push(Place::Shared(self.shared.len()));
                self.shared.push(applied);
                self.places[step as usize] = u32::try_from(self.shared.len()).unwrap_or(NEW);
            }
        } else if let Some(applied) = applied {
            self.chosen.push(Place::Own(self.own.len()));
            self.own.push(applied);
        }
    }

    /// In order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Applied<'a>> {
        self.chosen.iter().map(|place| match *place {
            Place::Shared(at) => &self.shared[at],
            Place::Own(at) => &self.own[at],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn protocols_are_a_set() {
        let mut set = Protocols::default();
        assert_eq!(set.iter().count(), 0);
        for protocol in [255, 6, 0, 63, 64, 6] {
            set.insert(protocol);
        }
        let mut more = Protocols::default();
        more.insert(17);
        set.add(more);
        let expected = [0, 6, 17, 63, 64, 255];
        assert!(set.iter().eq(expected));
        let contained = (0..=u8::MAX).filter(|protocol| set.contains(*protocol));
        assert!(contained.eq(expected));
    }
}
