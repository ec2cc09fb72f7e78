//! `ocicat apply`, `get`, `delete`, `status` and `why` against `ocicat apiserver`.

use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::Value;

/// A server with an empty store, and a folder for files; both end with the test.
struct Server {
    process: Child,
    folder: PathBuf,
    /// Held so that the server can go on printing.
    _output: BufReader<std::process::ChildStdout>,
}

impl Server {
    fn start() -> Self {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let name = format!("ocicat-cli-{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        let socket = format!("unix:{}", folder.join("api.sock").display());
        let mut process = Command::new(env!("CARGO_BIN_EXE_ocicat"))
            .args(["apiserver", "--listen", &socket, "--data", "memory"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(process.stdout.take().unwrap());
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        assert_eq!(line.trim(), format!("listening on {socket}"));
        Self {
            process,
            folder,
            _output: output,
        }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ocicat"));
        let socket = format!("unix:{}", self.folder.join("api.sock").display());
        command
            .args(args)
            .env("OCICAT_API", socket)
            .current_dir(&self.folder);
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// Stdout of a command that must succeed.
    fn ok(&self, args: &[&str]) -> String {
        let output = self.run(args);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{args:?}: {stderr}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.folder.join(name), text).unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// The policy comes before what it refers to: `apply` sends them in the right order.
fn manifest(port: u16) -> String {
    format!(
        "
apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata: {{name: db, namespace: shop}}
spec:
  tier: security
  order: 10
  selector: app == 'db'
  ingress:
  - {{action: Allow, protocol: TCP, source: {{selector: app == 'web'}}, destination: {{ports: [{port}]}}}}
---
{{apiVersion: projectcalico.org/v3, kind: Tier, metadata: {{name: security}}, spec: {{order: 5}}}}
---
{{apiVersion: v1, kind: Namespace, metadata: {{name: shop}}}}
---
apiVersion: v1
kind: Pod
metadata: {{name: web, namespace: shop, labels: {{app: web}}, annotations: {{cni.projectcalico.org/podIPs: 10.0.0.1/32}}}}
spec: {{containers: [{{name: web, image: web}}]}}
---
apiVersion: v1
kind: Pod
metadata: {{name: db, namespace: shop, labels: {{app: db}}, annotations: {{cni.projectcalico.org/podIPs: 10.0.0.2/32}}}}
spec: {{containers: [{{name: db, image: db}}]}}
"
    )
}

#[test]
fn nothing_is_stored_unless_all_of_it_can_be() {
    let server = Server::start();
    let text = "{apiVersion: v1, kind: Namespace, metadata: {name: here}}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: x, namespace: nowhere}
spec: {podSelector: {}}
";
    server.write("a.yaml", text);
    let output = server.run(&["apply", "-f", "a.yaml"]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(output.stdout.is_empty());
    let said = "a.yaml:5:32: NetworkPolicy nowhere/x: metadata.namespace: \"nowhere\": expected";
    assert!(stderr.contains(said), "{stderr}");
    assert!(!server.ok(&["get", "namespaces"]).contains("here"));
}

#[test]
fn misspelt_fields_are_not_applied() {
    let server = Server::start();
    server.write(
        "a.yaml",
        "apiVersion: v1\nkind: Pod\nmetadata:\n  name: a\n  lables: {app: a}\n",
    );
    let output = server.run(&["apply", "-f", "a.yaml"]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    let said = "a.yaml:5:3: Pod a: metadata.lables: unknown field \"lables\": did you mean \
                \"labels\"?";
    assert!(stderr.contains(said), "{stderr}");
    assert_eq!(server.ok(&["get", "pods"]), "");
}

#[test]
fn applying_twice_and_changed() {
    let server = Server::start();
    server.write("shop.yaml", &manifest(5432));
    let dry = server.ok(&["apply", "-f", "shop.yaml", "--dry-run"]);
    assert!(
        dry.lines().all(|line| line.ends_with("created (dry run)")),
        "{dry}"
    );
    assert_eq!(server.ok(&["get", "tiers"]), "");

    let created = server.ok(&["apply", "-f", "."]);
    assert_eq!(
        created,
        "namespace/shop created\ntier.projectcalico.org/security created\n\
         networkpolicy.projectcalico.org/db created\npod/web created\npod/db created\n"
    );
    let again = server.ok(&["apply", "-f", "shop.yaml"]);
    assert!(
        again.lines().all(|line| line.ends_with(" unchanged")),
        "{again}"
    );

    server.write("shop.yaml", &manifest(5433));
    let changed = server.ok(&["apply", "-f", "shop.yaml"]);
    assert!(
        changed.contains("networkpolicy.projectcalico.org/db configured\n"),
        "{changed}"
    );
    assert_eq!(changed.matches("unchanged").count(), 4, "{changed}");
    let policy: Value =
        serde_json::from_str(&server.ok(&["get", "cnp", "db", "-n", "shop", "-o", "json"]))
            .unwrap();
    assert_eq!(
        policy["spec"]["ingress"][0]["destination"]["ports"][0],
        5433
    );
}

#[test]
fn bad_input_changes_nothing() {
    let server = Server::start();
    let good = "{apiVersion: v1, kind: Namespace, metadata: {name: shop}}\n---\n";
    let bad = "{apiVersion: projectcalico.org/v3, kind: Tier, metadata: {name: t}, \
               spec: {order: x}}\n";
    server.write("a.yaml", &format!("{good}{bad}"));
    let output = server.run(&["apply", "-f", "a.yaml"]);
    assert_eq!(output.status.code(), Some(2));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(
        stderr.starts_with("error: a.yaml:3:83: Tier t: spec.order: "),
        "{stderr}"
    );
    let missing = server.run(&["get", "ns", "shop"]);
    assert_eq!(missing.status.code(), Some(1));
    let refused = server.run(&["get", "nonsense"]);
    assert_eq!(refused.status.code(), Some(2));
}

#[test]
fn objects_are_shown_in_every_form() {
    let server = Server::start();
    server.write("shop.yaml", &manifest(5432));
    server.ok(&["apply", "-f", "shop.yaml"]);
    let table = server.ok(&["get", "cnp", "-A"]);
    let words: Vec<Vec<&str>> = table
        .lines()
        .map(|x| x.split_whitespace().collect())
        .collect();
    assert_eq!(
        words[0],
        ["NAMESPACE", "NAME", "TIER", "ORDER", "SELECTOR", "AGE"]
    );
    assert_eq!(words[1][..4], ["shop", "db", "security", "10"]);
    let names = server.ok(&["get", "pods,tiers", "-n", "shop", "-o", "name"]);
    assert!(names.starts_with("pod/db\npod/web\n"), "{names}");
    assert!(
        names.contains("tier.projectcalico.org/security\n"),
        "{names}"
    );
    let labelled = server.ok(&[
        "get",
        "po",
        "-n",
        "shop",
        "-l",
        "app in (web)",
        "-o",
        "name",
    ]);
    assert_eq!(labelled, "pod/web\n");
    let yaml = server.ok(&["get", "tier/security", "-o", "yaml"]);
    assert!(
        yaml.contains("\nspec:\n") && yaml.contains("\n  order: 5\n"),
        "{yaml}"
    );
    // What is printed can be applied.
    server.write("tier.yaml", &yaml);
    assert_eq!(
        server.ok(&["apply", "-f", "tier.yaml"]).split(' ').count(),
        2
    );
}

#[test]
fn a_watch_prints_what_changes() {
    let server = Server::start();
    let apply = |name: &str| {
        let tier =
            format!("{{apiVersion: projectcalico.org/v3, kind: Tier, metadata: {{name: {name}}}}}");
        server.write("tier.yaml", &tier);
        server.ok(&["apply", "-f", "tier.yaml"]);
    };
    apply("old");
    let mut watch = server
        .command(&["get", "tiers", "-w"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(watch.stdout.take().unwrap())
        .lines()
        .map(Result::unwrap);
    assert!(lines.next().unwrap().starts_with("NAME"));
    assert!(lines.next().unwrap().starts_with("old "));
    apply("new");
    server.ok(&["delete", "tier", "new"]);
    assert!(lines.next().unwrap().starts_with("new "));
    assert!(lines.next().unwrap().ends_with("(deleted)"));
    watch.kill().unwrap();
    watch.wait().unwrap();
}

#[test]
fn deleting_by_name_and_by_file() {
    let server = Server::start();
    server.write("shop.yaml", &manifest(5432));
    server.ok(&["apply", "-f", "shop.yaml"]);
    let gone = server.ok(&["delete", "cnp/db", "-n", "shop"]);
    assert_eq!(gone, "networkpolicy.projectcalico.org \"db\" deleted\n");
    let again = server.run(&["delete", "cnp", "db", "-n", "shop"]);
    assert_eq!(again.status.code(), Some(1));
    server.ok(&["delete", "cnp", "db", "-n", "shop", "--ignore-not-found"]);
    server.ok(&["delete", "-f", "shop.yaml", "--ignore-not-found"]);
    assert_eq!(
        server.run(&["get", "tier", "security"]).status.code(),
        Some(1)
    );
}

#[test]
fn questions_go_to_the_api() {
    let server = Server::start();
    server.write("shop.yaml", &manifest(5432));
    server.ok(&["apply", "-f", "shop.yaml"]);
    let allowed = server.ok(&["why", "shop/web", "shop/db:5432"]);
    assert!(
        allowed.contains("cnp/shop/db  Allow by ingress[0]\n"),
        "{allowed}"
    );
    assert!(allowed.ends_with("\nAllow\n"), "{allowed}");
    let denied = server.run(&["why", "-n", "shop", "web", "db:22"]);
    assert_eq!(denied.status.code(), Some(1));
    let text = String::from_utf8(denied.stdout).unwrap();
    assert!(
        text.ends_with("Deny, at the destination: end of tier security\n"),
        "{text}"
    );
}

#[test]
fn status_without_nodes_is_not_in_force() {
    let server = Server::start();
    server.write("shop.yaml", &manifest(5432));
    server.ok(&["apply", "-f", "shop.yaml"]);
    let output = server.run(&["status"]);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.contains("cnp/shop/db") && text.contains("no node"),
        "{text}"
    );
    let json = server.run(&["status", "-o", "json"]).stdout;
    let json: Value = serde_json::from_slice(&json).unwrap();
    assert_eq!(json["inForce"], false);
    assert_eq!(json["policies"][0]["policy"], "cnp/shop/db");
}

#[test]
fn listening_to_the_world_is_refused() {
    for (place, code) in [("0.0.0.0:0", 2), ("nonsense", 2)] {
        let mut process = Command::new(env!("CARGO_BIN_EXE_ocicat"))
            .args(["apiserver", "--listen", place, "--data", "memory"])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        assert_eq!(process.wait().unwrap().code(), Some(code));
        let mut text = String::new();
        process
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut text)
            .unwrap();
        assert!(text.starts_with("error: "), "{text}");
    }
}

/// One object of each kind that came late, and what `get` shows of it.
const KINDS: &str = "
{apiVersion: v1, kind: Namespace, metadata: {name: shop}}
---
apiVersion: projectcalico.org/v3
kind: HostEndpoint
metadata: {name: n1-eth0}
spec: {node: n1, interfaceName: eth0, expectedIPs: [192.0.2.1]}
---
apiVersion: projectcalico.org/v3
kind: StagedNetworkPolicy
metadata: {name: web, namespace: shop}
spec: {selector: all(), stagedAction: Delete}
---
apiVersion: projectcalico.org/v3
kind: StagedGlobalNetworkPolicy
metadata: {name: all}
spec: {order: 5, applyOnForward: true}
---
apiVersion: projectcalico.org/v3
kind: StagedKubernetesNetworkPolicy
metadata: {name: web, namespace: shop}
spec: {podSelector: {matchLabels: {app: web}}}
---
apiVersion: policy.networking.k8s.io/v1alpha2
kind: ClusterNetworkPolicy
metadata: {name: guard}
spec: {tier: Admin, priority: 7, subject: {namespaces: {}}}
---
apiVersion: projectcalico.org/v3
kind: FelixConfiguration
metadata: {name: default}
spec: {logPrefix: denied}
---
apiVersion: projectcalico.org/v3
kind: KubeControllersConfiguration
metadata: {name: default}
spec: {controllers: {node: {hostEndpoint: {autoCreate: Enabled}}}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-1, namespace: shop, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
endpoints: [{addresses: [10.0.0.1]}]
ports: [{port: 80}]
";

#[test]
fn all_kinds_are_applied_shown_and_deleted() {
    let server = Server::start();
    server.write("kinds.yaml", KINDS);
    let created = server.ok(&["apply", "-f", "kinds.yaml"]);
    assert_eq!(created.matches(" created").count(), 9, "{created}");
    for (kind, part) in [
        ("hep", "eth0"),
        ("snp", "Delete"),
        ("sgnp", "Set"),
        ("sknp", "app=web"),
        ("clusternp", "Admin"),
        ("felixconfig", "default"),
        ("kcc", "default"),
        ("endpointslices", "10.0.0.1"),
    ] {
        let shown = server.ok(&["get", kind, "-n", "shop"]);
        assert!(shown.contains(part), "{kind}: {shown}");
    }
    let again = server.ok(&["apply", "-f", "kinds.yaml"]);
    assert_eq!(again.matches(" unchanged").count(), 9, "{again}");
    let gone = server.ok(&["delete", "-f", "kinds.yaml"]);
    assert_eq!(gone.matches(" deleted").count(), 9, "{gone}");
}

/// What files are refused for, the server refuses in the same words.
#[test]
fn the_server_refuses_what_files_are_refused_for() {
    let server = Server::start();
    let bad = r#"{"apiVersion": "projectcalico.org/v3", "kind": "GlobalNetworkPolicy",
        "metadata": {"name": "raw"}, "spec": {"doNotTrack": true}}"#;
    server.write("bad.json", bad);
    let words = "doNotTrack without applyOnForward: expected applyOnForward: true";
    let refused = server.run(&["apply", "-f", "bad.json"]);
    assert!(
        String::from_utf8_lossy(&refused.stderr).contains(words),
        "{refused:?}"
    );
    // Past the check of the command itself.
    let socket = server.folder.join("api.sock");
    let posted = Command::new("curl")
        .args(["-s", "--unix-socket"])
        .arg(socket)
        .args(["-H", "Content-Type: application/json", "--data", bad])
        .arg("http://api/apis/projectcalico.org/v3/globalnetworkpolicies")
        .output();
    let Ok(posted) = posted else {
        println!("skipped: curl is not installed");
        return;
    };
    let answer: Value = serde_json::from_slice(&posted.stdout).unwrap();
    assert_eq!(answer["code"], 422, "{answer}");
    assert_eq!(answer["details"]["causes"][0]["field"], "spec.doNotTrack");
    assert!(
        answer["message"].as_str().unwrap().contains(words),
        "{answer}"
    );
}
