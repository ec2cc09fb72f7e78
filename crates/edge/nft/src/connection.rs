//! Commits and dumps.

use std::io;
use std::os::fd::BorrowedFd;

use crate::encode::{self, Batch};
use crate::error::{CommitError, ReadError, Rejection};
use crate::kernel::attr;
use crate::kernel::msg::{
    NFGENMSG_LEN, NFT_MSG_GETGEN, NLM_F_ACK_TLVS, NLM_F_CAPPED, NLM_F_DUMP, NLM_F_DUMP_INTR,
    NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR, NLMSG_HDRLEN,
};
use crate::object::{Op, Transaction};
use crate::socket::NetfilterSocket;
use crate::wire::{Attributes, Message, Messages, Writer, u32_ne};

/// Bytes of the largest batch; about three million elements. Beyond it the kernel would have to find as
/// much contiguous virtual memory, and the socket option for it ends at twice this.
const MAX_BATCH: usize = 512 * 1024 * 1024;

/// Bytes of the largest dump that is kept; some ten million elements.
const MAX_DUMP: usize = 1024 * 1024 * 1024;

/// Refusals of one batch that are kept; the kernel may report one for each message.
const MAX_REJECTIONS: usize = 64;

/// A connection to `nf_tables` of one network namespace.
///
/// Not shared between threads at the same time (methods take `&mut self`), but it may move between them.
pub struct Connection {
    pub(crate) socket: NetfilterSocket,
    sequence: u32,
}

impl Connection {
    /// Opens a connection to the network namespace of the calling thread.
    ///
    /// # Errors
    ///
    /// Those of `socket(2)`; the kernel lacks netfilter over netlink, say.
    pub fn open() -> io::Result<Self> {
        Ok(Self {
            socket: NetfilterSocket::open()?,
            sequence: 1,
        })
    }

    /// Opens a connection to another network namespace, such as an open `/run/netns/NAME` or
    /// `/proc/PID/ns/net`. The calling thread stays in its own.
    ///
    /// # Errors
    ///
    /// Those of `setns(2)` and `socket(2)`.
    pub fn open_in(namespace: BorrowedFd<'_>) -> io::Result<Self> {
        Ok(Self {
            socket: NetfilterSocket::open_in(namespace)?,
            sequence: 1,
        })
    }

    /// Does all operations of a transaction, or none.
    ///
    /// # Errors
    ///
    /// [`CommitError::Rejected`] names each operation, and where possible the element, that the kernel
    /// refused.
    pub fn commit(&mut self, transaction: &Transaction) -> Result<(), CommitError> {
        self.commit_on(transaction, None)
    }

    /// Does all operations of a transaction if nothing was committed since `generation`, which
    /// [`Connection::generation`] told.
    ///
    /// # Errors
    ///
    /// [`CommitError::Stale`] if something was; otherwise those of [`Connection::commit`].
    pub fn commit_at(
        &mut self,
        transaction: &Transaction,
        generation: u32,
    ) -> Result<(), CommitError> {
        self.commit_on(transaction, Some(generation))
    }

    /// The number of the ruleset's generation: of commits in this network namespace, by anybody.
    ///
    /// # Errors
    ///
    /// [`ReadError::Io`] if the kernel could not be asked.
    pub fn generation(&mut self) -> Result<u32, ReadError> {
        let mut generation = None;
        let sequence = self.request(NFT_MSG_GETGEN, 0, 0, |_| {})?;
        while let Some(datagram) = self.socket.receive()? {
            for message in Messages::new(datagram).filter(|m| m.sequence == sequence) {
                if message.kind == NLMSG_ERROR {
                    answer(&message)?;
                } else if let Some(id) = message
                    .attributes()
                    .find(attr::NFTA_GEN_ID)
                    .and_then(|a| a.be32())
                {
                    generation = Some(id);
                }
            }
        }
        generation.ok_or(ReadError::Malformed("generation"))
    }

    /// Asks for a dump and returns its messages' bytes, or `None` if the ruleset changed meanwhile. What
    /// the kernel does not find is an error of kind `NotFound`.
    pub(crate) fn dump(
        &mut self,
        kind: u16,
        family: u8,
        filter: impl FnOnce(&mut Writer),
    ) -> Result<Option<Dump>, ReadError> {
        let sequence = self.request(kind, NLM_F_DUMP, family, filter)?;
        let mut dump = Dump { bytes: Vec::new() };
        let mut consistent = true;
        let mut done = false;
        while let Some(datagram) = self.socket.receive()? {
            for message in Messages::new(datagram).filter(|m| m.sequence == sequence) {
                consistent &= message.flags & NLM_F_DUMP_INTR == 0;
                match message.kind {
                    NLMSG_ERROR => answer(&message)?,
                    NLMSG_DONE => {
                        done = true;
                        outcome(message.payload)?;
                    }
                    _ => {}
                }
            }
            if dump.bytes.len() + datagram.len() > MAX_DUMP {
                return Err(
                    io::Error::new(io::ErrorKind::InvalidData, "a dump exceeds 1 GiB").into(),
                );
            }
            dump.bytes.extend_from_slice(datagram);
        }
        if !done {
            return Err(ReadError::Malformed("end of a dump"));
        }
        Ok(consistent.then_some(dump))
    }

    fn request(
        &mut self,
        kind: u16,
        flags: u16,
        family: u8,
        filter: impl FnOnce(&mut Writer),
    ) -> io::Result<u32> {
        self.drain()?;
        let sequence = self.sequence;
        self.sequence = sequence.wrapping_add(1);
        let mut w = Writer::default();
        let open = w.begin_nft(kind, NLM_F_REQUEST | flags, sequence, family);
        filter(&mut w);
        w.end(open);
        self.socket.send(&w.into_bytes())?;
        Ok(sequence)
    }

    fn commit_on(
        &mut self,
        transaction: &Transaction,
        generation: Option<u32>,
    ) -> Result<(), CommitError> {
        if transaction.ops.is_empty() {
            return Ok(());
        }
        let failed = |source| CommitError::Io {
            table: transaction.table.clone(),
            source,
        };
        let batch = encode::batch(transaction, generation, self.sequence).map_err(|too_long| {
            let object = transaction
                .ops
                .get(too_long.op)
                .map(describe)
                .unwrap_or_default();
            CommitError::TooLarge {
                op: Some(too_long.op),
                object,
                limit: crate::kernel::MAX_ATTRIBUTE,
            }
        })?;
        if batch.origins.is_empty() {
            return Ok(());
        }
        if batch.bytes.len() > MAX_BATCH {
            let object = format!("the transaction on table {}", transaction.table);
            return Err(CommitError::TooLarge {
                op: None,
                object,
                limit: MAX_BATCH,
            });
        }
        self.sequence = batch.next_sequence();
        self.drain().map_err(failed)?;
        self.socket.send(&batch.bytes).map_err(failed)?;
        let replies = self.replies(&batch).map_err(failed)?;
        replies.judge(transaction, &batch, generation)
    }

    /// Reads what the kernel says to a batch.
    fn replies(&mut self, batch: &Batch) -> io::Result<Replies> {
        let mut replies = Replies::default();
        loop {
            let datagram = match self.socket.receive() {
                Ok(Some(datagram)) => datagram,
                Ok(None) => return Ok(replies),
                // So many refusals that the queue overflowed: the first of them are still there.
                Err(e) if e.raw_os_error() == Some(libc::ENOBUFS) => {
                    replies.lost = true;
                    continue;
                }
                Err(e) => return Err(e),
            };
            for message in Messages::new(datagram).filter(|m| m.kind == NLMSG_ERROR) {
                replies.take(batch, &message);
            }
        }
    }

    /// Discards answers that an earlier call did not wait for because it failed.
    fn drain(&mut self) -> io::Result<()> {
        loop {
            match self.socket.receive() {
                Ok(Some(_)) => {}
                Ok(None) => return Ok(()),
                Err(e) if e.raw_os_error() == Some(libc::ENOBUFS) => {}
                Err(e) => return Err(e),
            }
        }
    }
}

/// The bytes of a dump.
pub(crate) struct Dump {
    bytes: Vec<u8>,
}

impl Dump {
    /// Its messages of one kind.
    pub(crate) fn messages(&self, kind: u16) -> impl Iterator<Item = Message<'_>> {
        Messages::new(&self.bytes).filter(move |m| m.nft_kind() == Some(kind))
    }
}

/// What the kernel said to a batch.
#[derive(Default)]
struct Replies {
    /// Whether the last message was acknowledged.
    acknowledged: bool,
    /// An error about the batch as a whole.
    whole: Option<i32>,
    /// Errors about messages, in order: error number, sequence number, offset of the part, text.
    refused: Vec<(i32, u32, Option<usize>, Option<String>)>,
    /// Whether some replies did not fit the queue.
    lost: bool,
}

impl Replies {
    fn take(&mut self, batch: &Batch, message: &Message<'_>) {
        let Some(errno) = message
            .payload
            .get(..4)
            .and_then(u32_ne)
            .map(|n| n.cast_signed().wrapping_neg())
        else {
            return;
        };
        if message.sequence == batch.first_sequence && errno != 0 {
            self.whole = Some(errno);
        } else if batch.origin(message.sequence).is_none() {
            // Of an earlier batch.
        } else if errno == 0 {
            self.acknowledged |= message.sequence == batch.last_sequence();
        } else if self.refused.len() < MAX_REJECTIONS {
            let details = error_attributes(message);
            let offset = details
                .find(attr::NLMSGERR_ATTR_OFFS)
                .and_then(|a| u32_ne(a.payload));
            let offset = offset.and_then(|offset| usize::try_from(offset).ok());
            let text = details.find(attr::NLMSGERR_ATTR_MSG).map(|a| a.string());
            self.refused.push((errno, message.sequence, offset, text));
        }
    }

    fn judge(
        self,
        transaction: &Transaction,
        batch: &Batch,
        generation: Option<u32>,
    ) -> Result<(), CommitError> {
        let io = |source| {
            Err(CommitError::Io {
                table: transaction.table.clone(),
                source,
            })
        };
        match (self.whole, generation) {
            (Some(libc::ERESTART), Some(generation)) => return Err(CommitError::Stale(generation)),
            (Some(errno), _) if self.refused.is_empty() => {
                return io(io::Error::from_raw_os_error(errno));
            }
            _ => {}
        }
        if !self.refused.is_empty() {
            let rejections = self
                .refused
                .into_iter()
                .filter_map(|refusal| reject(transaction, batch, refusal));
            return Err(CommitError::Rejected(rejections.collect()));
        }
        if self.acknowledged && !self.lost {
            return Ok(());
        }
        io(io::Error::new(
            io::ErrorKind::InvalidData,
            "the kernel did not say what became of the transaction",
        ))
    }
}

/// Finds the operation and the element that a refusal is about.
fn reject(
    transaction: &Transaction,
    batch: &Batch,
    (errno, sequence, offset, message): (i32, u32, Option<usize>, Option<String>),
) -> Option<Rejection> {
    let origin = batch.origin(sequence)?;
    let op = transaction.ops.get(origin.op)?;
    let count = match op {
        Op::AddElements { elements, .. } | Op::DelElements { elements, .. } => elements.len(),
        Op::AddNumbers(numbers) | Op::DelNumbers(numbers) => numbers.len(),
        _ => 0,
    };
    let element = match count {
        0 => None,
        1 => Some(0),
        _ => offset.and_then(|offset| batch.element_at(origin, offset)),
    };
    let object = element
        .and_then(|element| describe_element(op, element))
        .unwrap_or_else(|| describe(op));
    Some(Rejection {
        table: transaction.table.clone(),
        op: origin.op,
        element,
        object,
        errno,
        message,
    })
}

/// The part of an operation that is about one element.
fn describe_element(op: &Op, at: usize) -> Option<String> {
    Some(match op {
        Op::AddElements { set, elements } => {
            format!("add element {} {{ {} }}", set.name, elements.get(at)?)
        }
        Op::DelElements { set, elements } => {
            let key = &elements.get(at)?.key;
            format!("delete element {} {{ {key} }}", set.name)
        }
        Op::AddNumbers(numbers) => {
            format!("add element {} {{ {} }}", numbers.map(), numbers.get(at)?)
        }
        Op::DelNumbers(numbers) => {
            let key = numbers.get(at)?.key;
            format!("delete element {} {{ {key} }}", numbers.map())
        }
        _ => return None,
    })
}

/// An operation as text, short even where it has many elements.
fn describe(op: &Op) -> String {
    match op {
        Op::AddElements { set, elements } => {
            format!("add {} elements to {}", elements.len(), set.name)
        }
        Op::DelElements { set, elements } => {
            format!("delete {} elements of {}", elements.len(), set.name)
        }
        Op::AddNumbers(numbers) => {
            format!("add {} elements to {}", numbers.len(), numbers.map())
        }
        Op::DelNumbers(numbers) => {
            format!("delete {} elements of {}", numbers.len(), numbers.map())
        }
        other => other.to_string(),
    }
}

/// The error of an `NLMSG_ERROR`.
fn answer(message: &Message<'_>) -> io::Result<()> {
    outcome(message.payload)
}

/// The error number with which an `NLMSG_ERROR` or `NLMSG_DONE` begins.
fn outcome(payload: &[u8]) -> io::Result<()> {
    match payload.get(..4).and_then(u32_ne).map(u32::cast_signed) {
        None | Some(0) => Ok(()),
        Some(errno) => Err(io::Error::from_raw_os_error(errno.wrapping_neg())),
    }
}

/// The attributes of an error: after the header of the failed message, or after all of it.
fn error_attributes<'a>(message: &Message<'a>) -> Attributes<'a> {
    let none = Attributes::new(&[]);
    if message.flags & NLM_F_ACK_TLVS == 0 {
        return none;
    }
    let start = if message.flags & NLM_F_CAPPED != 0 {
        4 + NLMSG_HDRLEN
    } else {
        let Some(len) = message
            .payload
            .get(4..8)
            .and_then(u32_ne)
            .and_then(|len| usize::try_from(len).ok())
        else {
            return none;
        };
        len.saturating_add(4)
    };
    message.payload.get(start..).map_or(none, Attributes::new)
}

impl Batch {
    /// Index in its operation of the element that lies at an offset of a message.
    fn element_at(&self, origin: encode::Origin, offset: usize) -> Option<usize> {
        let bytes = self.bytes.get(origin.start..)?;
        let message = Messages::new(bytes).next()?;
        let mut begun = 0usize;
        let mut at = NLMSG_HDRLEN + NFGENMSG_LEN;
        for attribute in message.attributes() {
            if attribute.kind == attr::NFTA_SET_ELEM_LIST_ELEMENTS {
                let mut inside = at + 4;
                for item in attribute.nested() {
                    let flags = item
                        .nested()
                        .find(attr::NFTA_SET_ELEM_FLAGS)
                        .and_then(|a| a.be32())
                        .unwrap_or(0);
                    // The end of an interval belongs to the element before it.
                    if flags & crate::kernel::flag::NFT_SET_ELEM_INTERVAL_END == 0 {
                        begun += 1;
                    }
                    inside += (item.payload.len() + 4).next_multiple_of(4);
                    if offset < inside {
                        return Some(origin.first_element + begun.checked_sub(1)?);
                    }
                }
            }
            at += (attribute.payload.len() + 4).next_multiple_of(4);
        }
        None
    }
}
