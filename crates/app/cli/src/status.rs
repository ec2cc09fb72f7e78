//! `ocicat status`: whether policies are in force on every host, and why not.
//!
//! Each agent writes what it enforces into the PolicyStatus object of each policy that selects one of
//! its workloads or has problems there, and the newest version of any policy that it enforces onto
//! its Node. A policy is in force on a host when the host's entry says so for the version that the
//! API has now, or when the host has no entry and enforces that version or a newer one.

use std::collections::BTreeMap;
use std::process::ExitCode;

use ocicat_api::Kind;
use ocicat_client::{Client, Resource, Selection};
use serde::Serialize;
use serde_json::Value;

use crate::args::{Answer, StatusArgs};
use crate::failure::Failure;
use crate::out;
use crate::table::Table;
use ocicat_input::paint::{Stream, Style, paint};

pub async fn run(args: StatusArgs) -> Result<ExitCode, Failure> {
    let client = args.api.connect().await?;
    let status = Status::read(&client).await?;
    match args.output {
        Answer::Json => out::print(&status.json()),
        Answer::Text => out::print(&status.text()),
    }
    Ok(if status.in_force {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(1)
    })
}

const POLICIES: [Kind; 7] = [
    Kind::NetworkPolicy,
    Kind::CalicoNetworkPolicy,
    Kind::GlobalNetworkPolicy,
    Kind::ClusterNetworkPolicy,
    Kind::StagedNetworkPolicy,
    Kind::StagedGlobalNetworkPolicy,
    Kind::StagedKubernetesNetworkPolicy,
];

/// Kinds that are never enforced, by themselves.
fn is_staged(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::StagedNetworkPolicy
            | Kind::StagedGlobalNetworkPolicy
            | Kind::StagedKubernetesNetworkPolicy
    )
}

/// What `-o json` prints.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    /// Every policy on every host.
    in_force: bool,
    policies: Vec<PolicyState>,
    /// What hosts say of other objects: host endpoints, configurations, sets.
    objects: Vec<ObjectState>,
    nodes: Vec<NodeState>,
}

/// An object that is no policy, and what is wrong with it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ObjectState {
    /// `hep/router`.
    object: String,
    failed: Vec<HostFailure>,
    warnings: Vec<HostFailure>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct PolicyState {
    /// Preview only: no host enforces it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    staged: bool,
    /// `netpol/shop/web`.
    policy: String,
    tier: String,
    /// The version that the API has.
    revision: String,
    in_force: Vec<String>,
    /// Hosts that enforce another version, or have said nothing yet.
    pending: Vec<String>,
    failed: Vec<HostFailure>,
    /// Remarks about policies that are in force.
    warnings: Vec<HostFailure>,
    /// How many workloads it selects, on all hosts that said so.
    endpoints: u64,
}

#[derive(Debug, Serialize)]
struct HostFailure {
    node: String,
    problems: Vec<FieldProblem>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
struct FieldProblem {
    field: String,
    message: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct NodeState {
    name: String,
    addresses: Vec<String>,
    /// Policies in force there, of all.
    in_force: usize,
    policies: usize,
}

impl Status {
    async fn read(client: &Client) -> Result<Self, Failure> {
        let nodes = fetch(client, Kind::Node.into()).await?;
        let entries = fetch(client, Resource::POLICY_STATUS).await?;
        let mut policies = Vec::new();
        for kind in POLICIES {
            for policy in fetch(client, kind.into()).await? {
                policies.push((kind, policy));
            }
        }
        Ok(Self::of(&nodes, &entries, &policies))
    }

    fn of(nodes: &[Value], entries: &[Value], policies: &[(Kind, Value)]) -> Self {
        let hosts: BTreeMap<&str, u64> = nodes
            .iter()
            .map(|node| (name_of(node), revision_of(node)))
            .collect();
        let entries: BTreeMap<&str, &Value> = entries
            .iter()
            .map(|entry| (name_of(entry), &entry["status"]["nodes"]))
            .collect();
        let mut objects: Vec<ObjectState> = Vec::new();
        for (name, of_hosts) in &entries {
            let kind = name.split('.').next().and_then(Kind::parse);
            if !kind.is_some_and(|kind| POLICIES.contains(&kind)) {
                objects.extend(ObjectState::of(name, of_hosts, &hosts));
            }
        }
        let policy = |(kind, object): &(Kind, Value)| {
            let entry = entries.get(&*status_name(*kind, object)).copied();
            PolicyState::of(*kind, object, entry.unwrap_or(&Value::Null), &hosts)
        };
        let policies: Vec<PolicyState> = policies.iter().map(policy).collect();
        let node = |node: &Value| NodeState::of(node, &policies);
        let everywhere =
            |x: &PolicyState| x.staged || (x.in_force.len() == hosts.len() && !hosts.is_empty());
        let is_fine = |x: &ObjectState| x.failed.is_empty();
        let in_force = policies.iter().all(everywhere) && objects.iter().all(is_fine);
        Self {
            in_force,
            objects,
            nodes: nodes.iter().map(node).collect(),
            policies,
        }
    }

    fn json(&self) -> String {
        // Strings, numbers and lists: nothing that JSON cannot say.
        let text = serde_json::to_string_pretty(self);
        text.unwrap_or_else(|error| error.to_string()) + "\n"
    }

    fn text(&self) -> String {
        let mut text = String::new();
        if self.policies.is_empty() {
            text.push_str("No policies.\n");
        } else {
            let mut table =
                Table::new(["POLICY", "TIER", "REVISION", "IN FORCE", "SELECTS", "STATE"]);
            for policy in &self.policies {
                table.push(policy.row(self.nodes.len()));
            }
            text.push_str(&table.print());
        }
        for policy in &self.policies {
            let failed = paint(Stream::Out, Style::Red, "failed");
            text.push_str(&remarks(&policy.policy, &failed, &policy.failed));
            text.push_str(&remarks(&policy.policy, "warning", &policy.warnings));
        }
        for object in &self.objects {
            let failed = paint(Stream::Out, Style::Red, "failed");
            text.push_str(&remarks(&object.object, &failed, &object.failed));
            text.push_str(&remarks(&object.object, "warning", &object.warnings));
        }
        text.push('\n');
        if self.nodes.is_empty() {
            text.push_str("No nodes: no agent has registered yet.\n");
            return text;
        }
        let mut table = Table::new(["NODE", "ADDRESSES", "POLICIES IN FORCE"]);
        for node in &self.nodes {
            let addresses = node.addresses.join(",");
            let count = format!("{}/{}", node.in_force, node.policies);
            table.push([node.name.clone(), addresses, count]);
        }
        text.push_str(&table.print());
        text
    }
}

impl PolicyState {
    fn of(kind: Kind, object: &Value, entries: &Value, hosts: &BTreeMap<&str, u64>) -> Self {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let metadata = &object["metadata"];
        let revision = text(&metadata["resourceVersion"]);
        let mut state = Self {
            policy: match metadata["namespace"].as_str() {
                Some(namespace) => format!("{}/{namespace}/{}", kind.short(), name_of(object)),
                None => format!("{}/{}", kind.short(), name_of(object)),
            },
            tier: object["spec"]["tier"]
                .as_str()
                .unwrap_or("default")
                .to_owned(),
            revision,
            staged: is_staged(kind),
            in_force: Vec::new(),
            pending: Vec::new(),
            failed: Vec::new(),
            warnings: Vec::new(),
            endpoints: 0,
        };
        let version: u64 = state.revision.parse().unwrap_or(u64::MAX);
        for (host, enforced) in hosts {
            let entry = &entries[*host];
            if state.staged {
                state
                    .failed
                    .extend(said(host, entry).filter(|_| entry["state"] == "Failed"));
                continue;
            }
            if entry.is_null() && *enforced >= version {
                state.in_force.push((*host).to_owned());
                continue;
            }
            state.endpoints += entry["endpoints"].as_u64().unwrap_or(0);
            if entry["resourceVersion"].as_str() != Some(&state.revision) {
                state.pending.push((*host).to_owned());
                continue;
            }
            let remarks = said(host, entry).unwrap_or_else(|| HostFailure {
                node: (*host).to_owned(),
                problems: Vec::new(),
            });
            if entry["state"] == "InForce" {
                state.in_force.push((*host).to_owned());
                state.warnings.push(remarks);
            } else {
                state.failed.push(remarks);
            }
        }
        state
    }

    fn row(&self, hosts: usize) -> Vec<String> {
        let state = match (&self.failed[..], &self.pending[..]) {
            ([], _) if self.staged => "staged, never enforced".to_owned(),
            ([], []) if hosts == 0 => "no node".to_owned(),
            ([], []) => "in force".to_owned(),
            ([], pending) => format!("pending on {}", few(pending)),
            (failed, _) => {
                let nodes: Vec<String> = failed.iter().map(|x| x.node.clone()).collect();
                format!("failed on {}", few(&nodes))
            }
        };
        let count = match self.staged {
            true => "-".to_owned(),
            false => format!("{}/{hosts}", self.in_force.len()),
        };
        let selects = self.endpoints.to_string();
        vec![
            self.policy.clone(),
            self.tier.clone(),
            self.revision.clone(),
            count,
            selects,
            state,
        ]
    }
}

impl ObjectState {
    /// `None` if no host that is there has anything to say.
    fn of(name: &str, entries: &Value, hosts: &BTreeMap<&str, u64>) -> Option<Self> {
        let mut parts = name.splitn(2, '.');
        let (kind, rest) = (parts.next()?, parts.next()?);
        let mut state = Self {
            object: format!("{kind}/{rest}"),
            failed: Vec::new(),
            warnings: Vec::new(),
        };
        for host in hosts.keys() {
            let entry = &entries[*host];
            let list = match entry["state"] == "Failed" {
                true => &mut state.failed,
                false => &mut state.warnings,
            };
            list.extend(said(host, entry));
        }
        (!state.failed.is_empty() || !state.warnings.is_empty()).then_some(state)
    }
}

/// The problems of a host's entry, if there are any.
fn said(host: &str, entry: &Value) -> Option<HostFailure> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let problem = |x: &Value| FieldProblem {
        field: text(&x["field"]),
        message: text(&x["message"]),
    };
    let problems: Vec<FieldProblem> = (entry["problems"].as_array()?.iter())
        .map(problem)
        .collect();
    (!problems.is_empty()).then(|| HostFailure {
        node: host.to_owned(),
        problems,
    })
}

/// Each problem once, with the hosts that have it.
fn remarks(object: &str, mark: &str, of: &[HostFailure]) -> String {
    let mut problems: BTreeMap<&FieldProblem, Vec<&str>> = BTreeMap::new();
    for host in of {
        for problem in &host.problems {
            problems.entry(problem).or_default().push(&host.node);
        }
    }
    let mut text = String::new();
    for (FieldProblem { field, message }, nodes) in problems {
        let colon = if field.is_empty() { "" } else { ": " };
        let nodes = nodes.join(", ");
        text += &format!("\n{mark} {object} on {nodes}\n  {field}{colon}{message}\n");
    }
    text
}

impl NodeState {
    fn of(node: &Value, policies: &[PolicyState]) -> Self {
        let name = name_of(node);
        let addresses = node["status"]["addresses"].as_array().into_iter().flatten();
        let internal = addresses.filter(|address| address["type"] == "InternalIP");
        let text = |address: &Value| address["address"].as_str().map(str::to_owned);
        Self {
            name: name.to_owned(),
            addresses: internal.filter_map(text).collect(),
            in_force: policies
                .iter()
                .filter(|x| x.in_force.iter().any(|host| host == name))
                .count(),
            policies: policies.iter().filter(|x| !x.staged).count(),
        }
    }
}

async fn fetch(client: &Client, resource: Resource) -> Result<Vec<Value>, Failure> {
    let list = client.list(resource, &Selection::all()).await?;
    let read = |item: &bytes::Bytes| serde_json::from_slice(item);
    let objects: Result<Vec<Value>, _> = list.items.iter().map(read).collect();
    objects.map_err(|error| Failure::Unasked(format!("the API answered with bad JSON: {error}")))
}

fn name_of(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}

/// The newest version of any policy that the node's agent enforces; 0 if it has said nothing.
fn revision_of(node: &Value) -> u64 {
    let annotation = &node["metadata"]["annotations"]["ocicat.io/policy-revision"];
    annotation
        .as_str()
        .and_then(|text| text.parse().ok())
        .unwrap_or(0)
}

/// The name of a policy's PolicyStatus: `netpol.shop.web`.
fn status_name(kind: Kind, object: &Value) -> String {
    match object["metadata"]["namespace"].as_str() {
        Some(namespace) => format!("{}.{namespace}.{}", kind.short(), name_of(object)),
        None => format!("{}.{}", kind.short(), name_of(object)),
    }
}

/// The first few names, and how many more there are.
fn few(names: &[String]) -> String {
    const SHOWN: usize = 3;
    match names.len().saturating_sub(SHOWN) {
        0 => names.join(", "),
        more => format!("{} and {more} more", names[..SHOWN].join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn world() -> Status {
        let node = |name: &str| {
            json!({"metadata": {"name": name},
                "status": {"addresses": [{"type": "InternalIP", "address": "10.0.0.1"}]}})
        };
        let policy = |name: &str, version: &str| json!({"metadata": {"namespace": "shop", "name": name, "resourceVersion": version}});
        let fine =
            |version: &str| json!({"state": "InForce", "resourceVersion": version, "endpoints": 2});
        let bad = json!({"state": "Failed", "resourceVersion": "7", "endpoints": 0,
            "problems": [{"field": "spec.ingress[0]", "message": "no such field"}]});
        let entries = [
            json!({"metadata": {"name": "netpol.shop.web"},
                "status": {"nodes": {"a": fine("5"), "b": fine("4")}}}),
            json!({"metadata": {"name": "netpol.shop.bad"},
                "status": {"nodes": {"a": bad, "b": bad}}}),
            json!({"metadata": {"name": "hep.eth.a"}, "status": {"nodes": {"a": {
                "state": "InForce", "resourceVersion": "9", "endpoints": 0,
                "problems": [{"field": "spec.interfaceName", "message": "no such interface"}]}}}}),
        ];
        let policies = [
            (Kind::NetworkPolicy, policy("web", "5")),
            (Kind::NetworkPolicy, policy("bad", "7")),
            (Kind::StagedNetworkPolicy, policy("later", "8")),
        ];
        Status::of(&[node("a"), node("b")], &entries, &policies)
    }

    #[test]
    fn old_versions_are_pending_and_failures_name_object_and_field() {
        let status = world();
        assert!(!status.in_force);
        assert_eq!(
            status.text(),
            "\
POLICY            TIER      REVISION   IN FORCE   SELECTS   STATE
netpol/shop/web   default   5          1/2        4         pending on b
netpol/shop/bad   default   7          0/2        0         failed on a, b
snp/shop/later    default   8          -          0         staged, never enforced

failed netpol/shop/bad on a, b
  spec.ingress[0]: no such field

warning hep/eth.a on a
  spec.interfaceName: no such interface

NODE   ADDRESSES   POLICIES IN FORCE
a      10.0.0.1    1/2
b      10.0.0.1    0/2
"
        );
    }
}
