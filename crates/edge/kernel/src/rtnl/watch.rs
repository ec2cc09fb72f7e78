//! Changes of links and addresses, as they happen.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use netlink_sys::Socket;
use netlink_sys::protocols::NETLINK_ROUTE;

use crate::transport::Transport;
use crate::{Error, Result, sys};

/// Groups of `rtnetlink.h`: links, IPv4 and IPv6 addresses.
const GROUPS: [u32; 3] = [1, 5, 9];
/// Datagrams that one [`LinkWatch::changed`] takes at most.
const DATAGRAMS_AT_ONCE: usize = 256;
const DATAGRAM: usize = 32 * 1024;

/// Tells that links or addresses of a namespace have changed, not which. Never blocks: wait for its
/// descriptor to become readable, then call [`LinkWatch::changed`] until it says no.
#[derive(Debug)]
pub struct LinkWatch {
    socket: Socket,
    buffer: Vec<u8>,
}

impl LinkWatch {
    /// Watches the namespace of the calling thread.
    ///
    /// # Errors
    /// `Io` if no netlink socket can be had.
    pub fn open() -> Result<Self> {
        let wrap = |error| Error::io("watch of links", error);
        let socket = Transport::open(NETLINK_ROUTE)?.into_socket();
        for group in GROUPS {
            socket.add_membership(group).map_err(wrap)?;
        }
        socket.set_non_blocking(true).map_err(wrap)?;
        Ok(Self {
            socket,
            buffer: vec![0; DATAGRAM],
        })
    }

    /// Whether anything has changed since the last call. Changes that were lost count as changes.
    ///
    /// # Errors
    /// `Io` if the socket fails.
    pub fn changed(&mut self) -> Result<bool> {
        let mut changed = false;
        for _ in 0..DATAGRAMS_AT_ONCE {
            match self.socket.recv(&mut &mut self.buffer[..], libc::MSG_TRUNC) {
                Ok(_) => changed = true,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => changed = true,
                Err(error) => return Err(Error::io("watch of links", error)),
            }
        }
        Ok(changed)
    }
}

impl AsRawFd for LinkWatch {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

impl AsFd for LinkWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        sys::borrow(&self.socket)
    }
}
