//! Hosts that ask each other, and the objects of host policy.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use ocicat_kernel::netns::Namespace;
use serde_json::{Value, json};

use crate::support::api::{global_policy, object};
use crate::support::cluster::{Cluster, UPLINK};
use crate::support::within;

/// What an agent does by itself is done after so long.
pub const SETTLED: Duration = Duration::from_secs(20);
/// What has not arrived after so long will not.
const ARRIVAL: Duration = Duration::from_millis(400);

/// What became of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    Answered,
    /// Somebody said no.
    Refused,
    Silence,
}

/// The endpoint of a host's uplink, labelled `role: host`.
pub fn host_endpoint(cluster: &Cluster, host: usize) -> Value {
    let host = &cluster.hosts[host];
    let spec = json!({
        "node": host.name, "interfaceName": UPLINK, "expectedIPs": host.addresses,
    });
    let name = format!("{}-{UPLINK}", host.name);
    let mut endpoint = object("projectcalico.org/v3", "HostEndpoint", None, &name, spec);
    endpoint["metadata"]["labels"] = json!({ "role": "host" });
    endpoint
}

/// A GlobalNetworkPolicy for host endpoints, with the fields of `spec` besides.
pub fn host_policy(name: &str, spec: Value) -> Value {
    let mut policy = global_policy(name, spec);
    policy["spec"]["selector"] = json!("role == 'host'");
    policy
}

pub fn felix(name: &str, spec: Value) -> Value {
    object(
        "projectcalico.org/v3",
        "FelixConfiguration",
        None,
        name,
        spec,
    )
}

/// Serves TCP and UDP at every address of a namespace until the test ends.
pub fn serve(namespace: &Namespace, port: u16) {
    let place = SocketAddr::new(IpAddr::from([0_u16; 8]), port);
    let listener = namespace.run(|| TcpListener::bind(place)).unwrap().unwrap();
    std::thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            let mut connection = connection;
            let _ = connection.write_all(b"here");
        }
    });
    let socket = namespace.run(|| UdpSocket::bind(place)).unwrap().unwrap();
    std::thread::spawn(move || {
        let mut buffer = [0; 64];
        while let Ok((_, peer)) = socket.recv_from(&mut buffer) {
            let _ = socket.send_to(b"here", peer);
        }
    });
}

/// One connection.
pub fn tcp(namespace: &Namespace, to: IpAddr, port: u16) -> Seen {
    let connect = || TcpStream::connect_timeout(&SocketAddr::new(to, port), ARRIVAL);
    match namespace.run(connect).unwrap() {
        Ok(mut stream) => {
            stream.set_read_timeout(Some(ARRIVAL)).unwrap();
            let mut answer = [0; 4];
            match stream.read_exact(&mut answer) {
                Ok(()) => Seen::Answered,
                Err(_) => Seen::Silence,
            }
        }
        Err(error) if error.kind() == ErrorKind::TimedOut => Seen::Silence,
        Err(_) => Seen::Refused,
    }
}

/// One datagram and its answer.
pub fn udp(namespace: &Namespace, to: IpAddr, port: u16) -> Seen {
    let from = SocketAddr::new(IpAddr::from([0_u16; 8]), 0);
    let from = match to {
        IpAddr::V4(_) => SocketAddr::new(IpAddr::from([0; 4]), 0),
        IpAddr::V6(_) => from,
    };
    let socket = namespace.run(|| UdpSocket::bind(from)).unwrap().unwrap();
    socket.connect(SocketAddr::new(to, port)).unwrap();
    socket.set_read_timeout(Some(ARRIVAL)).unwrap();
    if socket.send(b"hello").is_err() {
        return Seen::Refused;
    }
    let mut buffer = [0; 64];
    match socket.recv(&mut buffer) {
        Ok(_) => Seen::Answered,
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
            Seen::Silence
        }
        Err(_) => Seen::Refused,
    }
}

/// Waits until asking gives `wanted`, and then for as long as an agent may take to change its mind.
pub fn becomes(what: &str, wanted: Seen, mut ask: impl FnMut() -> Seen) {
    let mut last = Seen::Silence;
    let reached = within(SETTLED, || {
        last = ask();
        last == wanted
    });
    assert!(reached, "{what}: {last:?}, not {wanted:?}");
    let end = Instant::now() + Duration::from_millis(300);
    while Instant::now() < end {
        assert_eq!(ask(), wanted, "{what}, a moment later");
    }
}

/// Waits until every policy and host endpoint is in force as the API has it.
pub fn settle(cluster: &Cluster) {
    let settled = || cluster.status(&[]).0 == Some(0);
    let done = within(SETTLED, settled);
    assert!(done, "{}", cluster.status(&[]).1);
}

/// Waits until the agent of `host` enforces `count` host endpoints.
pub fn wait_for_endpoints(cluster: &Cluster, host: usize, count: usize) {
    let question = json!({ "op": "status" });
    let mut last = Value::Null;
    let there = within(SETTLED, || {
        last = cluster.hosts[host].ask(&question)["hostEndpoints"].take();
        last.as_array().map_or(0, Vec::len) == count
    });
    assert!(there, "{last} on {}", cluster.hosts[host].name);
}

/// Runs `nft` in a namespace with `input` and returns what it prints.
pub fn nft(namespace: &Namespace, arguments: &[&str], input: &str) -> String {
    let mut command = Command::new("nft");
    command
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = namespace.run(|| command.spawn()).unwrap().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let text = input.to_owned();
    let writer = std::thread::spawn(move || stdin.write_all(text.as_bytes()));
    let output = child.wait_with_output().unwrap();
    let _ = writer.join();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "nft {arguments:?}: {complaint}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}
