//! CNI operations: addresses from IPAM, plumbing and policy by the core, and the word to others.
//!
//! ```text
//!   ADD: read the object ─► assign addresses ─► core: plumb, policy in force, link up ─► annotate
//!   DEL: core: link down, policy gone, connections ended ─► release addresses ─► annotate
//! ```
//!
//! ADD returns when the workload's policy and route are in force on this host. If a step fails, the
//! steps before it are undone. DEL goes on after a failure and reports all of them.

use std::net::IpAddr;
use std::path::PathBuf;

use ocicat_api::{Kind, Object};
use ocicat_client::{Client, Name};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};

use crate::addresses::Addresses;
use crate::core::{Attach, Message};
use crate::record::{Record, Workload};
use crate::verify;

/// The annotation that asks for certain addresses: a JSON list of strings.
const WANTED: &str = "cni.projectcalico.org/ipAddrs";
/// The annotations by which other hosts learn the addresses of a Pod. A WorkloadEndpoint that names no
/// `ipNetworks` gets them there, and the first annotation says that they were given and not asked for.
const GIVEN: &str = "cni.projectcalico.org/podIPs";
const GIVEN_FIRST: &str = "cni.projectcalico.org/podIP";

/// A call of the CNI plugin (CNI specification 1.1, section 2).
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CniRequest {
    command: Command,
    #[serde(flatten)]
    interface: Interface,
    #[serde(default)]
    netns: PathBuf,
    #[serde(default)]
    args: std::collections::BTreeMap<String, String>,
    /// The name of the network.
    #[serde(default)]
    network: String,
    /// For CHECK: what ADD returned.
    #[serde(default)]
    prev_result: Value,
    /// For GC: what is attached to the network.
    #[serde(default)]
    valid: Vec<Interface>,
}

/// One interface of one container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Interface {
    // As GC lists them.
    #[serde(alias = "containerID")]
    container_id: String,
    ifname: String,
}

impl Interface {
    /// The name of the host's end.
    fn host_end(&self) -> String {
        ocicat_kernel::attach::interface_name(&self.container_id, &self.ifname)
    }

    /// The same for each call about it.
    fn handle(&self) -> String {
        format!("cni.{}.{}", self.container_id, self.ifname)
    }
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
enum Command {
    Add,
    Del,
    Check,
    Gc,
}

/// An error as CNI reports it.
#[derive(Debug, Clone, Serialize)]
pub struct Failure {
    /// CNI specification 1.1, section 5: 4 bad variables, 5 I/O, 7 bad configuration, 11 try
    /// again later; from 100 on our own: 100 no such workload, 101 no address, 102 plumbing or
    /// policy, 103 CHECK found a difference.
    code: u32,
    msg: String,
    details: String,
}

impl Failure {
    fn new(code: u32, msg: &str, details: impl std::fmt::Display) -> Self {
        Self {
            code,
            msg: msg.to_owned(),
            details: details.to_string(),
        }
    }

    pub fn bad_request(details: &str) -> Self {
        Self::new(4, "bad request", details)
    }
}

/// What the socket may ask.
pub struct Workloads {
    client: Client,
    addresses: Addresses,
    core: mpsc::Sender<Message>,
    mtu: u32,
}

impl Workloads {
    pub fn new(
        client: Client,
        addresses: Addresses,
        core: mpsc::Sender<Message>,
        mtu: u32,
    ) -> Self {
        Self {
            client,
            addresses,
            core,
            mtu,
        }
    }

    pub async fn cni(&self, request: CniRequest) -> Result<Value, Failure> {
        match request.command {
            Command::Add => self.add(&request).await,
            Command::Del => self.delete(&request.interface).await,
            Command::Check => self.check(&request).await,
            Command::Gc => self.sweep(&request).await,
        }
    }

    /// What the agent knows of itself.
    pub async fn status(&self) -> Result<Value, Failure> {
        self.ask(Message::Status).await
    }

    /// Whether the program in the kernel decides what the tables say. The comparison runs on a thread
    /// of its own.
    pub async fn verify(&self) -> Result<Value, Failure> {
        let failed = |text: String| Failure::new(11, "cannot verify", text);
        let snapshot = self.ask(Message::Verify).await?.map_err(failed)?;
        let compared = tokio::task::spawn_blocking(move || verify::report(&snapshot));
        compared.await.map_err(|error| failed(error.to_string()))
    }

    /// The addresses that have no known owner on this host.
    pub async fn unknown(&self, addresses: Vec<IpAddr>) -> Result<Value, Failure> {
        let unknown = self.ask(|reply| Message::Unknown(addresses, reply)).await?;
        Ok(json!({ "unknown": unknown }))
    }

    async fn add(&self, request: &CniRequest) -> Result<Value, Failure> {
        let workload = workload(request)?;
        let (object, wanted) = self.read(&workload).await?;
        let interface = &request.interface;
        let handle = interface.handle();
        let addresses = match self.addresses.assign(&handle, &wanted).await {
            Ok(addresses) => addresses,
            Err(error) => {
                // One family may have been given before the other failed.
                if let Err(undo) = self.addresses.release(&handle).await {
                    tracing::error!("could not undo a failed ADD: {undo:#}");
                }
                return Err(Failure::new(101, "no address", format!("{error:#}")));
            }
        };
        let (container_id, ifname) = (&interface.container_id, &interface.ifname);
        let mac = ocicat_kernel::attach::workload_mac(container_id, ifname);
        let record = Record {
            interface: interface.host_end(),
            container_id: container_id.clone(),
            ifname: ifname.clone(),
            netns: request.netns.clone(),
            workload: workload.clone(),
            mac: mac.0,
            addresses: addresses.clone(),
            mtu: self.mtu,
            network: request.network.clone(),
        };
        let attach = Attach {
            record: record.clone(),
            object: Box::new(object.clone()),
        };
        let attached = self.ask(|reply| Message::Attach(attach, reply)).await;
        let attached = match attached {
            Ok(result) => result.map_err(|error| Failure::new(102, "cannot attach", error)),
            Err(failure) => Err(failure),
        };
        let told = match attached {
            Ok(()) => self.announce(&workload, &object, &addresses).await,
            failed => failed,
        };
        if let Err(failure) = told {
            if let Err(undo) = self.delete(interface).await {
                tracing::error!(?undo, "could not undo a failed ADD");
            }
            return Err(failure);
        }
        Ok(result(&record))
    }

    async fn delete(&self, interface: &Interface) -> Result<Value, Failure> {
        let mut problems = Vec::new();
        let host_end = interface.host_end();
        let detached = self.ask(|reply| Message::Detach(host_end, reply)).await?;
        let record = match detached {
            Ok(record) => record,
            Err(error) => {
                problems.push(error);
                None
            }
        };
        if problems.is_empty() {
            if let Err(error) = self.addresses.release(&interface.handle()).await {
                problems.push(format!("{error:#}"));
            }
            if let Some(record) = record
                && let Err(failure) = self.retract(&record).await
            {
                problems.push(failure.details);
            }
        }
        if problems.is_empty() {
            Ok(Value::Null)
        } else {
            Err(Failure::new(
                11,
                "cannot detach wholly",
                problems.join("; "),
            ))
        }
    }

    async fn check(&self, request: &CniRequest) -> Result<Value, Failure> {
        let host_end = request.interface.host_end();
        let records = self.ask(Message::Records).await?;
        let record = records.into_iter().find(|r| r.interface == host_end);
        let found = self.ask(|reply| Message::Check(host_end, reply)).await?;
        let told = record.map(|record| differing_result(&record, &request.prev_result));
        let found = found.map(|differences| {
            let told = told.into_iter().flatten();
            differences.into_iter().chain(told).collect::<Vec<String>>()
        });
        match found {
            Ok(differences) if differences.is_empty() => Ok(Value::Null),
            Ok(differences) => Err(Failure::new(
                103,
                "the workload is not as ADD left it",
                differences.join("; "),
            )),
            Err(error) => Err(Failure::new(102, "cannot check", error)),
        }
    }

    /// Deletes what is attached to the network and not in the list. Goes on after failures.
    async fn sweep(&self, request: &CniRequest) -> Result<Value, Failure> {
        let mut problems = Vec::new();
        for record in self.ask(Message::Records).await? {
            let interface = Interface {
                container_id: record.container_id,
                ifname: record.ifname,
            };
            if record.network == request.network
                && !request.valid.contains(&interface)
                && let Err(failure) = self.delete(&interface).await
            {
                problems.push(failure.details);
            }
        }
        if problems.is_empty() {
            return Ok(Value::Null);
        }
        let details = problems.join("; ");
        Err(Failure::new(11, "cannot detach wholly", details))
    }

    /// The object that the workload is, and the addresses it asks for.
    async fn read(&self, workload: &Workload) -> Result<(Object, Vec<IpAddr>), Failure> {
        let key = workload.key();
        let name = Name {
            namespace: key.namespace.clone(),
            name: key.name.clone(),
        };
        let value = self.client.get(key.kind, name).await.map_err(|error| {
            let code = if error.is_not_found() { 100 } else { 11 };
            Failure::new(code, "cannot read the workload", error)
        })?;
        let decoded = ocicat_api::decode::decode(&value);
        let Some(object) = decoded.object else {
            let details: Vec<String> = decoded
                .problems
                .iter()
                .map(|p| format!("{}: {}", p.field, p.message))
                .collect();
            return Err(Failure::new(
                100,
                "cannot read the workload",
                details.join("; "),
            ));
        };
        let wanted = match &object {
            Object::WorkloadEndpoint(endpoint) => match endpoint.metadata.annotations.get(GIVEN) {
                Some(given) if **given == *networks(&endpoint.addresses).join(",") => Vec::new(),
                _ => endpoint.addresses.clone(),
            },
            other => match other.metadata().annotations.get(WANTED) {
                Some(text) => serde_json::from_str(text)
                    .map_err(|error| Failure::new(7, WANTED, format!("{text}: {error}")))?,
                None => Vec::new(),
            },
        };
        Ok((object, wanted))
    }

    /// Tells the other hosts, unless the object says it already.
    async fn announce(
        &self,
        workload: &Workload,
        object: &Object,
        addresses: &[IpAddr],
    ) -> Result<(), Failure> {
        match object {
            Object::WorkloadEndpoint(endpoint) if endpoint.addresses == addresses => Ok(()),
            _ => self.annotate(workload, Some(&networks(addresses))).await,
        }
    }

    async fn retract(&self, record: &Record) -> Result<(), Failure> {
        let workload = &record.workload;
        let key = workload.key();
        let name = Name {
            namespace: key.namespace,
            name: key.name,
        };
        let list = networks(&record.addresses);
        match self.client.get(key.kind, name).await {
            // Another pod of that name may be up already, with addresses of its own.
            Ok(pod) if pod["metadata"]["annotations"][GIVEN] != json!(list.join(",")) => Ok(()),
            Ok(_) => self.annotate(workload, None).await,
            Err(error) if error.is_not_found() => Ok(()),
            Err(error) => Err(Failure::new(11, "cannot tell the other hosts", error)),
        }
    }

    /// Writes into the object which addresses were given to it, or that it has none any more.
    async fn annotate(&self, workload: &Workload, given: Option<&[String]>) -> Result<(), Failure> {
        let key = workload.key();
        let name = Name {
            namespace: key.namespace,
            name: key.name,
        };
        let all = given.map(|list| list.join(","));
        let patch = if key.kind == Kind::Pod {
            let first = given.and_then(<[String]>::first);
            json!({ "metadata": { "annotations": { GIVEN: all, GIVEN_FIRST: first } } })
        } else {
            json!({
                "metadata": { "annotations": { GIVEN: all } },
                "spec": { "ipNetworks": given },
            })
        };
        match self.client.merge_patch(key.kind, name, &patch).await {
            Ok(_) => Ok(()),
            Err(error) if error.is_not_found() && given.is_none() => Ok(()),
            Err(error) => Err(Failure::new(11, "cannot tell the other hosts", error)),
        }
    }

    async fn ask<T>(
        &self,
        message: impl FnOnce(oneshot::Sender<T>) -> Message,
    ) -> Result<T, Failure> {
        let (reply, answer) = oneshot::channel();
        let gone = |_| Failure::new(11, "the agent is stopping", "");
        self.core.send(message(reply)).await.map_err(|_| gone(()))?;
        answer.await.map_err(|_| gone(()))
    }
}

fn workload(request: &CniRequest) -> Result<Workload, Failure> {
    let get = |name: &str| request.args.get(name).filter(|value| !value.is_empty());
    if let Some(endpoint) = get("OCICAT_WORKLOAD_ENDPOINT") {
        let (namespace, name) = endpoint.split_once('/').ok_or_else(|| {
            Failure::bad_request("OCICAT_WORKLOAD_ENDPOINT: expected NAMESPACE/NAME")
        })?;
        let (namespace, name) = (namespace.to_owned(), name.to_owned());
        return Ok(Workload::WorkloadEndpoint { namespace, name });
    }
    match (get("K8S_POD_NAMESPACE"), get("K8S_POD_NAME")) {
        (Some(namespace), Some(name)) => Ok(Workload::Pod {
            namespace: namespace.clone(),
            name: name.clone(),
        }),
        _ => Err(Failure::bad_request(
            "CNI_ARGS: expected K8S_POD_NAMESPACE and K8S_POD_NAME, or OCICAT_WORKLOAD_ENDPOINT",
        )),
    }
}

/// The addresses as networks of one address each, as the annotations hold them.
fn networks(addresses: &[IpAddr]) -> Vec<String> {
    addresses
        .iter()
        .map(|address| ipnet::IpNet::from(*address).to_string())
        .collect()
}

/// How what the runtime remembers of ADD differs from what it was.
fn differing_result(record: &Record, remembered: &Value) -> Vec<String> {
    let own = result(record);
    let list = |value: &Value, part: &str, field: &str| -> Vec<String> {
        let items = value[part].as_array().into_iter().flatten();
        let mut texts: Vec<String> = items
            .filter_map(|item| Some(item[field].as_str()?.to_owned()))
            .collect();
        texts.sort_unstable();
        texts
    };
    let mut differences = Vec::new();
    for (part, field) in [
        ("ips", "address"),
        ("interfaces", "name"),
        ("interfaces", "mac"),
    ] {
        // Without a result there is nothing to compare.
        let given = remembered.get(part).is_some();
        let (was, is) = (list(remembered, part, field), list(&own, part, field));
        if given && was != is {
            let (was, is) = (was.join(", "), is.join(", "));
            differences.push(format!("prevResult has {part} {was}; ADD returned {is}"));
        }
    }
    differences
}

/// The success result of ADD (CNI specification 1.1, section 5).
fn result(record: &Record) -> Value {
    let mac = |bytes: [u8; 6]| bytes.map(|byte| format!("{byte:02x}")).join(":");
    let ips: Vec<Value> = record
        .addresses
        .iter()
        .map(|address| {
            let (length, gateway) = match address {
                IpAddr::V4(_) => (32, ocicat_kernel::attach::GATEWAY_V4.to_string()),
                IpAddr::V6(_) => (128, ocicat_kernel::attach::GATEWAY_V6.to_string()),
            };
            json!({ "interface": 1, "address": format!("{address}/{length}"), "gateway": gateway })
        })
        .collect();
    let has = |v4: bool| {
        record
            .addresses
            .iter()
            .any(|address| address.is_ipv4() == v4)
    };
    let mut routes = Vec::new();
    if has(true) {
        routes.push(json!({ "dst": "0.0.0.0/0", "gw": ocicat_kernel::attach::GATEWAY_V4 }));
    }
    if has(false) {
        routes.push(json!({ "dst": "::/0", "gw": ocicat_kernel::attach::GATEWAY_V6 }));
    }
    json!({
        "interfaces": [
            { "name": record.interface, "mac": mac(ocicat_kernel::attach::HOST_MAC.0) },
            { "name": record.ifname, "mac": mac(record.mac), "sandbox": record.netns },
        ],
        "ips": ips,
        "routes": routes,
        "dns": {},
    })
}
