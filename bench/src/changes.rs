//! The changes that are measured, each on the loaded world with its program in the kernel.

use std::collections::BTreeMap;
use std::io::Read;
use std::net::IpAddr;

use anyhow::{Context, ensure};
use ipnet::IpNet;
use ocicat_api::ObjectKey;
use ocicat_node::{Change, NodeDelta};
use ocicat_policy::Engine;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::kernel::Kernel;
use crate::load;
use crate::meter::{Meter, Sample};
use crate::world::{self, Size};

/// Each change is made so often, to another object each time.
pub const SAMPLES: usize = 9;

/// Pods of one burst.
pub const BURST: usize = 1_000;
/// Pods with labels of their own of one burst.
pub const UNSEEN_BURST: usize = 20;

/// What the process that makes the changes has to tell.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Changed {
    pub samples: Vec<Sample>,
    /// How many changes of the tables each change led to, by work.
    pub deltas: BTreeMap<String, Vec<u64>>,
    /// `VmHWM` in kB with the compiler and the program for the kernel.
    pub peak_kb: u64,
}

struct Bench {
    size: Size,
    engine: Engine,
    kernel: Kernel,
    meter: Meter,
    deltas: BTreeMap<String, Vec<u64>>,
    /// Policies by namespace and name, as they were written.
    policies: BTreeMap<(String, String), Value>,
}

/// Loads the world, puts it into a kernel, makes every change, and asks the kernel at the end whether it
/// holds what it should.
///
/// # Errors
/// Those of loading and of the kernel; a change that led to more than it may.
pub fn measure(size: &Size, input: impl Read) -> anyhow::Result<Changed> {
    let mut engine = load::engine();
    let mut policies = BTreeMap::new();
    load::lines(input, |line| {
        keep_policy(size, line, &mut policies)?;
        engine.upsert(&load::object(line)?);
        Ok(())
    })?;
    let commit = engine.commit();
    let mut meter = Meter::default();
    let kernel = Kernel::install(&engine, &commit.delta, &mut meter)?;
    drop(commit);
    // As the agent does once it is in force.
    ocicat_kernel::memory::use_large_pages()?;
    let (peak_kb, _) = load::memory()?;
    let deltas = BTreeMap::new();
    let mut bench = Bench {
        size: *size,
        engine,
        kernel,
        meter,
        deltas,
        policies,
    };
    for index in 0..SAMPLES {
        bench.known_pod(index)?;
        bench.burst(index)?;
        bench.unseen_pod(index)?;
        bench.unseen_burst(index)?;
        bench.namespaces(index)?;
        bench.policies(index)?;
        bench.element(index)?;
    }
    bench.kernel.verify()?;
    Ok(Changed {
        samples: bench.meter.samples,
        deltas: bench.deltas,
        peak_kb,
    })
}

impl Bench {
    /// A pod of a known label set on another host comes and goes: one element for each address.
    fn known_pod(&mut self, index: usize) -> anyhow::Result<()> {
        let (namespace, workload) = (self.remote_namespace(index), index % 4);
        let label_set = self.size.label_set_of(namespace, workload);
        let pod = world::pod(self.size.endpoints + index, namespace, label_set, "node-7");
        let key = load::object(&bytes(&pod))?.key();
        let delta = self.calculate("remote pod, known labels", index, &[pod])?;
        ensure_elements(&delta, 2)?;
        self.kernel
            .change(&delta, &mut self.meter, "remote pod, known labels", index)?;
        let delta = self.remove("remote pod gone", index, &key);
        ensure_elements(&delta, 2)?;
        self.kernel
            .change(&delta, &mut self.meter, "remote pod gone", index)?;
        Ok(())
    }

    /// Many pods of known label sets, each calculated by itself, without pauses.
    fn burst(&mut self, index: usize) -> anyhow::Result<()> {
        let size = self.size;
        let pods = (0..BURST).map(|number| {
            let namespace = self.remote_namespace(index) - number % 7;
            let label_set = size.label_set_of(namespace, number % 4);
            bytes(&world::pod(
                size.endpoints + 100 + number,
                namespace,
                label_set,
                "node-7",
            ))
        });
        let lines: Vec<Vec<u8>> = pods.collect();
        let (keys, delta) = self.calculate_each("burst of remote pods", index, &lines)?;
        ensure_elements(&delta, 2 * BURST)?;
        self.kernel
            .change(&delta, &mut self.meter, "burst of remote pods", index)?;
        let delta = self.remove_all(&keys);
        ensure_elements(&delta, 2 * BURST)?;
        self.kernel
            .change(&delta, &mut self.meter, "burst of remote pods gone", index)
    }

    /// A pod on another host with labels that no pod had before.
    fn unseen_pod(&mut self, index: usize) -> anyhow::Result<()> {
        let pod = self.unseen(index, index);
        self.change("remote pod, unseen labels", index, &[pod])
    }

    /// Several such pods, each calculated by itself, without pauses. They go again.
    fn unseen_burst(&mut self, index: usize) -> anyhow::Result<()> {
        let numbers = (0..UNSEEN_BURST).map(|number| SAMPLES + index * UNSEEN_BURST + number);
        let lines: Vec<Vec<u8>> = numbers
            .map(|number| bytes(&self.unseen(index, number)))
            .collect();
        let work = "burst of remote pods, unseen labels";
        let (keys, delta) = self.calculate_each(work, index, &lines)?;
        self.kernel.change(&delta, &mut self.meter, work, index)?;
        let delta = self.remove_all(&keys);
        let gone = "burst of remote pods, unseen labels, gone";
        self.kernel.change(&delta, &mut self.meter, gone, index)
    }

    /// From the JSON bytes of each to its delta, one commit each. Returns who came, and all deltas.
    fn calculate_each(
        &mut self,
        work: &str,
        index: usize,
        lines: &[Vec<u8>],
    ) -> anyhow::Result<(Vec<ObjectKey>, NodeDelta)> {
        let engine = &mut self.engine;
        let (mut keys, mut delta) = (Vec::with_capacity(lines.len()), NodeDelta::new());
        self.meter.measure(work, "calculate", index, || {
            for line in lines {
                let object = load::object(line)?;
                keys.push(object.key());
                engine.upsert(&object);
                delta.extend(engine.commit().delta);
            }
            anyhow::Ok(())
        })?;
        Ok((keys, delta))
    }

    fn remove_all(&mut self, keys: &[ObjectKey]) -> NodeDelta {
        keys.iter().for_each(|key| self.engine.remove(key));
        self.engine.commit().delta
    }

    /// The app of one pod that exists, in a version of its own.
    fn unseen(&self, index: usize, number: usize) -> Value {
        let mut pod = world::pod(
            self.size.endpoints + SAMPLES + number,
            self.remote_namespace(index),
            number * 7 % self.size.label_sets,
            "node-7",
        );
        pod["metadata"]["labels"]["version"] = format!("v{}", 1_000 + number).into();
        pod["metadata"]["labels"]["pod-template-hash"] = format!("unseen{number}").into();
        pod
    }

    fn namespaces(&mut self, index: usize) -> anyhow::Result<()> {
        let remote =
            world::relabelled_namespace(&self.size, self.remote_namespace(index), index + 20);
        self.change("namespace relabelled", index, &[remote])?;
        // Spread over those with local workloads.
        let local = index * self.size.local_namespaces() / SAMPLES;
        let local = world::relabelled_namespace(&self.size, local, index + 20);
        self.change("namespace of local workloads relabelled", index, &[local])
    }

    /// Policies that select one, two, a quarter, and all of the local workloads.
    fn policies(&mut self, index: usize) -> anyhow::Result<()> {
        for (work, key) in policy_keys(&self.size, index) {
            let policy = self
                .policies
                .get_mut(&key)
                .with_context(|| format!("no policy {key:?}"))?;
            let namespace = key
                .0
                .strip_prefix("ns-")
                .and_then(|number| number.parse().ok());
            // An app of the policy's namespace, so that the edited rule matches somebody.
            let label_set = match namespace {
                Some(namespace) => self.size.label_set_of(namespace, index % 4),
                None => 4 * index,
            };
            edit(policy, label_set, 7_000 + index);
            let policy = policy.clone();
            self.change(work, index, &[policy])?;
        }
        Ok(())
    }

    /// One address changes class, and back, without any calculation.
    fn element(&mut self, index: usize) -> anyhow::Result<()> {
        let class_of = |engine: &Engine, number| {
            let (address, _) = world::addresses(number);
            let class = engine.class_of(IpAddr::V4(address)).context("a class")?;
            anyhow::Ok((IpNet::from(IpAddr::V4(address)), class))
        };
        let (prefix, class) = class_of(&self.engine, self.size.endpoints / 2 + index)?;
        let (_, other) = class_of(&self.engine, self.size.endpoints / 3)?;
        ensure!(class != other, "two pods of one class");
        for (step, class) in [other, class].into_iter().enumerate() {
            let delta = [Change::Class(prefix, Some(class))];
            self.kernel
                .change(&delta, &mut self.meter, "one element", 2 * index + step)?;
        }
        Ok(())
    }

    fn change(&mut self, work: &str, index: usize, objects: &[Value]) -> anyhow::Result<()> {
        let delta = self.calculate(work, index, objects)?;
        self.kernel.change(&delta, &mut self.meter, work, index)?;
        Ok(())
    }

    /// From JSON bytes to the delta.
    fn calculate(
        &mut self,
        work: &str,
        index: usize,
        objects: &[Value],
    ) -> anyhow::Result<NodeDelta> {
        let lines: Vec<Vec<u8>> = objects.iter().map(bytes).collect();
        let engine = &mut self.engine;
        let commit = self.meter.measure(work, "calculate", index, || {
            for line in &lines {
                engine.upsert(&load::object(line)?);
            }
            anyhow::Ok(engine.commit())
        })?;
        self.deltas
            .entry(work.to_owned())
            .or_default()
            .push(commit.delta.len() as u64);
        Ok(commit.delta)
    }

    fn remove(&mut self, work: &str, index: usize, key: &ObjectKey) -> NodeDelta {
        let engine = &mut self.engine;
        let commit = self.meter.measure(work, "calculate", index, || {
            engine.remove(key);
            engine.commit()
        });
        self.deltas
            .entry(work.to_owned())
            .or_default()
            .push(commit.delta.len() as u64);
        commit.delta
    }

    /// One without local workloads.
    fn remote_namespace(&self, index: usize) -> usize {
        let first = self.size.local_namespaces() + 7;
        first + index * (self.size.namespaces - first) / SAMPLES
    }
}

fn bytes(object: &Value) -> Vec<u8> {
    object.to_string().into_bytes()
}

fn ensure_elements(delta: &[Change], count: usize) -> anyhow::Result<()> {
    let elements = delta
        .iter()
        .filter(|change| matches!(change, Change::Class(..)))
        .count();
    ensure!(
        (elements, delta.len()) == (count, count),
        "expected {count} elements and nothing else: {delta:?}"
    );
    Ok(())
}

/// The policies that are changed in the sample of that index: what is measured, namespace and name.
fn policy_keys(size: &Size, index: usize) -> Vec<(&'static str, (String, String))> {
    let local = index * size.locals / SAMPLES;
    let (namespace, workload) = size.local(local);
    let name = world::namespace_name(namespace);
    let component = world::component(index);
    vec![
        (
            "policy of 1 local workload",
            (name.clone(), format!("workload-{workload}-{index}")),
        ),
        (
            "policy of 2 local workloads",
            (name, format!("namespace-{index}")),
        ),
        (
            "policy of a quarter of the local workloads",
            (String::new(), format!("component-{component}-{index}")),
        ),
        (
            "policy of all local workloads",
            (String::new(), format!("all-{index}")),
        ),
    ]
}

fn keep_policy(
    size: &Size,
    line: &[u8],
    policies: &mut BTreeMap<(String, String), Value>,
) -> anyhow::Result<()> {
    let start = &line[..line.len().min(120)];
    if !start.windows(8).any(|window| window == b"Policy\",") {
        return Ok(());
    }
    let policy: Value = serde_json::from_slice(line)?;
    let text = |field: &str| {
        policy["metadata"][field]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    let key = (text("namespace"), text("name"));
    if (0..SAMPLES).any(|index| {
        policy_keys(size, index)
            .iter()
            .any(|(_, other)| *other == key)
    }) {
        policies.insert(key, policy);
    }
    Ok(())
}

/// Gives the first rule another port, and other peers if it has a selector.
fn edit(policy: &mut Value, label_set: usize, port: usize) {
    let labels = world::label_set(label_set);
    let app = labels["app"].as_str().unwrap_or_default();
    let is_kubernetes = policy["apiVersion"] == "networking.k8s.io/v1";
    let spec = &mut policy["spec"];
    let ingress = spec["ingress"].is_array();
    let rule = &mut spec[if ingress { "ingress" } else { "egress" }][0];
    if is_kubernetes {
        rule["ports"] = json!([{"protocol": "TCP", "port": port}]);
        let peer = &mut rule[if ingress { "from" } else { "to" }][0];
        if peer["podSelector"].is_object() {
            peer["podSelector"] = json!({"matchLabels": {"app": app}});
        }
    } else {
        rule["destination"]["ports"] = json!([port]);
        let entity = &mut rule[if ingress { "source" } else { "destination" }];
        if entity["selector"].is_string() {
            entity["selector"] = format!("app == \"{app}\"").into();
        }
    }
}
