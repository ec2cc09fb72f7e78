//! Flows that run while something else happens: one thread moves them all, a step every few
//! milliseconds.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ocicat_kernel::netns::Namespace;

use super::cluster::{Workload, any, udp};

/// Between two steps.
const STEP: Duration = Duration::from_millis(5);
/// At the end nothing is sent for so long, so that what is under way arrives.
const DRAIN: Duration = Duration::from_millis(500);
/// How long a flow may take to begin.
const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes of one message.
const MESSAGE: usize = 8;

/// Who sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Talk {
    /// The client asks, the server answers.
    Echo,
    /// The server sends; the client has only begun the flow.
    Push,
}

/// An established flow.
pub struct Flow {
    pub name: String,
    talk: Talk,
    ends: Ends,
    seen: Seen,
}

enum Ends {
    Udp {
        client: UdpSocket,
        server: UdpSocket,
        peer: SocketAddr,
    },
    Tcp {
        client: TcpStream,
        server: TcpStream,
    },
}

/// What became of a flow so far.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    pub sent: u64,
    pub received: u64,
    /// The longest time between two arrivals.
    pub longest_gap: Duration,
    last: Option<Instant>,
    /// Received over TCP.
    bytes: u64,
    /// Why it is over.
    pub broken: Option<String>,
}

/// Flows that run.
pub struct Traffic {
    flows: Vec<String>,
    seen: Arc<Mutex<Vec<Seen>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Vec<(String, Seen)>>>,
}

impl Flow {
    /// Begins a flow to address number `family` (0 is IPv4, 1 is IPv6) and `port` of the server.
    pub fn udp(client: &Workload, server: &Workload, family: usize, port: u16, talk: Talk) -> Self {
        let target = SocketAddr::new(server.addresses[family], port);
        let server_end = udp(&server.namespace, target);
        let client_end = udp(&client.namespace, any(target.ip()));
        client_end.connect(target).unwrap();
        let name = name("UDP", client, server, target, talk);
        let mut buffer = [0; MESSAGE];
        let begin = Instant::now();
        let peer = loop {
            client_end.send(&[0; MESSAGE]).unwrap();
            std::thread::sleep(STEP);
            if let Ok((_, peer)) = server_end.recv_from(&mut buffer) {
                break peer;
            }
            assert!(begin.elapsed() < PATIENCE, "{name} does not begin");
        };
        while server_end.recv_from(&mut buffer).is_ok() {}
        let ends = Ends::Udp {
            client: client_end,
            server: server_end,
            peer,
        };
        Self {
            name,
            talk,
            ends,
            seen: Seen::default(),
        }
    }

    /// As [`Flow::udp`].
    pub fn tcp(client: &Workload, server: &Workload, family: usize, port: u16, talk: Talk) -> Self {
        let target = SocketAddr::new(server.addresses[family], port);
        let name = name("TCP", client, server, target, talk);
        let listener = server
            .namespace
            .run(|| TcpListener::bind(target))
            .unwrap()
            .unwrap();
        let connected = connect(&client.namespace, target, PATIENCE);
        let client_end = connected.unwrap_or_else(|error| panic!("{name}: {error}"));
        let (server_end, _) = listener.accept().unwrap();
        for end in [&client_end, &server_end] {
            end.set_nodelay(true).unwrap();
            end.set_nonblocking(true).unwrap();
        }
        let ends = Ends::Tcp {
            client: client_end,
            server: server_end,
        };
        Self {
            name,
            talk,
            ends,
            seen: Seen::default(),
        }
    }

    /// Moves what waits, and sends if `sends`.
    fn step(&mut self, sends: bool) {
        if self.seen.broken.is_some() {
            return;
        }
        let outcome = match (&self.ends, self.talk) {
            (
                Ends::Udp {
                    client,
                    server,
                    peer,
                },
                talk,
            ) => udp_step(client, server, *peer, talk, sends, &mut self.seen),
            (Ends::Tcp { client, server }, talk) => {
                tcp_step(client, server, talk, sends, &mut self.seen)
            }
        };
        if let Err(error) = outcome {
            self.seen.broken = Some(error.to_string());
        }
    }
}

/// Connects from inside `namespace`.
pub fn connect(
    namespace: &Namespace,
    target: SocketAddr,
    limit: Duration,
) -> std::io::Result<TcpStream> {
    namespace
        .run(|| TcpStream::connect_timeout(&target, limit))
        .map_err(std::io::Error::other)?
}

fn udp_step(
    client: &UdpSocket,
    server: &UdpSocket,
    peer: SocketAddr,
    talk: Talk,
    sends: bool,
    seen: &mut Seen,
) -> std::io::Result<()> {
    let mut buffer = [0; MESSAGE];
    while let Some(length) = done(server.recv(&mut buffer))? {
        if talk == Talk::Echo {
            done(server.send_to(&buffer[..length], peer))?;
        }
    }
    while done(client.recv(&mut buffer))?.is_some() {
        seen.note(1);
    }
    if !sends {
        return Ok(());
    }
    let message = seen.sent.to_be_bytes();
    let sent = match talk {
        Talk::Echo => done(client.send(&message))?,
        Talk::Push => done(server.send_to(&message, peer))?,
    };
    seen.sent += u64::from(sent.is_some());
    Ok(())
}

fn tcp_step(
    mut client: &TcpStream,
    mut server: &TcpStream,
    talk: Talk,
    sends: bool,
    seen: &mut Seen,
) -> std::io::Result<()> {
    let mut buffer = [0; 64 * MESSAGE];
    while let Some(length) = done(server.read(&mut buffer))? {
        if length == 0 {
            return Err(std::io::Error::other("the server's end was closed"));
        }
        if talk == Talk::Echo {
            done(server.write(&buffer[..length]))?;
        }
    }
    while let Some(length) = done(client.read(&mut buffer))? {
        if length == 0 {
            return Err(std::io::Error::other("the client's end was closed"));
        }
        // A message may come in parts.
        seen.bytes += length as u64;
        seen.note(0);
        seen.received = seen.bytes / MESSAGE as u64;
    }
    if !sends {
        return Ok(());
    }
    let message = seen.sent.to_be_bytes();
    let sent = match talk {
        Talk::Echo => done(client.write(&message))?,
        Talk::Push => done(server.write(&message))?,
    };
    seen.sent += u64::from(sent.is_some());
    Ok(())
}

/// Nothing, if there is nothing to read or no room to write, or somebody on the way has said no: what
/// counts is what arrives.
fn done(result: std::io::Result<usize>) -> std::io::Result<Option<usize>> {
    const UNREACHABLE: [i32; 4] = [
        libc::EHOSTUNREACH,
        libc::ENETUNREACH,
        libc::ECONNREFUSED,
        libc::EPERM,
    ];
    match result {
        Ok(count) => Ok(Some(count)),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
        Err(error)
            if error
                .raw_os_error()
                .is_some_and(|x| UNREACHABLE.contains(&x)) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

impl Seen {
    fn note(&mut self, messages: u64) {
        let now = Instant::now();
        if let Some(last) = self.last {
            self.longest_gap = self.longest_gap.max(now - last);
        }
        self.last = Some(now);
        self.received += messages;
    }
}

impl Traffic {
    pub fn start(mut flows: Vec<Flow>) -> Self {
        let names = flows.iter().map(|flow| flow.name.clone()).collect();
        let seen = Arc::new(Mutex::new(vec![Seen::default(); flows.len()]));
        let stop = Arc::new(AtomicBool::new(false));
        let (shared, stopped) = (Arc::clone(&seen), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            let mut end = None;
            while end.is_none_or(|end| Instant::now() < end) {
                if stopped.load(Ordering::Relaxed) {
                    end.get_or_insert_with(|| Instant::now() + DRAIN);
                }
                flows.iter_mut().for_each(|flow| flow.step(end.is_none()));
                let now = flows.iter().map(|flow| flow.seen.clone()).collect();
                *shared.lock().unwrap() = now;
                std::thread::sleep(STEP);
            }
            flows
                .into_iter()
                .map(|flow| (flow.name, flow.seen))
                .collect()
        });
        Self {
            flows: names,
            seen,
            stop,
            thread: Some(thread),
        }
    }

    /// How many messages each flow has received.
    pub fn received(&self) -> Vec<u64> {
        self.seen
            .lock()
            .unwrap()
            .iter()
            .map(|seen| seen.received)
            .collect()
    }

    /// The names of the flows, in the same order.
    pub fn names(&self) -> &[String] {
        &self.flows
    }

    /// Lets what is under way arrive, and says what became of each flow.
    pub fn finish(mut self) -> Vec<(String, Seen)> {
        self.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().expect("it is taken only here");
        thread.join().expect("the thread does not panic")
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn name(
    protocol: &str,
    client: &Workload,
    server: &Workload,
    target: SocketAddr,
    talk: Talk,
) -> String {
    format!(
        "{protocol} {talk:?} {} > {} ({target})",
        client.key.1, server.key.1
    )
}
