//! Host endpoints: what each stage of each interface decides, and what no policy closes there.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use ocicat_compile::{Config, Epoch, Failsafe, HostLink, HostStage, Named, endpoint_of_link};
use ocicat_flow::Direction;
use ocicat_node::{
    ClassId, EndpointId, HostEndpoint, HostInterfaces, NodeState, Row, Stage, StageStacks,
};
use ocicat_program::nft::{ElementKey, Key, Ruleset, Text, Value, build};

use super::judged::{ELSEWHERE, Left, Then, number};
use super::task::Task;
use super::{Checked, Subject, Verification};
use crate::Ranges;
use crate::packets::{Connection, Field, IpFamily, Packets};
use crate::run::{End, Fate};
use crate::tables::Tables;

const FAMILIES: [IpFamily; 2] = [IpFamily::V4, IpFamily::V6];
/// ICMPv6 that no host endpoint judges: RFC 2710, RFC 3810, RFC 4861.
const LINK_TYPES: [(u128, u128); 2] = [(130, 136), (143, 143)];
/// Far addresses for which the near classes that a stage does not name are compared, at most.
const FAR_EXAMPLES: usize = 8;

/// An interface that is no workload's, and its host endpoint.
#[derive(Debug, Clone)]
pub(super) struct Link<'a> {
    pub(super) name: Arc<str>,
    endpoint: Option<&'a HostEndpoint>,
}

/// Packets at one stage of one interface, by its place.
#[derive(Debug, Clone, Copy)]
pub(super) struct AtStage {
    pub(super) link: usize,
    pub(super) stage: HostStage,
    family: IpFamily,
    near: Near,
}

/// Near addresses that are asked about at once.
#[derive(Debug, Clone, Copy)]
enum Near {
    All,
    /// Those of a class, with every far address.
    Of(ClassId),
    /// Those of some classes that the stage does not name, with some far addresses.
    Others,
}

/// Values of fields.
type Cut = Vec<(Field, Ranges)>;

/// The interfaces that have a host endpoint by name or by address: by what the tables say, and what
/// stands beside the elements of a table. For who does not know the addresses of the host.
#[must_use]
pub fn host_links(
    ruleset: &Ruleset,
    state: &NodeState,
    config: &Config,
) -> BTreeMap<String, EndpointId> {
    let mut links = Vec::new();
    for (name, endpoint) in elements_of_links(ruleset) {
        let endpoint = endpoint.and_then(|id| state.host_endpoints.get(id));
        let address = endpoint.and_then(|endpoint| match &endpoint.interfaces {
            HostInterfaces::ByAddress(of) => of.first().copied(),
            _ => None,
        });
        links.extend(address.map(|address| HostLink {
            name,
            addresses: vec![address],
        }));
    }
    let named = state.host_endpoints.values();
    let named = named.filter_map(|endpoint| match &endpoint.interfaces {
        HostInterfaces::Named(name) => Some(name.to_string()),
        _ => None,
    });
    let names: BTreeSet<String> = (links.iter().map(|link| link.name.clone()))
        .chain(named)
        .collect();
    let names = names.into_iter();
    names
        .filter_map(|name| {
            let id = endpoint_of_link(&state.host_endpoints, &links, &name, config)?;
            Some((name, id))
        })
        .collect()
}

/// Interfaces that a table names in maps of host endpoints, and what stands beside.
fn elements_of_links(ruleset: &Ruleset) -> BTreeSet<(String, Option<&str>)> {
    let mut found = BTreeSet::new();
    for stage in HostStage::ALL {
        let sets = [Epoch::A, Epoch::B].map(|epoch| Named::Host(stage).name(epoch));
        let sets = sets.iter().filter_map(|name| ruleset.sets.get(name));
        for element in sets.flat_map(|set| &set.elements) {
            if let ElementKey::Exact(Key(values)) = &element.key
                && let [Value::IfName(name)] = &values[..]
            {
                let comment = element.comment.as_ref().map(Text::as_str);
                found.insert((name.to_string(), comment));
            }
        }
    }
    found
}

/// Every interface that has an endpoint or an element, and one that stands for all others.
pub(super) fn links<'a>(subject: &Subject<'a>) -> Vec<Link<'a>> {
    let Subject {
        state,
        config,
        links,
        ruleset,
        ..
    } = *subject;
    if state.host_endpoints.is_empty() {
        return Vec::new();
    }
    let rest = endpoint_of_link(&state.host_endpoints, &[], ELSEWHERE, config);
    let named = elements_of_links(ruleset).into_iter().map(|(name, _)| name);
    let mut names: BTreeSet<String> = named.chain(links.keys().cloned()).collect();
    names.retain(|name| name != "lo" && !config.is_workload(name));
    names.insert(ELSEWHERE.to_owned());
    let names = names.into_iter();
    names
        .map(|name| Link {
            endpoint: (links.get(&name).or(rest.as_ref()))
                .and_then(|id| state.host_endpoints.get(id))
                .map(AsRef::as_ref),
            name: name.into(),
        })
        .collect()
}

impl<'a> Link<'a> {
    fn stacks(&self, stage: HostStage) -> Option<&'a StageStacks> {
        let way = (stage.stage(), stage.direction());
        self.endpoint?.stages.get(&way)
    }
}

pub(super) fn tasks(links: &[Link<'_>], ruleset: &Ruleset, tables: &mut Tables<'_>) -> Vec<Task> {
    // Who asks for the near class tells all near classes apart.
    let asks_near = ruleset.sets.keys().any(|name| name.starts_with("near"));
    let mut tasks = Vec::new();
    for (link, of) in links.iter().enumerate() {
        tasks.push(Task::Passing(link));
        for stage in HostStage::ALL {
            let by_near = of.stacks(stage).map(|stacks| &stacks.by_near);
            let by_near = by_near.into_iter().flatten().map(|(class, _)| *class);
            let named: Vec<ClassId> = by_near.collect();
            for family in FAMILIES {
                let at = |near| {
                    Task::Stage(AtStage {
                        link,
                        stage,
                        family,
                        near,
                    })
                };
                // The side on which a packet leaves judges too, by what is near here.
                if !asks_near && named.is_empty() && stage != HostStage::ForwardIn {
                    tasks.push(at(Near::All));
                    continue;
                }
                let other = tables.other_class(family, &named);
                let classes = other.into_iter().chain(named.iter().copied());
                tasks.extend(classes.map(|class| at(Near::Of(class))));
                tasks.push(at(Near::Others));
            }
        }
    }
    tasks
}

impl AtStage {
    pub(super) fn text(&self) -> String {
        let stage = self.stage.name().replace('_', " ");
        match self.near {
            Near::Of(ClassId(class)) => format!("{stage}, near class {class}"),
            Near::All | Near::Others => stage,
        }
    }

    /// Where near and far addresses are.
    fn fields(&self) -> (Field, Field) {
        match self.stage.direction() {
            Direction::Ingress => (Field::Destination, Field::Source),
            Direction::Egress => (Field::Source, Field::Destination),
        }
    }
}

impl<'a> Verification<'a> {
    /// The host endpoint of an interface of which nothing is known.
    pub(super) fn elsewhere(&self, stage: HostStage) -> Option<&'a StageStacks> {
        let link = self.links.iter().find(|link| *link.name == *ELSEWHERE);
        link?.stacks(stage)
    }

    /// All packets with some near addresses, at one stage.
    pub(super) fn check_stage(&mut self, task: Task, at: AtStage) -> Checked {
        let link = self.links[at.link].clone();
        let stacks = link.stacks(at.stage);
        let Some(packets) = self.packets_at(&link, at, stacks) else {
            return Ok(());
        };
        self.report.stages += 1;
        let mut sides: Vec<_> = stacks
            .map(|stacks| (at.stage.direction(), stacks))
            .into_iter()
            .collect();
        if at.stage == HostStage::ForwardIn {
            let out = self.elsewhere(HostStage::ForwardOut);
            sides.extend(out.map(|out| (Direction::Egress, out)));
        }
        for (_, stacks) in &sides {
            self.stacks.extend(stacks.stacks());
        }
        let base = at.stage_base();
        let to_host: &[bool] = match at.stage {
            HostStage::UntrackedIn | HostStage::PreDnatIn => &[true, false],
            HostStage::LocalIn => &[true],
            _ => &[false],
        };
        for to_host in to_host {
            let packets = Packets {
                to_host: *to_host,
                ..packets.clone()
            };
            let [judged, open, upkeep] = self.ends(at.stage, &packets, stacks.is_some());
            let cuts = match stacks {
                Some(_) => self.open(at, *to_host, (open, upkeep)),
                None => Vec::new(),
            };
            for fate in self.run.enter(base, &packets)? {
                let mut pieces = vec![fate.packets.clone()];
                for (cut, then) in &cuts {
                    let mut others = Vec::new();
                    for piece in pieces {
                        if let Some(open) = split(piece, cut, &mut others) {
                            let example = open.get(at.fields().1).first().unwrap_or_default();
                            self.compare(task, &of(&fate, open), &[], (*then, example))?;
                        }
                    }
                    pieces = others;
                }
                for piece in pieces {
                    self.check_sides(task, &of(&fate, piece), &sides, (judged, at.fields().1))?;
                }
            }
        }
        Ok(())
    }

    /// A fate of packets that are judged on some sides, in order.
    fn check_sides(
        &mut self,
        task: Task,
        fate: &Fate,
        sides: &[(Direction, &'a StageStacks)],
        (then, far): (Then, Field),
    ) -> Checked {
        let sources = self.tables.classes(&fate.packets, Field::Source);
        let destinations = self.tables.classes(&fate.packets, Field::Destination);
        let asked = |field: Field| {
            let asks = |(direction, stacks): &(Direction, &StageStacks)| {
                let far = match direction {
                    Direction::Ingress => Field::Source,
                    Direction::Egress => Field::Destination,
                };
                far == field || !stacks.by_near.is_empty()
            };
            match sides.iter().any(asks) {
                true => usize::MAX,
                false => 1,
            }
        };
        for (source, from) in sources.iter().take(asked(Field::Source)) {
            for (destination, to) in destinations.iter().take(asked(Field::Destination)) {
                let mut rows: Vec<&'a Row> = Vec::with_capacity(sides.len());
                for (direction, stacks) in sides {
                    let (near, far) = match direction {
                        Direction::Ingress => (destination, source),
                        Direction::Egress => (source, destination),
                    };
                    rows.push(self.tables.row(stacks.of(*near), *far)?);
                }
                let example = if far == Field::Source { from } else { to };
                self.compare(task, fate, &rows, (then, *example))?;
            }
        }
        Ok(())
    }

    /// The packets as they come to the stage; `None` if no address is so near.
    fn packets_at(
        &mut self,
        link: &Link<'_>,
        at: AtStage,
        stacks: Option<&StageStacks>,
    ) -> Option<Packets> {
        let (iif, oif) = match at.stage {
            HostStage::UntrackedIn | HostStage::PreDnatIn | HostStage::LocalIn => (&*link.name, ""),
            HostStage::UntrackedOut | HostStage::LocalOut => ("", &*link.name),
            HostStage::ForwardIn => (&*link.name, ELSEWHERE),
            HostStage::ForwardOut => (ELSEWHERE, &*link.name),
        };
        let mut packets = self.all(at.family, iif, oif);
        match at.stage {
            // Before connection tracking. A bit that was there before means nothing.
            HostStage::UntrackedIn | HostStage::UntrackedOut => {
                packets.mark = self.subject.config.passed();
                packets.connection = Connection {
                    state: build::CT_STATE_INVALID,
                    mark: None,
                    is_reply: false,
                };
            }
            // The side on which they came has allowed them.
            HostStage::ForwardOut => packets.mark = self.subject.config.passed(),
            _ => {}
        }
        let (near, far) = at.fields();
        let named = stacks.map(|stacks| stacks.by_near.keys().copied());
        Some(match at.near {
            Near::All => packets,
            Near::Of(class) => {
                let set = self.tables.addresses(at.family, &[class], true)?;
                packets.given(near, &set)
            }
            Near::Others => {
                let named: Vec<ClassId> = named.into_iter().flatten().collect();
                let set = self.tables.addresses(at.family, &named, false)?;
                let examples = self.tables.telling(at.family, stacks, FAR_EXAMPLES);
                packets.given(near, &set).given(far, &Arc::new(examples))
            }
        })
    }

    /// What is left of accepted packets: judged ones, those of fail-safe ports, those that keep links.
    fn ends(&self, stage: HostStage, packets: &Packets, judges: bool) -> [Then; 3] {
        let config = self.subject.config;
        let untouched = Left {
            mark: 0,
            connection: packets.connection,
        };
        let passed = Left {
            mark: config.passed(),
            ..untouched
        };
        let decided = Left {
            connection: Connection {
                mark: Some(config.decided()),
                ..packets.connection
            },
            ..untouched
        };
        let untracked = Left {
            connection: Connection {
                state: build::CT_STATE_UNTRACKED,
                mark: None,
                is_reply: false,
            },
            ..passed
        };
        let end = End::Accept;
        let all = |left| Then {
            end,
            allowed: left,
            others: left,
        };
        let next = |left| Then {
            allowed: left,
            ..all(untouched)
        };
        match stage.stage() {
            Stage::Untracked => [next(untracked), all(untouched), all(untouched)],
            Stage::PreDnat => [next(passed), all(untouched), all(untouched)],
            Stage::Forward => [all(decided); 3],
            Stage::Local if judges => [all(decided), all(decided), all(untouched)],
            Stage::Local => [all(untouched); 3],
        }
    }

    /// What no policy closes at a stage.
    fn open(&self, at: AtStage, to_host: bool, (open, upkeep): (Then, Then)) -> Vec<(Cut, Then)> {
        let config = self.subject.config;
        let (inbound, outbound) = (&config.failsafe_inbound, &config.failsafe_outbound);
        let (asked, answers) = (Field::DestinationPort, Field::SourcePort);
        let mut cuts = Vec::new();
        if at.stage.stage() != Stage::Forward && at.family == IpFamily::V6 {
            let kinds = Ranges::of(LINK_TYPES.to_vec());
            let cut = vec![(Field::Protocol, Ranges::one(58)), (Field::IcmpType, kinds)];
            cuts.push((cut, upkeep));
        }
        let lists: &[_] = match at.stage {
            HostStage::UntrackedIn if to_host => &[(inbound, asked), (outbound, answers)],
            HostStage::UntrackedOut => &[(outbound, asked), (inbound, answers)],
            HostStage::PreDnatIn if to_host => &[(inbound, asked)],
            HostStage::LocalIn => &[(inbound, asked)],
            HostStage::LocalOut => &[(outbound, asked)],
            _ => &[],
        };
        for (list, port) in lists {
            let ports = failsafe_cuts(list, at.family, (*port, at.fields().1));
            cuts.extend(ports.into_iter().map(|cut| (cut, open)));
        }
        cuts
    }

    /// Packets that stages before have allowed, and those of known connections.
    pub(super) fn check_passing(&mut self, link: usize) -> Checked {
        let link = self.links[link].clone();
        let config = self.subject.config;
        let (ended, decided, passed) = (config.ended(), config.decided(), config.passed());
        let is_local = link.stacks(HostStage::LocalIn).is_some();
        for family in FAMILIES {
            for (base, iif, oif) in [
                ("pre_dnat", &*link.name, ""),
                ("input", &*link.name, ""),
                ("output", "", &*link.name),
                ("forward", &*link.name, ELSEWHERE),
            ] {
                if base != "pre_dnat" && base != "forward" && !is_local {
                    continue;
                }
                let fresh = self.all(family, iif, oif);
                let with = |state: u32, ct_mark: Option<u32>, mark: u32| {
                    let mut packets = fresh.clone();
                    packets.connection = Connection {
                        state,
                        mark: ct_mark,
                        is_reply: false,
                    };
                    packets.mark = mark;
                    packets
                };
                let known = build::CT_STATE_ESTABLISHED;
                let what = format!("{base} of packets of {} that", link.name);
                let allowed = with(known, Some(decided), 0);
                let left = Some(Left::of(&allowed));
                self.all_leave(&format!("{what} policy has allowed"), base, &allowed, left)?;
                let mut answers = with(known, Some(0), 0);
                answers.connection.is_reply = true;
                let left = Some(Left::of(&answers));
                let older = format!("{what} answer those of an older connection");
                self.all_leave(&older, base, &answers, left)?;
                if base != "pre_dnat" {
                    let packets = with(known, Some(ended | decided), 0);
                    self.all_leave(&format!("{what} policy has ended"), base, &packets, None)?;
                }
                if base == "forward" {
                    continue;
                }
                for (state, mark) in [
                    (build::CT_STATE_NEW, Some(0)),
                    (build::CT_STATE_UNTRACKED, None),
                ] {
                    let packets = with(state, mark, passed);
                    let left = match base {
                        "pre_dnat" => Left::of(&packets),
                        _ => Left {
                            mark: 0,
                            connection: Connection {
                                state,
                                mark: mark.map(|_| decided),
                                is_reply: false,
                            },
                        },
                    };
                    let what = format!("{what} a stage before has allowed");
                    self.all_leave(&what, base, &packets, Some(left))?;
                }
                if base != "pre_dnat" {
                    let packets = with(build::CT_STATE_INVALID, None, 0);
                    self.all_leave(&format!("{what} are invalid"), base, &packets, None)?;
                }
            }
        }
        Ok(())
    }

    /// All are accepted and left so; `None`: dropped.
    fn all_leave(
        &mut self,
        what: &str,
        base: &str,
        packets: &Packets,
        left: Option<Left>,
    ) -> Checked {
        self.report.questions += 1;
        for fate in self.run.enter(base, packets)? {
            let found = (fate.end == End::Accept).then(|| Left::of(&fate.packets));
            if found != left || !fate.events.is_empty() {
                self.differ(format!("{what}: {found:?} instead of {left:?}"));
            }
        }
        Ok(())
    }
}

impl AtStage {
    fn stage_base(&self) -> &'static str {
        match self.stage {
            HostStage::UntrackedIn => "prerouting",
            HostStage::UntrackedOut => "raw_output",
            HostStage::PreDnatIn => "pre_dnat",
            HostStage::ForwardIn | HostStage::ForwardOut => "forward",
            HostStage::LocalIn => "input",
            HostStage::LocalOut => "output",
        }
    }
}

/// The fate of some of its packets.
fn of(fate: &Fate, packets: Packets) -> Fate {
    Fate {
        packets,
        ..fate.clone()
    }
}

/// Fail-safe ports of a family: first those for all far addresses, by protocol.
fn failsafe_cuts(list: &[Failsafe], family: IpFamily, (port, far): (Field, Field)) -> Vec<Cut> {
    let mut by_protocol: BTreeMap<u8, Vec<(u128, u128)>> = BTreeMap::new();
    let mut with_net = Vec::new();
    for failsafe in list.iter().filter(|x| x.protocol.has_ports()) {
        let number = u128::from(failsafe.port);
        match failsafe.net {
            None => {
                let ports = by_protocol.entry(failsafe.protocol.0).or_default();
                ports.push((number, number));
            }
            Some(net) if is_of(net, family) => with_net.push((failsafe, net)),
            Some(_) => {}
        }
    }
    let protocol = |protocol: u8| (Field::Protocol, Ranges::one(protocol.into()));
    let mut cuts: Vec<Cut> = by_protocol
        .into_iter()
        .map(|(of, ports)| vec![protocol(of), (port, Ranges::of(ports))])
        .collect();
    cuts.extend(with_net.into_iter().map(|(failsafe, net)| {
        let net = Ranges::of(vec![(number(net.network()), number(net.broadcast()))]);
        vec![
            protocol(failsafe.protocol.0),
            (port, Ranges::one(failsafe.port.into())),
            (far, net),
        ]
    }));
    cuts
}

fn is_of(net: IpNet, family: IpFamily) -> bool {
    matches!(net.addr(), IpAddr::V4(_)) == (family == IpFamily::V4)
}

/// Those of the packets that have all these values; the others go to `others`.
fn split(packets: Packets, cut: &Cut, others: &mut Vec<Packets>) -> Option<Packets> {
    // Packets that are not cut stay as they are, so that what is known of them is found again.
    if !cut.iter().all(|(field, set)| packets.meets(*field, set)) {
        others.push(packets);
        return None;
    }
    let mut inside = packets;
    for (field, set) in cut {
        let outside = inside.get(*field).without(set);
        others.extend(inside.with(*field, &outside));
        inside = inside.with(*field, set)?;
    }
    Some(inside)
}
