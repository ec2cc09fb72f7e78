//! The real `kubectl` against the server.

#[path = "common/server.rs"]
mod common;

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};

use common::Server;

/// `kubectl` with a folder of its own and no configuration.
struct Kubectl {
    url: String,
    home: PathBuf,
}

impl Kubectl {
    /// `None`, said aloud, where `kubectl` is not installed.
    fn new(server: &Server) -> Option<Self> {
        static COUNTER: AtomicU64 = AtomicU64::new(0);
        if Command::new("kubectl")
            .args(["version", "--client"])
            .output()
            .is_err()
        {
            println!("skipped: kubectl is not installed");
            return None;
        }
        let name = format!(
            "ocicat-kubectl-{}-{}",
            std::process::id(),
            COUNTER.fetch_add(1, Ordering::Relaxed)
        );
        let home = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&home).unwrap();
        Some(Self {
            url: server.url(),
            home,
        })
    }

    fn command(&self, line: &str) -> Command {
        let mut command = Command::new("timeout");
        command
            .args(["30", "kubectl", "--server", &self.url])
            .args(line.split_whitespace());
        command
            .env("KUBECONFIG", "/dev/null")
            .env("HOME", &self.home)
            .stdin(Stdio::null());
        command
    }

    /// Runs a command that must succeed, off the runtime that serves it; returns what it printed.
    fn run(&self, line: &str) -> String {
        let output = tokio::task::block_in_place(|| self.command(line).output().unwrap());
        assert!(output.status.success(), "kubectl {line}: {output:?}");
        text(&output)
    }

    /// Runs a command that must fail; returns its complaint.
    fn fail(&self, line: &str) -> String {
        let output = tokio::task::block_in_place(|| self.command(line).output().unwrap());
        assert!(!output.status.success(), "kubectl {line}: {output:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    /// Writes a manifest and returns `-f PATH`.
    fn file(&self, name: &str, manifest: &str) -> String {
        let path = self.home.join(name);
        std::fs::write(&path, manifest).unwrap();
        format!("-f {}", path.display())
    }
}

impl Drop for Kubectl {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.home);
    }
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

const SHOP: &str = r#"
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {team: a}}
---
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: shop, labels: {app: web}}
spec:
  nodeName: h1
  containers:
  - name: web
    image: web:1
    env: [{name: A, value: "1"}, {name: B, value: "2"}]
    ports: [{containerPort: 80}]
  - name: side
    image: side:1
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: cart, namespace: shop}
spec:
  replicas: 3
  selector: {matchLabels: {app: cart}}
  template:
    metadata: {labels: {app: cart}}
    spec: {containers: [{name: cart, image: "cart:1", ports: [{containerPort: 8080}]}]}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: web, namespace: shop}
spec: {podSelector: {matchLabels: {app: web}}, ingress: [{from: [{podSelector: {}}], ports: [{port: 80}]}]}
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: deny-all}
spec: {order: 100, tier: default, selector: "app == 'web'", types: [Ingress], ingress: [{action: Deny}]}
"#;

#[tokio::test(flavor = "multi_thread")]
async fn apply_twice_with_a_change() {
    let server = Server::start().await;
    let Some(kubectl) = Kubectl::new(&server) else {
        return;
    };
    let first = kubectl.file("first.yaml", SHOP);
    let changed = SHOP
        .replace("web:1", "web:2")
        .replace("value: \"1\"", "value: \"9\"")
        .replace("replicas: 3", "replicas: 5")
        .replace("  - name: side\n    image: side:1\n", "")
        .replace("order: 100, ", "");
    let second = kubectl.file("second.yaml", &changed);

    assert_eq!(
        kubectl
            .run(&format!("apply {first}"))
            .matches(" created")
            .count(),
        5
    );
    assert_eq!(
        kubectl
            .run(&format!("apply {first}"))
            .matches(" unchanged")
            .count(),
        5
    );
    assert!(
        kubectl
            .run(&format!("apply --dry-run=server {second}"))
            .contains("pod/web configured (server dry run)")
    );
    let applied = kubectl.run(&format!("apply {second}"));
    assert_eq!(
        (
            applied.matches(" configured").count(),
            applied.matches(" unchanged").count()
        ),
        (3, 2),
        "{applied}"
    );

    let pod = kubectl.run(
        "get pod web -n shop -o jsonpath={.spec.containers[*].image};{.spec.containers[0].env}",
    );
    assert_eq!(
        pod,
        r#"web:2;[{"name":"A","value":"9"},{"name":"B","value":"2"}]"#
    );
    assert_eq!(
        kubectl.run("get deploy cart -n shop -o jsonpath={.spec.replicas};{.metadata.generation}"),
        "5;2"
    );
    let policy = kubectl.run("get gnp deny-all -o yaml");
    assert!(
        policy.contains("selector: app == 'web'") && !policy.contains("order: 100\n"),
        "{policy}"
    );
    assert_eq!(
        kubectl
            .run(&format!("delete {second}"))
            .matches(" deleted")
            .count(),
        5
    );
    assert!(
        kubectl
            .fail("get ns shop")
            .contains("(NotFound): namespaces \"shop\" not found")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn label_annotate_patch_and_select() {
    let server = Server::start().await;
    let Some(kubectl) = Kubectl::new(&server) else {
        return;
    };
    let shop = kubectl.file("shop.yaml", SHOP);
    kubectl.run(&format!("create {shop}"));
    assert!(
        kubectl
            .fail(&format!("create {shop}"))
            .contains("(AlreadyExists)")
    );
    kubectl.run("label pod web -n shop tier=front");
    kubectl.run("annotate pod web -n shop note=x");
    kubectl.run("patch pod web -n shop -p {\"spec\":{\"nodeName\":\"h2\"}}");
    kubectl.run("patch gnp deny-all --type=merge -p {\"spec\":{\"order\":5}}");
    kubectl.run("patch gnp deny-all --type=json -p [{\"op\":\"replace\",\"path\":\"/spec/order\",\"value\":6}]");
    assert_eq!(
        kubectl.run("get gnp deny-all -o jsonpath={.spec.order}"),
        "6"
    );
    assert_eq!(
        kubectl.run("get pods -A -l tier=front,app!=db -o name"),
        "pod/web"
    );
    assert_eq!(kubectl.run("get pods -A -l tier!=front -o name").trim(), "");
    assert_eq!(
        kubectl.run("get pods -A --field-selector spec.nodeName=h2 -o name"),
        "pod/web"
    );
    assert!(
        kubectl
            .fail("get pods --field-selector spec.x=1")
            .contains("field label not supported")
    );
    kubectl.run(&format!("replace {shop}"));
    assert!(
        kubectl
            .run("get pods -n shop --show-labels")
            .ends_with("app=web")
    );
    assert!(
        kubectl
            .run(&format!("describe {shop}"))
            .contains("Kind:         GlobalNetworkPolicy")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn get_and_watch_print_tables() {
    let server = Server::start().await;
    let Some(kubectl) = Kubectl::new(&server) else {
        return;
    };
    kubectl.run(&format!("apply {}", kubectl.file("shop.yaml", SHOP)));
    let pods = kubectl.run("get pods -A -o wide");
    assert!(
        pods.starts_with("NAMESPACE   NAME   READY   STATUS    RESTARTS   AGE   IP       NODE"),
        "{pods}"
    );
    assert!(
        kubectl
            .run("get gnp")
            .contains("deny-all   default   100     app == 'web'")
    );

    let mut watch = kubectl
        .command("get pods -n shop -w --output-watch-events")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = std::io::BufRead::lines(std::io::BufReader::new(watch.stdout.take().unwrap()));
    let mut lines = lines.map(Result::unwrap);
    let mut event = || tokio::task::block_in_place(|| lines.next().unwrap_or_default());
    assert!(event().starts_with("EVENT"));
    assert!(event().starts_with("ADDED      web    0/2     Pending"));
    kubectl.run("label pod web -n shop x=y");
    assert!(event().starts_with("MODIFIED"));
    kubectl.run("delete pod web -n shop");
    assert!(event().starts_with("DELETED"));
    watch.kill().unwrap();
    watch.wait().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn discovery_explanations_and_complaints() {
    let server = Server::start().await;
    let Some(kubectl) = Kubectl::new(&server) else {
        return;
    };
    assert!(kubectl.run("api-resources").contains("gnp,cgnp"));
    assert!(
        kubectl
            .run("explain gnp.spec.order")
            .contains("FIELD: order <number>")
    );
    assert!(kubectl.run("explain pod").contains("spec\t<Object>"));
    assert!(
        kubectl
            .run("explain gnp.spec.ingress.source")
            .contains("namespaceSelector\t<string>")
    );
    for (what, part) in [
        ("hep.spec.ports", "protocol\t<"),
        (
            "sknp.spec.ingress.from.ipBlock",
            "cidr\t<string> -required-",
        ),
        (
            "clusternp.spec.egress.protocols.tcp",
            "destinationPort\t<Object>",
        ),
        ("felixconfig.spec.failsafeInboundHostPorts", "net\t<string>"),
        (
            "kcc.spec.controllers.node.hostEndpoint",
            "autoCreate\t<string>",
        ),
        ("netpol.spec.ingress", "from\t<[]Object>"),
        ("policystatus.status.nodes", "state\t<string>"),
    ] {
        let told = kubectl.run(&format!("explain {what}"));
        assert!(told.contains(part), "{what}: {told}");
    }
    assert!(
        kubectl
            .fail("get bgppeers")
            .contains("the server doesn't have a resource type")
    );
    let host =
        "apiVersion: projectcalico.org/v3\nkind: BGPPeer\nmetadata: {name: h}\nspec: {node: h}\n";
    let refused = kubectl.fail(&format!("apply {}", kubectl.file("host.yaml", host)));
    assert!(
        refused.contains("no matches for kind \"BGPPeer\" in version \"projectcalico.org/v3\""),
        "{refused}"
    );
    let set = "apiVersion: projectcalico.org/v3\nkind: NetworkSet\nmetadata: {name: Bad_Name}\nspec: {nets: []}\n";
    assert!(
        kubectl
            .fail(&format!("apply {}", kubectl.file("set.yaml", set)))
            .contains("metadata.name: Invalid value")
    );
    let refused = kubectl.fail(&format!(
        "apply --server-side {}",
        kubectl.file("set.yaml", set)
    ));
    assert!(
        refused.contains("server-side apply is not supported"),
        "{refused}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_without_manifests() {
    let server = Server::start().await;
    let Some(kubectl) = Kubectl::new(&server) else {
        return;
    };
    kubectl.run("create namespace shop");
    kubectl.run("create configmap c -n shop --from-literal=a=b");
    kubectl.run("create serviceaccount s -n shop");
    assert_eq!(kubectl.run("get cm c -n shop -o jsonpath={.data.a}"), "b");
    kubectl.run("run web -n shop --image=web:1 --labels=app=web");
    assert_eq!(
        kubectl.run("get pods -n shop -l app=web -o name"),
        "pod/web"
    );
    kubectl.run("delete pods --all -n shop");
    kubectl.run("delete namespace shop");
    assert!(
        kubectl
            .fail("delete namespace default")
            .contains("this namespace may not be deleted")
    );
}
