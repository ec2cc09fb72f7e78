//! Sections that put who is there, one line for each: `namespaces`, `pods` and `hosts`.

use std::net::IpAddr;

use ocicat_api::decode::decode;
use ocicat_api::{Object, Protocol};
use serde_json::{Map, Value, json};

use super::Link;

/// `NAME [LABEL=VALUE]…`
pub fn namespace(line: &str) -> Result<Object, String> {
    let mut words = line.split_whitespace();
    let name = words.next().unwrap_or_default();
    let mut labels = Map::new();
    for word in words {
        let (label, value) = word
            .split_once('=')
            .ok_or_else(|| format!("{word:?}: expected LABEL=VALUE"))?;
        labels.insert(label.to_owned(), value.into());
    }
    object(&json!({
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": name, "labels": labels},
    }))
}

/// `NAMESPACE/NAME ADDRESS… [LABEL=VALUE]… [PORTNAME:PORT/PROTOCOL]… [@NODE]`
pub fn pod(line: &str) -> Result<Object, String> {
    let mut words = line.split_whitespace();
    let name = words.next().unwrap_or_default();
    let (namespace, name) = name
        .split_once('/')
        .ok_or_else(|| format!("{name:?}: expected NAMESPACE/NAME"))?;
    let (mut addresses, mut labels, mut ports) = (Vec::new(), Map::new(), Vec::new());
    let mut node = None;
    for word in words {
        if let Ok(address) = word.parse::<IpAddr>() {
            addresses.push(json!({"ip": address.to_string()}));
        } else if let Some(name) = word.strip_prefix('@') {
            node = Some(name);
        } else if let Some((label, value)) = word.split_once('=') {
            labels.insert(label.to_owned(), value.into());
        } else {
            ports.push(port(word)?);
        }
    }
    if addresses.is_empty() {
        return Err("expected an address after the name".to_owned());
    }
    let mut spec = json!({"containers": [{"name": "main", "ports": ports}]});
    if let Some(node) = node {
        spec["nodeName"] = node.into();
    }
    object(&json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": spec,
        "status": {"podIPs": addresses},
    }))
}

/// `NODE INTERFACE [ADDRESS]…`
pub fn link(line: &str) -> Result<Link, String> {
    let mut words = line.split_whitespace();
    let (Some(node), Some(interface)) = (words.next(), words.next()) else {
        return Err("expected NODE INTERFACE [ADDRESS]...".to_owned());
    };
    let addresses = words.map(|word| {
        word.parse()
            .map_err(|_| format!("{word:?}: expected an address"))
    });
    Ok(Link {
        node: node.to_owned(),
        interface: interface.to_owned(),
        addresses: addresses.collect::<Result<_, _>>()?,
    })
}

fn port(word: &str) -> Result<Value, String> {
    let expected =
        || format!("{word:?}: expected an address, LABEL=VALUE, @NODE or NAME:PORT/PROTOCOL");
    let (name, rest) = word.split_once(':').ok_or_else(expected)?;
    let (port, protocol) = rest.split_once('/').ok_or_else(expected)?;
    let port: u16 = port.parse().map_err(|_| expected())?;
    let protocol: Protocol = protocol.parse().map_err(|_| expected())?;
    Ok(json!({"name": name, "containerPort": port, "protocol": protocol.to_string()}))
}

fn object(value: &Value) -> Result<Object, String> {
    let decoded = decode(value);
    let problems: Vec<String> = decoded.problems.iter().map(ToString::to_string).collect();
    match decoded.object {
        Some(object) if problems.is_empty() => Ok(object),
        _ => Err(problems.join("; ")),
    }
}
