//! `ocicat why`: which rule lets traffic pass or stops it, and where it stands.

mod batch;
mod question;
mod target;
mod text;
mod world;

use std::process::ExitCode;

use ocicat_analysis::Answer as Verdict;

use crate::args::{Answer, WhyArgs};
use crate::failure::Failure;
use crate::out;
use question::{Question, Worlds};
pub use world::Known;

pub async fn run(args: WhyArgs) -> Result<ExitCode, Failure> {
    // A question that cannot be read is refused before anything else is.
    let question = match (&args.source, &args.destination) {
        (Some(source), Some(destination)) => Some(Question::read(source, destination)?),
        _ => None,
    };
    let known = if args.files.is_empty() {
        Known::from_api(&args.api.connect().await?).await?
    } else {
        Known::from_files(&args.files)?
    };
    let namespace = args
        .namespace
        .namespace
        .as_deref()
        .unwrap_or(&known.namespace);
    let mut worlds = Worlds::new(&known.world);
    if let Some(path) = &args.batch {
        worlds.settle_addresses();
        return batch::run(path, &known, &mut worlds, namespace);
    }
    // Clap requires both ends where there is no batch.
    let Some(question) = question else {
        return Err(Failure::Input("give SRC and DST".into()));
    };
    let asked = question
        .ask(&known.world, &mut worlds, namespace)
        .map_err(Failure::Input)?;
    match args.output {
        Answer::Json => out::print(&asked.json()),
        Answer::Text => out::print(&text::render(&asked)),
    }
    Ok(if asked.verdict() == Verdict::Allow {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(1)
    })
}
