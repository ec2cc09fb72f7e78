//! Host endpoints in the kernel: which interface has which, and the chains of one stage of one.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use ocicat_flow::Direction;
use ocicat_node::{ClassId, EndpointId, HostEndpoint, HostInterfaces};
use ocicat_program::nft::build::{self, PRIORITY};
use ocicat_program::nft::{Chain, Element, IfName, KeyType, Op, Rule, Set, Value, Verdict};

use crate::Config;
use crate::layout::{self, Epoch, HostStage};
use crate::skeleton;
use crate::stack::StackNumber;

/// An interface of the host.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostLink {
    pub name: String,
    pub addresses: Vec<IpAddr>,
}

/// The host endpoint of each interface.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Assignment {
    /// By name of the interface.
    pub(crate) links: BTreeMap<String, EndpointId>,
    /// Of all other interfaces.
    pub(crate) rest: Option<EndpointId>,
}

type HostEndpoints = BTreeMap<EndpointId, Arc<HostEndpoint>>;

impl Assignment {
    /// Those that are named first, then those that hold an address, then the rest. Of several
    /// endpoints for one interface the one with the least id.
    pub(crate) fn of(endpoints: &HostEndpoints, links: &[HostLink], config: &Config) -> Self {
        let may_have = |name: &str| name != "lo" && !config.is_workload(name);
        let mut out = Self::default();
        for (id, endpoint) in endpoints {
            match &endpoint.interfaces {
                HostInterfaces::Named(name) if may_have(name) => {
                    out.links.entry(name.to_string()).or_insert(id.clone());
                }
                HostInterfaces::All if out.rest.is_none() => out.rest = Some(id.clone()),
                _ => {}
            }
        }
        for link in links.iter().filter(|link| may_have(&link.name)) {
            let holds = |endpoint: &HostEndpoint| match &endpoint.interfaces {
                HostInterfaces::ByAddress(of) => of.iter().any(|a| link.addresses.contains(a)),
                _ => false,
            };
            if let Some((id, _)) = endpoints.iter().find(|(_, endpoint)| holds(endpoint)) {
                out.links.entry(link.name.clone()).or_insert(id.clone());
            }
        }
        out
    }

    pub(crate) fn get(&self, link: &str, config: &Config) -> Option<&EndpointId> {
        if link == "lo" || config.is_workload(link) {
            return None;
        }
        self.links.get(link).or(self.rest.as_ref())
    }
}

/// The host endpoint that an interface has. `links` are all interfaces.
#[must_use]
pub fn endpoint_of_link(
    endpoints: &HostEndpoints,
    links: &[HostLink],
    link: &str,
    config: &Config,
) -> Option<EndpointId> {
    Assignment::of(endpoints, links, config)
        .get(link, config)
        .cloned()
}

/// One stage of one endpoint, as it is in the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BuiltStage {
    pub(crate) number: u32,
    pub(crate) stage: HostStage,
    pub(crate) default: StackNumber,
    /// Stacks of near addresses of certain classes.
    pub(crate) near: BTreeMap<ClassId, StackNumber>,
    /// There is a map of near classes, which may be empty.
    pub(crate) asks_near: bool,
}

impl BuiltStage {
    pub(crate) fn chain(&self, epoch: Epoch) -> String {
        epoch.numbered("h", self.number)
    }

    /// Its chains, ready to be entered.
    pub(crate) fn make(&self, epoch: Epoch) -> Vec<Op> {
        let chain = self.chain(epoch);
        let mut ops = Vec::new();
        let mut judge = self.default.chain(epoch);
        if self.asks_near {
            let set = near_set(self.number, epoch);
            let near = near_chain(self.number, epoch);
            let class_of = match self.stage.direction() {
                Direction::Ingress => "class_dst",
                Direction::Egress => "class_src",
            };
            let map = set.name.clone();
            let id = set.id();
            ops.push(Op::AddSet(set));
            let elements: Vec<Element> = (self.near.iter())
                .map(|(class, stack)| near_element(*class, *stack, epoch))
                .collect();
            if !elements.is_empty() {
                ops.push(Op::AddElements { set: id, elements });
            }
            ops.push(Op::AddChain(Chain::regular(&near)));
            let rules = [
                Rule::new(&near).with(build::verdict(Verdict::Jump(epoch.name(class_of)))),
                Rule::new(&near).with(build::vmap(&[PRIORITY], &map)),
                Rule::new(&near).with(build::verdict(Verdict::Goto(judge))),
            ];
            ops.extend(rules.into_iter().map(Op::AddRule));
            judge = near;
        }
        ops.push(Op::AddChain(Chain::regular(&chain)));
        let rules = skeleton::host::stage(self.stage, &chain, &judge, epoch);
        ops.extend(rules.into_iter().map(Op::AddRule));
        ops
    }

    /// Deletes its chains once nothing leads to them.
    pub(crate) fn drop(&self, epoch: Epoch) -> Vec<Op> {
        let chain = self.chain(epoch);
        let mut ops = vec![Op::FlushChain(chain.clone()), Op::DelChain(chain)];
        if self.asks_near {
            let near = near_chain(self.number, epoch);
            ops.push(Op::FlushChain(near.clone()));
            ops.push(Op::DelChain(near));
            ops.push(Op::DelSet(near_set(self.number, epoch).name));
        }
        ops
    }
}

pub(crate) fn near_set(number: u32, epoch: Epoch) -> Set {
    Set::vmap(&epoch.numbered("near", number), [KeyType::ClassId])
}

pub(crate) fn near_element(class: ClassId, stack: StackNumber, epoch: Epoch) -> Element {
    Element::new(layout::class(class)).verdict(Verdict::Goto(stack.chain(epoch)))
}

fn near_chain(number: u32, epoch: Epoch) -> String {
    epoch.numbered("n", number)
}

/// The element of an interface, or of all others.
pub(crate) fn link_element(
    link: Option<&str>,
    id: &EndpointId,
    verdict: Verdict,
) -> Option<Element> {
    let element = match link {
        Some(link) => Element::new(Value::IfName(IfName::new(link).ok()?)),
        None => Element::catch_all(),
    };
    Some(element.verdict(verdict).comment(&**id))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(interfaces: HostInterfaces) -> Arc<HostEndpoint> {
        let stages = BTreeMap::new();
        Arc::new(HostEndpoint { interfaces, stages })
    }

    fn named(name: &str) -> Arc<HostEndpoint> {
        endpoint(HostInterfaces::Named(name.into()))
    }

    #[test]
    fn a_name_goes_before_an_address_and_that_before_all() {
        let address: IpAddr = "192.0.2.1".parse().expect("an address");
        let by_address = endpoint(HostInterfaces::ByAddress(vec![address]));
        let mut endpoints: HostEndpoints = BTreeMap::from([
            ("hep/a-all".into(), endpoint(HostInterfaces::All)),
            ("hep/b-address".into(), by_address),
            ("hep/c-name".into(), named("eth0")),
            ("hep/d-name".into(), named("eth0")),
            ("hep/e-workload".into(), named("ocw1")),
        ]);
        let link = |name: &str, addresses: &[IpAddr]| HostLink {
            name: name.to_owned(),
            addresses: addresses.to_vec(),
        };
        let links = [link("eth0", &[address]), link("eth1", &[])];
        let config = Config::default();
        let of = |endpoints: &HostEndpoints, name: &str| {
            let found = endpoint_of_link(endpoints, &links, name, &config);
            found.map(|id| id.to_string())
        };
        assert_eq!(of(&endpoints, "eth0").as_deref(), Some("hep/c-name"));
        assert_eq!(of(&endpoints, "eth1").as_deref(), Some("hep/a-all"));
        assert_eq!(of(&endpoints, "unheard-of").as_deref(), Some("hep/a-all"));
        assert_eq!(of(&endpoints, "ocw1"), None);
        assert_eq!(of(&endpoints, "lo"), None);
        endpoints.retain(|id, _| !id.contains("name"));
        assert_eq!(of(&endpoints, "eth0").as_deref(), Some("hep/b-address"));
        endpoints.remove("hep/b-address");
        assert_eq!(of(&endpoints, "eth0").as_deref(), Some("hep/a-all"));
    }
}
