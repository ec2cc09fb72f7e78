//! Packets between namespaces.

#![allow(unsafe_code, reason = "the standard library has no ICMP sockets")]

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::FromRawFd;
use std::thread;
use std::time::Duration;

use ocicat_kernel::netns::Namespace;
use ocicat_kernel::sysctl;

pub const PATIENCE: Duration = Duration::from_secs(2);

/// A UDP socket at `address`, port chosen by the kernel.
pub fn udp(namespace: &Namespace, address: IpAddr) -> UdpSocket {
    let socket = namespace
        .run(|| UdpSocket::bind(SocketAddr::new(address, 0)))
        .expect("the namespace can be entered")
        .expect("the address is there");
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

/// Sends one datagram from `from` to `to` and says whether it arrived.
pub fn udp_arrives(from: &UdpSocket, to: &UdpSocket) -> bool {
    if from.send_to(b"hello", to.local_addr().unwrap()).is_err() {
        return false;
    }
    let mut buffer = [0; 16];
    match to.recv_from(&mut buffer) {
        Ok((length, source)) => {
            &buffer[..length] == b"hello" && source == from.local_addr().unwrap()
        }
        Err(_) => false,
    }
}

/// A TCP connection both ways: connect, send, receive.
pub fn tcp_works(client: &Namespace, server: &Namespace, address: IpAddr) -> bool {
    let listener = server
        .run(|| TcpListener::bind(SocketAddr::new(address, 0)))
        .unwrap()
        .unwrap();
    let target = listener.local_addr().unwrap();
    thread::scope(|scope| {
        scope.spawn(|| {
            if let Ok((mut stream, _)) = listener.accept() {
                let mut buffer = [0; 5];
                let _ = stream.read_exact(&mut buffer);
                let _ = stream.write_all(&buffer);
            }
        });
        let connect = client
            .run(|| TcpStream::connect_timeout(&target, PATIENCE))
            .unwrap();
        let Ok(mut stream) = connect else {
            // Wakes the listener up, so that the scope ends.
            let _ = server.run(|| TcpStream::connect_timeout(&target, PATIENCE));
            return false;
        };
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut buffer = [0; 5];
        stream.write_all(b"hello").is_ok()
            && stream.read_exact(&mut buffer).is_ok()
            && &buffer == b"hello"
    })
}

/// Sends an ICMP echo and waits for its reply.
pub fn ping(namespace: &Namespace, target: IpAddr) -> io::Result<()> {
    sysctl::write_in(namespace, "net/ipv4/ping_group_range", "0 2147483647")
        .map_err(io::Error::other)?;
    let (family, protocol, echo, reply) = match target {
        IpAddr::V4(_) => (libc::AF_INET, libc::IPPROTO_ICMP, 8, 0),
        IpAddr::V6(_) => (libc::AF_INET6, libc::IPPROTO_ICMPV6, 128, 129),
    };
    // SAFETY: socket takes integers only; its result is checked before it is owned.
    let descriptor = namespace
        .run(|| unsafe { libc::socket(family, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, protocol) })
        .map_err(io::Error::other)?;
    if descriptor < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is a fresh datagram socket that nobody else owns.
    let socket = unsafe { UdpSocket::from_raw_fd(descriptor) };
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.connect(SocketAddr::new(target, 0))?;
    socket.send(&[echo, 0, 0, 0, 0, 0, 0, 1, b'x'])?;
    let mut buffer = [0; 64];
    let length = socket.recv(&mut buffer)?;
    if length < 8 || buffer[0] != reply {
        return Err(io::Error::other("not an echo reply"));
    }
    Ok(())
}
