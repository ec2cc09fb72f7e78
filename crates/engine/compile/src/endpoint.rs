//! A local endpoint in the kernel: who it may send as, and which stacks judge it.

use std::net::IpAddr;

use ocicat_node::{Attachment, EndpointPolicy, StackId};
use ocicat_program::nft::{Element, IfName, Value, Verdict};

use crate::Config;
use crate::layout::{Epoch, Named};
use crate::stack::StackNumber;

/// The elements of one endpoint. An endpoint that is not attached has none; an attached one
/// without policy may send nothing and receives nothing, because no stack judges it.
pub(crate) fn elements(
    id: &str,
    attachment: Option<&Attachment>,
    policy: Option<&EndpointPolicy>,
    config: &Config,
    epoch: Epoch,
    stack: impl Fn(StackId) -> Option<StackNumber>,
) -> Vec<(Named, Element)> {
    let Some(attachment) = attachment else {
        return Vec::new();
    };
    let Ok(interface) = IfName::new(&attachment.interface) else {
        return Vec::new();
    };
    let interface = Value::IfName(interface);
    let mac = Value::EtherAddr(attachment.mac);
    let mut out = Vec::new();
    let source = Element::new([interface.clone(), mac.clone()]).comment(id);
    out.push((Named::SourceMac, source));
    for address in &attachment.addresses {
        let (named, value) = match address {
            IpAddr::V4(a) => (Named::Source4, Value::Ipv4Addr(*a)),
            IpAddr::V6(a) => (Named::Source6, Value::Ipv6Addr(*a)),
        };
        out.push((
            named,
            Element::new([interface.clone(), mac.clone(), value]).comment(id),
        ));
    }
    let judged = policy
        .map(|policy| policy.addresses.as_slice())
        .unwrap_or_default();
    let judged = judged
        .iter()
        .filter(|local| attachment.addresses.contains(&local.address));
    for named in [Named::EgressOther4, Named::EgressOther6] {
        let of_family = |address: IpAddr| address.is_ipv4() == (named == Named::EgressOther4);
        let mut sources = config.sources_of(&attachment.interface);
        let first = judged.clone().find(|local| of_family(local.address));
        let number = first.and_then(|local| stack(local.egress));
        if let Some(number) = number.filter(|_| sources.any(|x| of_family(x.net.addr()))) {
            let element = Element::new([interface.clone()])
                .verdict(Verdict::Goto(number.chain(epoch)))
                .comment(id);
            out.push((named, element));
        }
    }
    for local in judged {
        let (egress, ingress, value) = match local.address {
            IpAddr::V4(a) => (Named::Egress4, Named::Ingress4, Value::Ipv4Addr(a)),
            IpAddr::V6(a) => (Named::Egress6, Named::Ingress6, Value::Ipv6Addr(a)),
        };
        for (named, id_of_stack) in [(egress, local.egress), (ingress, local.ingress)] {
            if let Some(number) = stack(id_of_stack) {
                let element = Element::new([interface.clone(), value.clone()])
                    .verdict(Verdict::Goto(number.chain(epoch)))
                    .comment(id);
                out.push((named, element));
            }
        }
    }
    out
}
