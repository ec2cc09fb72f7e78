use std::collections::{BTreeMap, BTreeSet};

use ocicat_flow::{Decider, Direction, Verdict as FlowVerdict};
use ocicat_node::{
    Cells, Change, HostEndpoint, HostInterfaces, LocalAddress, NodeState, PortRange, Protocol, Row,
    RowId, SourceCut, Stack, Stage, StageStacks,
};

use super::*;
use crate::HostLink;

/// One thing at a time, on a small state.
mod small;

/// A table as a list of operations leaves it. Panics where the kernel would refuse.
#[derive(Default, PartialEq, Eq, Debug, Clone)]
struct Table {
    chains: BTreeMap<String, Vec<ocicat_program::nft::Rule>>,
    sets: BTreeMap<String, BTreeMap<ocicat_program::nft::ElementKey, Element>>,
}

impl Table {
    fn apply(&mut self, ops: &[Op]) {
        for op in ops {
            match op {
                Op::AddTable { .. } => {}
                Op::AddChain(chain) => {
                    self.chains.entry(chain.name.clone()).or_default();
                }
                Op::FlushChain(chain) => self.chains.get_mut(chain).expect("chain").clear(),
                Op::DelChain(chain) => {
                    assert!(
                        self.chains.remove(chain).expect("chain").is_empty(),
                        "{chain}"
                    );
                    let jumps = |e: &Element| {
                        matches!(&e.data, Some(ocicat_program::nft::Data::Verdict(
                            Verdict::Jump(to) | Verdict::Goto(to))) if to == chain)
                    };
                    let used = self.sets.iter().find(|(_, e)| e.values().any(jumps));
                    assert!(used.is_none(), "{chain} is used by {:?}", used.map(|u| u.0));
                    let leads = |rule: &ocicat_program::nft::Rule| {
                        rule.expressions.iter().any(|x| {
                            matches!(x, ocicat_program::nft::Expression::Verdict(
                                Verdict::Jump(to) | Verdict::Goto(to)) if to == chain)
                        })
                    };
                    let used = self.chains.iter().find(|(_, r)| r.iter().any(leads));
                    assert!(used.is_none(), "{chain} is used by {:?}", used.map(|u| u.0));
                }
                Op::AddRule(rule) => {
                    self.chains
                        .get_mut(&rule.chain)
                        .expect("chain")
                        .push(rule.clone());
                }
                Op::AddSet(set) => {
                    self.sets.entry(set.name.clone()).or_default();
                }
                Op::DelSet(set) => {
                    self.sets.remove(set).expect("set");
                }
                Op::AddElements { set, elements } => {
                    let held = self.sets.get_mut(&set.name).expect("set");
                    for element in elements {
                        let old = held.insert(element.key.clone(), element.clone());
                        assert!(old.is_none(), "{} has {element:?} twice", set.name);
                    }
                }
                Op::DelElements { set, elements } => {
                    let held = self.sets.get_mut(&set.name).expect("set");
                    for element in elements {
                        let old = held.remove(&element.key);
                        assert!(old.is_some(), "{} has no {element:?}", set.name);
                    }
                }
                Op::AddNumbers(numbers) => {
                    let map = numbers.map();
                    let held = self.sets.get_mut(map).expect("map");
                    for element in numbers.elements() {
                        let old = held.insert(element.key.clone(), element);
                        assert!(old.is_none(), "{map} has {old:?} twice");
                    }
                }
                Op::DelNumbers(numbers) => {
                    let map = numbers.map();
                    let held = self.sets.get_mut(map).expect("map");
                    for element in numbers.elements() {
                        assert_eq!(held.remove(&element.key), Some(element), "{map}");
                    }
                }
                other => panic!("unexpected {other:?}"),
            }
        }
    }
}

/// A small generator of numbers (splitmix64).
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u32) -> u32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        u32::try_from((z ^ (z >> 31)) % u64::from(bound)).expect("below a u32")
    }
}

/// A random state in which numbers never change their meaning: ids are drawn from a running count.
struct World {
    chance: Chance,
    next: u32,
    state: NodeState,
}

impl World {
    fn id(&mut self) -> u32 {
        self.next += 1;
        self.next
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> Option<T> {
        let bound = u32::try_from(from.len()).expect("few");
        (bound > 0).then(|| from[self.chance.below(bound) as usize])
    }

    fn outcome(&mut self) -> OutcomeId {
        let id = OutcomeId(self.id());
        let deny = self.chance.below(2) == 0;
        let outcome = Outcome {
            verdict: if deny {
                FlowVerdict::Deny
            } else {
                FlowVerdict::Allow
            },
            decider: Decider::EndOfTier {
                tier: format!("t{}", id.0).into(),
            },
            passed: vec![],
            logged: vec![],
        };
        self.state.outcomes.insert(id, Arc::new(outcome));
        id
    }

    fn cells(&mut self) -> Cells {
        let outcomes: Vec<OutcomeId> = self.state.outcomes.keys().copied().collect();
        let mut draw = || self.pick(&outcomes).expect("there are outcomes");
        let (one, two, three, default) = (draw(), draw(), draw(), draw());
        let first = u16::try_from(self.chance.below(60_000)).expect("a port");
        let last = first + 1 + u16::try_from(self.chance.below(5_000)).expect("few");
        Cells {
            exact: vec![(Protocol::TCP, 1, one)],
            ranges: vec![(
                Protocol::TCP,
                PortRange {
                    first: first.max(2),
                    last,
                },
                two,
            )],
            icmp: vec![
                (Protocol::ICMP, 8, None, three),
                (Protocol::ICMPV6, 128, Some(0), one),
            ],
            protocols: vec![(Protocol::UDP, two)],
            default,
        }
    }

    fn row(&mut self) -> RowId {
        let id = RowId(self.id());
        let cells = self.cells();
        let source = PortRange {
            first: 100,
            last: 200,
        };
        let cut = SourceCut {
            protocol: Protocol::UDP,
            source,
            cells: self.cells(),
        };
        let cuts = if self.chance.below(3) == 0 {
            vec![cut]
        } else {
            vec![]
        };
        self.state.rows.insert(id, Arc::new(Row { cuts, cells }));
        id
    }

    fn change(&mut self) {
        for _ in 0..self.chance.below(4) {
            let class = match self.chance.below(3) {
                0 => ClassId(self.id()),
                _ => {
                    let known: Vec<_> = self.state.classes.values().copied().collect();
                    self.pick(&known).unwrap_or(ClassId(0))
                }
            };
            let octet = u8::try_from(self.chance.below(4)).expect("small");
            let length = [32, 32, 24, 8][self.chance.below(4) as usize];
            let address = std::net::Ipv4Addr::new(10, octet, octet, octet);
            let prefix = ipnet::Ipv4Net::new(address, length)
                .expect("a length")
                .trunc();
            if self.chance.below(4) == 0 {
                self.state.classes.remove(&prefix.into());
            } else {
                self.state.classes.insert(prefix.into(), class);
            }
        }
        self.outcome();
        let row = self.row();
        let classes: Vec<ClassId> = self.state.classes.values().copied().collect();
        let stacks: Vec<StackId> = self.state.stacks.keys().copied().collect();
        match self.chance.below(4) {
            0 => {
                let id = StackId(self.id());
                let direction =
                    [Direction::Ingress, Direction::Egress][self.chance.below(2) as usize];
                let stack = Stack {
                    direction,
                    default_row: row,
                    rows: BTreeMap::new(),
                };
                self.state.stacks.insert(id, stack);
            }
            1 => {
                if let Some(stack) = self
                    .pick(&stacks)
                    .and_then(|s| self.state.stacks.get_mut(&s))
                {
                    stack.default_row = row;
                }
            }
            _ => {
                let class = self.pick(&classes);
                let stack = self
                    .pick(&stacks)
                    .and_then(|s| self.state.stacks.get_mut(&s));
                if let (Some(class), Some(stack)) = (class, stack) {
                    stack.rows.insert(class, row);
                }
            }
        }
        self.endpoint(&stacks);
        self.host_endpoint(&stacks, &classes);
        self.tidy();
    }

    fn endpoint(&mut self, stacks: &[StackId]) {
        let name: EndpointId = format!("pod/n/{}", self.chance.below(3)).into();
        if let (Some(ingress), Some(egress)) = (self.pick(stacks), self.pick(stacks)) {
            let address = "10.9.9.9".parse().expect("an address");
            let addresses = vec![LocalAddress {
                address,
                ingress,
                egress,
            }];
            self.state
                .endpoints
                .insert(name, EndpointPolicy { addresses });
        }
    }

    fn host_endpoint(&mut self, stacks: &[StackId], classes: &[ClassId]) {
        let name: EndpointId = format!("hep/{}", self.chance.below(3)).into();
        if self.chance.below(6) == 0 {
            self.state.host_endpoints.remove(&name);
            return;
        }
        let mut stages = BTreeMap::new();
        for (stage, direction) in [
            (Stage::Untracked, Direction::Ingress),
            (Stage::PreDnat, Direction::Ingress),
            (Stage::Local, Direction::Ingress),
            (Stage::Local, Direction::Egress),
        ] {
            let mut by_near = BTreeMap::new();
            for _ in 0..self.chance.below(3) {
                by_near.extend(self.pick(classes).zip(self.pick(stacks)));
            }
            if let (Some(default), false) = (self.pick(stacks), self.chance.below(4) == 0) {
                stages.insert((stage, direction), StageStacks { default, by_near });
            }
        }
        let interfaces = match self.chance.below(3) {
            0 => HostInterfaces::All,
            1 => HostInterfaces::ByAddress(vec!["10.0.0.1".parse().expect("an address")]),
            _ => HostInterfaces::Named("eth1".into()),
        };
        let endpoint = Arc::new(HostEndpoint { interfaces, stages });
        self.state.host_endpoints.insert(name, endpoint);
    }

    /// Removes what nothing refers to, as the calculation does.
    fn tidy(&mut self) {
        let classes: BTreeSet<ClassId> = self.state.classes.values().copied().collect();
        let used: BTreeSet<StackId> = (self.state.endpoints.values())
            .flat_map(|e| e.addresses.iter().flat_map(|a| [a.ingress, a.egress]))
            .chain(self.state.host_endpoints.values().flat_map(|host| {
                let stages = host.stages.values();
                stages.flat_map(StageStacks::stacks).collect::<Vec<_>>()
            }))
            .collect();
        let newest = self.next;
        self.state
            .stacks
            .retain(|id, _| used.contains(id) || id.0 + 20 > newest);
        for stack in self.state.stacks.values_mut() {
            stack.rows.retain(|class, _| classes.contains(class));
        }
        for host in self.state.host_endpoints.values_mut() {
            for stage in Arc::make_mut(host).stages.values_mut() {
                stage.by_near.retain(|class, _| classes.contains(class));
            }
        }
        let rows: BTreeSet<RowId> = (self.state.stacks.values())
            .flat_map(|s| s.rows.values().copied().chain([s.default_row]))
            .collect();
        self.state
            .rows
            .retain(|id, _| rows.contains(id) || id.0 + 5 > newest);
        let outcomes: BTreeSet<OutcomeId> = (self.state.rows.values())
            .flat_map(|row| {
                let cuts = row.cuts.iter().flat_map(|cut| cut.cells.outcomes());
                row.cells.outcomes().chain(cuts).collect::<Vec<_>>()
            })
            .collect();
        self.state
            .outcomes
            .retain(|id, _| outcomes.contains(id) || id.0 + 5 > newest);
    }
}

fn difference(old: &NodeState, new: &NodeState) -> Vec<Change> {
    let mut out = Vec::new();
    for (id, outcome) in &new.outcomes {
        if !old.outcomes.contains_key(id) {
            out.push(Change::Outcome(*id, Some(outcome.clone())));
        }
    }
    for (id, row) in &new.rows {
        if !old.rows.contains_key(id) {
            out.push(Change::Row(*id, Some(row.clone())));
        }
    }
    for (id, stack) in &new.stacks {
        let known = old.stacks.get(id);
        if known.is_none_or(|known| known.default_row != stack.default_row) {
            out.push(Change::Stack(*id, stack.direction, stack.default_row));
        }
        for (class, row) in &stack.rows {
            if known.and_then(|known| known.rows.get(class)) != Some(row) {
                out.push(Change::StackRow(*id, *class, Some(*row)));
            }
        }
        for class in known.into_iter().flat_map(|known| known.rows.keys()) {
            if !stack.rows.contains_key(class) {
                out.push(Change::StackRow(*id, *class, None));
            }
        }
    }
    for (prefix, class) in &new.classes {
        if old.classes.get(prefix) != Some(class) {
            out.push(Change::Class(*prefix, Some(*class)));
        }
    }
    let gone = old
        .classes
        .keys()
        .filter(|prefix| !new.classes.contains_key(*prefix));
    out.extend(gone.map(|prefix| Change::Class(*prefix, None)));
    for (id, policy) in &new.endpoints {
        if old.endpoints.get(id) != Some(policy) {
            out.push(Change::Endpoint(id.clone(), Some(policy.clone())));
        }
    }
    for (id, host) in &new.host_endpoints {
        if old.host_endpoints.get(id) != Some(host) {
            out.push(Change::HostEndpoint(id.clone(), Some(host.clone())));
        }
    }
    let gone = old.host_endpoints.keys();
    let gone = gone.filter(|id| !new.host_endpoints.contains_key(*id));
    out.extend(gone.map(|id| Change::HostEndpoint(id.clone(), None)));
    let gone = old.stacks.keys().filter(|id| !new.stacks.contains_key(*id));
    out.extend(gone.map(|id| Change::StackRemoved(*id)));
    let gone = old.rows.keys().filter(|id| !new.rows.contains_key(*id));
    out.extend(gone.map(|id| Change::Row(*id, None)));
    let gone = old
        .outcomes
        .keys()
        .filter(|id| !new.outcomes.contains_key(*id));
    out.extend(gone.map(|id| Change::Outcome(*id, None)));
    out
}

fn attachments() -> Vec<(EndpointId, Option<Attachment>)> {
    let attachment = |index: u8| Attachment {
        interface: format!("ocw{index}"),
        mac: [2, 0, 0, 0, 0, index],
        addresses: vec!["10.9.9.9".parse().expect("an address")],
    };
    (0..3)
        .map(|i| (EndpointId::from(format!("pod/n/{i}")), Some(attachment(i))))
        .collect()
}

/// To packets that are older than a commit its new chains are empty, and let them pass.
fn assert_no_younger_chain(ops: &[Op]) {
    let made = ops.iter().find(|op| matches!(op, Op::AddChain(_)));
    assert!(
        made.is_none(),
        "{made:?} comes with the elements that lead to it"
    );
}

/// Any sequence of updates leaves the table that installing the last state would make, and never
/// asks the kernel for what it would refuse.
#[test]
fn updates_lead_where_installing_leads() {
    for seed in 0..60 {
        let chance = Chance(seed);
        let mut world = World {
            chance,
            next: 0,
            state: NodeState::default(),
        };
        world.outcome();
        let mut compiler = Compiler::new(Config::default());
        let mut table = Table::default();
        let _ = compiler.update(&[], &attachments());
        let addresses = vec!["10.0.0.1".parse().expect("an address")];
        compiler.set_links(vec![HostLink {
            name: "eth0".to_owned(),
            addresses,
        }]);
        let mut known = NodeState::default();
        for step in 0..40 {
            world.change();
            let delta = difference(&known, &world.state);
            known = world.state.clone();
            let update = compiler.update(&delta, &[]);
            if step == 0 || update.replace {
                table = Table::default();
                table.apply(&compiler.install(None).ops);
            } else {
                assert_no_younger_chain(&update.apply);
                table.apply(&update.prepare);
                table.apply(&update.apply);
            }
            if world.chance.below(3) == 0 {
                table.apply(&compiler.collect());
            }
        }
        table.apply(&compiler.collect());
        let mut fresh = Table::default();
        fresh.apply(&skeleton::base_chains(compiler.has_hosts()));
        fresh.apply(&compiler.program());
        fresh.apply(&skeleton::turn_over(
            compiler.epoch(),
            &Config::default(),
            compiler.has_hosts(),
        ));
        assert_eq!(table, fresh, "seed {seed}");
    }
}
