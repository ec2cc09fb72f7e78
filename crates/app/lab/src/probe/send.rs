//! Sends probes and sees what comes back.
//!
//! ```text
//!   workload's namespace: socket bound to (source, source port) ──► kernel of its host ──► …
//!   this process:         waits for an answer, a refusal, or the end of patience
//! ```
//!
//! That a packet passed shows in an answer, or in a refusal that only the asked workload sends: a TCP
//! reset or an ICMP "port unreachable". Policy drops without a word, so silence means denied; because
//! silence may also mean a busy machine, what policy should allow is asked up to three times, with
//! growing patience.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ocicat_kernel::netns::Namespace;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpSocket, UdpSocket};
use tokio::time::timeout;

use super::plan::{Probe, Transport};

/// How long a probe that should be denied waits for an answer that must not come.
const DENIED: [Duration; 1] = [Duration::from_millis(250)];
/// How long a probe that should be allowed waits, each time it is sent.
const ALLOWED: [Duration; 3] = [
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_millis(1500),
];
/// How long the responder may take once a connection is made, by which time the verdict is known.
const NAME: Duration = Duration::from_secs(2);
/// The longest answer: a namespace, a slash, a name and a newline.
const LONGEST_NAME: usize = 512;

/// What was seen of a probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Observation {
    /// It got through, and this is the name that answered.
    Answered(String),
    /// It got through, and nobody serves that port; or somebody does who does not say a name.
    Reached,
    /// Nothing came back.
    Silent,
    /// It could not be sent, or the network said that it cannot be delivered.
    Failed(String),
}

/// What policy says should become of a probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expectation {
    Allow,
    Deny,
}

/// Sends a probe from inside `namespace`, again if need be, until there is something to see.
pub async fn observe(namespace: &Namespace, probe: &Probe, expected: Expectation) -> Observation {
    let patiences: &[Duration] = match expected {
        Expectation::Allow => &ALLOWED,
        Expectation::Deny => &DENIED,
    };
    let mut last = Observation::Silent;
    for patience in patiences {
        let seen = match probe.transport {
            Transport::Tcp => ask_tcp(namespace, probe, *patience).await,
            Transport::Udp => ask_udp(namespace, probe, *patience).await,
        };
        last = seen.unwrap_or_else(|error| judge(&error));
        match last {
            Observation::Answered(_) | Observation::Reached => break,
            Observation::Silent => {}
            // It was refused at once, which would be no different a moment later.
            Observation::Failed(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
    last
}

async fn ask_tcp(
    namespace: &Namespace,
    probe: &Probe,
    patience: Duration,
) -> io::Result<Observation> {
    let socket = namespace.run(|| -> io::Result<TcpSocket> {
        let socket = match probe.source {
            IpAddr::V4(_) => TcpSocket::new_v4()?,
            IpAddr::V6(_) => TcpSocket::new_v6()?,
        };
        socket.set_reuseaddr(true)?;
        socket.bind(SocketAddr::new(probe.source, probe.source_port))?;
        Ok(socket)
    });
    let socket = socket.map_err(io::Error::other)??;
    let connect = socket.connect(SocketAddr::new(probe.address, probe.port));
    let Ok(connection) = timeout(patience, connect).await else {
        return Ok(Observation::Silent);
    };
    let mut connection = connection?;
    // Hanging up with a reset leaves no TIME_WAIT on either side.
    connection.set_zero_linger()?;
    let mut answer = Vec::new();
    let mut limited = (&mut connection).take(LONGEST_NAME as u64);
    let named = async {
        while !answer.ends_with(b"\n") {
            if limited.read_buf(&mut answer).await? == 0 {
                break;
            }
        }
        io::Result::Ok(())
    };
    // The connection was made: whatever comes of the name, the packet passed.
    let _ = timeout(NAME, named).await;
    Ok(name(&answer))
}

async fn ask_udp(
    namespace: &Namespace,
    probe: &Probe,
    patience: Duration,
) -> io::Result<Observation> {
    let source = SocketAddr::new(probe.source, probe.source_port);
    let socket = namespace
        .run(|| std::net::UdpSocket::bind(source))
        .map_err(io::Error::other)??;
    socket.set_nonblocking(true)?;
    let socket = UdpSocket::from_std(socket)?;
    // A connected socket hears of ICMP errors.
    socket
        .connect(SocketAddr::new(probe.address, probe.port))
        .await?;
    socket.send(b"who are you?\n").await?;
    let mut buffer = [0; LONGEST_NAME];
    match timeout(patience, socket.recv(&mut buffer)).await {
        Ok(length) => Ok(name(&buffer[..length?])),
        Err(_) => Ok(Observation::Silent),
    }
}

fn name(answer: &[u8]) -> Observation {
    match answer.strip_suffix(b"\n").map(std::str::from_utf8) {
        Some(Ok(name)) if !name.is_empty() => Observation::Answered(name.to_owned()),
        _ => Observation::Reached,
    }
}

fn judge(error: &io::Error) -> Observation {
    match error.kind() {
        ErrorKind::ConnectionRefused | ErrorKind::ConnectionReset => Observation::Reached,
        ErrorKind::TimedOut => Observation::Silent,
        _ => Observation::Failed(error.to_string()),
    }
}
