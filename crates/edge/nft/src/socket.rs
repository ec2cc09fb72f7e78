//! The netlink socket: the only system calls of this crate.
#![allow(
    unsafe_code,
    reason = "socket options and namespaces that netlink-sys does not wrap"
)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_NETFILTER};

/// Bytes of the buffer for one datagram. The kernel fills at most 32 KiB in a dump; an acknowledgement
/// is a few hundred bytes because the failed message is not repeated in it.
const RECEIVE_BUFFER: usize = 64 * 1024;

/// Bytes of the value of a socket option, a `c_int`.
const OPTION_LEN: libc::socklen_t = libc::c_int::BITS / 8;

/// A socket of `NETLINK_NETFILTER`, bound to the network namespace in which it was opened.
///
/// The kernel works within the system call that sends: when that returns, every answer is queued. So
/// nothing here waits, and an empty queue means that there is nothing more to come.
pub struct NetfilterSocket {
    socket: Socket,
    /// The size for which the send buffer was last asked.
    send_buffer: usize,
    buffer: Vec<u8>,
}

impl NetfilterSocket {
    /// Opens a socket in the network namespace of the calling thread.
    pub fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_NETFILTER)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        socket.set_ext_ack(true)?;
        socket.set_cap_ack(true)?;
        Ok(Self {
            socket,
            send_buffer: 0,
            buffer: Vec::with_capacity(RECEIVE_BUFFER),
        })
    }

    /// Opens a socket in another network namespace. The calling thread stays where it is: a thread of
    /// its own goes there and ends.
    pub fn open_in(namespace: BorrowedFd<'_>) -> io::Result<Self> {
        let open = || {
            // SAFETY: the descriptor is open for as long as it is borrowed; setns takes no memory and
            // changes only this thread, which opens the socket and ends.
            if unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) } != 0 {
                return Err(io::Error::last_os_error());
            }
            Self::open()
        };
        std::thread::scope(|scope| {
            scope
                .spawn(open)
                .join()
                .unwrap_or_else(|_| Err(io::Error::other("the thread that opens a socket ended")))
        })
    }

    /// Sends one datagram, whatever its size.
    pub fn send(&mut self, datagram: &[u8]) -> io::Result<()> {
        // The kernel refuses a datagram that does not fit the send buffer with its own headers.
        self.grow_send_buffer(datagram.len() + 4096)?;
        loop {
            match self.socket.send(datagram, 0) {
                Ok(sent) if sent == datagram.len() => return Ok(()),
                Ok(_) => return Err(io::Error::from(io::ErrorKind::WriteZero)),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
    }

    /// The next queued datagram, or `None` if there is none.
    pub fn receive(&mut self) -> io::Result<Option<&[u8]>> {
        loop {
            self.buffer.clear();
            match self
                .socket
                .recv(&mut self.buffer, libc::MSG_DONTWAIT | libc::MSG_TRUNC)
            {
                Ok(len) if len > self.buffer.len() => {
                    return Err(io::Error::new(
                        io::ErrorKind::InvalidData,
                        "an answer exceeds the receive buffer",
                    ));
                }
                Ok(_) => return Ok(Some(&self.buffer)),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
    }

    fn grow_send_buffer(&mut self, bytes: usize) -> io::Result<()> {
        if bytes <= self.send_buffer {
            return Ok(());
        }
        let value = libc::c_int::try_from(bytes)
            .map_err(|_| io::Error::from_raw_os_error(libc::EMSGSIZE))?;
        // SO_SNDBUFFORCE may exceed the limit of the machine, SO_SNDBUF needs no privilege.
        self.set_option(libc::SO_SNDBUFFORCE, value)
            .or_else(|_| self.set_option(libc::SO_SNDBUF, value))?;
        self.send_buffer = bytes;
        Ok(())
    }

    fn set_option(&self, option: libc::c_int, value: libc::c_int) -> io::Result<()> {
        // SAFETY: the descriptor is the socket's own; the value is read from a c_int that outlives the
        // call, and its length is given.
        let done = unsafe {
            libc::setsockopt(
                self.socket.as_raw_fd(),
                libc::SOL_SOCKET,
                option,
                (&raw const value).cast(),
                OPTION_LEN,
            )
        };
        if done == 0 {
            Ok(())
        } else {
            Err(io::Error::last_os_error())
        }
    }
}
