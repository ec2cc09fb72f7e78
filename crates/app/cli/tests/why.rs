//! `ocicat why` as a person and as a program sees it. Expected output is in `tests/why`; with
//! `UPDATE_EXPECT=1` it is written anew, to be reviewed in the diff.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// Runs `ocicat` in `tests`, without colour and without a cluster.
fn ocicat(args: &[&str], stdin: &str) -> Output {
    ocicat_bytes(args, stdin.as_bytes())
}

fn ocicat_bytes(args: &[&str], stdin: &[u8]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_ocicat"))
        .args(args)
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests"))
        .env_remove("OCICAT_API")
        .env("KUBECONFIG", "/nonexistent")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A process that does not read its input is no mistake of this test.
    let _ = child.stdin.take().unwrap().write_all(stdin);
    child.wait_with_output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Compares with the file of that name.
fn expect(name: &str, found: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests")
        .join(name);
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(&path, found).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(
        found, expected,
        "{name} differs; UPDATE_EXPECT=1 writes it anew"
    );
}

/// Command line, exit code and stdout of a question.
fn asked(args: &[&str]) -> String {
    let output = ocicat(&[&["why", "-f", "why/shop"], args].concat(), "");
    let stderr = text(&output.stderr);
    assert!(
        stderr.starts_with("note: skipped, of no use here: 1 ConfigMap (v1)"),
        "{stderr}"
    );
    let code = output.status.code().unwrap();
    format!(
        "$ ocicat why -f shop {}\n{}exit {code}\n",
        args.join(" "),
        text(&output.stdout)
    )
}

#[test]
fn explanations_read_well() {
    let questions: [&[&str]; 8] = [
        &["shop/web", "shop/db-0:sql"],
        &["-n", "shop", "deploy/web", "db-0:22"],
        &["shop/printer", "shop/db-0:5432"],
        &["shop/web", "192.0.2.20:9100/TCP"],
        &["shop/web", "[2001:db8::10]:443"],
        &["shop/db-0", "shop/web:http"],
        &["shop/db-0", "10.1.0.7:22"],
        &["shop/web", "shop/db-0:8/ICMP"],
    ];
    let found: Vec<String> = questions.iter().map(|args| asked(args)).collect();
    expect("why/explanations.txt", &found.join("\n"));
}

/// Hosts with host endpoints, cluster policy, services and staged policy.
#[test]
fn hosts_and_staged_policy_are_told() {
    let questions: [&[&str]; 6] = [
        &["192.0.2.1", "host/edge:22"],
        &["192.0.2.1", "hep/edge-wan:8080"],
        &["192.0.2.1", "shop/web:80"],
        &["192.0.2.1", "shop/web:81"],
        &["shop/web", "shop/db:5432"],
        &["shop/web", "host/edge:9100"],
    ];
    let found: Vec<String> = questions
        .iter()
        .map(|args| {
            let output = ocicat(&[&["why", "-f", "why/edge.yaml"], *args].concat(), "");
            assert_eq!(text(&output.stderr), "");
            let code = output.status.code().unwrap();
            let args = args.join(" ");
            format!(
                "$ ocicat why -f edge.yaml {args}\n{}exit {code}\n",
                text(&output.stdout)
            )
        })
        .collect();
    expect("why/edge.txt", &found.join("\n"));
    let lines = r#"{"from":"shop/web","to":"shop/db","port":5432}
{"from":"192.0.2.1","to":"host/edge","port":8080}
{"from":"shop/new","to":"shop/db","port":5432}
"#;
    let output = ocicat(&["why", "-f", "why/edge.yaml", "--batch", "-"], lines);
    expect("why/edge.jsonl", &text(&output.stdout));
}

#[test]
fn json_has_both_sides() {
    let output = ocicat(
        &[
            "why",
            "-f",
            "why/shop",
            "shop/printer",
            "shop/db-0:sql",
            "-o",
            "json",
        ],
        "",
    );
    assert_eq!(output.status.code(), Some(1));
    expect("why/explanation.json", &text(&output.stdout));
    let value: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(value["verdict"], "Deny");
    assert_eq!(value["ingress"]["policy"], "gnp/security.data");
    assert_eq!(value["ingress"]["rule"], 1);
    assert_eq!(value["ingress"]["at"], "why/shop/policies.yaml:17");
}

#[test]
fn a_batch_answers_line_by_line() {
    let lines = [
        r#"{"from":"shop/web","to":"shop/db-0","protocol":"TCP","port":5432}"#,
        r#"{"from":"shop/web","to":"shop/db-0","protocol":"UDP","port":5432}"#,
        r#"{"from":"shop/printer","to":"shop/db-0","protocol":"TCP","port":5432}"#,
        r#"{"from":"192.0.2.99","to":"deploy/web","protocol":"TCP","port":"http"}"#,
        r#"{"from":"shop/db-0","to":"192.0.2.1","protocol":"ICMP","port":"8.0"}"#,
        r#"{"from":"shop/db-0","to":"192.0.2.1","protocol":6,"port":443}"#,
    ];
    let output = ocicat(
        &["why", "-f", "why/shop", "-n", "shop", "--batch", "-"],
        &format!("{}\n", lines.join("\n")),
    );
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    expect("why/batch.jsonl", &text(&output.stdout));
    assert_eq!(text(&output.stdout).lines().count(), lines.len());
}

#[test]
fn bad_lines_of_a_batch_get_an_answer_too() {
    let lines = "{\"from\":\"shop/web\",\"to\":\"shop/db-0\",\"port\":5432}\nnonsense\n\
        {\"from\":\"shop/nobody\",\"to\":\"shop/db-0\",\"port\":1}\n\
        {\"from\":\"shop/web\",\"to\":\"shop/db-0\",\"port\":70000}\n";
    let output = ocicat(&["why", "-f", "why/shop", "--batch", "-"], lines);
    assert_eq!(output.status.code(), Some(2));
    let answers: Vec<Value> = text(&output.stdout)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(answers.len(), 4);
    assert_eq!(answers[0]["verdict"], "Allow");
    let error = |index: usize| answers[index]["error"].as_str().unwrap();
    assert!(error(1).contains("expected {\"from\""), "{}", error(1));
    assert!(error(2).contains("no workload shop/nobody"), "{}", error(2));
    assert!(error(3).contains("expected 0-65535"), "{}", error(3));
}

/// Protocols without ports are asked about without; where a protocol has ports, the destination's first
/// one is meant, or none can be.
#[test]
fn protocols_are_asked_about_without_a_port() {
    let lines = [
        r#"{"from":"shop/web","to":"192.0.2.20","protocol":47,"port":0}"#,
        r#"{"from":"shop/web","to":"192.0.2.20","protocol":"UDPLite","port":53}"#,
        r#"{"from":"shop/web","to":"shop/db-0","protocol":"TCP"}"#,
        r#"{"from":"shop/web","to":"192.0.2.20","protocol":"TCP"}"#,
    ];
    let input = format!("{}\n", lines.join("\n"));
    let output = ocicat(&["why", "-f", "why/shop", "--batch", "-"], &input);
    let answers: Vec<Value> = text(&output.stdout)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let of = |index: usize, field: &str| answers[index][field].to_string();
    assert_eq!(
        (of(0, "protocol"), of(0, "port")),
        ("\"47\"".into(), "null".into())
    );
    assert_eq!(of(1, "protocol"), "\"UDPLite\"");
    assert_eq!(
        (of(2, "port"), of(2, "verdict")),
        ("5432".into(), "\"Allow\"".into())
    );
    assert!(
        of(3, "error").contains("names no TCP port"),
        "{}",
        of(3, "error")
    );
    assert_eq!(output.status.code(), Some(2));
    for destination in ["192.0.2.20/47", "192.0.2.20/ICMP", "shop/db-0/ICMP"] {
        let output = ocicat(&["why", "-f", "why/shop", "shop/web", destination], "");
        let code = output.status.code();
        assert!(matches!(code, Some(0 | 1)), "{}", text(&output.stderr));
    }
}

#[test]
fn a_line_that_is_no_text_does_not_end_the_batch() {
    let good = br#"{"from":"shop/web","to":"shop/db-0","port":5432}"#;
    let input = [&good[..], b"\n{\"from\":\"\xff\"}\n", good, b"\n"].concat();
    let output = ocicat_bytes(&["why", "-f", "why/shop", "--batch", "-"], &input);
    let answers = text(&output.stdout);
    let answers: Vec<&str> = answers.lines().collect();
    assert_eq!(answers.len(), 3, "{}", text(&output.stderr));
    assert_eq!(answers[0], answers[2]);
    assert!(answers[1].contains("not UTF-8"), "{}", answers[1]);
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn questions_that_cannot_be_read_are_bad_input() {
    for (args, expected) in [
        (["shop/web", "shop/db-0:99999"], "expected 0-65535"),
        (["shop/web", "shop/db-0:80/xyz"], "expected TCP, UDP"),
        (
            ["shop/web", "fd00::1:80/TCP"],
            "expected brackets around an IPv6 address",
        ),
        (["Shop/web", "shop/db-0"], "expected namespace/name"),
        (["shop/nobody", "shop/db-0"], "namespace shop has"),
        (["shop/web", "shop/db-0:ssh"], "it has sql"),
        (["192.0.2.1", "[2001:db8::1]:80"], "no address family"),
    ] {
        let output = ocicat(&[&["why", "-f", "why/shop"], &args[..]].concat(), "");
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        assert!(output.stdout.is_empty());
        assert!(stderr.contains(expected), "{stderr}");
    }
}

#[test]
fn without_an_api_nothing_can_be_asked() {
    let output = ocicat(
        &["why", "--api", "unix:/nonexistent", "shop/web", "shop/db-0"],
        "",
    );
    assert_eq!(output.status.code(), Some(3));
    assert!(text(&output.stderr).contains("cannot reach unix:/nonexistent"));
}

/// Without IPPool the pools of a lab count: an address there that nobody has is unclaimed, and what asks
/// for its labels is undetermined.
#[test]
fn addresses_of_assumed_pools_are_unclaimed() {
    let manifests = "
{apiVersion: v1, kind: Pod, metadata: {name: a, labels: {app: a}}, status: {podIP: 10.0.0.1}}
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: a}
spec:
  selector: app == 'a'
  ingress: [{action: Deny, source: {selector: app == 'b'}}, {action: Allow}]
";
    let ask = |more: &str, source: &str| {
        let args = ["why", "-f", "-", source, "default/a:80", "-o", "json"];
        let output = ocicat(&args, &format!("{manifests}{more}"));
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
        answer["verdict"].as_str().unwrap().to_owned()
    };
    let pool = "---
apiVersion: projectcalico.org/v3
kind: IPPool
metadata: {name: pool}
spec: {cidr: 10.9.0.0/16}
";
    assert_eq!(ask("", "10.244.200.1"), "Deny");
    assert_eq!(ask("", "192.0.2.1"), "Allow");
    assert_eq!(ask(pool, "10.244.200.1"), "Allow");
    assert_eq!(ask(pool, "10.9.200.1"), "Deny");
}

/// Each mistake names file, line, column, object, field and what was expected.
#[test]
fn mistakes_in_manifests_are_shown_in_their_lines() {
    let output = ocicat(&["why", "-f", "bad", "shop/a", "shop/b"], "");
    assert_eq!(output.status.code(), Some(2));
    assert!(output.stdout.is_empty());
    expect("bad/expected.txt", &text(&output.stderr));
}
