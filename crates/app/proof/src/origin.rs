//! Packets that the host itself sends.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};

use anyhow::Context;
use ocicat_kernel::netns::Namespace;
use socket2::{Domain, Protocol, Socket, Type};

/// The packet mark that tells them from what the host's kernel says by itself.
pub(crate) const MARK: u32 = 1;
/// `IPPROTO_RAW`: whole packets, of any protocol; nothing is received.
const RAW: i32 = 255;
const ETHERNET: usize = 14;

/// Raw sockets of the host, one for each family (raw(7), `IP_HDRINCL`).
pub(crate) struct Origin {
    v4: Socket,
    v6: Socket,
}

impl Origin {
    pub(crate) fn open_in(host: &Namespace) -> anyhow::Result<Self> {
        host.run(Self::open)?.context("raw sockets of the host")
    }

    fn open() -> std::io::Result<Self> {
        let raw = |domain| {
            let socket = Socket::new(domain, Type::RAW, Some(Protocol::from(RAW)))?;
            socket.set_mark(MARK)?;
            Ok::<Socket, std::io::Error>(socket)
        };
        let (v4, v6) = (raw(Domain::IPV4)?, raw(Domain::IPV6)?);
        v4.set_header_included_v4(true)?;
        v6.set_header_included_v6(true)?;
        Ok(Self { v4, v6 })
    }

    /// Sends the packet of a frame. What a hook drops has been sent all the same.
    pub(crate) fn send(&self, frame: &[u8]) -> anyhow::Result<()> {
        let packet = frame.get(ETHERNET..).context("no packet in the frame")?;
        let six = packet.first().is_some_and(|first| first >> 4 == 6);
        let (socket, destination) = if six {
            let bytes = packet.get(24..40).and_then(|bytes| bytes.try_into().ok());
            (&self.v6, bytes.map(|bytes: [u8; 16]| IpAddr::from(bytes)))
        } else {
            let bytes = packet.get(16..20).and_then(|bytes| bytes.try_into().ok());
            (&self.v4, bytes.map(|bytes: [u8; 4]| IpAddr::from(bytes)))
        };
        let destination = destination.context("a packet without its header")?;
        match socket.send_to(packet, &SocketAddr::new(destination, 0).into()) {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == ErrorKind::PermissionDenied => Ok(()),
            Err(error) => Err(error).with_context(|| format!("the host sends to {destination}")),
        }
    }
}
