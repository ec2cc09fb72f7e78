//! The configuration that is written as resources, and what follows from it.

use ocicat_api::{Kind, Object, ObjectKey, Problem};
use ocicat_compile::{Config, Source};
use ocicat_kernel::conntrack::{Filter, MarkChange};

use super::Core;
use crate::{auto, felix};

impl Core {
    pub(super) fn note_configuration(&mut self, object: &Object) {
        match object {
            Object::FelixConfiguration(x) => {
                self.felix.insert(x.metadata.name.clone(), x.clone());
            }
            Object::KubeControllersConfiguration(x) if &*x.metadata.name == "default" => {
                self.kube_controllers = Some(x.clone());
            }
            Object::Node(x) if *x.metadata.name == *self.config.node => {
                self.own_node = Some(x.clone());
            }
            _ => {}
        }
    }

    pub(super) fn forget_configuration(&mut self, key: &ObjectKey) {
        match key.kind {
            Kind::FelixConfiguration => drop(self.felix.remove(&key.name)),
            Kind::KubeControllersConfiguration if &*key.name == "default" => {
                self.kube_controllers = None;
            }
            Kind::Node if *key.name == *self.config.node => self.own_node = None,
            _ => {}
        }
    }

    /// Makes the written configuration the one in force. Returns whether the program must be
    /// installed as a whole.
    pub(super) fn configure(&mut self) -> anyhow::Result<bool> {
        let own = format!("node.{}", self.config.node);
        let names = [own.as_str(), "default"];
        let found: Vec<_> = names
            .iter()
            .filter_map(|name| self.felix.get(*name))
            .collect();
        let (mut effective, problems) = felix::effective(&self.config, &found);
        if effective.spoofing {
            effective.program.sources = self.allowed_sources();
        }
        let keys = found.iter().map(|x| felix_key(&x.metadata.name));
        self.configuration_problems = keys.zip(problems).collect();
        self.denied.set_prefixes(&effective.program);
        if self.audit_every != effective.audit_every {
            self.audit_every = effective.audit_every;
            self.audit_at = self.next_audit();
        }
        let former = self.compiler.config().clone();
        if former == effective.program {
            return Ok(false);
        }
        if self.in_force {
            tracing::info!("the configuration has changed");
        }
        if former.mark_mask != effective.program.mark_mask && self.in_force {
            self.move_marks(&former, &effective.program)?;
        }
        self.compiler.configure(effective.program);
        // Which links are workloads' may be another matter now.
        self.take_links();
        Ok(true)
    }

    /// What attached workloads ask to send from besides their addresses.
    fn allowed_sources(&self) -> Vec<Source> {
        let mut sources: Vec<Source> = Vec::new();
        for record in self.records.all() {
            let nets = self.asked_sources.get(&record.workload.key());
            sources.extend(nets.into_iter().flatten().map(|net| Source {
                interface: record.interface.clone(),
                mac: record.mac,
                net: *net,
            }));
        }
        sources.sort();
        sources.dedup();
        sources
    }

    /// Keeps what a workload asks to send from.
    pub(super) fn note_sources(&mut self, key: &ObjectKey, object: &Object) {
        let nets = match object {
            Object::Pod(pod) => pod.allowed_sources(),
            Object::WorkloadEndpoint(endpoint) => endpoint.allowed_sources.clone(),
            _ => return,
        };
        if nets.is_empty() {
            self.asked_sources.remove(key);
        } else {
            self.asked_sources.insert(key.clone(), nets);
        }
    }

    /// Gives live connections the marks that another mask has for what they are, so that they go on.
    fn move_marks(&mut self, from: &Config, to: &Config) -> anyhow::Result<()> {
        let mut changes = Vec::new();
        self.conntrack.select(&Filter::default(), |entry| {
            let value = if entry.mark & from.ended() != 0 {
                to.ended()
            } else if entry.mark & from.decided() != 0 {
                to.decided()
            } else {
                return false;
            };
            let mask = to.ended() | to.decided() | from.ended() | from.decided();
            changes.push(MarkChange {
                key: entry.key(),
                value,
                mask,
            });
            false
        })?;
        for error in self
            .conntrack
            .set_marks(&changes)?
            .into_iter()
            .filter_map(Result::err)
        {
            tracing::error!(%error, "cannot mark a connection");
        }
        Ok(())
    }

    /// Tells which host endpoints shall exist of themselves.
    pub(super) fn want_auto_endpoints(&mut self) {
        let Some(node) = &self.own_node else { return };
        let configuration = self.kube_controllers.clone().unwrap_or_default();
        let (wanted, problems) = auto::wanted(&configuration, node, &self.hosts.links);
        let key = ObjectKey {
            kind: Kind::KubeControllersConfiguration,
            namespace: None,
            name: "default".into(),
        };
        let field = "spec.controllers.node.hostEndpoint.templates";
        let problems: Vec<Problem> = problems
            .into_iter()
            .map(|message| Problem::error(field, message))
            .collect();
        self.configuration_problems.insert(key, problems);
        self.auto_endpoints.send_if_modified(|known| {
            let changed = known.as_ref() != Some(&wanted);
            *known = Some(wanted);
            changed
        });
    }
}

fn felix_key(name: &std::sync::Arc<str>) -> ObjectKey {
    ObjectKey {
        kind: Kind::FelixConfiguration,
        namespace: None,
        name: name.clone(),
    }
}
