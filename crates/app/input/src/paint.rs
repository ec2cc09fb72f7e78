//! Colour, where a person looks at it.
//!
//! Only on terminals, and not where `NO_COLOR` is set (no-color.org) or `TERM` is `dumb`.

use std::io::IsTerminal;
use std::sync::OnceLock;

/// Where text goes.
#[derive(Debug, Clone, Copy)]
pub enum Stream {
    Out,
    Err,
}

/// SGR parameters (ECMA-48, section 8.3.117).
#[derive(Debug, Clone, Copy)]
pub enum Style {
    Bold,
    Dim,
    Red,
    Green,
    Yellow,
}

pub fn paint(stream: Stream, style: Style, text: &str) -> String {
    if !coloured(stream) {
        return text.to_owned();
    }
    let code = match style {
        Style::Bold => "1",
        Style::Dim => "2",
        Style::Red => "1;31",
        Style::Green => "1;32",
        Style::Yellow => "1;33",
    };
    format!("\x1b[{code}m{text}\x1b[0m")
}

/// For the word that opens an error on stderr.
pub fn error(text: &str) -> String {
    paint(Stream::Err, Style::Red, text)
}

/// For the word that opens a warning on stderr.
pub fn warning(text: &str) -> String {
    paint(Stream::Err, Style::Yellow, text)
}

fn coloured(stream: Stream) -> bool {
    static WANTED: OnceLock<bool> = OnceLock::new();
    let wanted = *WANTED.get_or_init(|| {
        let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        !set("NO_COLOR") && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
    });
    wanted
        && match stream {
            Stream::Out => std::io::stdout().is_terminal(),
            Stream::Err => std::io::stderr().is_terminal(),
        }
}
