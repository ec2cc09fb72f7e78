//! Logs: to stderr, as lines for people or JSON for machines.

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    Plain,
    Json,
}

/// Starts logging for the whole process. `level` has been checked by [`level`].
pub fn start(format: LogFormat, level: &str) {
    // Failed requests are reported by whoever made them.
    let quiet = if level.contains("kube_client") {
        ""
    } else {
        ",kube_client=off"
    };
    let filter = EnvFilter::new(format!("{level}{quiet}"));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    let builder = builder.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()));
    match format {
        LogFormat::Plain => builder.with_target(false).init(),
        LogFormat::Json => builder.json().flatten_event(true).init(),
    }
}

/// Reads a level, or a filter as `ocicat_client=debug,info`.
pub fn level(text: &str) -> Result<String, String> {
    match text.parse::<EnvFilter>() {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(format!(
            "{error}; expected error, warn, info, debug, trace or off"
        )),
    }
}
