//! `ocicat verify`: whether the program in the kernel decides what policy says.

use std::process::ExitCode;

use serde_json::{Map, Value};

use crate::args::{Answer, VerifyArgs};
use crate::failure::Failure;
use crate::out;
use crate::why::Known;
use ocicat_input::paint::{Stream, Style, paint};

/// Differences that are printed of a host.
const SHOWN: usize = 10;

pub async fn run(args: VerifyArgs) -> Result<ExitCode, Failure> {
    let mut hosts: Vec<(String, Value)> = Vec::new();
    match (&args.node, &args.lab) {
        (Some(node), _) => {
            let known = match args.files.is_empty() {
                true => Known::from_api(&args.api.connect().await?).await?,
                false => Known::from_files(&args.files)?,
            };
            let objects = known.world.objects.values();
            let config = ocicat_agent::Args::default().complete();
            let config = config.map_err(|error| Failure::Input(format!("{error:#}")))?;
            let config = config.program;
            let report = ocicat_agent::verify::of_objects(objects, node, config)?;
            hosts.push((node.clone(), report));
        }
        (None, Some(lab)) => {
            for (host, socket) in ocicat_lab::agents(lab)? {
                hosts.push((host, ocicat_agent::verify::ask(&socket).await?));
            }
        }
        (None, None) => {
            let report = ocicat_agent::verify::ask(&args.socket).await?;
            hosts.push(("this host".to_owned(), report));
        }
    }
    let agrees = hosts.iter().all(|(_, report)| report["agrees"] == true);
    match args.output {
        Answer::Json => {
            let all: Map<String, Value> = hosts.into_iter().collect();
            out::print(&format!("{:#}\n", Value::Object(all)));
        }
        Answer::Text => hosts
            .iter()
            .for_each(|(host, report)| out::print(&text(host, report))),
    }
    Ok(match agrees {
        true => ExitCode::SUCCESS,
        false => ExitCode::from(1),
    })
}

fn text(host: &str, report: &Value) -> String {
    let number = |name: &str| report[name].as_u64().unwrap_or(0);
    let verdict = match report["agrees"] == true {
        true => paint(Stream::Out, Style::Green, "agrees"),
        false => paint(Stream::Out, Style::Red, "differs"),
    };
    let mut text = format!(
        "{host} {verdict}: {} endpoints, {} addresses and directions, {} stacks, {} classes, {} cells, \
         {} stages of host endpoints, {} pairs, {} other questions\n",
        number("endpoints"),
        number("directions"),
        number("stacks"),
        number("classes"),
        number("cells"),
        number("stages"),
        number("pairs"),
        number("questions"),
    );
    let differences = report["differences"].as_array().into_iter().flatten();
    for difference in differences.take(SHOWN).filter_map(Value::as_str) {
        text += &format!("  {difference}\n");
    }
    match number("differing").saturating_sub(SHOWN as u64) {
        0 => {}
        more => text += &format!("  and {more} more\n"),
    }
    text
}
