//! `/livez`, `/readyz` and `/metrics` over HTTP.
//!
//! Live: the core answers within [`PATIENCE`]. Ready: policy is in force. Metrics are in the
//! Prometheus text format.

use std::fmt::Write as _;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};

use crate::core::{Message, Metrics};

const PATIENCE: Duration = Duration::from_secs(10);

type Core = mpsc::Sender<Message>;

/// Serves until the task is dropped.
///
/// # Errors
/// If the listener fails.
pub async fn serve(listener: TcpListener, core: Core) -> anyhow::Result<()> {
    let router = Router::new()
        .route("/livez", get(live))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(core);
    Ok(axum::serve(listener, router).await?)
}

async fn live(State(core): State<Core>) -> (StatusCode, &'static str) {
    match ask(&core).await {
        Some(_) => (StatusCode::OK, "ok\n"),
        None => (
            StatusCode::SERVICE_UNAVAILABLE,
            "the core does not answer\n",
        ),
    }
}

async fn ready(State(core): State<Core>) -> (StatusCode, &'static str) {
    match ask(&core).await {
        Some(metrics) if metrics.ready => (StatusCode::OK, "ok\n"),
        _ => (
            StatusCode::SERVICE_UNAVAILABLE,
            "policy is not in force yet\n",
        ),
    }
}

async fn metrics(State(core): State<Core>) -> Result<String, StatusCode> {
    let metrics = ask(&core).await.ok_or(StatusCode::SERVICE_UNAVAILABLE)?;
    Ok(render(&metrics))
}

async fn ask(core: &Core) -> Option<Metrics> {
    let (reply, answer) = oneshot::channel();
    tokio::time::timeout(PATIENCE, async {
        core.send(Message::Metrics(reply)).await.ok()?;
        answer.await.ok()
    })
    .await
    .ok()
    .flatten()
}

fn render(metrics: &Metrics) -> String {
    let mut out = String::new();
    let mut family = |name: &str, kind: &str, help: &str, lines: Vec<(String, u64)>| {
        let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
        for (labels, value) in lines {
            let _ = writeln!(out, "{name}{labels} {value}");
        }
    };
    let deciders = metrics
        .deciders
        .iter()
        .map(|((decider, verdict), packets)| {
            (
                format!("{{decider=\"{}\",verdict=\"{verdict}\"}}", escape(decider)),
                *packets,
            )
        });
    let help = "Packets decided: the first of each allowed flow, and every denied packet.";
    family(
        "ocicat_decided_packets_total",
        "counter",
        help,
        deciders.collect(),
    );
    let rules = |rules: &std::collections::BTreeMap<String, u64>| {
        let line =
            |(rule, packets): (&String, &u64)| (format!("{{rule=\"{}\"}}", escape(rule)), *packets);
        rules.iter().map(line).collect::<Vec<_>>()
    };
    let help = "Packets that a Pass rule matched.";
    family(
        "ocicat_passed_packets_total",
        "counter",
        help,
        rules(&metrics.passed),
    );
    let help = "Packets that a Log rule matched.";
    family(
        "ocicat_logged_packets_total",
        "counter",
        help,
        rules(&metrics.logged),
    );
    let plain = |value: u64| vec![(String::new(), value)];
    let size = metrics.size.map(|size| size as u64);
    for (name, help, value) in [
        (
            "ocicat_prefixes",
            "Addresses and prefixes with a class in the kernel.",
            size[0],
        ),
        ("ocicat_stacks", "Decision tables in force.", size[1]),
        ("ocicat_rows", "Distinct rows of decision tables.", size[2]),
        ("ocicat_cells", "Cells of distinct rows.", size[3]),
        (
            "ocicat_endpoints",
            "Attached workloads.",
            metrics.endpoints as u64,
        ),
        (
            "ocicat_ready",
            "1 if policy is in force.",
            u64::from(metrics.ready),
        ),
    ] {
        family(name, "gauge", help, plain(value));
    }
    let help = "Transactions committed to the kernel.";
    family(
        "ocicat_commits_total",
        "counter",
        help,
        plain(metrics.commits),
    );
    out
}

fn escape(label: &str) -> String {
    label
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_in_the_text_format() {
        let mut metrics = Metrics {
            ready: true,
            ..Metrics::default()
        };
        metrics
            .deciders
            .insert(("gnp/a \"b\" ingress[0]".into(), "deny"), 3);
        let text = render(&metrics);
        let line = "ocicat_decided_packets_total{decider=\"gnp/a \\\"b\\\" ingress[0]\",verdict=\"deny\"} 3\n";
        assert!(text.contains(line), "{text}");
        assert!(text.contains("ocicat_ready 1\n"));
    }
}
