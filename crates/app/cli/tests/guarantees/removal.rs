//! What goes leaves nothing behind, and what others take from an agent it puts back.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::process::{Command, Output};
use std::time::Duration;

use ocicat_kernel::netns::{self, Namespace};
use rustix::process::Signal;
use serde_json::json;

use crate::support::api::policy;
use crate::support::cluster::{Choice, Cluster, Workload, any, udp};
use crate::support::packet::PacketSocket;
use crate::support::process::ocicat;
use crate::support::{may_run, turn, within};

/// What an agent or the kernel does by itself is done after so long.
const SETTLED: Duration = Duration::from_secs(20);
/// What has not arrived after so long will not.
const ARRIVAL: Duration = Duration::from_millis(500);
const PORT: u16 = 7000;

/// Two pods on two hosts, and a machine outside the cluster.
const MANIFEST: &str = "
apiVersion: v1
kind: Pod
metadata: { name: one, namespace: shop }
spec: { nodeName: host-1, containers: [{ name: main, image: none, ports: [{ containerPort: 80 }] }] }
---
apiVersion: v1
kind: Pod
metadata: { name: two, namespace: shop }
spec: { nodeName: host-2, containers: [{ name: main, image: none }] }
---
apiVersion: projectcalico.org/v3
kind: WorkloadEndpoint
metadata: { name: office, namespace: shop }
spec:
  node: outside
  orchestrator: machine
  workload: office
  endpoint: eth0
  ipNetworks: [198.51.100.10/32, '2001:db8::10/128']
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { name: closed, namespace: shop }
spec: { podSelector: {} }
";

/// A lab that is taken down when dropped.
struct Lab {
    name: String,
}

impl Lab {
    fn up() -> Self {
        let lab = Self {
            name: format!("gone-{}", std::process::id()),
        };
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("lab.yaml");
        std::fs::write(&file, MANIFEST).unwrap();
        let file = file.display().to_string();
        let output = ocicat(&[
            "lab", "up", "--hosts", "2", "--name", &lab.name, "-f", &file,
        ]);
        succeed(&output_of(output));
        lab
    }

    fn down(&self) -> Output {
        output_of(ocicat(&["lab", "down", "--name", &self.name]))
    }

    /// Everything that carries the lab's name: processes, namespaces, and its folder.
    fn traces(&self) -> Vec<String> {
        let mut traces = netns::list(&format!("oci-{}-", self.name)).unwrap();
        let folder = format!("/run/ocicat/lab/{}", self.name);
        traces.extend(std::path::Path::new(&folder).exists().then_some(folder));
        let mark = format!("OCICAT_LAB_PROCESS={}", self.name);
        for entry in std::fs::read_dir("/proc").unwrap().flatten() {
            let environment = std::fs::read(entry.path().join("environ")).unwrap_or_default();
            if environment
                .split(|byte| *byte == 0)
                .any(|x| x == mark.as_bytes())
            {
                traces.push(format!("process {}", entry.file_name().to_string_lossy()));
            }
        }
        traces
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _ = self.down();
    }
}

#[test]
fn a_lab_that_is_down_has_left_nothing() {
    if !may_run() {
        return;
    }
    let _turn = turn();
    let before = OwnNamespace::look();
    let lab = Lab::up();
    let up = lab.traces();
    let processes = up
        .iter()
        .filter(|trace| trace.starts_with("process"))
        .count();
    // The API server, the responder and three agents; three workloads, three hosts, the wire; a folder.
    assert_eq!((processes, up.len() - processes), (5, 8), "{up:#?}");
    succeed(&lab.down());
    assert_eq!(lab.traces(), Vec::<String>::new());
    assert_eq!(OwnNamespace::look(), before, "in the namespace of the test");
}

/// What a lab could leave where it was started.
#[derive(Debug, PartialEq, Eq)]
struct OwnNamespace {
    links: Vec<String>,
    routes: Vec<String>,
    tables: Vec<String>,
}

impl OwnNamespace {
    /// Only what could be ours: others use this namespace too.
    fn look() -> Self {
        let namespace = Namespace::current().unwrap();
        let lines = |command: &str, ours: &[&str]| -> Vec<String> {
            let text = print(&namespace, command);
            let is_ours = |line: &&str| ours.iter().any(|word| line.contains(word));
            text.lines().filter(is_ours).map(str::to_owned).collect()
        };
        Self {
            links: lines("ip -o link", &["ocw", "oci-", "wire"]),
            routes: lines("ip route show table all", &["proto 111", "ocw", "10.244."]),
            tables: lines("nft list tables", &["ocicat"]),
        }
    }
}

/// Everything that is in the network namespace of a host.
fn inventory(namespace: &Namespace) -> BTreeSet<String> {
    let commands = [
        "ip -o link",
        "ip -o address",
        "ip rule",
        "ip -6 rule",
        "ip route show table all",
        "ip -6 route show table all",
        "ip neighbour show nud permanent",
        "ip neighbour show proxy",
        "nft list ruleset",
        "tc qdisc",
        "tc filter show dev eth0",
    ];
    let line = |command: &str, line: &str| {
        // Who is there is the question, not for how long or in which state.
        let words = line
            .split_whitespace()
            .take_while(|word| *word != "expires");
        format!("{command}: {}", words.collect::<Vec<_>>().join(" "))
    };
    let lines = commands.into_iter().flat_map(|command| {
        let text = print(namespace, command);
        text.lines().map(|x| line(command, x)).collect::<Vec<_>>()
    });
    lines.collect()
}

#[test]
fn an_agent_that_is_removed_has_left_nothing() {
    let Some(mut cluster) = Cluster::start(Choice::default()) else {
        return;
    };
    let namespace = (*cluster.hosts[0].namespace).clone();
    let before = inventory(&namespace);
    assert!(
        before.iter().any(|line| line.contains("table inet ocicat")),
        "{before:#?}"
    );
    let (one, two) = (
        cluster.workload(0, "shop", "one", &[]),
        cluster.workload(1, "shop", "two", &[]),
    );
    assert!(arrives(&one, &two));
    let during = inventory(&namespace);
    assert!(
        during.iter().any(|line| line.contains("ocw")),
        "{during:#?}"
    );
    for workload in [one, two] {
        cluster.remove(workload);
    }
    // Blocks stay with their hosts until somebody takes them back.
    for block in cluster.api.list("/apis/projectcalico.org/v3/ipamblocks") {
        cluster.api.delete(&json!({
            "apiVersion": "projectcalico.org/v3", "kind": "IPAMBlock",
            "metadata": { "name": block["metadata"]["name"] },
        }));
    }
    let routes = || {
        print(&namespace, "ip route show proto 111")
            + &print(&namespace, "ip -6 route show proto 111")
    };
    assert!(within(SETTLED, || routes().is_empty()), "{}", routes());
    cluster.hosts[0].stop(Signal::TERM);
    print(&namespace, "nft delete table inet ocicat");
    let after = inventory(&namespace);
    let table = |line: &&String| !line.starts_with("nft");
    let expected: BTreeSet<_> = before.iter().filter(table).collect();
    assert_eq!(after.iter().collect::<BTreeSet<_>>(), expected);
}

/// An agent that starts without the table that it left makes it again.
/// STATUS, CHECK and GC of the CNI specification.
#[test]
fn a_runtime_may_ask_and_sweep() {
    let Some(cluster) = Cluster::start(Choice::default()) else {
        return;
    };
    let host = &cluster.hosts[0];
    let stays = cluster.workload(0, "shop", "stays", &[]);
    let goes = cluster.workload(0, "shop", "goes", &[]);
    assert_eq!(
        host.cni_with("STATUS", &stays, &json!({})),
        (true, json!(null))
    );
    let result = |address: String| json!({ "prevResult": { "ips": [{ "address": address }] } });
    let [v4, v6] =
        [(0, 32), (1, 128)].map(|(at, length)| format!("{}/{length}", stays.addresses[at]));
    let both = json!({ "prevResult": { "ips": [{ "address": v4 }, { "address": v6 }] } });
    assert_eq!(host.cni_with("CHECK", &stays, &both), (true, json!(null)));
    let (ok, answer) = host.cni_with("CHECK", &stays, &result("10.50.9.9/32".to_owned()));
    assert_eq!((ok, &answer["code"]), (false, &json!(103)), "{answer}");
    let valid = json!([{ "containerID": stays.container(), "ifname": "eth0" }]);
    let of_other = json!({ "name": "other", "cni.dev/valid-attachments": [] });
    assert!(host.cni_with("GC", &stays, &of_other).0);
    assert!(arrives(&goes, &stays), "GC of another network");
    let sweep = json!({ "cni.dev/valid-attachments": valid });
    assert_eq!(host.cni_with("GC", &stays, &sweep), (true, json!(null)));
    assert_eq!(host.cni_with("CHECK", &stays, &both), (true, json!(null)));
    assert!(!host.cni_with("CHECK", &goes, &json!({})).0);
    // What is gone is gone for DEL too.
    assert!(host.cni_with("DEL", &goes, &json!({})).0);
}

#[test]
fn a_table_that_somebody_deletes_comes_back() {
    let Some(mut cluster) = Cluster::start(Choice::default()) else {
        return;
    };
    cluster.api.create(&policy(
        "bank",
        "closed",
        json!({ "types": ["Ingress"], "ingress": [] }),
    ));
    let client = cluster.workload(0, "shop", "client", &[]);
    let open = cluster.workload(0, "shop", "open", &[]);
    let closed = cluster.workload(0, "bank", "closed", &[]);
    let namespace = (*cluster.hosts[0].namespace).clone();
    assert!(arrives(&client, &open));
    assert!(!arrives(&client, &closed));
    cluster.hosts[0].stop(Signal::TERM);
    print(&namespace, "nft delete table inet ocicat");
    assert!(
        arrives(&client, &closed),
        "without a table nothing is in the way"
    );
    cluster.hosts[0].start();
    cluster.hosts[0].wait_until_ready();
    assert!(arrives(&client, &open));
    assert!(!arrives(&client, &closed), "the table is not back in force");
}

/// Whether datagrams of both families get from one to the other.
fn arrives(from: &Workload, to: &Workload) -> bool {
    let sniffer = PacketSocket::open(&to.namespace);
    for address in &to.addresses {
        let socket = udp(&from.namespace, any(*address));
        socket
            .send_to(b"hello", SocketAddr::new(*address, PORT))
            .unwrap();
    }
    let mut families = BTreeSet::new();
    within(ARRIVAL, || {
        let hello = sniffer.drain().filter(|seen| seen.carries(b"hello"));
        families.extend(hello.map(|seen| seen.from.is_ipv4()));
        families.len() == 2
    });
    assert_ne!(families.len(), 1, "one family passes: {families:?}");
    families.len() == 2
}

/// Runs a command line inside the namespace and returns what it prints.
fn print(namespace: &Namespace, line: &str) -> String {
    let words: Vec<&str> = line.split(' ').collect();
    let mut command = Command::new(words[0]);
    command.args(&words[1..]);
    let output = namespace.run(|| output_of(command)).unwrap();
    succeed(&output);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn output_of(mut command: Command) -> Output {
    command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

fn succeed(output: &Output) {
    let text = [&output.stdout[..], &output.stderr].concat();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&text)
    );
}
