//! Live connections, judged again after a change.
//!
//! A connection that policy no longer allows gets the mark that ends it: its next packet, from
//! either side, is dropped. One that was ended and is allowed again goes on as allowed, whichever side
//! sends next: judged as if it were the first, a packet of the server would ask for a connection to
//! the client.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ocicat_flow::Verdict;
use ocicat_kernel::conntrack::{Entry, Filter, Layer4, MarkChange};
use ocicat_node::{LocalAddress, Protocol, ServiceMatch, StackId};

use super::Core;

impl Core {
    pub(super) fn judge_connections(&mut self) {
        if let Err(error) = self.try_judge_connections() {
            tracing::error!("cannot judge live connections again: {error:#}");
        }
    }

    fn try_judge_connections(&mut self) -> anyhow::Result<()> {
        let config = self.compiler.config();
        let (ended, decided) = (config.ended(), config.decided());
        let local = self.local_addresses();
        let own: BTreeSet<IpAddr> =
            self.rtnl.addresses()?.into_iter().map(|a| a.net.addr()).collect();
        let mut changes = Vec::new();
        for entry in self.conntrack.entries(&Filter::default())? {
            if entry.mark & (ended | decided) == 0 || own.contains(&entry.original.source) {
                continue;
            }
            let Some(verdict) = self.verdict(&entry, &local) else { continue };
            let is_ended = entry.mark & ended != 0;
            let value = match verdict {
                Verdict::Deny if !is_ended => ended,
                Verdict::Allow if is_ended => decided,
                _ => continue,
            };
            changes.push(MarkChange { key: entry.key(), value, mask: ended | decided });
        }
        if !changes.is_empty() {
            let failed = self.conntrack.set_marks(&changes)?.into_iter().filter_map(Result::err);
            for error in failed {
                tracing::error!(%error, "cannot mark a connection");
            }
            tracing::info!(connections = changes.len(), "connections judged anew changed");
        }
        Ok(())
    }

    /// The addresses of attached workloads; those without policy yet have no stacks.
    fn local_addresses(&self) -> BTreeMap<IpAddr, Option<LocalAddress>> {
        let mut local = BTreeMap::new();
        for (_, attachment, policy) in self.compiler.endpoints() {
            for address in &attachment.addresses {
                let judged = policy.into_iter().flat_map(|policy| &policy.addresses);
                let judged = judged.copied().find(|judged| judged.address == *address);
                local.insert(*address, judged);
            }
        }
        local
    }

    /// The verdict on a connection's first packet, after translation of its destination. `None`
    /// if it concerns no workload of this host.
    fn verdict(
        &self,
        entry: &Entry,
        local: &BTreeMap<IpAddr, Option<LocalAddress>>,
    ) -> Option<Verdict> {
        let source = entry.original.source;
        let destination = entry.reply.source;
        let service = service(entry);
        let judge = |near: &Option<LocalAddress>, stack: fn(&LocalAddress) -> StackId, far| {
            let outcome = near.as_ref().and_then(|n| self.compiler.judge(stack(n), far, &service));
            outcome.map_or(Verdict::Deny, |outcome| outcome.verdict)
        };
        let egress = local.get(&source).map(|near| judge(near, |n| n.egress, destination));
        let ingress = local.get(&destination).map(|near| judge(near, |n| n.ingress, source));
        match (egress, ingress) {
            (None, None) => None,
            (one, other) => {
                Some(one.unwrap_or(Verdict::Allow).and(other.unwrap_or(Verdict::Allow)))
            }
        }
    }
}

fn service(entry: &Entry) -> ServiceMatch {
    let (source_port, port) = match (entry.original.layer4, entry.reply.layer4) {
        (Layer4::Ports { source, .. }, Layer4::Ports { source: serving, .. }) => (source, serving),
        (Layer4::Icmp { kind, code, .. }, _) => (0, u16::from_be_bytes([kind, code])),
        _ => (0, 0),
    };
    ServiceMatch { protocol: Protocol(entry.original.protocol), source_port, port }
}
