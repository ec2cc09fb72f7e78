//! The world that everything is measured in: how large, and what is in it.
//!
//! Namespace `n` holds a few workloads; each is an app's component (`app`, `component`), and runs as
//! many pods on as many nodes. The label sets repeat in every fourth part of the namespaces, as one
//! product does that runs in production, staging, development and test.

mod labels;
mod pods;
mod policies;
mod selectors;

use std::io::{self, Write};

use ocicat_testkit::Random;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

pub use labels::{component, label_set, namespace_labels, namespace_name};
pub use pods::{POOL4, POOL6, addresses, pod};

/// The node whose tables are calculated.
pub const NODE: &str = "node-0";

/// How many policies select every workload because they select all, its component, its namespace,
/// or itself.
pub(crate) const EACH_ALL: usize = 10;
pub(crate) const EACH_COMPONENT: usize = 10;
pub(crate) const EACH_NAMESPACE: usize = 10;
pub(crate) const EACH_LOCAL: usize = 20;

/// How many of everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Size {
    pub seed: u64,
    pub endpoints: usize,
    pub label_sets: usize,
    pub namespaces: usize,
    pub policies: usize,
    /// Distinct selectors of pods and of namespaces together, `all()` not counted.
    pub selectors: usize,
    /// Workloads on [`NODE`].
    pub locals: usize,
    /// Pods with equal labels in one namespace.
    pub replicas: usize,
}

impl Default for Size {
    fn default() -> Self {
        Self {
            seed: 1,
            endpoints: 100_000,
            label_sets: 1_000,
            namespaces: 500,
            policies: 10_000,
            selectors: 5_000,
            locals: 100,
            replicas: 25,
        }
    }
}

impl Size {
    /// The same world, `divisor` times smaller. From 1 to 20.
    #[must_use]
    pub fn divided(self, divisor: usize) -> Self {
        Self {
            endpoints: self.endpoints / divisor,
            label_sets: self.label_sets / divisor,
            namespaces: self.namespaces / divisor,
            policies: self.policies / divisor,
            selectors: self.selectors / divisor,
            locals: self.locals / divisor,
            ..self
        }
    }

    /// The same world with so many local workloads, and the policies that each has of its own.
    #[must_use]
    pub fn with_locals(self, locals: usize) -> Self {
        let others = self.policies.saturating_sub(EACH_LOCAL * self.locals);
        Self {
            policies: others + EACH_LOCAL * locals,
            locals,
            ..self
        }
    }

    #[must_use]
    pub fn pods_of_namespace(&self) -> usize {
        self.endpoints / self.namespaces
    }

    #[must_use]
    pub fn workloads_of_namespace(&self) -> usize {
        self.pods_of_namespace() / self.replicas
    }

    /// The label set of a workload of a namespace.
    #[must_use]
    pub fn label_set_of(&self, namespace: usize, workload: usize) -> usize {
        (namespace * self.workloads_of_namespace() + workload) % self.label_sets
    }

    /// Namespace and workload of which the first pod runs on [`NODE`]; two in a namespace.
    #[must_use]
    pub fn local(&self, number: usize) -> (usize, usize) {
        (number / 2, number * 3 % self.workloads_of_namespace())
    }

    /// Namespaces before this one have local workloads.
    #[must_use]
    pub fn local_namespaces(&self) -> usize {
        self.locals.div_ceil(2)
    }

    /// Why there is no such world, if there is none.
    #[must_use]
    pub fn fault(&self) -> Option<&'static str> {
        let fixed = EACH_ALL
            + EACH_COMPONENT * labels::COMPONENTS.len()
            + EACH_NAMESPACE * self.namespaces
            + EACH_LOCAL * self.locals;
        match () {
            () if self.replicas == 0 || self.namespaces < 8 => {
                Some("too few replicas or namespaces")
            }
            () if self.workloads_of_namespace() < 4 => Some("a namespace needs four workloads"),
            () if self.label_sets < self.workloads_of_namespace() => Some("too few label sets"),
            () if self.label_sets / 4 < 4 => Some("too few label sets"),
            () if self.policies < fixed => Some("too few policies for so many workloads"),
            () if self.selectors < self.label_sets * 3 => Some("too few selectors"),
            () if self.endpoints > 200_000 => Some("the pool holds 200,000 pods"),
            () => None,
        }
    }
}

/// What was written.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    pub objects: usize,
    pub bytes: usize,
    pub pods: usize,
    pub pod_bytes: usize,
    pub policies: usize,
    pub rules: usize,
    pub rules_with_nets: usize,
    pub rules_with_named_ports: usize,
    pub selectors: usize,
}

/// Writes the world, one object a line.
///
/// # Errors
/// Those of `out`.
pub fn write(size: &Size, out: &mut dyn Write) -> io::Result<Summary> {
    let mut summary = Summary::default();
    let mut line = Vec::new();
    let mut put = |object: &Value, summary: &mut Summary| -> io::Result<usize> {
        line.clear();
        serde_json::to_writer(&mut line, object)?;
        line.push(b'\n');
        summary.objects += 1;
        summary.bytes += line.len();
        out.write_all(&line)?;
        Ok(line.len())
    };
    for object in scenery(size) {
        put(&object, &mut summary)?;
    }
    for object in pods::pods(size) {
        summary.pods += 1;
        summary.pod_bytes += put(&object, &mut summary)?;
    }
    let mut policies = policies::Policies::new(size, Random::new(size.seed));
    for place in policies::places(size) {
        put(&policies.policy(&place), &mut summary)?;
        summary.policies += 1;
    }
    let counted = policies.counted();
    summary.rules = counted.rules;
    summary.rules_with_nets = counted.with_nets;
    summary.rules_with_named_ports = counted.with_named_ports;
    summary.selectors = counted.selectors.len();
    Ok(summary)
}

/// Everything but pods and policies.
fn scenery(size: &Size) -> impl Iterator<Item = Value> {
    let pools = [("pool4", POOL4, 26), ("pool6", POOL6, 122)].map(|(name, cidr, block)| {
        json!({
            "apiVersion": "projectcalico.org/v3", "kind": "IPPool", "metadata": {"name": name},
            "spec": {"cidr": cidr, "blockSize": block, "natOutgoing": true},
        })
    });
    let tiers = [("security", 100), ("platform", 200)].map(|(name, order)| {
        json!({
            "apiVersion": "projectcalico.org/v3", "kind": "Tier", "metadata": {"name": name},
            "spec": {"order": order, "defaultAction": "Pass"},
        })
    });
    let namespaces = (0..size.namespaces).flat_map(|number| {
        let account = json!({
            "apiVersion": "v1", "kind": "ServiceAccount",
            "metadata": {"name": "default", "namespace": namespace_name(number)},
        });
        [
            labels::namespace(number, &namespace_labels(size, number)),
            account,
        ]
    });
    let nodes = (0..pods::nodes(size)).map(pods::node);
    pools
        .into_iter()
        .chain(tiers)
        .chain(namespaces)
        .chain(nodes)
}

/// A namespace with other labels than its own.
#[must_use]
pub fn relabelled_namespace(size: &Size, number: usize, team: usize) -> Value {
    let mut labels = namespace_labels(size, number);
    labels["team"] = format!("team-{team}").into();
    labels::namespace(number, &labels)
}

#[cfg(test)]
mod tests;
