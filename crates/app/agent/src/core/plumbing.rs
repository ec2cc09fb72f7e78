//! Attaching workloads to this host, and detaching them.

use std::collections::BTreeSet;
use std::path::PathBuf;

use anyhow::{Context, bail};
use ocicat_kernel::{attach, sysctl};
use ocicat_node::{Attachment, EndpointId};
use tokio::sync::oneshot;

use super::{Attach, Core, endpoint_id, routes};
use crate::record::Record;

type Reply = oneshot::Sender<Result<(), String>>;
type DetachReply = oneshot::Sender<Result<Option<Record>, String>>;

impl Core {
    /// Plumbs workloads whose links are still down, brings their policy into force together, and
    /// then switches the links on.
    pub(super) fn attach_all(&mut self, requests: Vec<(Attach, Reply)>) {
        if requests.is_empty() {
            return;
        }
        if let Err(error) = self.forget_former_holders(&requests) {
            for (_, reply) in requests {
                let _ = reply.send(Err(format!("{error:#}")));
            }
            return;
        }
        let mut plumbed = Vec::new();
        for (attach, reply) in requests {
            let record = attach.record.clone();
            match self.plumb(attach) {
                Ok(()) => plumbed.push((record, reply)),
                Err(error) => {
                    let _ = reply.send(Err(format!("{error:#}")));
                }
            }
        }
        let attachments: Vec<_> = plumbed
            .iter()
            .map(|(record, _)| attachment(record))
            .collect();
        let attachments: Vec<_> = attachments
            .into_iter()
            .map(|(id, a)| (id, Some(a)))
            .collect();
        self.bring_into_force(&attachments);
        for (record, reply) in plumbed {
            let result = self
                .switch_on(&record)
                .map_err(|error| format!("{error:#}"));
            let _ = reply.send(result);
        }
    }

    /// Connections of a former holder of an address are not the new workload's. All at once: each
    /// deletion walks the whole connection table.
    fn forget_former_holders(&mut self, requests: &[(Attach, Reply)]) -> anyhow::Result<()> {
        let records = requests.iter().map(|(attach, _)| &attach.record);
        let is_new = |record: &&Record| {
            let known = self.records.get(&record.interface);
            known.is_none_or(|known| known.addresses != record.addresses)
        };
        let addresses: Vec<_> = records
            .filter(is_new)
            .flat_map(|record| record.addresses.iter().copied())
            .collect();
        self.conntrack.delete_addresses(&addresses)?;
        Ok(())
    }

    fn plumb(&mut self, attach: Attach) -> anyhow::Result<()> {
        let Attach { record, object } = attach;
        if let Some(known) = self.records.get(&record.interface)
            && known.workload != record.workload
        {
            bail!(
                "container {} is attached as {:?}",
                record.container_id,
                known.workload
            );
        }
        self.host.attach(&plumbing(&record))?;
        self.records.put(record.clone())?;
        let key = record.workload.key();
        self.note_topology(&object);
        self.note_sources(&key, &object);
        self.engine.upsert(&object);
        self.engine.set_addresses(&key, &record.addresses);
        self.engine.set_local(&key, ocicat_policy::Place::Local);
        Ok(())
    }

    fn switch_on(&mut self, record: &Record) -> anyhow::Result<()> {
        if let Some(failure) = &self.failure {
            bail!("policy is not in force: {failure}");
        }
        let (id, _) = attachment(record);
        let judged = self.compiler.endpoints().find(|(other, ..)| **other == id);
        let judged = judged
            .and_then(|(_, _, policy)| policy)
            .context("no policy calculated")?;
        for address in &record.addresses {
            if !judged
                .addresses
                .iter()
                .any(|local| local.address == *address)
            {
                bail!("no policy calculated for {address}");
            }
        }
        self.host.activate(&plumbing(record))?;
        Ok(())
    }

    /// Takes links away together, which costs hardly more than one, and then policy and
    /// connections.
    pub(super) fn detach_all(&mut self, requests: Vec<(String, DetachReply)>) {
        if requests.is_empty() {
            return;
        }
        let errors = self
            .host
            .detach_all(requests.iter().map(|(name, _)| name.as_str()));
        let failed = |name: &str| {
            let about = |error: &&ocicat_kernel::Error| error.to_string().contains(name);
            errors.iter().find(about).map(ToString::to_string)
        };
        let mut detached = Vec::new();
        for (interface, reply) in requests {
            if let Some(error) = failed(&interface) {
                let _ = reply.send(Err(error));
                continue;
            }
            let record = self.records.get(&interface).cloned();
            if let Err(error) = self.records.remove(&interface) {
                let _ = reply.send(Err(format!("{error:#}")));
                continue;
            }
            detached.push((record, reply));
        }
        let mut changes = Vec::new();
        let mut addresses = Vec::new();
        for record in detached.iter().filter_map(|(record, _)| record.as_ref()) {
            let key = record.workload.key();
            addresses.extend(&record.addresses);
            // The same workload may be attached again already, by another container.
            if self
                .records
                .all()
                .all(|other| other.workload != record.workload)
            {
                self.engine.clear_addresses(&key);
                self.engine.set_local(&key, ocicat_policy::Place::ByNode);
                changes.push((endpoint_id(&key), None));
            }
        }
        if !changes.is_empty() {
            self.bring_into_force(&changes);
        }
        let ended = self
            .conntrack
            .delete_addresses(&addresses)
            .map_err(|e| e.to_string());
        for (record, reply) in detached {
            let _ = reply.send(ended.clone().map(|_| record));
        }
    }

    pub(super) fn check(&mut self, interface: &str) -> anyhow::Result<Vec<String>> {
        let Some(record) = self.records.get(interface).cloned() else {
            return Ok(vec![format!("interface {interface} is not attached")]);
        };
        let mut differences = self.host.check(&plumbing(&record))?;
        let (id, _) = attachment(&record);
        let judged = self.compiler.endpoints().find(|(other, ..)| **other == id);
        if judged.and_then(|(_, _, policy)| policy).is_none() {
            differences.push(format!("{id} has no policy in force"));
        }
        Ok(differences)
    }

    /// Makes what leads to attached workloads again, where others took it away.
    pub(super) fn repair_links(&mut self) {
        let attachments: Vec<_> = self.records.all().map(plumbing).collect();
        match self.host.repair(&attachments) {
            Ok(problems) => {
                for problem in problems.iter().take(10) {
                    tracing::error!(problem, "somebody else changed a link; it is as it was");
                }
            }
            Err(error) => tracing::error!(%error, "cannot repair links"),
        }
    }

    /// The kernel's own check of IPv4 sources knows a workload's addresses only. Where it may send from
    /// others our table checks alone, as it does for IPv6.
    pub(super) fn filter_reverse_paths(&mut self) {
        let config = self.compiler.config();
        let of_v4 = config.sources.iter().filter(|x| x.net.addr().is_ipv4());
        let wanted: BTreeSet<String> = of_v4.map(|x| x.interface.clone()).collect();
        let before = std::mem::replace(&mut self.unfiltered, wanted.clone());
        let again = before.difference(&wanted).map(|name| (name, "1"));
        for (name, value) in wanted.iter().map(|name| (name, "0")).chain(again) {
            let setting = sysctl::of_interface(sysctl::Family::V4, name, "rp_filter");
            match sysctl::write(&setting, value) {
                // Its interface is gone.
                Err(error) if error.is_not_found() => {}
                Err(error) => tracing::error!(%error, "cannot set the reverse path filter"),
                Ok(()) => {}
            }
        }
    }

    /// The attached workloads whose interfaces exist.
    pub(super) fn attachments(&self) -> impl Iterator<Item = (EndpointId, Attachment)> {
        self.records.all().map(attachment)
    }
}

fn attachment(record: &Record) -> (EndpointId, Attachment) {
    let attachment = Attachment {
        interface: record.interface.clone(),
        mac: record.mac,
        addresses: record.addresses.clone(),
    };
    (endpoint_id(&record.workload.key()), attachment)
}

fn plumbing(record: &Record) -> attach::Attachment {
    attach::Attachment {
        host_interface: record.interface.clone(),
        namespace: PathBuf::from(&record.netns),
        interface: record.ifname.clone(),
        mac: ocicat_kernel::Mac(record.mac),
        addresses: record.addresses.clone(),
        mtu: record.mtu,
        route_protocol: routes::PROTOCOL,
    }
}
