//! Standard output.

use std::io::{ErrorKind, Write};

/// Prints a text that ends in a newline. When nobody reads any more, as after `| head`, the process
/// ends as one that SIGPIPE ends: with code 141.
pub fn print(text: &str) {
    let mut stdout = std::io::stdout().lock();
    match stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
    {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::BrokenPipe => std::process::exit(141),
        Err(error) => {
            eprintln!("error: stdout: {error}");
            std::process::exit(3);
        }
    }
}
