//! Whether the program in a kernel decides what the tables say.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, bail};
use ocicat_api::Object;
use ocicat_compile::{Config, TABLE};
use ocicat_node::{EndpointId, NodeState};
use ocicat_policy::{Engine, Locality};
use ocicat_program::nft::{Ruleset, TableId};
use ocicat_verify::{Attached, Numbering, Subject, Verification};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

/// What one host has in its kernel, and what it shall decide.
#[derive(Debug)]
pub struct Snapshot {
    pub ruleset: Ruleset,
    pub state: NodeState,
    pub config: Config,
    pub attached: Vec<Attached>,
    /// Interfaces that have a host endpoint by name or by address.
    pub links: BTreeMap<String, EndpointId>,
    pub numbering: Numbering,
}

/// Compares all of it. May take seconds for a large host.
#[must_use]
pub fn report(snapshot: &Snapshot) -> Value {
    let subject = Subject {
        ruleset: &snapshot.ruleset,
        state: &snapshot.state,
        config: &snapshot.config,
        links: &snapshot.links,
        numbering: snapshot.numbering,
    };
    let report = Verification::new(subject, snapshot.attached.clone()).complete();
    json!({
        "agrees": report.differing == 0,
        "endpoints": report.endpoints,
        "directions": report.directions,
        "stacks": report.stacks,
        "classes": report.classes,
        "cells": report.cells,
        "stages": report.stages,
        "pairs": report.pairs,
        "questions": report.questions,
        "differing": report.differing,
        "differences": report.differences,
    })
}

/// Asks the agent that listens on a socket for a [`report`].
///
/// # Errors
/// If it cannot be asked, or cannot answer.
pub async fn ask(socket: &Path) -> anyhow::Result<Value> {
    let place = || format!("the agent at {}", socket.display());
    let mut stream = UnixStream::connect(socket).await.with_context(place)?;
    stream.write_all(b"{\"op\":\"verify\"}\n").await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.with_context(place)?;
    let answer: Value = serde_json::from_slice(&answer).with_context(place)?;
    match answer["ok"] == json!(true) {
        true => Ok(answer["result"].clone()),
        false => bail!("{}: {}", place(), answer["error"]["details"]),
    }
}

/// Compares the table in the network namespace of the calling thread with what objects say of a node.
/// Endpoints, and where they are attached, are read from the kernel.
///
/// # Errors
/// If the kernel cannot be asked, or has no table of ours.
pub fn of_objects<'a>(
    objects: impl IntoIterator<Item = &'a Object>,
    node: &str,
    config: Config,
) -> anyhow::Result<Value> {
    let mut engine = Engine::new(Locality::Node(node.into()));
    for object in objects {
        engine.upsert(object);
    }
    engine.commit();
    let mut nft = ocicat_nft::Connection::open().context("nftables")?;
    let found = nft.dump_table(&TableId::inet(TABLE));
    let ruleset = found.context("reading the table back")?;
    let ruleset = ruleset.context("there is no table inet ocicat in this network namespace")?;
    let state = engine.snapshot();
    Ok(report(&Snapshot {
        links: ocicat_verify::host_links(&ruleset, &state, &config),
        state,
        attached: ocicat_verify::attached(&ruleset),
        ruleset,
        config,
        numbering: Numbering::Fresh,
    }))
}
