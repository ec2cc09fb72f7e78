//! Requests and answers over a netlink socket: many requests in one call, dumps to their end.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use netlink_sys::{Socket, SocketAddr};

use crate::netns::Namespace;
use crate::sys;
use crate::wire::{self, MESSAGE_HEADER, Message};
use crate::{Error, Result};

pub(crate) const NLM_F_REQUEST: u16 = 0x1;
pub(crate) const NLM_F_ACK: u16 = 0x4;
pub(crate) const NLM_F_DUMP: u16 = 0x300;
pub(crate) const NLM_F_REPLACE: u16 = 0x100;
pub(crate) const NLM_F_EXCL: u16 = 0x200;
pub(crate) const NLM_F_CREATE: u16 = 0x400;
const NLM_F_DUMP_INTR: u16 = 0x10;
const NLM_F_CAPPED: u16 = 0x100;
const NLM_F_ACK_TLVS: u16 = 0x200;

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
/// `NLMSGERR_ATTR_MSG`: the kernel's words.
const EXPLANATION: u16 = 1;

/// Requests in flight at once. Their acknowledgements, about 1 KiB of socket memory each, must fit into
/// the receive buffer, for a lost one would be waited for in vain.
const WINDOW: usize = 128;
/// Bytes sent at once; the default send buffer holds 208 KiB.
const WINDOW_BYTES: usize = 64 * 1024;
const RECEIVE_BUFFER: usize = 4 * 1024 * 1024;
/// The kernel fills at most 32 KiB of a dump into one datagram.
const DATAGRAM: usize = 64 * 1024;
/// The kernel answers while it handles the request; a longer silence means a lost answer.
const SILENCE: Duration = Duration::from_secs(10);
/// How often a dump is started again that the kernel marked as inconsistent.
const DUMP_ATTEMPTS: usize = 5;

/// A request before it has a sequence number.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Outgoing<'a> {
    /// What it is about, for errors.
    pub object: &'a str,
    pub kind: u16,
    /// Beyond `NLM_F_REQUEST` and `NLM_F_ACK`.
    pub flags: u16,
    pub body: &'a [u8],
}

/// A refusal of the kernel.
#[derive(Debug, Clone)]
pub(crate) struct Refusal {
    pub errno: i32,
    pub detail: Option<String>,
}

impl Refusal {
    pub(crate) fn about(self, object: &str) -> Error {
        Error::Kernel {
            object: object.to_owned(),
            errno: self.errno,
            detail: self.detail,
        }
    }
}

/// A netlink socket that talks to the kernel only.
#[derive(Debug)]
pub(crate) struct Transport {
    socket: Socket,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Transport {
    /// Opens a socket of `protocol` in the calling thread's namespace.
    pub(crate) fn open(protocol: isize) -> Result<Self> {
        let wrap = |error| Error::io("netlink socket", error);
        let mut socket = Socket::new(protocol).map_err(wrap)?;
        socket.bind_auto().map_err(wrap)?;
        socket.connect(&SocketAddr::new(0, 0)).map_err(wrap)?;
        // Shorter and better errors; an older kernel that knows neither still works.
        let _ = socket.set_cap_ack(true);
        let _ = socket.set_ext_ack(true);
        sys::set_receive_buffer(borrow(&socket), RECEIVE_BUFFER).map_err(wrap)?;
        sys::set_receive_timeout(borrow(&socket), SILENCE).map_err(wrap)?;
        Ok(Self {
            socket,
            sequence: 0,
            buffer: vec![0; DATAGRAM],
        })
    }

    /// Opens a socket of `protocol` inside `namespace`. The socket stays there.
    pub(crate) fn open_in(namespace: &Namespace, protocol: isize) -> Result<Self> {
        namespace.run(|| Self::open(protocol))?
    }

    /// The bare socket, for those that only listen from here on.
    pub(crate) fn into_socket(self) -> Socket {
        self.socket
    }

    /// Asks the kernel to check the headers of dump requests and to filter by them, if it can.
    pub(crate) fn check_dumps_strictly(&self) {
        let _ = self.socket.set_netlink_get_strict_chk(true);
    }

    /// Sends all requests and collects all acknowledgements, in order. Each request is tried, whatever
    /// became of those before it. The outer error means that answers are lost.
    pub(crate) fn exchange<'a>(
        &mut self,
        requests: impl IntoIterator<Item = Outgoing<'a>>,
    ) -> Result<Vec<Option<Refusal>>> {
        let mut answers = Vec::new();
        let mut bytes = Vec::with_capacity(4096);
        let mut pending = 0;
        for request in requests {
            let fits = bytes.len() + MESSAGE_HEADER + request.body.len() <= WINDOW_BYTES;
            if pending == WINDOW || (pending > 0 && !fits) {
                self.flush(&mut bytes, &mut pending, &mut answers)?;
            }
            self.append(&mut bytes, request, NLM_F_ACK);
            pending += 1;
        }
        self.flush(&mut bytes, &mut pending, &mut answers)?;
        Ok(answers)
    }

    /// Sends one request and hands each answering message to `each`, until the acknowledgement.
    pub(crate) fn query(
        &mut self,
        request: Outgoing<'_>,
        mut each: impl FnMut(Message<'_>) -> Result<()>,
    ) -> Result<()> {
        let mut bytes = Vec::new();
        self.append(&mut bytes, request, NLM_F_ACK);
        self.send(&bytes, request.object)?;
        self.collect(request.object, &mut each).map(|_| ())
    }

    /// Dumps all objects that `request` asks for. `read` turns a message into an object, or into none if
    /// it is not wanted. Starts again when the kernel says that the objects changed in a way that makes
    /// the dump inconsistent; after a few attempts the last dump stands.
    pub(crate) fn dump<T>(
        &mut self,
        request: Outgoing<'_>,
        mut read: impl FnMut(Message<'_>) -> Result<Option<T>>,
    ) -> Result<Vec<T>> {
        let mut found = Vec::new();
        for _ in 0..DUMP_ATTEMPTS {
            found.clear();
            let mut bytes = Vec::new();
            self.append(&mut bytes, request, NLM_F_DUMP);
            self.send(&bytes, request.object)?;
            let mut failed = None;
            let end = self.collect(request.object, &mut |message| {
                // The dump is read to its end also after a failure, so that the socket stays usable.
                match read(message) {
                    Ok(object) => found.extend(object),
                    Err(error) => failed = failed.take().or(Some(error)),
                }
                Ok(())
            })?;
            if let Some(error) = failed {
                return Err(error);
            }
            if end == End::Consistent {
                break;
            }
        }
        Ok(found)
    }

    fn append(&mut self, bytes: &mut Vec<u8>, request: Outgoing<'_>, extra: u16) {
        self.sequence = self.sequence.wrapping_add(1);
        let length = u32::try_from(MESSAGE_HEADER + request.body.len())
            .expect("requests are far shorter than 4 GiB");
        bytes.extend_from_slice(&length.to_ne_bytes());
        bytes.extend_from_slice(&request.kind.to_ne_bytes());
        bytes.extend_from_slice(&(NLM_F_REQUEST | request.flags | extra).to_ne_bytes());
        bytes.extend_from_slice(&self.sequence.to_ne_bytes());
        bytes.extend_from_slice(&0_u32.to_ne_bytes());
        bytes.extend_from_slice(request.body);
        bytes.resize(wire::align(bytes.len()), 0);
    }

    fn flush(
        &mut self,
        bytes: &mut Vec<u8>,
        pending: &mut usize,
        answers: &mut Vec<Option<Refusal>>,
    ) -> Result<()> {
        if *pending == 0 {
            return Ok(());
        }
        let count = u32::try_from(*pending).expect("the window is small");
        let first = self.sequence.wrapping_sub(count).wrapping_add(1);
        self.send(bytes, "netlink request")?;
        let start = answers.len();
        answers.resize(start + *pending, None);
        let mut missing = *pending;
        while missing > 0 {
            let length = self.receive("netlink request")?;
            for message in wire::messages(&self.buffer[..length]) {
                let place = message.sequence.wrapping_sub(first);
                if message.kind != NLMSG_ERROR || place >= count {
                    continue;
                }
                answers[start + place as usize] = refusal(message, "netlink request")?;
                missing -= 1;
            }
        }
        bytes.clear();
        *pending = 0;
        Ok(())
    }

    fn send(&self, bytes: &[u8], object: &str) -> Result<()> {
        loop {
            match self.socket.send(bytes, 0) {
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::io(object, error)),
            }
        }
    }

    fn receive(&mut self, object: &str) -> Result<usize> {
        loop {
            match self.socket.recv(&mut &mut self.buffer[..], libc::MSG_TRUNC) {
                Ok(length) if length <= self.buffer.len() => return Ok(length),
                Ok(length) => {
                    return Err(Error::malformed(
                        object,
                        format!("a datagram of {length} bytes"),
                    ));
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::io(object, error)),
            }
        }
    }

    /// Reads the answers to the last request to their end.
    fn collect(
        &mut self,
        object: &str,
        each: &mut impl FnMut(Message<'_>) -> Result<()>,
    ) -> Result<End> {
        let mut end = End::Consistent;
        loop {
            let length = self.receive(object)?;
            for message in wire::messages(&self.buffer[..length]) {
                if message.sequence != self.sequence {
                    continue;
                }
                if message.flags & NLM_F_DUMP_INTR != 0 {
                    end = End::Inconsistent;
                }
                match message.kind {
                    NLMSG_DONE => return done(message, object, end),
                    NLMSG_ERROR => {
                        return match refusal(message, object)? {
                            None => Ok(end),
                            Some(refusal) => Err(refusal.about(object)),
                        };
                    }
                    _ => each(message)?,
                }
            }
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Consistent,
    Inconsistent,
}

/// The end of a dump carries the error that ended it, or zero.
fn done(message: Message<'_>, object: &str, end: End) -> Result<End> {
    match wire::get_u32_ne(message.body, 0).map(u32::cast_signed) {
        Some(code) if code < 0 => Err(Refusal {
            errno: code.wrapping_neg(),
            detail: None,
        }
        .about(object)),
        _ => Ok(end),
    }
}

/// `struct nlmsgerr`: the error, the header of the request, then attributes.
fn refusal(message: Message<'_>, object: &str) -> Result<Option<Refusal>> {
    let code = wire::get_u32_ne(message.body, 0)
        .ok_or_else(|| Error::malformed(object, "an acknowledgement without a code"))?
        .cast_signed();
    if code == 0 {
        return Ok(None);
    }
    let mut detail = None;
    if message.flags & NLM_F_ACK_TLVS != 0 {
        let echoed = if message.flags & NLM_F_CAPPED != 0 {
            MESSAGE_HEADER
        } else {
            wire::get_u32_ne(message.body, 4).unwrap_or(0) as usize
        };
        let start = 4_usize.saturating_add(wire::align(echoed));
        detail = wire::attributes(message.body.get(start..).unwrap_or_default())
            .find(|(kind, _)| *kind == EXPLANATION)
            .map(|(_, text)| {
                let text = text.strip_suffix(&[0]).unwrap_or(text);
                String::from_utf8_lossy(text).into_owned()
            });
    }
    Ok(Some(Refusal {
        errno: code.wrapping_neg(),
        detail,
    }))
}

fn borrow(socket: &Socket) -> BorrowedFd<'_> {
    sys::borrow(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_acknowledgements_are_errors_not_panics() {
        let body = [0xff; 40];
        for length in 0..body.len() {
            let message = Message {
                kind: NLMSG_ERROR,
                flags: NLM_F_ACK_TLVS,
                sequence: 1,
                body: &body[..length],
            };
            let answer = refusal(message, "x");
            assert_eq!(answer.is_err(), length < 4);
        }
    }
}
