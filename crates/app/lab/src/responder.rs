//! Answers probes with the name of the workload they reached: one process for a whole lab.
//!
//! A socket belongs to the namespace in which it is opened, not to that of the process: each is
//! opened inside its workload and served by one loop out here.
//!
//! Over TCP the name and a newline are sent as soon as a connection is made; over UDP each datagram is
//! answered by one with the name. Each address of a workload has sockets of its own, so that answers
//! leave from the address that was asked.

use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use ocicat_kernel::netns::Namespace;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::LabName;
use crate::limits;
use crate::state::{Folder, Host, Lab, Workload};

/// Printed when every socket is open; what follows on the line says how many there are.
pub const READY: &str = "ready:";

/// How long the other side may take to hang up after its answer.
const LINGER: Duration = Duration::from_secs(5);

/// Serves the workloads and hosts of a lab until the process is killed.
///
/// # Errors
/// If the lab's record cannot be read. A socket that cannot be opened is reported and left out.
pub async fn run(name: &LabName) -> anyhow::Result<()> {
    limits::raise_open_files();
    let folder = Folder::of(name);
    let lab = Lab::load(&folder)?.with_context(|| format!("there is no lab {name}"))?;
    let mut count = 0;
    let hosts: Vec<Workload> = lab.hosts.iter().map(Host::place).collect();
    for workload in lab.workloads.iter().chain(&hosts) {
        match serve(workload) {
            Ok(sockets) => count += sockets,
            Err(error) => println!("{}: {error:#}", workload.full_name()),
        }
    }
    println!("{READY} {count} sockets");
    std::future::pending::<()>().await;
    Ok(())
}

/// Opens all sockets of a workload and starts to serve them; returns how many. A socket that cannot be
/// opened is reported and left out.
///
/// # Errors
/// If the workload has no namespace.
pub fn serve(workload: &Workload) -> anyhow::Result<usize> {
    let name: Arc<[u8]> = format!("{}\n", workload.full_name()).into_bytes().into();
    let namespace = Namespace::open_named(&workload.netns)?;
    let places = workload.addresses.iter().flat_map(|address| {
        workload
            .ports
            .iter()
            .map(|port| SocketAddr::new(*address, *port))
    });
    let mut count = 0;
    for place in places {
        match namespace
            .run(|| TcpListener::bind(place))?
            .and_then(adopt_listener)
        {
            Ok(listener) => {
                tokio::spawn(answer_connections(listener, Arc::clone(&name)));
                count += 1;
            }
            Err(error) => println!("{}: TCP {place}: {error}", workload.full_name()),
        }
        match namespace
            .run(|| UdpSocket::bind(place))?
            .and_then(adopt_socket)
        {
            Ok(socket) => {
                tokio::spawn(answer_datagrams(socket, Arc::clone(&name)));
                count += 1;
            }
            Err(error) => println!("{}: UDP {place}: {error}", workload.full_name()),
        }
    }
    Ok(count)
}

fn adopt_listener(listener: TcpListener) -> std::io::Result<tokio::net::TcpListener> {
    listener.set_nonblocking(true)?;
    tokio::net::TcpListener::from_std(listener)
}

fn adopt_socket(socket: UdpSocket) -> std::io::Result<tokio::net::UdpSocket> {
    socket.set_nonblocking(true)?;
    tokio::net::UdpSocket::from_std(socket)
}

async fn answer_connections(listener: tokio::net::TcpListener, name: Arc<[u8]>) {
    loop {
        let Ok((mut connection, _)) = listener.accept().await else {
            // Out of descriptors, or the connection is gone already: others may still come.
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        let name = Arc::clone(&name);
        tokio::spawn(async move {
            if connection.write_all(&name).await.is_ok() {
                // The asking side hangs up first, with a reset, so that neither keeps TIME_WAIT.
                let mut rest = [0; 64];
                let hung_up =
                    async { while connection.read(&mut rest).await.is_ok_and(|n| n > 0) {} };
                let _ = tokio::time::timeout(LINGER, hung_up).await;
            }
        });
    }
}

async fn answer_datagrams(socket: tokio::net::UdpSocket, name: Arc<[u8]>) {
    let mut buffer = [0; 2048];
    loop {
        // An error here is an ICMP error about an earlier answer, and concerns nobody else.
        if let Ok((_, peer)) = socket.recv_from(&mut buffer).await {
            let _ = socket.send_to(&name, peer).await;
        }
    }
}
