//! The class of an address: one exact map for each prefix length in use, longest first.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;
use ocicat_node::ClassId;
use ocicat_program::nft::build::{self, IP_DADDR, IP_SADDR, IP6_DADDR, IP6_SADDR};
use ocicat_program::nft::{Element, KeyType, MetaKey, Op, Rule, Set, SetId, Value, Verdict};

use crate::layout::{self, Epoch};

/// A family's prefix length. Orders IPv4 before IPv6 and long before short.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Length {
    is_ipv6: bool,
    /// 128 less the length, so that long ones come first.
    shortness: u8,
}

impl Length {
    fn of(prefix: &IpNet) -> Self {
        Self {
            is_ipv6: prefix.addr().is_ipv6(),
            shortness: 128 - prefix.prefix_len(),
        }
    }

    fn bits(self) -> u8 {
        128 - self.shortness
    }
}

/// Every prefix that has a class, and the maps that hold them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Prefixes {
    classes: BTreeMap<IpNet, ClassId>,
    lengths: BTreeSet<Length>,
    members: BTreeMap<ClassId, usize>,
}

impl Prefixes {
    pub(crate) fn get(&self, prefix: &IpNet) -> Option<ClassId> {
        self.classes.get(prefix).copied()
    }

    /// Whether no prefix is in the class.
    pub(crate) fn is_vacant(&self, class: ClassId) -> bool {
        !self.members.contains_key(&class)
    }

    pub(crate) fn len(&self) -> usize {
        self.classes.len()
    }

    /// The prefix and those around it that have a class, longest first.
    pub(crate) fn around(&self, prefix: &IpNet) -> impl Iterator<Item = (Length, ClassId)> + '_ {
        let (longest, address) = (Length::of(prefix), prefix.addr());
        let lengths = self.lengths.range(longest..).copied();
        let lengths = lengths.take_while(move |length| length.is_ipv6 == longest.is_ipv6);
        lengths.filter_map(move |length| {
            let around = IpNet::new(address, length.bits()).ok()?;
            Some((length, self.get(&around.trunc())?))
        })
    }

    /// Those that have a map.
    pub(crate) fn lengths(&self) -> &BTreeSet<Length> {
        &self.lengths
    }

    /// Longest match.
    pub(crate) fn class_of(&self, address: IpAddr) -> Option<ClassId> {
        let lengths = self
            .lengths
            .iter()
            .filter(|length| length.is_ipv6 == address.is_ipv6());
        lengths
            .into_iter()
            .find_map(|length| self.get(&IpNet::new(address, length.bits()).ok()?.trunc()))
    }

    /// Gives prefixes to classes, or takes them away. New prefix lengths make new maps. Maps that
    /// have become empty stay: they cost one look-up and save a change of the chains.
    pub(crate) fn change(
        &mut self,
        epoch: Epoch,
        changes: &[(IpNet, Option<ClassId>)],
        ops: &mut Vec<Op>,
    ) {
        let mut gone: BTreeMap<Length, Vec<Element>> = BTreeMap::new();
        let mut come: BTreeMap<Length, Vec<Element>> = BTreeMap::new();
        let lengths_before = self.lengths.len();
        for (prefix, class) in changes {
            let length = Length::of(prefix);
            if let Some(old) = self.put(*prefix, *class) {
                if Some(old) == *class {
                    continue;
                }
                gone.entry(length).or_default().push(element(prefix, old));
            }
            if let Some(class) = class {
                if self.lengths.insert(length) {
                    ops.push(Op::AddSet(set(epoch, length)));
                }
                come.entry(length)
                    .or_default()
                    .push(element(prefix, *class));
            }
        }
        for (length, elements) in gone {
            ops.push(Op::DelElements {
                set: set_id(epoch, length),
                elements,
            });
        }
        for (length, elements) in come {
            ops.push(Op::AddElements {
                set: set_id(epoch, length),
                elements,
            });
        }
        if self.lengths.len() != lengths_before {
            ops.extend(["class_src", "class_dst"].map(|name| Op::FlushChain(epoch.name(name))));
            ops.extend(self.rules(epoch).map(Op::AddRule));
        }
    }

    /// The operations that make all of it in another epoch.
    pub(crate) fn program(&self, epoch: Epoch) -> Vec<Op> {
        let mut elements: BTreeMap<Length, Vec<Element>> = BTreeMap::new();
        for (prefix, class) in &self.classes {
            elements
                .entry(Length::of(prefix))
                .or_default()
                .push(element(prefix, *class));
        }
        let sets = self
            .lengths
            .iter()
            .map(|length| Op::AddSet(set(epoch, *length)));
        let mut ops: Vec<Op> = sets.collect();
        ops.extend(
            elements
                .into_iter()
                .map(|(length, elements)| Op::AddElements {
                    set: set_id(epoch, length),
                    elements,
                }),
        );
        ops.extend(self.rules(epoch).map(Op::AddRule));
        ops
    }

    fn rules(&self, epoch: Epoch) -> impl Iterator<Item = Rule> {
        let side = move |chain: &'static str, source| {
            self.lengths
                .iter()
                .map(move |length| rule(&epoch.name(chain), epoch, *length, source))
        };
        let last = ["class_src", "class_dst"].map(|chain| {
            Rule::new(&epoch.name(chain))
                .with(build::counter())
                .with(build::verdict(Verdict::Drop))
                .comment("an address without class")
        });
        side("class_src", true)
            .chain(side("class_dst", false))
            .chain(last)
    }

    fn put(&mut self, prefix: IpNet, class: Option<ClassId>) -> Option<ClassId> {
        let old = match class {
            Some(class) => self.classes.insert(prefix, class),
            None => self.classes.remove(&prefix),
        };
        if let Some(class) = class {
            *self.members.entry(class).or_default() += 1;
        }
        if let Some(old) = old {
            let left = self.members.entry(old).or_default();
            *left = left.saturating_sub(1);
            if *left == 0 {
                self.members.remove(&old);
            }
        }
        old
    }
}

fn rule(chain: &str, epoch: Epoch, length: Length, source: bool) -> Rule {
    let (family, load) = match (length.is_ipv6, source) {
        (false, true) => (build::ipv4(), IP_SADDR),
        (false, false) => (build::ipv4(), IP_DADDR),
        (true, true) => (build::ipv6(), IP6_SADDR),
        (true, false) => (build::ipv6(), IP6_DADDR),
    };
    let map = set(epoch, length).name;
    Rule::new(chain)
        .with(family)
        .with(build::meta_set_prefix_map(
            MetaKey::Priority,
            load,
            length.bits(),
            &map,
        ))
        .with(build::verdict(Verdict::Return))
}

fn set(epoch: Epoch, length: Length) -> Set {
    let (name, key) = match length.is_ipv6 {
        false => ("class4_", KeyType::Ipv4Addr),
        true => ("class6_", KeyType::Ipv6Addr),
    };
    Set::map(
        &epoch.numbered(name, length.bits()),
        [key],
        KeyType::ClassId,
    )
}

fn set_id(epoch: Epoch, length: Length) -> SetId {
    set(epoch, length).id()
}

fn element(prefix: &IpNet, class: ClassId) -> Element {
    let address = match prefix.network() {
        IpAddr::V4(address) => Value::Ipv4Addr(address),
        IpAddr::V6(address) => Value::Ipv6Addr(address),
    };
    Element::new(address).value(layout::class(class))
}
