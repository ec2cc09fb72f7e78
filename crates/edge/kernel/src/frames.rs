//! Raw frames of the links of a namespace (`AF_PACKET`, packet(7)): for probes and tests.
#![allow(unsafe_code, reason = "the standard library has no packet sockets")]

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;

use crate::netns::Namespace;
use crate::{Error, Result, sys};

/// Frames that one system call sends or receives at most.
const AT_ONCE: usize = 64;
/// Bytes of the longest frame that is kept; the rest of a longer one is cut off.
const LONGEST: usize = 2048;
/// Bytes of socket memory in which frames wait for us; more are lost and counted.
const RECEIVE_BUFFER: usize = 32 * 1024 * 1024;

/// Sends frames by any link of a namespace, and sees all that arrive at its links.
#[derive(Debug)]
pub struct FrameSocket {
    socket: OwnedFd,
    buffer: Vec<u8>,
}

/// A frame that arrived. It borrows from the socket's buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrived<'a> {
    /// The number of the link.
    pub interface: u32,
    /// From the Ethernet header on; at most 2,048 bytes.
    pub bytes: &'a [u8],
}

/// A frame to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// The number of the link.
    pub interface: u32,
    /// From the Ethernet header on, without its check sum.
    pub bytes: Vec<u8>,
}

impl FrameSocket {
    /// Opens the socket. It sees what arrives from now on, and nothing that the namespace sends.
    ///
    /// # Errors
    /// `Io` if the namespace cannot be entered, or without `CAP_NET_RAW`.
    pub fn open_in(namespace: &Namespace) -> Result<Self> {
        namespace.run(Self::open)?
    }

    fn open() -> Result<Self> {
        let wrap = |error| Error::io("packet socket", error);
        let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        let all = i32::from(every_protocol());
        // SAFETY: socket takes integers only; its result is checked before it is owned.
        let number = unsafe { libc::socket(libc::AF_PACKET, kind, all) };
        if number < 0 {
            return Err(wrap(io::Error::last_os_error()));
        }
        // SAFETY: the descriptor was just made, and nobody else owns it.
        let socket = unsafe { OwnedFd::from_raw_fd(number) };
        sys::ignore_outgoing_frames(socket.as_fd()).map_err(wrap)?;
        sys::set_receive_buffer(socket.as_fd(), RECEIVE_BUFFER).map_err(wrap)?;
        Ok(Self {
            socket,
            buffer: vec![0; LONGEST * AT_ONCE],
        })
    }

    /// Sends frames in order. Over a veth pair each has usually gone as far as it goes when this
    /// returns.
    ///
    /// # Errors
    /// `Io` if a link is down or gone, or its queue is full; the frames before have been sent.
    pub fn send(&self, frames: &[Outgoing]) -> Result<()> {
        for chunk in frames.chunks(AT_ONCE) {
            let mut sent = 0;
            while sent < chunk.len() {
                sent += self.send_some(&chunk[sent..])?;
            }
        }
        Ok(())
    }

    fn send_some(&self, frames: &[Outgoing]) -> Result<usize> {
        let mut addresses: Vec<libc::sockaddr_ll> = frames.iter().map(address).collect();
        let mut parts: Vec<libc::iovec> = frames
            .iter()
            .map(|frame| libc::iovec {
                iov_base: frame.bytes.as_ptr().cast_mut().cast(),
                iov_len: frame.bytes.len(),
            })
            .collect();
        let mut headers: Vec<libc::mmsghdr> = addresses
            .iter_mut()
            .zip(&mut parts)
            .map(|(address, part)| {
                let mut header = empty_header(part);
                header.msg_hdr.msg_name = ptr::from_mut(address).cast();
                header.msg_hdr.msg_namelen = length_of::<libc::sockaddr_ll>();
                header
            })
            .collect();
        let count = u32::try_from(headers.len()).expect("a chunk is small");
        // SAFETY: the headers point to the addresses, parts and frames above, which outlive the call;
        // the kernel only reads what they point to.
        let sent =
            unsafe { libc::sendmmsg(self.socket.as_raw_fd(), headers.as_mut_ptr(), count, 0) };
        match usize::try_from(sent) {
            Ok(sent) => Ok(sent),
            Err(_) => {
                let error = io::Error::last_os_error();
                match error.kind() {
                    io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock => Ok(0),
                    _ => Err(Error::io(format!("link #{}", frames[0].interface), error)),
                }
            }
        }
    }

    /// Hands all frames that wait to `each`, and returns how many there were. Never blocks.
    ///
    /// # Errors
    /// `Io` if the socket fails.
    pub fn receive(&mut self, mut each: impl FnMut(Arrived<'_>)) -> Result<usize> {
        let mut total = 0;
        loop {
            let received = self.receive_some(&mut each)?;
            total += received;
            if received < AT_ONCE {
                return Ok(total);
            }
        }
    }

    fn receive_some(&mut self, each: &mut impl FnMut(Arrived<'_>)) -> Result<usize> {
        // SAFETY: zero is a value of every field of these structures.
        let mut addresses: [libc::sockaddr_ll; AT_ONCE] = unsafe { std::mem::zeroed() };
        let mut parts: Vec<libc::iovec> = self
            .buffer
            .chunks_exact_mut(LONGEST)
            .map(|slot| libc::iovec {
                iov_base: slot.as_mut_ptr().cast(),
                iov_len: LONGEST,
            })
            .collect();
        let mut headers: Vec<libc::mmsghdr> = addresses
            .iter_mut()
            .zip(&mut parts)
            .map(|(address, part)| {
                let mut header = empty_header(part);
                header.msg_hdr.msg_name = ptr::from_mut(address).cast();
                header.msg_hdr.msg_namelen = length_of::<libc::sockaddr_ll>();
                header
            })
            .collect();
        let count = u32::try_from(headers.len()).expect("a chunk is small");
        // SAFETY: each header points to an address and to a slot of the buffer of the length it says;
        // both outlive the call, and nothing else refers to them during it.
        let received = unsafe {
            libc::recvmmsg(
                self.socket.as_raw_fd(),
                headers.as_mut_ptr(),
                count,
                libc::MSG_DONTWAIT,
                ptr::null_mut(),
            )
        };
        let Ok(received) = usize::try_from(received) else {
            let error = io::Error::last_os_error();
            return match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(0),
                _ => Err(Error::io("packet socket", error)),
            };
        };
        let lengths: Vec<usize> = headers[..received]
            .iter()
            .map(|header| header.msg_len as usize)
            .collect();
        for (place, length) in lengths.into_iter().enumerate() {
            let slot = &self.buffer[place * LONGEST..(place + 1) * LONGEST];
            each(Arrived {
                interface: u32::try_from(addresses[place].sll_ifindex).unwrap_or_default(),
                bytes: &slot[..length.min(LONGEST)],
            });
        }
        Ok(received)
    }

    /// Frames lost because they waited too long, since the last call.
    ///
    /// # Errors
    /// `Io` if the socket fails.
    pub fn lost(&self) -> Result<u32> {
        sys::lost_frames(self.socket.as_fd()).map_err(|error| Error::io("packet socket", error))
    }
}

impl AsFd for FrameSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// `ETH_P_ALL` as the socket wants it.
fn every_protocol() -> u16 {
    u16::try_from(libc::ETH_P_ALL)
        .expect("a constant of 16 bits")
        .to_be()
}

fn address(frame: &Outgoing) -> libc::sockaddr_ll {
    // SAFETY: zero is a value of every field of this structure.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = u16::try_from(libc::AF_PACKET).expect("a constant of 16 bits");
    address.sll_ifindex = i32::try_from(frame.interface).unwrap_or_default();
    // The frame's own: a tap and the outgoing queue look at it.
    let own = frame.bytes.get(12..14).unwrap_or(&[0, 0]);
    address.sll_protocol = u16::from_ne_bytes([own[0], own[1]]);
    address
}

fn empty_header(part: &mut libc::iovec) -> libc::mmsghdr {
    // SAFETY: zero is a value of every field of this structure.
    let mut header: libc::mmsghdr = unsafe { std::mem::zeroed() };
    header.msg_hdr.msg_iov = part;
    header.msg_hdr.msg_iovlen = 1;
    header
}

fn length_of<T>() -> libc::socklen_t {
    libc::socklen_t::try_from(size_of::<T>()).expect("addresses are small")
}
