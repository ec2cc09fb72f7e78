//! Which TCP ports somebody listens at.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind};

use crate::{Error, Result};

/// `TCP_LISTEN` of `tcp_states.h`.
const LISTEN: u8 = 10;

/// The ports of listening TCP sockets, of either family and any address, in the namespace of the calling
/// thread.
///
/// # Errors
/// `Io` if `/proc` cannot be read.
pub fn tcp() -> Result<BTreeSet<u16>> {
    let mut ports = BTreeSet::new();
    for path in ["/proc/thread-self/net/tcp", "/proc/thread-self/net/tcp6"] {
        let file = match File::open(path) {
            // A kernel without IPv6.
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            file => file.map_err(|error| Error::io(path, error))?,
        };
        for line in BufReader::new(file).lines().skip(1) {
            let line = line.map_err(|error| Error::io(path, error))?;
            match read(&line) {
                Some((port, LISTEN)) => {
                    ports.insert(port);
                }
                // Listening sockets come first.
                _ => break,
            }
        }
    }
    Ok(ports)
}

/// Local port and state of a line of `/proc/net/tcp`, see proc_net_tcp(5).
fn read(line: &str) -> Option<(u16, u8)> {
    let mut words = line.split_whitespace().skip(1);
    let (_, port) = words.next()?.rsplit_once(':')?;
    let state = words.nth(1)?;
    Some((
        u16::from_str_radix(port, 16).ok()?,
        u8::from_str_radix(state, 16).ok()?,
    ))
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn a_line_says_port_and_state() {
        let line = "   1: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  0";
        assert_eq!(read(line), Some((8080, LISTEN)));
        assert_eq!(read("   1: 0100007F"), None);
    }

    #[test]
    fn listeners_are_found_and_connections_are_not() {
        let four = TcpListener::bind("127.0.0.1:0").unwrap();
        let six = TcpListener::bind("[::1]:0").unwrap();
        let port = |listener: &TcpListener| listener.local_addr().unwrap().port();
        let stream = TcpStream::connect(four.local_addr().unwrap()).unwrap();
        let found = tcp().unwrap();
        assert!(found.contains(&port(&four)) && found.contains(&port(&six)));
        assert!(!found.contains(&stream.local_addr().unwrap().port()));
    }
}
