//! Logs: to stderr, as lines for people or JSON for machines.

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

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
    const EXPECTED: &str = "expected error, warn, info, debug, trace or off, or part=level";
    // A word alone would be a part of the program, of which everything is shown.
    let word = |part: &&str| !part.is_empty() && !part.contains(['=', '[']);
    let wrong = |part: &&str| part.parse::<LevelFilter>().is_err();
    if let Some(part) = text.split(',').map(str::trim).filter(word).find(wrong) {
        return Err(format!("{part:?}: {EXPECTED}"));
    }
    match text.parse::<EnvFilter>() {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(format!("{error}; {EXPECTED}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_levels() {
        for good in [
            "info",
            "WARN",
            "off",
            "ocicat_client=debug,info",
            "a[b{c=1}]=trace",
        ] {
            assert_eq!(level(good).as_deref(), Ok(good));
        }
        for bad in ["bogus", "info,bogus", "a=bogus"] {
            assert!(
                level(bad).unwrap_err().contains("expected error, warn"),
                "{bad}"
            );
        }
    }
}
