//! Shows the labs of this machine.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;

use crate::state::{Daemon, Folder, Host, Lab, Phase, Workload};

/// A lab as it is now.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    name: String,
    /// `up`, `building`, or what is wrong.
    state: String,
    api: Option<String>,
    socket: String,
    kubeconfig: String,
    hosts: Vec<Host>,
    workloads: Vec<Workload>,
}

/// Looks at every lab there is.
///
/// # Errors
/// If the folder of all labs cannot be read.
pub fn all() -> anyhow::Result<Vec<Summary>> {
    Ok(Folder::all()?.iter().map(summary).collect())
}

fn summary(folder: &Folder) -> Summary {
    let (lab, state) = match Lab::load(folder) {
        Ok(Some(lab)) => {
            let state = state(folder, &lab);
            (lab, state)
        }
        Ok(None) if folder.is_locked() => (Lab::new(folder.name()), "building".to_owned()),
        Ok(None) => (Lab::new(folder.name()), "interrupted".to_owned()),
        Err(error) => (Lab::new(folder.name()), format!("{error:#}")),
    };
    Summary {
        name: lab.name,
        state,
        api: lab.api_url,
        socket: format!("unix:{}", folder.api_socket().display()),
        kubeconfig: folder.kubeconfig().display().to_string(),
        hosts: lab.hosts,
        workloads: lab.workloads,
    }
}

fn state(folder: &Folder, lab: &Lab) -> String {
    let dead: Vec<&str> = lab
        .daemons
        .iter()
        .filter(|daemon| !daemon.process.runs())
        .map(|Daemon { role, .. }| role.as_str())
        .collect();
    match lab.phase {
        _ if folder.is_locked() => "changing".to_owned(),
        Phase::Building => "interrupted".to_owned(),
        Phase::Up if dead.is_empty() => "up".to_owned(),
        Phase::Up => format!("broken: {} ended", dead.join(", ")),
    }
}

/// For people: a line for each lab, host and workload.
#[must_use]
pub fn text(labs: &[Summary]) -> String {
    if labs.is_empty() {
        return "No labs. `ocicat lab up -f examples/shop` makes one.\n".to_owned();
    }
    let mut out = String::new();
    for (number, lab) in labs.iter().enumerate() {
        if number > 0 {
            out.push('\n');
        }
        let _ = writeln!(out, "Lab {} ({})", lab.name, lab.state);
        let _ = writeln!(out, "  API         {}", lab.socket);
        if let Some(url) = &lab.api {
            let _ = writeln!(out, "              {url}");
            let _ = writeln!(out, "  kubectl     --kubeconfig {}", lab.kubeconfig);
        }
        out.push_str(&table(lab));
    }
    out
}

/// Each host, and its workloads below it in columns that all hosts share.
fn table(lab: &Summary) -> String {
    let row = |workload: &Workload| [workload.full_name(), join(&workload.addresses)];
    let mut widths = [0, 0];
    let mut by_host: BTreeMap<&str, Vec<&Workload>> = BTreeMap::new();
    for workload in &lab.workloads {
        by_host.entry(&workload.host).or_default().push(workload);
        for (width, text) in widths.iter_mut().zip(row(workload)) {
            *width = text.len().max(*width);
        }
    }
    let [a, b] = widths;
    let mut out = String::new();
    for host in &lab.hosts {
        let outside = if host.outside {
            " (outside the cluster)"
        } else {
            ""
        };
        let _ = writeln!(out, "  {}{outside}  {}", host.name, join(&host.addresses));
        for workload in by_host.get(host.name.as_str()).into_iter().flatten() {
            let [name, addresses] = row(workload);
            let ports = if workload.ports.is_empty() {
                String::new()
            } else {
                format!("serves {}", join(&workload.ports))
            };
            let line = format!("    {name:a$}  {addresses:b$}  {ports}");
            let _ = writeln!(out, "{}", line.trim_end());
        }
    }
    out
}

fn join<T: ToString>(items: &[T]) -> String {
    let texts: Vec<String> = items.iter().map(ToString::to_string).collect();
    texts.join(" ")
}
