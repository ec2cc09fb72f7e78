//! Rules that differ in source and port: half for TCP, half for UDP.

use std::net::Ipv4Addr;

use ocicat_nft::object::{Rule, Value as NftValue, Verdict, build};
use serde_json::{Value, json};

use super::road::SERVER;
use crate::world::NODE;

/// Rules of one policy; policies hold at most 1,024.
const AT_ONCE: usize = 1_000;
/// Ports of one source address.
pub(super) const PORTS: usize = 100;
/// The first port and the first source.
pub(super) const FIRST_PORT: u16 = 1_000;
const FIRST_SOURCE: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 0);

const TCP: u8 = 6;
const UDP: u8 = 17;

/// What a rule admits.
#[derive(Debug, Clone, Copy)]
pub(super) struct Admitted {
    pub(super) source: Ipv4Addr,
    pub(super) port: u16,
    protocol: u8,
}

/// By the number of the rule: even ones are for TCP.
pub(super) fn admitted(number: usize) -> Admitted {
    let source = u32::try_from(number / PORTS).unwrap_or(u32::MAX);
    let port = u16::try_from(number % PORTS).unwrap_or(u16::MAX);
    Admitted {
        source: Ipv4Addr::from(u32::from(FIRST_SOURCE) + source),
        port: FIRST_PORT + port,
        protocol: if number.is_multiple_of(2) { TCP } else { UDP },
    }
}

/// A pod, and policies for it that hold so many rules.
pub(super) fn policies(rules: usize) -> Vec<Value> {
    let mut objects = vec![
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}),
        json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "server", "namespace": "shop"},
            "spec": {"nodeName": NODE, "containers": [{"name": "main"}]},
            "status": {"phase": "Running", "podIPs": [{"ip": SERVER}]},
        }),
    ];
    let numbers: Vec<usize> = (0..rules).collect();
    objects.extend(numbers.chunks(AT_ONCE).enumerate().map(|(place, chunk)| {
        let rules: Vec<Value> = chunk.iter().map(|number| rule(*number)).collect();
        json!({
            "apiVersion": "projectcalico.org/v3", "kind": "GlobalNetworkPolicy",
            "metadata": {"name": format!("p-{place}")},
            "spec": {"selector": "all()", "order": place, "types": ["Ingress"], "ingress": rules},
        })
    }));
    objects
}

fn rule(number: usize) -> Value {
    let Admitted {
        source,
        port,
        protocol,
    } = admitted(number);
    json!({
        "action": "Allow", "protocol": protocol,
        "source": {"nets": [format!("{source}/32")]}, "destination": {"ports": [port]},
    })
}

/// The same rules, one after the other, behind one for established connections.
pub(super) fn linear(rules: usize) -> Vec<Rule> {
    let mut out = vec![
        Rule::new("forward")
            .with(build::ct_state(build::CT_STATE_ESTABLISHED))
            .with(build::verdict(Verdict::Accept)),
    ];
    out.extend((0..rules).map(|number| {
        let Admitted {
            source,
            port,
            protocol,
        } = admitted(number);
        Rule::new("forward")
            .with(build::ipv4())
            .with(build::ipv4_prefix(build::IP_SADDR, source, 32))
            .with(build::l4proto(protocol))
            .with(build::eq(build::TH_DPORT, &NftValue::InetService(port)))
            .with(build::verdict(Verdict::Accept))
    }));
    out
}
