//! The way of a probe through the hosts of the lab, and what the oracle says of it on each.

use std::collections::BTreeMap;

use ocicat_api::config::{EndpointToHost, Failsafe, FelixConfiguration};
use ocicat_api::{Kind, Object, ObjectKey};
use ocicat_oracle::{Census, Host, Interface, Packet, Passage, Saying, Stage, Verdict, Way};

use super::plan::Probe;
use crate::state::{Lab, Workload, WorkloadKind};
use crate::wire::UPLINK;

/// Everything that is needed to say what becomes of a probe.
pub struct Paths<'a> {
    census: &'a Census<'a>,
    hosts: BTreeMap<String, Host>,
    places: &'a [Workload],
    /// The places from here on are hosts.
    first_host: usize,
}

/// The hosts of a lab as the oracle knows them, with what FelixConfigurations say of each.
pub fn hosts(lab: &Lab, objects: &[Object]) -> BTreeMap<String, Host> {
    let named = |name: &str| {
        objects.iter().find_map(|object| match object {
            Object::FelixConfiguration(x) if *x.metadata.name == *name => Some(x),
            _ => None,
        })
    };
    let all = named("default");
    let host = |host: &crate::state::Host| {
        let own = named(&format!("node.{}", host.name));
        let said = [own, all];
        fn first<T>(
            said: &[Option<&FelixConfiguration>],
            field: impl Fn(&FelixConfiguration) -> Option<T>,
        ) -> Option<T> {
            said.iter().flatten().find_map(|x| field(x))
        }
        let inbound = first(&said, |x| x.failsafe_inbound.clone());
        let outbound = first(&said, |x| x.failsafe_outbound.clone());
        let action = first(&said, |x| x.default_endpoint_to_host);
        let known = Host {
            node: host.name.clone(),
            interfaces: vec![Interface {
                name: UPLINK.to_owned(),
                addresses: host.addresses.clone(),
            }],
            failsafe_inbound: inbound.unwrap_or_else(Failsafe::default_inbound),
            failsafe_outbound: outbound.unwrap_or_else(Failsafe::default_outbound),
            endpoint_to_host: action.unwrap_or(EndpointToHost::Drop),
        };
        (host.name.clone(), known)
    };
    lab.hosts.iter().map(host).collect()
}

impl<'a> Paths<'a> {
    pub fn new(
        census: &'a Census<'a>,
        hosts: BTreeMap<String, Host>,
        lab: &Lab,
        places: &'a [Workload],
    ) -> Self {
        Self {
            census,
            hosts,
            places,
            first_host: lab.workloads.len(),
        }
    }

    /// What becomes of a probe and its answer: every host on the way must let it through.
    pub fn verdict(&self, probe: &Probe) -> Verdict {
        let Probe {
            source,
            source_port,
            address,
            transport,
            port,
            ..
        } = *probe;
        let protocol = transport.number();
        let packet = Packet::with_ports(source, address, protocol, source_port, port);
        let answer = Packet::with_ports(address, source, protocol, port, source_port);
        let there = self.walk(probe.from, probe.to, &packet);
        let back = self.walk(probe.to, probe.from, &answer);
        for (host, passage) in &there {
            if self.census.judge_host(host, passage).verdict == Verdict::Deny {
                return Verdict::Deny;
            }
        }
        // Answers are judged where connections are not known.
        let stops = |(host, passage): &(&Host, Passage)| {
            let stations = self.census.judge_host(host, passage).stations;
            stations.iter().any(|station| {
                station.stage == Some(Stage::Untracked)
                    && matches!(&station.saying, Saying::Judged(x) if x.verdict == Verdict::Deny)
            })
        };
        match back.iter().any(stops) {
            true => Verdict::Deny,
            false => Verdict::Allow,
        }
    }

    /// The hosts that a packet passes, in order.
    fn walk(&self, from: usize, to: usize, packet: &Packet) -> Vec<(&Host, Passage)> {
        let wire = || Way::Interface(UPLINK.to_owned());
        let passage = |from: Way, to: Way| Passage {
            from,
            to,
            packet: *packet,
            translated: None,
        };
        let (start, end) = (&self.places[from].host, &self.places[to].host);
        let ways: Vec<(&String, Passage)> = if start == end {
            vec![(start, passage(self.way(from), self.way(to)))]
        } else {
            let first = passage(self.way(from), wire());
            vec![(start, first), (end, passage(wire(), self.way(to)))]
        };
        ways.into_iter()
            .filter_map(|(name, passage)| Some((self.hosts.get(name)?, passage)))
            .collect()
    }

    fn way(&self, index: usize) -> Way {
        if index >= self.first_host {
            return Way::Host;
        }
        let place = &self.places[index];
        Way::Workload(ObjectKey {
            kind: match place.kind {
                WorkloadKind::Pod => Kind::Pod,
                WorkloadKind::WorkloadEndpoint => Kind::WorkloadEndpoint,
            },
            namespace: Some(place.namespace.as_str().into()),
            name: place.name.as_str().into(),
        })
    }
}
