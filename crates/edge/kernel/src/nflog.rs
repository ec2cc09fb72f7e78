//! Packets that rules log: a reader of one NFLOG group (`nfnetlink_log.h`).
//!
//! A rule `log group 5` copies the packet to the reader of group 5 in its namespace. One reader at a
//! time; without one the copies are lost silently, and no packet ever waits for a reader.

mod codec;

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::time::Duration;

use netlink_sys::Socket;
use netlink_sys::protocols::NETLINK_NETFILTER;

use crate::netns::Namespace;
use crate::transport::{Outgoing, Transport};
use crate::wire;
use crate::{Error, Result, sys};

/// Datagrams that one [`Nflog::receive`] takes at most, so that a flood does not hold its caller.
pub const DATAGRAMS_AT_ONCE: usize = 64;

/// How a group is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// The number in `log group N`.
    pub group: u16,
    /// Bytes of each packet that are copied, from its IP header on.
    pub snap_length: u32,
    /// Packets that the kernel collects before it sends them on; 1 sends each at once.
    pub queue_threshold: u32,
    /// How long it collects at most, in steps of 10 ms.
    pub queue_timeout: Duration,
    /// Bytes of socket memory in which packets wait for us; more is lost.
    pub receive_buffer: usize,
}

impl Settings {
    /// Settings for `group` that keep up with 100,000 packets a second: 128 bytes of each, up to 64
    /// packets or 20 ms at once, 8 MiB of buffer.
    #[must_use]
    pub fn of_group(group: u16) -> Self {
        Self {
            group,
            snap_length: 128,
            queue_threshold: 64,
            queue_timeout: Duration::from_millis(20),
            receive_buffer: 8 * 1024 * 1024,
        }
    }
}

/// A logged packet. It borrows from the reader's buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet<'a> {
    /// The packet mark when it was logged.
    pub mark: u32,
    /// The text of `log prefix`, empty if there is none.
    pub prefix: &'a [u8],
    /// Number of the interface it came in by.
    pub in_interface: Option<u32>,
    /// Number of the interface it is to leave by.
    pub out_interface: Option<u32>,
    /// The hook: 0 prerouting, 1 input, 2 forward, 3 output, 4 postrouting.
    pub hook: u8,
    /// Its `EtherType`: 0x0800 is IPv4, 0x86dd IPv6.
    pub ether_type: u16,
    /// When it arrived, since 1970, if the kernel stamped it.
    pub timestamp: Option<Duration>,
    /// Its bytes from the IP header on, at most [`Settings::snap_length`].
    pub payload: &'a [u8],
}

/// What was lost since the reader was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Loss {
    /// Packets missing between those we got, by the kernel's count.
    pub packets: u64,
    /// Times the kernel found our buffer full (`ENOBUFS`).
    pub overruns: u64,
    /// Messages that we could not read.
    pub unreadable: u64,
}

/// The reader of one group. Never blocks: wait for its descriptor to become readable, then call
/// [`Nflog::receive`] until it returns 0.
#[derive(Debug)]
pub struct Nflog {
    socket: Socket,
    buffer: Vec<u8>,
    next_sequence: Option<u32>,
    loss: Loss,
}

impl Nflog {
    /// Becomes the reader of a group in the namespace of the calling thread.
    ///
    /// # Errors
    /// `Kernel` with `EPERM` if the group has another reader, or without `CAP_NET_ADMIN`.
    pub fn open(settings: &Settings) -> Result<Self> {
        let object = format!("NFLOG group {}", settings.group);
        let mut transport = Transport::open(NETLINK_NETFILTER)?;
        for body in codec::configuration(settings) {
            let request = Outgoing {
                object: &object,
                kind: codec::CONFIG,
                flags: 0,
                body: &body,
            };
            transport.query(request, |_| Ok(()))?;
        }
        let socket = transport.into_socket();
        let wrap = |error| Error::io(&object, error);
        sys::set_receive_buffer(sys::borrow(&socket), settings.receive_buffer).map_err(wrap)?;
        socket.set_non_blocking(true).map_err(wrap)?;
        Ok(Self {
            socket,
            buffer: vec![0; codec::DATAGRAM + settings.snap_length as usize],
            next_sequence: None,
            loss: Loss::default(),
        })
    }

    /// Becomes the reader of a group in `namespace`.
    ///
    /// # Errors
    /// As for [`Nflog::open`], and `Io` if the namespace cannot be entered.
    pub fn open_in(namespace: &Namespace, settings: &Settings) -> Result<Self> {
        namespace.run(|| Self::open(settings))?
    }

    /// Hands the packets that wait, of at most [`DATAGRAMS_AT_ONCE`] datagrams, to `each`, and returns
    /// the number of datagrams read. 0 means that none waits.
    ///
    /// # Errors
    /// `Io` if the socket fails. A full buffer is not an error but counted in [`Nflog::loss`].
    pub fn receive(&mut self, mut each: impl FnMut(Packet<'_>)) -> Result<usize> {
        let mut datagrams = 0;
        while datagrams < DATAGRAMS_AT_ONCE {
            let length = match self.socket.recv(&mut &mut self.buffer[..], libc::MSG_TRUNC) {
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {
                    self.loss.overruns += 1;
                    continue;
                }
                Err(error) => return Err(Error::io("NFLOG", error)),
            };
            datagrams += 1;
            let Some(bytes) = self.buffer.get(..length) else {
                self.loss.unreadable += 1;
                continue;
            };
            for message in wire::messages(bytes).filter(|message| message.kind == codec::PACKET) {
                let Some((packet, sequence)) = codec::read(message) else {
                    self.loss.unreadable += 1;
                    continue;
                };
                if let Some(sequence) = sequence {
                    let expected = self.next_sequence.replace(sequence.wrapping_add(1));
                    let missing = sequence.wrapping_sub(expected.unwrap_or(sequence));
                    self.loss.packets += u64::from(missing);
                }
                each(packet);
            }
        }
        Ok(datagrams)
    }

    /// What was lost since the reader was opened.
    #[must_use]
    pub fn loss(&self) -> Loss {
        self.loss
    }
}

impl AsRawFd for Nflog {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

impl AsFd for Nflog {
    fn as_fd(&self) -> BorrowedFd<'_> {
        sys::borrow(&self.socket)
    }
}
