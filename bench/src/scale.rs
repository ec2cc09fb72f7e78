//! What single things cost when they are large: a set of many networks, a policy of many rules, many
//! policies on one endpoint.

use std::fmt::Write;
use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::Context;
use serde_json::{Value, json};

use crate::kernel::Kernel;
use crate::load::{self, Tables, tables};
use crate::meter::{Meter, Sample};
use crate::world::NODE;

/// Each change is made so often, with its way back in between; the median counts.
const ROUNDS: usize = 5;
/// Local workloads, of which the first has many policies.
const WORKLOADS: usize = 10;
/// Pods of other hosts, each with an app of its own.
const REMOTE: usize = 200;

/// A thing that is large, and changes of it.
struct Case {
    name: String,
    /// What comes after everything else.
    subject: Vec<Value>,
    /// What is a change of it, and the object as it is then. The way back is its state in `subject`.
    change: (String, Value),
}

/// What a case cost.
#[derive(Debug, Clone)]
pub struct Cost {
    pub name: String,
    pub lines: Vec<(String, Took)>,
    pub tables: Tables,
    /// The largest resident set of this process so far, in kB.
    pub peak_kb: u64,
}

/// Medians, of the calculation from JSON bytes and of the kernel (compiling, and the commit).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Took {
    pub calculation: Duration,
    pub kernel: Duration,
    /// The processor time of both together.
    pub processor: Duration,
}

/// Names of the cases.
pub const CASES: [&str; 3] = ["networks", "rules", "policies"];

/// Measures one of [`CASES`]; `count` is how many networks, rules a direction, or policies.
///
/// # Errors
/// Without root, if the kernel refuses, and at the end if it holds another program than it should.
pub fn cost(case: &str, count: usize) -> anyhow::Result<Cost> {
    let case = match case {
        "networks" => networks(count),
        "rules" => rules(count),
        "policies" => policies(count),
        _ => anyhow::bail!("{case}: one of {CASES:?} was expected"),
    };
    let mut engine = load::engine();
    for object in scenery() {
        engine.upsert(&object_of(&object)?);
    }
    let mut meter = Meter::default();
    let delta = engine.commit().delta;
    let mut kernel = Kernel::install(&engine, &delta, &mut meter)?;
    let mut of_subject = None;
    for round in 0..ROUNDS {
        let lines = bytes(&case.subject);
        step(
            &mut engine,
            &mut kernel,
            &mut meter,
            ("comes", round),
            &lines,
            &[],
        )?;
        kernel.verify().context("after it came")?;
        of_subject.get_or_insert_with(|| tables(&engine));
        let (what, changed) = &case.change;
        let lines = bytes(std::slice::from_ref(changed));
        step(
            &mut engine,
            &mut kernel,
            &mut meter,
            (what, round),
            &lines,
            &[],
        )?;
        kernel.verify().context("after it changed")?;
        step(
            &mut engine,
            &mut kernel,
            &mut meter,
            ("goes", round),
            &[],
            &case.subject,
        )?;
        kernel.verify().context("after it went")?;
    }
    let (peak_kb, _) = load::memory()?;
    let works = ["comes", &case.change.0, "goes"];
    let lines = works.map(|work| (work.to_owned(), took(work, &meter.samples)));
    Ok(Cost {
        name: case.name,
        lines: lines.into(),
        tables: of_subject.unwrap_or_default(),
        peak_kb,
    })
}

impl Cost {
    /// Lines of a table in Markdown: what, calculation, kernel, processor.
    #[must_use]
    pub fn page(&self) -> String {
        let mut page = String::new();
        for (what, took) in &self.lines {
            // A String takes everything.
            let _ = writeln!(
                page,
                "| {}: {what} | {:.1?} | {:.1?} | {:.1?} |",
                self.name, took.calculation, took.kernel, took.processor
            );
        }
        page
    }
}

fn step(
    engine: &mut ocicat_policy::Engine,
    kernel: &mut Kernel,
    meter: &mut Meter,
    (work, round): (&str, usize),
    lines: &[Vec<u8>],
    gone: &[Value],
) -> anyhow::Result<()> {
    let gone = gone.iter().map(|object| Ok(object_of(object)?.key()));
    let gone = gone.collect::<anyhow::Result<Vec<_>>>()?;
    let commit = meter.measure(work, "calculate", round, || {
        for line in lines {
            engine.upsert(&load::object(line)?);
        }
        gone.iter().for_each(|key| engine.remove(key));
        anyhow::Ok(engine.commit())
    })?;
    kernel.change(&commit.delta, meter, work, round)
}

fn took(work: &str, samples: &[Sample]) -> Took {
    let sum = |steps: &[&str], part: fn(&Sample) -> u64| {
        let mut sums = [0; ROUNDS];
        for sample in samples {
            if sample.work == work && steps.contains(&sample.step.as_str()) {
                sums[sample.index] += part(sample);
            }
        }
        sums.sort_unstable();
        Duration::from_nanos(sums[ROUNDS / 2])
    };
    Took {
        calculation: sum(&["calculate"], |sample| sample.wall_ns),
        kernel: sum(&["compile", "commit"], |sample| sample.wall_ns),
        processor: sum(&["calculate", "compile", "commit"], |sample| sample.cpu_ns),
    }
}

fn scenery() -> Vec<Value> {
    let mut objects = vec![
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}),
        json!({
            "apiVersion": "projectcalico.org/v3", "kind": "IPPool", "metadata": {"name": "pool"},
            "spec": {"cidr": "10.0.0.0/8"},
        }),
    ];
    objects.extend((0..WORKLOADS + REMOTE).map(|number| {
        let node = if number < WORKLOADS { NODE } else { "node-1" };
        let [.., high, low] = number.to_be_bytes();
        json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {
                "name": format!("pod-{number}"), "namespace": "shop",
                "labels": {"app": format!("app-{number}"), "first": (number == 0).to_string()},
            },
            "spec": {"nodeName": node, "containers": [{"name": "main"}]},
            "status": {"phase": "Running", "podIPs": [
                {"ip": Ipv4Addr::new(10, 0, high, low)},
                {"ip": format!("fd00:10::{high:x}:{low:x}")},
            ]},
        })
    }));
    objects
}

/// A set of networks of many lengths, and a policy of all workloads that admits it.
fn networks(count: usize) -> Case {
    let set = |count: usize| {
        let nets: Vec<String> = (0..count).map(network).collect();
        json!({
            "apiVersion": "projectcalico.org/v3", "kind": "GlobalNetworkSet",
            "metadata": {"name": "feed", "labels": {"feed": "partners"}}, "spec": {"nets": nets},
        })
    };
    let policy = json!({
        "apiVersion": "projectcalico.org/v3", "kind": "GlobalNetworkPolicy",
        "metadata": {"name": "partners"},
        "spec": {"selector": "has(app)", "ingress": [{
            "action": "Allow", "protocol": "TCP",
            "source": {"selector": "feed == 'partners'"}, "destination": {"ports": [443]},
        }]},
    });
    Case {
        name: format!("a set of {count} networks, for {WORKLOADS} workloads"),
        subject: vec![set(count), policy],
        change: ("one network more".to_owned(), set(count + 1)),
    }
}

/// Three of four are /24, the others /28 inside of them or /32.
fn network(number: usize) -> String {
    let number = u32::try_from(number).unwrap_or(u32::MAX);
    let base = u32::from(Ipv4Addr::new(100, 0, 0, 0)) + (number << 8);
    match number % 8 {
        6 => format!("{}/28", Ipv4Addr::from(base - 0x100 + 16)),
        7 => format!("{}/32", Ipv4Addr::from(base + 7)),
        _ => format!("{}/24", Ipv4Addr::from(base)),
    }
}

/// Rules of every sort that differ: ports, networks, selectors.
fn rule(number: usize, far: &str, port: usize) -> Value {
    let action = ["Allow", "Deny", "Allow", "Log"][number % 4];
    let app = WORKLOADS + number % REMOTE;
    let peer = match number % 3 {
        0 => json!({"selector": format!("app == 'app-{app}'")}),
        1 => json!({"nets": [network(number)]}),
        _ => json!({"selector": format!("app == 'app-{app}'"), "notNets": [network(number)]}),
    };
    let mut rule = json!({"action": action, "protocol": "TCP", far: peer});
    rule["destination"]["ports"] = json!([port, format!("{}:{}", port + 5, port + 9)]);
    rule
}

fn policy(name: &str, selector: &str, order: usize, rules: usize, first_port: usize) -> Value {
    let of = |far: &str| -> Vec<Value> {
        let rules = (0..rules).map(|number| {
            let port = if number == 0 {
                first_port
            } else {
                2_000 + 20 * (number % 1_000)
            };
            rule(number + order, far, port)
        });
        rules.collect()
    };
    json!({
        "apiVersion": "projectcalico.org/v3", "kind": "GlobalNetworkPolicy",
        "metadata": {"name": name},
        "spec": {
            "selector": selector, "order": order, "types": ["Ingress", "Egress"],
            "ingress": of("source"), "egress": of("destination"),
        },
    })
}

fn rules(count: usize) -> Case {
    let policy = |port| policy("large", "has(app)", 1, count, port);
    Case {
        name: format!("a policy of {count} rules a direction, for {WORKLOADS} workloads"),
        subject: vec![policy(80)],
        change: ("one rule changes".to_owned(), policy(81)),
    }
}

fn policies(count: usize) -> Case {
    let policy = |number: usize, port| {
        policy(
            &format!("policy-{number}"),
            "first == 'true'",
            number,
            4,
            port,
        )
    };
    Case {
        name: format!("{count} policies of 4 rules a direction on one endpoint"),
        subject: (0..count).map(|number| policy(number, 80)).collect(),
        change: ("one of them changes".to_owned(), policy(count / 2, 81)),
    }
}

fn object_of(object: &Value) -> anyhow::Result<ocicat_api::Object> {
    load::object(object.to_string().as_bytes())
}

fn bytes(objects: &[Value]) -> Vec<Vec<u8>> {
    let bytes = objects.iter().map(|object| object.to_string().into_bytes());
    bytes.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_case_works_when_it_is_small() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: network namespaces need root");
            return;
        }
        for case in CASES {
            let cost = cost(case, 20).unwrap();
            assert!(cost.tables.stacks > 0 && cost.tables.cells > 0, "{cost:?}");
        }
    }
}
