//! Packet sockets: see every frame of a namespace, and send any frame into it.

#![allow(unsafe_code, reason = "the standard library has no packet sockets")]
#![allow(
    clippy::cast_possible_truncation,
    reason = "constants of the kernel's headers, wider here than in its structures"
)]

use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};

use ocicat_kernel::netns::Namespace;
use ocicat_kernel::rtnl::Rtnl;

use super::frame::Seen;

/// Bytes that the kernel keeps for us at most while we do not read.
const BUFFER: libc::c_int = 8 << 20;

/// A socket that sees all frames of all interfaces of its namespace, those that are made later too.
#[derive(Debug)]
pub struct PacketSocket {
    descriptor: OwnedFd,
}

impl PacketSocket {
    pub fn open(namespace: &Namespace) -> Self {
        let all = i32::from((libc::ETH_P_ALL as u16).to_be());
        let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        // SAFETY: socket takes integers only; its result is checked before it is owned.
        let number = namespace
            .run(|| unsafe { libc::socket(libc::AF_PACKET, kind, all) })
            .unwrap();
        assert!(number >= 0, "{}", io::Error::last_os_error());
        // SAFETY: a fresh descriptor that nobody else owns.
        let descriptor = unsafe { OwnedFd::from_raw_fd(number) };
        let buffer = BUFFER;
        // SAFETY: the option is an int, and lives through the call.
        let set = unsafe {
            libc::setsockopt(
                number,
                libc::SOL_SOCKET,
                libc::SO_RCVBUFFORCE,
                (&raw const buffer).cast(),
                size_of::<libc::c_int>() as libc::socklen_t,
            )
        };
        assert_eq!(set, 0, "{}", io::Error::last_os_error());
        Self { descriptor }
    }

    /// The next frame that waits, if it holds an IP packet; others are passed over.
    pub fn next(&self) -> Option<Seen> {
        let mut buffer = [0_u8; 2048];
        loop {
            let number = self.descriptor.as_raw_fd();
            // SAFETY: the buffer is ours and as long as we say.
            let length = unsafe { libc::recv(number, buffer.as_mut_ptr().cast(), buffer.len(), 0) };
            let Ok(length) = usize::try_from(length) else {
                let error = io::Error::last_os_error();
                match error.kind() {
                    io::ErrorKind::WouldBlock => return None,
                    // An interface went down or away.
                    _ if error.raw_os_error() == Some(libc::ENETDOWN) => continue,
                    _ => panic!("{error}"),
                }
            };
            if let Some(seen) = Seen::parse(&buffer[..length]) {
                return Some(seen);
            }
        }
    }

    /// All that wait.
    pub fn drain(&self) -> impl Iterator<Item = Seen> {
        std::iter::from_fn(|| self.next())
    }
}

/// A socket that sends frames out of one interface.
#[derive(Debug)]
pub struct Injector {
    socket: PacketSocket,
    interface: i32,
}

impl Injector {
    pub fn open(namespace: &Namespace, interface: &str) -> Self {
        let index = Rtnl::open_in(namespace)
            .unwrap()
            .link_index(interface)
            .unwrap();
        Self {
            socket: PacketSocket::open(namespace),
            interface: index.try_into().unwrap(),
        }
    }

    pub fn send(&self, frame: &[u8]) {
        // SAFETY: all bytes zero are a valid sockaddr_ll.
        let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_ifindex = self.interface;
        address.sll_halen = 6;
        address.sll_addr[..6].copy_from_slice(&frame[..6]);
        // SAFETY: frame and address live through the call and are as long as we say.
        let sent = unsafe {
            libc::sendto(
                self.socket.descriptor.as_raw_fd(),
                frame.as_ptr().cast(),
                frame.len(),
                0,
                (&raw const address).cast(),
                size_of::<libc::sockaddr_ll>() as libc::socklen_t,
            )
        };
        assert!(sent >= 0, "{}", io::Error::last_os_error());
    }
}
