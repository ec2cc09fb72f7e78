//! The agent: wires one host together and owns every task.
//!
//! ```text
//!   API ──► feed ──► core (one thread: engine, compiler, kernel) ──► status ──► API
//!   CNI, tools ──► socket ──► workload ──┘ ▲
//!   kernel ──► denied (NFLOG) ──► log      └── health: /livez /readyz /metrics
//! ```
//!
//! Tasks and their queues: one feed task for each kind, all into the core's inbox of
//! [`core::INBOX`](crate::core) messages, at which they wait; one status task, which sees only the
//! newest report; one writer of automatic host endpoints, which sees only what is wanted now; one that
//! watches links and one that asks whether the API server answers; up to 64 connections of the socket; one reader of each NFLOG group, which drops and
//! counts. Dropping any of them is safe: all state is the core's.
//!
//! On a clean or unclean exit everything in the kernel stays as it is. The next start adopts it.
//! Policy itself, programs and routes are calculated in `engine`; this crate only brings them together.

mod addresses;
mod auto;
mod config;
mod core;
mod denied;
mod feed;
mod felix;
mod health;
mod links;
mod node;
mod reach;
mod record;
mod socket;
mod status;
pub mod verify;
mod workload;

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};

pub use config::Args;

use crate::addresses::Addresses;
use crate::config::Config;
use crate::core::{Core, INBOX, Report, Tells};
use crate::workload::Workloads;

/// Runs until SIGTERM or SIGINT.
///
/// # Errors
/// If the configuration is bad, or a socket of the kernel or the host cannot be had.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let config = args.complete()?;
    let health = TcpListener::bind(config.health);
    let health = health
        .await
        .with_context(|| format!("listening on {}", config.health))?;
    let endpoint = match &config.api {
        Some(text) => text.parse()?,
        None => ocicat_client::Endpoint::default(),
    };
    let client = ocicat_client::Client::connect(&endpoint).await?;
    let listener = socket::listen(&config.run_dir.join("agent.sock"))?;
    let (inbox, messages) = mpsc::channel(INBOX);
    let (reports, report) = watch::channel(Report::default());
    let (auto_endpoints, wanted) = watch::channel(None);
    let denied = denied::Known::default();
    let tells = Tells {
        denied: denied.clone(),
        reports,
        auto_endpoints,
    };
    let api = reach::addresses(client.endpoint()).await;
    start_core(&config, tells, api, messages)?;
    let addresses = Addresses::new(client.clone(), &config.node);
    let workloads = Workloads::new(client.clone(), addresses, inbox.clone(), config.mtu);
    tracing::info!(node = config.node, api = client.endpoint(), "agent starts");
    let mut tasks = feed::start(&client, &inbox);
    tasks.push(tokio::spawn(register(client.clone(), config.clone())));
    tasks.push(tokio::spawn(socket::serve(listener, Arc::new(workloads))));
    tasks.push(tokio::spawn(status::follow(
        client.clone(),
        config.node.clone(),
        report,
    )));
    let auto = auto::follow(client.clone(), config.node.clone(), wanted);
    tasks.push(tokio::spawn(auto));
    tasks.push(tokio::spawn(reach::follow(client.clone(), inbox.clone())));
    let prefix = config.program.interface_prefix.clone();
    tasks.push(tokio::spawn(links::watch(inbox.clone(), prefix)));
    for group in [config.program.deny_group, config.program.log_group] {
        tasks.push(tokio::spawn(read_log(group, denied.clone())));
    }
    tasks.push(tokio::spawn(async move {
        if let Err(error) = health::serve(health, inbox).await {
            tracing::error!("health server: {error:#}");
        }
    }));
    stop_signal().await?;
    tracing::info!("agent stops; what is in force stays in force");
    for task in tasks {
        task.abort();
    }
    Ok(())
}

fn start_core(
    config: &Config,
    tells: Tells,
    api: Vec<SocketAddr>,
    messages: mpsc::Receiver<core::Message>,
) -> anyhow::Result<()> {
    let core = Core::open(config.clone(), tells, api)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()?;
    let run = move || {
        runtime.block_on(core.run(messages));
    };
    let thread = std::thread::Builder::new()
        .name("core".into())
        .spawn(move || {
            // A core that has panicked must not leave an agent that only looks alive.
            if std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).is_err() {
                tracing::error!("the core failed; the agent ends, what is in force stays in force");
                std::process::exit(70);
            }
        });
    thread.map(drop).context("starting the core")
}

async fn register(client: ocicat_client::Client, config: Config) {
    let mut wait = std::time::Duration::from_millis(200);
    while let Err(error) = node::register(&client, &config.node, &config.node_ip).await {
        tracing::warn!("{error:#}; trying again");
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(std::time::Duration::from_secs(10));
    }
}

async fn read_log(group: u16, known: denied::Known) {
    loop {
        if let Err(error) = denied::follow(group, known.clone()).await {
            tracing::warn!(group, "reading denied packets: {error:#}; trying again");
        }
        tokio::time::sleep(std::time::Duration::from_secs(5)).await;
    }
}

async fn stop_signal() -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}
