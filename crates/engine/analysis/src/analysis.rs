//! Asking the decision tables.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use ocicat_api::core::IpPool;
use ocicat_api::{Object, ObjectKey, Protocol};
use ocicat_flow::{Direction, Outcome, Verdict};
use ocicat_node::ServiceMatch;
use ocicat_policy::{Engine, Locality, Pending, Staging};

use crate::contest::Contested;
use crate::cut;
use crate::explanation::{Answer, Case, Explanation, HostStep, Pair, Party, Place, Service};
use crate::host::{At, Flow, Found, Hosts};
use crate::known::{Cursor, Known, Role, planned};
use crate::region::{Region, regions};
use crate::tables::Tables;
use crate::walk;

/// The source port of traffic that is asked about: the first that no service may register
/// (RFC 6335, section 6).
const SOURCE_PORT: u16 = 49_152;

/// One end of traffic.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum End {
    /// A Pod or WorkloadEndpoint, with all its addresses.
    Endpoint(ObjectKey),
    /// One address, whoever has it.
    Address(IpAddr),
    /// A host itself, by the name of its node.
    Host(Arc<str>),
    /// A host itself, by the interface of this HostEndpoint.
    HostEndpoint(ObjectKey),
}

/// Who wants to talk to whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    pub source: End,
    pub destination: End,
    pub protocol: Protocol,
    /// Destination port; ICMP type in the high byte and code in the low byte; else ignored.
    pub port: u16,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unanswerable {
    /// No Pod or WorkloadEndpoint of that name.
    Unknown(ObjectKey),
    /// A pod that has finished: its addresses are free.
    Finished(ObjectKey),
    /// A pod in its host's network, of which no address is known.
    NoAddress(ObjectKey),
    /// No Node or HostEndpoint of that host.
    UnknownHost(Arc<str>),
    /// A host of which no address is known.
    HostWithoutAddress(Arc<str>),
    /// No pool has a free address for an endpoint that has none.
    PoolsFull(ObjectKey),
    /// No IPv4 addresses on both sides, nor IPv6 addresses; or not those that the protocol needs.
    NoCommonFamily,
    /// More than [`Analysis::PAIRS`].
    TooManyPairs,
}

/// Objects and the decision tables made from them.
///
/// Tables are made for an endpoint when it is first asked about, so that a question about a large
/// cluster costs little more than a question about a small one.
pub struct Analysis {
    tables: Tables,
    endpoints: BTreeMap<ObjectKey, Known>,
    hosts: Hosts,
    /// The host of an endpoint.
    homes: BTreeMap<ObjectKey, Arc<str>>,
    /// Who judges at an address; of several, the first by name.
    owners: BTreeMap<IpAddr, ObjectKey>,
    pools: BTreeSet<IpNet>,
    /// Regions with a free address for every endpoint that has none.
    roomy: Vec<Region>,
    /// The others: an endpoint stands in them only while it is asked about.
    tight: Vec<Region>,
    /// Addresses of endpoints and nodes, and those that stand for others.
    used: BTreeSet<IpAddr>,
    /// Addresses that were asked about by themselves: nobody stands there.
    asked: BTreeSet<IpAddr>,
    /// The addresses in roomy regions of endpoints that have none of their own.
    stand_ins: BTreeMap<ObjectKey, Vec<Place>>,
}

/// One end with its addresses.
pub(crate) struct Resolved {
    /// The endpoint that judges.
    pub(crate) judge: Option<ObjectKey>,
    pub(crate) at: At,
    pub(crate) party: Party,
    /// Where it stands only while this question is asked; part of the party's places.
    pub(crate) tight: Vec<Place>,
}

/// What the source, hosts on the way and the destination say.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Outcomes {
    egress: Option<Arc<Outcome>>,
    hosts: Vec<Found>,
    ingress: Option<Arc<Outcome>>,
}

impl Analysis {
    /// Pairs of addresses that one question looks at, at most. Two endpoints without address in
    /// pools cut into more than a thousand regions exceed it.
    pub const PAIRS: usize = 1 << 20;

    /// Prepares answers about these objects. Pods that controllers make must be among them.
    #[must_use]
    pub fn new(objects: &BTreeMap<ObjectKey, Object>) -> Self {
        Self::with(Engine::new(Locality::Nothing), objects)
    }

    /// Prepares answers about the pending world: what would be in force if staged policies were.
    /// `None` if there are none.
    #[must_use]
    pub fn pending(objects: &BTreeMap<ObjectKey, Object>) -> Option<Self> {
        let mut staging = Staging::default();
        let mut pending = BTreeMap::new();
        for object in objects.values() {
            for change in staging.upsert(object) {
                match change {
                    Pending::Upsert(object) => pending.insert(object.key(), object.clone()),
                    Pending::Remove(key) => pending.remove(&key),
                };
            }
        }
        let engine = Engine::new(Locality::Nothing).pending();
        staging.differs().then(|| Self::with(engine, &pending))
    }

    /// Gives every endpoint without address one of each family: the first free one of the pools.
    /// Endpoints then have the same addresses in every question, and no answer depends on them.
    pub fn settle_addresses(&mut self) {
        let homeless = self
            .endpoints
            .iter_mut()
            .filter(|(_, known)| known.role == Role::Judged && known.addresses.is_empty());
        let mut cursors: Vec<Cursor> = self.pools.iter().map(Cursor::of).collect();
        for (key, known) in homeless {
            for ipv4 in [true, false] {
                let of_family = cursors.iter_mut().filter(|cursor| cursor.is_ipv4() == ipv4);
                let found = of_family
                    .filter_map(|cursor| cursor.next(&self.used))
                    .next();
                known.addresses.extend(found);
            }
            for address in &known.addresses {
                self.owners.entry(*address).or_insert_with(|| key.clone());
            }
            self.tables.set_addresses(key, &known.addresses);
        }
    }

    fn with(engine: Engine, objects: &BTreeMap<ObjectKey, Object>) -> Self {
        let (mut pools, mut cuts) = (BTreeSet::new(), BTreeSet::new());
        let (mut endpoints, mut homes) = (BTreeMap::new(), BTreeMap::new());
        let mut hosts = Hosts::default();
        let (mut owners, mut used, mut homeless) = (BTreeMap::new(), BTreeSet::new(), 0_u128);
        let mut tables = Tables::new(engine, objects.values());
        for (key, object) in objects {
            cut::collect(object, &mut cuts);
            hosts.put(object);
            match object {
                Object::IpPool(pool) if !pool.disabled => {
                    pools.insert(pool.cidr);
                }
                Object::Node(node) => used.extend(&node.addresses),
                Object::HostEndpoint(endpoint) => used.extend(&endpoint.expected_ips),
                // Whoever has them, it is nobody without an address.
                Object::EndpointSlice(slice) => used.extend(&slice.addresses),
                Object::Pod(pod) => {
                    homes.extend(pod.node.clone().map(|node| (key.clone(), node)));
                }
                Object::WorkloadEndpoint(endpoint) => {
                    homes.insert(key.clone(), endpoint.node.clone());
                }
                _ => {}
            }
            let Some(known) = Known::of(object, objects) else {
                continue;
            };
            if known.role == Role::Judged {
                used.extend(&known.addresses);
                for address in &known.addresses {
                    owners.entry(*address).or_insert_with(|| key.clone());
                }
                homeless += u128::from(known.addresses.is_empty());
                if planned(object).is_some_and(|planned| planned == known.addresses) {
                    tables.set_addresses(key, &known.addresses);
                }
            }
            endpoints.insert(key.clone(), known);
        }
        if !objects
            .values()
            .any(|object| matches!(object, Object::IpPool(_)))
        {
            pools.extend(IpPool::ASSUMED.map(|(_, cidr, _)| cidr));
        }
        let taken = homeless.saturating_add(used.len() as u128);
        let regions = regions(&pools, &cuts).into_iter();
        let (roomy, tight) = regions.partition(|region| region.size() > taken);
        let (asked, stand_ins) = (BTreeSet::new(), BTreeMap::new());
        Self {
            tables,
            endpoints,
            hosts,
            homes,
            owners,
            pools,
            roomy,
            tight,
            used,
            asked,
            stand_ins,
        }
    }

    /// Says whether traffic passes, and why.
    ///
    /// # Errors
    /// If an end is unknown, or no pair of addresses can carry the traffic.
    pub fn explain(&mut self, query: &Query) -> Result<Explanation, Unanswerable> {
        for end in [&query.source, &query.destination] {
            if let End::Address(address) = end {
                self.vacate(*address);
            }
        }
        let source = self.resolve(&query.source, &BTreeSet::new())?;
        let standing = source.tight.iter().map(|place| place.address).collect();
        let destination = self.resolve(&query.destination, &standing)?;
        if source.judge.is_some() && source.judge == destination.judge {
            return Ok(within(source, destination, service(query)));
        }
        let pairs = pairs(&source.party, &destination.party, query.protocol);
        if pairs.is_empty() {
            return Err(Unanswerable::NoCommonFamily);
        }
        if pairs.len() > Self::PAIRS {
            return Err(Unanswerable::TooManyPairs);
        }
        for judge in [&source.judge, &destination.judge].into_iter().flatten() {
            self.tables.set_local(judge);
        }
        for at in [&source.at, &destination.at] {
            for endpoint in self.hosts.endpoints(at) {
                self.tables.set_local(endpoint);
            }
        }
        let contested = Contested::of(&source, &destination);
        let mut judged = Vec::with_capacity(pairs.len());
        for (round, pairs) in contested.rounds(pairs) {
            contested.stand(&mut self.tables, round, [&source, &destination]);
            self.tables.commit();
            for pair in pairs {
                let outcomes = self.judge(&source, &destination, &pair, query);
                judged.push((pair, outcomes));
            }
        }
        for end in [&source, &destination] {
            if let (Some(judge), false) = (&end.judge, end.tight.is_empty()) {
                let roomy = self.stand_ins.get(judge).map_or(&[][..], Vec::as_slice);
                let addresses: Vec<IpAddr> = roomy.iter().map(|place| place.address).collect();
                self.tables.set_addresses(judge, &addresses);
            }
        }
        Ok(self.explanation(source, destination, service(query), judged))
    }

    /// Makes sure that nobody stands at an address that is asked about by itself.
    fn vacate(&mut self, address: IpAddr) {
        if !self.asked.insert(address) {
            return;
        }
        let stands = |places: &Vec<Place>| places.iter().any(|place| place.address == address);
        let holder = self.stand_ins.iter().find(|(_, places)| stands(places));
        if let Some(holder) = holder.map(|(holder, _)| holder.clone()) {
            for place in self.stand_ins.remove(&holder).unwrap_or_default() {
                self.used.remove(&place.address);
            }
            self.tables.set_addresses(&holder, &[]);
        }
    }

    fn resolve(
        &mut self,
        end: &End,
        standing: &BTreeSet<IpAddr>,
    ) -> Result<Resolved, Unanswerable> {
        let key = match end {
            End::Endpoint(key) => key.clone(),
            End::Address(address) => {
                let owner = self.owners.get(address).cloned();
                let at = match (&owner, self.hosts.owner(*address)) {
                    (Some(owner), _) => At::Workload(self.homes.get(owner).cloned()),
                    (None, Some(node)) => At::Host(node.clone(), None),
                    (None, None) => At::Elsewhere,
                };
                return Ok(Resolved::at(owner, &[*address], at));
            }
            End::Host(node) => return self.resolve_host(node.clone(), None),
            End::HostEndpoint(key) => {
                let node = self.hosts.node_of(key).cloned();
                let node = node.ok_or_else(|| Unanswerable::Unknown(key.clone()))?;
                return self.resolve_host(node, Some(key.clone()));
            }
        };
        let known = self
            .endpoints
            .get(&key)
            .ok_or_else(|| Unanswerable::Unknown(key.clone()))?;
        match &known.role {
            Role::SameAs(pod) => self.resolve(&End::Endpoint(pod.clone()), standing),
            Role::Finished => Err(Unanswerable::Finished(key)),
            Role::OnHost(node) => {
                let node = node.as_ref();
                let of_node = node.and_then(|node| self.hosts.addresses(node, None));
                let own = Some(known.addresses.clone()).filter(|own| !own.is_empty());
                let Some(addresses) = own.or(of_node).filter(|x| !x.is_empty()) else {
                    return Err(Unanswerable::NoAddress(key));
                };
                let at = node.map_or(At::Elsewhere, |node| At::Host(node.clone(), None));
                let mut resolved = Resolved::at(None, &addresses, at);
                resolved.party.endpoint = Some(Tables::id(&key));
                resolved.party.host_network = true;
                Ok(resolved)
            }
            Role::Judged if known.addresses.is_empty() => self.stand_in(key, standing),
            Role::Judged => {
                let addresses = known.addresses.clone();
                let at = At::Workload(self.homes.get(&key).cloned());
                Ok(Resolved::at(Some(key), &addresses, at))
            }
        }
    }

    fn resolve_host(
        &self,
        node: Arc<str>,
        endpoint: Option<ObjectKey>,
    ) -> Result<Resolved, Unanswerable> {
        let addresses = self.hosts.addresses(&node, endpoint.as_ref());
        let addresses = addresses.ok_or_else(|| Unanswerable::UnknownHost(node.clone()))?;
        if addresses.is_empty() {
            return Err(Unanswerable::HostWithoutAddress(node));
        }
        let id = match &endpoint {
            Some(key) => Tables::id(key),
            None => format!("host/{node}").into(),
        };
        let mut resolved = Resolved::at(None, &addresses, At::Host(node, endpoint));
        resolved.party.endpoint = Some(id);
        resolved.party.host_network = true;
        Ok(resolved)
    }

    /// Gives an endpoint without address one in each region; `standing` is taken by the other end,
    /// and used only where a region has nothing else.
    fn stand_in(
        &mut self,
        key: ObjectKey,
        standing: &BTreeSet<IpAddr>,
    ) -> Result<Resolved, Unanswerable> {
        if !self.stand_ins.contains_key(&key) {
            let mut places = Vec::with_capacity(self.roomy.len());
            for region in &self.roomy {
                if let Some(address) = region.spare(&self.used, &self.asked) {
                    places.push(Place {
                        address,
                        any_of: Some(region.cidr),
                    });
                }
            }
            let addresses: Vec<IpAddr> = places.iter().map(|place| place.address).collect();
            self.used.extend(&addresses);
            self.tables.set_addresses(&key, &addresses);
            self.stand_ins.insert(key.clone(), places);
        }
        let mut tight = Vec::new();
        for region in &self.tight {
            let unavailable: BTreeSet<IpAddr> = self.asked.union(standing).copied().collect();
            let spare = region.spare(&self.used, &unavailable);
            if let Some(address) = spare.or_else(|| region.spare(&self.used, &self.asked)) {
                tight.push(Place {
                    address,
                    any_of: Some(region.cidr),
                });
            }
        }
        let mut places = self.stand_ins[&key].clone();
        places.extend(tight.iter().cloned());
        places.sort();
        if places.is_empty() {
            return Err(Unanswerable::PoolsFull(key));
        }
        let endpoint = Some(Tables::id(&key));
        let party = Party {
            endpoint,
            host_network: false,
            places,
        };
        let at = At::Workload(self.homes.get(&key).cloned());
        Ok(Resolved {
            judge: Some(key),
            at,
            party,
            tight,
        })
    }

    fn judge(
        &self,
        source: &Resolved,
        destination: &Resolved,
        pair: &Pair,
        query: &Query,
    ) -> Outcomes {
        let (from, to) = (pair.source.address, pair.destination.address);
        let service = ServiceMatch {
            protocol: ocicat_node::Protocol(query.protocol.0),
            source_port: if query.protocol.has_ports() {
                SOURCE_PORT
            } else {
                0
            },
            port: query.port,
        };
        let ask = |judge: &Option<ObjectKey>, direction, near, far| {
            let judge = judge.as_ref()?;
            self.tables.judge(judge, direction, (near, far), service)
        };
        let flow = Flow {
            source: from,
            destination: to,
            service,
        };
        if let Some(found) = self.hosts.at_home(&source.at, &destination.at, flow) {
            return Outcomes {
                egress: None,
                hosts: vec![found],
                ingress: None,
            };
        }
        Outcomes {
            egress: ask(&source.judge, Direction::Egress, from, to),
            hosts: self
                .hosts
                .judge(&self.tables, &source.at, &destination.at, flow),
            ingress: ask(&destination.judge, Direction::Ingress, to, from),
        }
    }

    /// Puts pairs with the same outcomes together and tells their story.
    fn explanation(
        &self,
        source: Resolved,
        destination: Resolved,
        service: Service,
        judged: Vec<(Pair, Outcomes)>,
    ) -> Explanation {
        let mut groups: Vec<(Outcomes, Vec<Pair>)> = Vec::new();
        let mut index: BTreeMap<Outcomes, usize> = BTreeMap::new();
        for (pair, outcomes) in judged {
            let group = *index.entry(outcomes.clone()).or_insert_with(|| {
                groups.push((outcomes, Vec::new()));
                groups.len() - 1
            });
            groups[group].1.push(pair);
        }
        let side = |judge: &Option<ObjectKey>, direction, outcome: Option<Arc<Outcome>>| {
            let judge = judge.as_ref()?;
            let stack = self.tables.stack(judge, direction);
            Some(walk::side(Tables::id(judge), direction, &stack, outcome?))
        };
        let mut cases = Vec::with_capacity(groups.len());
        for (outcomes, mut pairs) in groups {
            pairs.sort();
            let egress = side(&source.judge, Direction::Egress, outcomes.egress);
            let ingress = side(&destination.judge, Direction::Ingress, outcomes.ingress);
            let hosts = outcomes.hosts.iter();
            let hosts: Vec<HostStep> = hosts.map(|found| found.step(&self.tables)).collect();
            let sides = [&egress, &ingress].into_iter().flatten();
            let verdicts = sides.map(|side| side.verdict);
            let denied = verdicts
                .chain(hosts.iter().map(|step| step.verdict))
                .any(|verdict| verdict == Verdict::Deny);
            let verdict = if denied {
                Verdict::Deny
            } else {
                Verdict::Allow
            };
            cases.push(Case {
                verdict,
                pairs,
                egress,
                ingress,
                hosts,
                within_endpoint: false,
            });
        }
        cases.sort_by(|one, other| one.pairs.cmp(&other.pairs));
        let answers = cases.iter().map(|case| Answer::from(case.verdict));
        // There is at least one pair, so at least one case.
        let verdict = answers.reduce(Answer::or).unwrap_or(Answer::Deny);
        let (source, destination) = (source.party, destination.party);
        Explanation {
            source,
            destination,
            service,
            verdict,
            cases,
        }
    }
}

impl Resolved {
    fn at(judge: Option<ObjectKey>, addresses: &[IpAddr], at: At) -> Self {
        let place = |address: &IpAddr| Place {
            address: *address,
            any_of: None,
        };
        let places = addresses.iter().map(place).collect();
        let endpoint = judge.as_ref().map(Tables::id);
        let party = Party {
            endpoint,
            host_network: false,
            places,
        };
        Self {
            judge,
            at,
            party,
            tight: Vec::new(),
        }
    }
}

/// Every source address with every destination address of its family, if the protocol has that
/// family.
fn pairs(source: &Party, destination: &Party, protocol: Protocol) -> Vec<Pair> {
    let carries = |address: &IpAddr| match protocol {
        Protocol::ICMP => address.is_ipv4(),
        Protocol::ICMPV6 => address.is_ipv6(),
        _ => true,
    };
    let mut pairs = Vec::new();
    for from in source.places.iter().filter(|place| carries(&place.address)) {
        for to in &destination.places {
            let same = from.address.is_ipv4() == to.address.is_ipv4();
            // Two endpoints cannot have one free address.
            let both = from.address == to.address && from.any_of.is_some();
            if same && !both {
                pairs.push(Pair {
                    source: from.clone(),
                    destination: to.clone(),
                });
            }
        }
    }
    pairs
}

fn service(query: &Query) -> Service {
    let [kind, code] = query.port.to_be_bytes();
    let icmp = matches!(query.protocol, Protocol::ICMP | Protocol::ICMPV6);
    Service {
        protocol: query.protocol.to_string(),
        port: query.protocol.has_ports().then_some(query.port),
        icmp: icmp.then_some((kind, code)),
    }
}

/// Traffic of an endpoint to itself.
fn within(source: Resolved, destination: Resolved, service: Service) -> Explanation {
    let place = |place: &Place| Pair {
        source: place.clone(),
        destination: place.clone(),
    };
    let case = Case {
        verdict: Verdict::Allow,
        pairs: destination.party.places.iter().map(place).collect(),
        egress: None,
        ingress: None,
        hosts: Vec::new(),
        within_endpoint: true,
    };
    let (source, destination) = (source.party, destination.party);
    Explanation {
        source,
        destination,
        service,
        verdict: Answer::Allow,
        cases: vec![case],
    }
}

impl std::error::Error for Unanswerable {}

impl fmt::Display for Unanswerable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(key) => write!(f, "there is no {key}"),
            Self::Finished(key) => write!(f, "{key} has finished and has no address any more"),
            Self::NoAddress(key) => {
                write!(
                    f,
                    "{key} is in its host's network, and no address of its host is known"
                )
            }
            Self::UnknownHost(node) => write!(f, "there is no host {node}"),
            Self::HostWithoutAddress(node) => {
                write!(f, "no address of host {node} is known")
            }
            Self::PoolsFull(key) => {
                write!(f, "{key} has no address, and no pool has one left for it")
            }
            Self::NoCommonFamily => {
                f.write_str("no address family that both sides and the protocol have")
            }
            Self::TooManyPairs => {
                write!(
                    f,
                    "more than {} pairs of addresses to look at",
                    Analysis::PAIRS
                )
            }
        }
    }
}
