//! Labs come up, are what they say, and go without a trace. Needs root and network namespaces.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

const MANIFEST: &str = "
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {team: a}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: web, ports: [{name: http, containerPort: 8080}]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: db, namespace: shop, labels: {app: db}}
spec: {containers: [{name: db, image: db, ports: [{containerPort: 5432}]}]}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: db, namespace: shop}
spec:
  podSelector: {matchLabels: {app: db}}
  ingress:
    - from: [{podSelector: {matchLabels: {app: web}}}]
      ports: [{port: 5432}]
---
apiVersion: v1
kind: ConfigMap
metadata: {name: unused, namespace: shop}
";

#[test]
fn a_lab_comes_up_proves_its_policy_and_goes() {
    let Some(lab) = Lab::new(MANIFEST) else {
        return;
    };
    let up = lab.run(&["up", "-f", lab.manifest(), "--hosts", "2"]);
    assert_success(&up);
    assert!(
        text(&up.stderr).contains("1 × ConfigMap"),
        "{}",
        text(&up.stderr)
    );

    let probes = lab.probe();
    // 3 workloads: 6 ordered pairs; ports 5432 and 8080; two protocols; two families.
    assert_eq!(probes.len(), 6 * 2 * 2 * 2);
    let denied = probes
        .iter()
        .filter(|probe| probe["observed"] == "Deny")
        .count();
    // From the two of web to db all but TCP 5432, in both families.
    assert_eq!(denied, 2 * 3 * 2);
    let fields: BTreeSet<&str> = probes[0]
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    let expected = [
        "address", "expected", "from", "observed", "port", "protocol", "to",
    ]
    .into_iter()
    .collect();
    assert_eq!(fields, expected);

    let exec = lab.run(&[
        "exec",
        "shop/db",
        "--",
        "sh",
        "-c",
        "cat /proc/net/dev; exit 7",
    ]);
    assert_eq!(exec.status.code(), Some(7));
    assert!(text(&exec.stdout).contains("eth0"));

    let list = lab.command(&["list", "-o", "json"]).output().unwrap();
    let labs: Value = serde_json::from_slice(&list.stdout).unwrap();
    let own = labs
        .as_array()
        .unwrap()
        .iter()
        .find(|x| x["name"] == *lab.name)
        .unwrap();
    assert_eq!(own["state"], "up");
    assert_eq!(own["workloads"].as_array().unwrap().len(), 3);

    let again = lab.run(&["up", "-f", lab.manifest()]);
    assert_eq!(again.status.code(), Some(2), "{}", text(&again.stderr));
    assert_success(&lab.run(&["down"]));
    lab.assert_gone();
}

#[test]
fn a_probe_tells_when_policy_does_not_hold() {
    let Some(lab) = Lab::new(MANIFEST) else {
        return;
    };
    if Command::new("nft").arg("--version").output().is_err() {
        eprintln!("skipped: nft, with which the test breaks a host, is not installed");
        return;
    }
    assert_success(&lab.run(&["up", "-f", lab.manifest(), "--hosts", "1"]));
    // The agent would put its table back in half a second.
    lab.signal_agent("STOP");
    let delete = ["nft", "delete", "table", "inet", "ocicat"];
    assert_success(&lab.run(&[&["exec", "host/host-1", "--"], &delete[..]].concat()));
    let probe = lab.run(&["probe"]);
    lab.signal_agent("CONT");
    assert_eq!(probe.status.code(), Some(1));
    let stdout = text(&probe.stdout);
    assert!(stdout.contains("expected Deny, observed Allow"), "{stdout}");
    assert!(stdout.contains("12 are NOT as policy says"), "{stdout}");
    assert_success(&lab.run(&["down"]));
    lab.assert_gone();
}

#[test]
fn two_labs_live_side_by_side() {
    let (Some(one), Some(other)) = (Lab::new(MANIFEST), Lab::new(MANIFEST)) else {
        return;
    };
    let starting: Vec<Child> = [&one, &other]
        .map(|lab| lab.start(&["up", "-f", lab.manifest()]))
        .into();
    for child in starting {
        assert_success(&child.wait_with_output().unwrap());
    }
    one.probe();
    other.probe();
    assert_success(&one.run(&["down"]));
    one.assert_gone();
    other.probe();
    assert_success(&other.run(&["down"]));
    other.assert_gone();
}

#[test]
fn a_lab_that_is_killed_while_it_is_built_is_removed_whole() {
    let Some(lab) = Lab::new(MANIFEST) else {
        return;
    };
    for delay_ms in [1, 5, 15, 30, 60, 100, 200, 400] {
        let mut up = lab.start(&["up", "-f", lab.manifest()]);
        std::thread::sleep(Duration::from_millis(delay_ms));
        up.kill().unwrap();
        up.wait().unwrap();
        assert_success(&lab.run(&["down"]));
        lab.assert_gone();
    }
}

#[test]
fn the_next_up_removes_what_a_killed_one_left() {
    let Some(lab) = Lab::new(MANIFEST) else {
        return;
    };
    let mut up = lab.start(&["up", "-f", lab.manifest()]);
    lab.wait_for("agent host-1");
    up.kill().unwrap();
    up.wait().unwrap();
    assert_success(&lab.run(&["up", "-f", lab.manifest()]));
    lab.probe();
    assert_success(&lab.run(&["down"]));
    lab.assert_gone();
}

#[test]
fn an_interrupted_up_cleans_up_by_itself() {
    let Some(lab) = Lab::new(MANIFEST) else {
        return;
    };
    let up = lab.start(&["up", "-f", lab.manifest()]);
    // Once its record is there, it has taken the signal into its own hands.
    lab.wait_for("Building");
    let killed = Command::new("kill")
        .args(["-INT", &up.id().to_string()])
        .status()
        .unwrap();
    assert!(killed.success());
    let ended = up.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(130), "{}", text(&ended.stderr));
    lab.assert_gone();
}

#[test]
fn nothing_is_built_from_manifests_with_an_error() {
    let Some(lab) = Lab::new(&MANIFEST.replace("port: 5432}]\n---", "port: 70000}]\n---")) else {
        return;
    };
    let up = lab.run(&["up", "-f", lab.manifest()]);
    assert_eq!(up.status.code(), Some(2));
    let stderr = text(&up.stderr);
    for part in [
        ".yaml:28:",
        "NetworkPolicy shop/db",
        "spec.ingress[0].ports[0].port",
        "70000",
    ] {
        assert!(stderr.contains(part), "{part} in {stderr}");
    }
    lab.assert_gone();
}

/// A machine without addresses of its own gets them from the pool, as a pod does; where nobody names a
/// port, denied and allowed are told apart all the same.
#[test]
fn endpoints_without_addresses_get_some_and_ports_need_no_names() {
    let manifest = "
{apiVersion: v1, kind: Pod, metadata: {name: a, labels: {app: a}}}
---
{apiVersion: v1, kind: Pod, metadata: {name: b}}
---
apiVersion: projectcalico.org/v3
kind: WorkloadEndpoint
metadata: {name: vm2}
spec: {node: host-2, orchestrator: vm, workload: vm2, endpoint: eth0, profiles: [kns.default]}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: a}
spec: {podSelector: {matchLabels: {app: a}}, ingress: [{from: [{podSelector: {}}]}]}
";
    let Some(lab) = Lab::new(manifest) else {
        return;
    };
    assert_success(&lab.run(&["up", "-f", lab.manifest(), "--hosts", "2"]));
    let probes = lab.probe();
    // 6 ordered pairs, one port, two protocols, two families.
    assert_eq!(probes.len(), 6 * 2 * 2);
    let denied = probes.iter().filter(|probe| probe["observed"] == "Deny");
    assert!(
        denied
            .clone()
            .all(|probe| probe["from"] == "default/vm2" && probe["to"] == "default/a")
    );
    assert_eq!(denied.count(), 4);
    let alone = lab.run(&["probe", "--from", "default/a", "--to", "default/a"]);
    assert_eq!(alone.status.code(), Some(1));
    assert!(text(&alone.stderr).contains("nothing can be probed"));
    assert_success(&lab.run(&["down"]));
    lab.assert_gone();
}

/// What cannot be built is told with its place before anything is made.
#[test]
fn pods_with_one_address_are_refused_before_anything_is_built() {
    let manifest = "
{apiVersion: v1, kind: Pod, metadata: {name: a}, status: {podIP: 10.244.0.9}}
---
{apiVersion: v1, kind: Pod, metadata: {name: b}, status: {podIP: 10.244.0.9}}
---
{apiVersion: v1, kind: Pod, metadata: {name: c}, spec: {nodeName: worker_2}}
";
    let Some(lab) = Lab::new(manifest) else {
        return;
    };
    let up = lab.run(&["up", "-f", lab.manifest()]);
    let stderr = text(&up.stderr);
    assert_eq!(up.status.code(), Some(2), "{stderr}");
    for part in [
        ".yaml:4:66: Pod default/b: status.podIP: 10.244.0.9: expected an address of its own",
        ".yaml:6:67: Pod default/c: spec.nodeName: \"worker_2\": expected at most 253",
    ] {
        assert!(stderr.contains(part), "{part} in {stderr}");
    }
    lab.assert_gone();
}

/// Folders are read with all that is in them, and what is no text is told with its place.
#[test]
fn a_lab_reads_folders_in_folders() {
    let Some(lab) = Lab::new(MANIFEST) else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let deep = folder.path().join("a/b");
    fs::create_dir_all(&deep).unwrap();
    fs::write(deep.join("x.yaml"), b"kind: \xff\n").unwrap();
    let up = lab.run(&["up", "-f", folder.path().to_str().unwrap()]);
    let stderr = text(&up.stderr);
    assert_eq!(up.status.code(), Some(2), "{stderr}");
    assert!(stderr.contains("a/b/x.yaml:1:7: not UTF-8"), "{stderr}");
    lab.assert_gone();
}

/// A lab of its own name, taken down when dropped.
struct Lab {
    name: String,
    manifest: PathBuf,
}

impl Lab {
    fn new(manifest: &str) -> Option<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "t{}-{}",
            std::process::id(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        );
        let own = fs::read_to_string("/proc/self/status").unwrap();
        if !own.lines().any(|line| line.starts_with("Uid:\t0\t")) {
            eprintln!("skipped: network namespaces need root");
            return None;
        }
        let file = std::env::temp_dir().join(format!("ocicat-{name}.yaml"));
        fs::write(&file, manifest).unwrap();
        Some(Self {
            name,
            manifest: file,
        })
    }

    fn manifest(&self) -> &str {
        self.manifest.to_str().unwrap()
    }

    fn folder(&self) -> PathBuf {
        Path::new("/run/ocicat/lab").join(&self.name)
    }

    /// Waits until the lab's record says `what`.
    fn wait_for(&self, what: &str) {
        let deadline = Instant::now() + Duration::from_secs(10);
        let record = self.folder().join("lab.json");
        while !fs::read_to_string(&record).is_ok_and(|text| text.contains(what)) {
            assert!(
                Instant::now() < deadline,
                "no {what} in {}",
                record.display()
            );
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Sends a signal to the agent of the first host, which is the one with the word in its command.
    fn signal_agent(&self, signal: &str) {
        let script = format!(
            "for process in /proc/[0-9]*; do
                [ $(readlink $process/ns/net) = $(readlink /proc/self/ns/net) ] || continue
                tr '\\0' '\\n' < $process/cmdline | grep -qx agent || continue
                kill -{signal} ${{process#/proc/}} && echo done
            done"
        );
        let sent = self.run(&["exec", "host/host-1", "--", "sh", "-c", &script]);
        assert_eq!(text(&sent.stdout), "done\n", "{}", text(&sent.stderr));
    }

    /// `ocicat lab` with these arguments.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ocicat"));
        command.arg("lab").args(arguments);
        command
    }

    fn start(&self, arguments: &[&str]) -> Child {
        let (verb, rest) = arguments.split_first().unwrap();
        let mut command = self.command(&[verb, "--name", &self.name]);
        command
            .args(rest)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.start(arguments).wait_with_output().unwrap()
    }

    /// All probes, which must agree with policy.
    fn probe(&self) -> Vec<Value> {
        let probe = self.run(&["probe", "-o", "json"]);
        assert_success(&probe);
        let mut found: Value = serde_json::from_slice(&probe.stdout).unwrap();
        let Value::Array(probes) = found["probes"].take() else {
            panic!("no list of probes: {found}");
        };
        for probe in &probes {
            assert_eq!(probe["expected"], probe["observed"], "{probe}");
        }
        probes
    }

    /// No namespace, no folder, no process.
    fn assert_gone(&self) {
        assert!(
            !self.folder().exists(),
            "{} is still there",
            self.folder().display()
        );
        let prefix = format!("oci-{}-", self.name);
        let namespaces: Vec<String> = fs::read_dir("/run/netns")
            .map(|entries| {
                entries
                    .filter_map(|x| x.ok()?.file_name().into_string().ok())
                    .collect()
            })
            .unwrap_or_default();
        let left: Vec<&String> = namespaces
            .iter()
            .filter(|x| x.starts_with(&prefix))
            .collect();
        assert!(left.is_empty(), "namespaces are left: {left:?}");
        assert_eq!(self.processes(), Vec::<String>::new(), "processes are left");
    }

    /// Processes that carry the lab's mark in their environment.
    fn processes(&self) -> Vec<String> {
        let mark = format!("OCICAT_LAB_PROCESS={}", self.name);
        let entries = fs::read_dir("/proc").unwrap();
        let of_lab = entries.filter_map(|entry| {
            let folder = entry.ok()?.path();
            folder.file_name()?.to_str()?.parse::<u32>().ok()?;
            let environment = fs::read(folder.join("environ")).ok()?;
            let marked = environment
                .split(|byte| *byte == 0)
                .any(|x| x == mark.as_bytes());
            marked.then(|| fs::read_to_string(folder.join("cmdline")).unwrap_or_default())
        });
        of_lab.collect()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if self.folder().exists() {
            self.run(&["down"]);
        }
        let _ = fs::remove_file(&self.manifest);
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn assert_success(output: &Output) {
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert!(
        output.status.success(),
        "{}\n{stdout}\n{stderr}",
        output.status
    );
}
