//! What is known of endpoints, and the addresses that others may get.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use ipnet::IpNet;
use ocicat_api::{Kind, Object, ObjectKey};

/// What is known of an endpoint.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    pub(crate) addresses: Vec<IpAddr>,
    pub(crate) role: Role,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Role {
    /// Policy judges it.
    Judged,
    /// It has the addresses of its host, and is not judged.
    OnHost(Option<Arc<str>>),
    /// This Pod is the same endpoint.
    SameAs(ObjectKey),
    /// It has no address any more.
    Finished,
}

/// The addresses of a pool, one after the other.
pub(crate) struct Cursor {
    pool: IpNet,
    next: Option<IpAddr>,
}

impl Cursor {
    pub(crate) fn of(pool: &IpNet) -> Self {
        Self {
            pool: *pool,
            next: Some(pool.network()),
        }
    }

    pub(crate) fn is_ipv4(&self) -> bool {
        self.pool.addr().is_ipv4()
    }

    /// The next that nobody has; the search is as long as the addresses in use are many, at most.
    pub(crate) fn next(&mut self, used: &BTreeSet<IpAddr>) -> Option<IpAddr> {
        loop {
            let address = self.next.filter(|address| self.pool.contains(address))?;
            self.next = match address {
                IpAddr::V4(x) => u32::from(x)
                    .checked_add(1)
                    .map(|x| Ipv4Addr::from(x).into()),
                IpAddr::V6(x) => u128::from(x)
                    .checked_add(1)
                    .map(|x| Ipv6Addr::from(x).into()),
            };
            if !used.contains(&address) {
                return Some(address);
            }
        }
    }
}

impl Known {
    /// `None` for what is no endpoint.
    pub(crate) fn of(object: &Object, objects: &BTreeMap<ObjectKey, Object>) -> Option<Self> {
        let (addresses, role) = match object {
            Object::Pod(pod) if pod.finished => (&pod.addresses, Role::Finished),
            Object::Pod(pod) if pod.host_network => {
                (&pod.addresses, Role::OnHost(pod.node.clone()))
            }
            Object::Pod(pod) => (&pod.addresses, Role::Judged),
            Object::WorkloadEndpoint(endpoint) => {
                let pod = endpoint.pod.as_ref().map(|name| ObjectKey {
                    kind: Kind::Pod,
                    namespace: endpoint.metadata.namespace.clone(),
                    name: name.clone(),
                });
                let pod = pod.filter(|pod| objects.contains_key(pod));
                (&endpoint.addresses, pod.map_or(Role::Judged, Role::SameAs))
            }
            _ => return None,
        };
        let mut addresses = addresses.clone();
        if addresses.is_empty() && role == Role::Judged {
            addresses = planned(object).unwrap_or_default();
        }
        Some(Self { addresses, role })
    }
}

/// The addresses that a pod without address asks for.
pub(crate) fn planned(object: &Object) -> Option<Vec<IpAddr>> {
    /// Calico's annotation: a JSON list of addresses.
    const WANTED: &str = "cni.projectcalico.org/ipAddrs";
    let Object::Pod(pod) = object else {
        return None;
    };
    let wanted = pod
        .metadata
        .annotations
        .get(WANTED)
        .filter(|_| pod.addresses.is_empty())?;
    let list = wanted.trim().strip_prefix('[')?.strip_suffix(']')?;
    let address = |word: &str| word.trim().trim_matches('"').parse().ok();
    list.split(',').map(address).collect()
}
