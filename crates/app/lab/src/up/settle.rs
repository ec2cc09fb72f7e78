//! Waits until the agents have caught up.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;
use ocicat_api::Object;
use ocicat_client::Client;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;

use super::agent_role;
use crate::catalog;
use crate::process;
use crate::state::{Folder, Host, Lab};

/// Pause between two questions to an agent.
const PAUSE: Duration = Duration::from_millis(10);
/// How long an agent may take to answer one question.
const ANSWER: Duration = Duration::from_secs(5);

/// Waits until the agent of `host` says that it is ready: what it knows is in the kernel.
///
/// # Errors
/// If the agent ends, or is not ready in time; with the end of its log.
pub async fn agent_is_ready(
    folder: &Folder,
    lab: &Lab,
    host: &Host,
    patience: Duration,
) -> anyhow::Result<()> {
    let socket = folder.agent_socket(&host.name);
    wait(folder, lab, host, patience, || async {
        let status = ask(&socket, &json!({"op": "status"})).await?;
        anyhow::ensure!(status["ready"] == json!(true), "it is not ready: {status}");
        Ok(())
    })
    .await
}

/// Waits until every host knows the owner of every workload's address, so that nothing is `unclaimed`
/// any more.
///
/// # Errors
/// As for [`agent_is_ready`]; the error names the addresses that are not known.
pub async fn everyone_knows_everyone(
    folder: &Folder,
    lab: &Lab,
    patience: Duration,
) -> anyhow::Result<()> {
    let addresses: Vec<IpAddr> = lab
        .workloads
        .iter()
        .flat_map(|workload| workload.addresses.iter().copied())
        .collect();
    for host in &lab.hosts {
        let socket = folder.agent_socket(&host.name);
        let addresses = &addresses;
        wait(folder, lab, host, patience, || async {
            let answer = ask(&socket, &json!({"op": "unknown", "addresses": addresses})).await?;
            let unknown = answer["unknown"]
                .as_array()
                .context("the list of what is unknown")?;
            anyhow::ensure!(unknown.is_empty(), "it does not know {}", answer["unknown"]);
            Ok(())
        })
        .await?;
    }
    Ok(())
}

/// Waits until every agent enforces the host endpoints of its host, those included that agents make
/// of themselves.
///
/// # Errors
/// As for [`agent_is_ready`]; or if the API server does not answer.
pub async fn host_endpoints(
    folder: &Folder,
    lab: &Lab,
    client: &Client,
    patience: Duration,
) -> anyhow::Result<()> {
    let objects = catalog::objects(client).await?;
    let makes_own = |object: &Object| match object {
        Object::KubeControllersConfiguration(x) => {
            &*x.metadata.name == "default" && x.auto_host_endpoints && x.default_host_endpoint
        }
        _ => false,
    };
    let own = objects.iter().any(makes_own);
    for host in &lab.hosts {
        let mut names: BTreeSet<String> = objects
            .iter()
            .filter_map(|object| match object {
                Object::HostEndpoint(x) if *x.node == *host.name => {
                    Some(format!("hep/{}", x.metadata.name))
                }
                _ => None,
            })
            .collect();
        if own {
            names.insert(format!("hep/{}-auto-hep", host.name));
        }
        if names.is_empty() {
            continue;
        }
        let (socket, names) = (folder.agent_socket(&host.name), &names);
        wait(folder, lab, host, patience, || async {
            let status = ask(&socket, &json!({"op": "status"})).await?;
            let enforced = status["hostEndpoints"].as_array();
            let enforced: Vec<&str> = (enforced.into_iter().flatten())
                .filter_map(|x| x["endpoint"].as_str())
                .collect();
            let missing = names.iter().find(|name| !enforced.contains(&name.as_str()));
            anyhow::ensure!(missing.is_none(), "it does not enforce {missing:?}");
            Ok(())
        })
        .await?;
    }
    Ok(())
}

/// Asks until the answer is good, the agent is gone, or the time is up.
async fn wait<F: Future<Output = anyhow::Result<()>>>(
    folder: &Folder,
    lab: &Lab,
    host: &Host,
    patience: Duration,
    question: impl Fn() -> F,
) -> anyhow::Result<()> {
    let role = agent_role(host);
    let deadline = Instant::now() + patience;
    loop {
        let Err(error) = question().await else {
            return Ok(());
        };
        let agent = lab.daemons.iter().find(|daemon| daemon.role == role);
        let ended = agent.is_none_or(|agent| !agent.process.runs());
        if ended || Instant::now() > deadline {
            let log = folder.log(&role);
            let text = std::fs::read_to_string(&log).unwrap_or_default();
            let error = if ended {
                anyhow::anyhow!("it ended")
            } else {
                error
            };
            let log = format!("{role}; the end of its log:\n{}", process::tail(&text));
            return Err(error.context(log));
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// One question to an agent: a line there, a line back.
async fn ask(socket: &Path, question: &Value) -> anyhow::Result<Value> {
    let exchange = async {
        let mut stream = UnixStream::connect(socket).await?;
        stream.write_all(format!("{question}\n").as_bytes()).await?;
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).await?;
        anyhow::Ok(serde_json::from_str::<Value>(&line)?)
    };
    let mut answer = tokio::time::timeout(ANSWER, exchange)
        .await
        .context("no answer")??;
    anyhow::ensure!(answer["ok"] == json!(true), "{}", answer["error"]);
    Ok(answer["result"].take())
}
