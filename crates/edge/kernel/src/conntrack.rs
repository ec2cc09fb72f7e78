//! The connection table: read it, mark its entries, delete from it (`nfnetlink_conntrack.h`).
//!
//! The kernel tracks connections of a namespace only once a rule there asks for their state.

mod codec;
mod entry;

use std::collections::BTreeSet;
use std::net::IpAddr;

use netlink_sys::protocols::NETLINK_NETFILTER;

pub use entry::{Counters, Entry, Layer4, Tuple, status};

use crate::netns::Namespace;
use crate::transport::{Outgoing, Refusal, Transport};
use crate::{Error, Result, sysctl};

/// How often [`Conntrack::delete_addresses`] looks again for entries that appeared meanwhile.
pub const DELETE_ROUNDS: usize = 8;

/// A connection to the connection table of one namespace.
#[derive(Debug)]
pub struct Conntrack {
    transport: Transport,
}

/// Which entries to list. Empty: all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Filter {
    /// Entries whose mark has these bits; the kernel filters.
    pub mark: Option<MarkMatch>,
}

/// `mark & mask == value`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MarkMatch {
    /// The bits wanted.
    pub value: u32,
    /// The bits compared; 0 compares none and matches all.
    pub mask: u32,
}

/// What names an entry to the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key {
    /// The first packet's tuple.
    pub original: Tuple,
    /// The conntrack zone; 0 unless rules set one.
    pub zone: u16,
    /// If present, a deletion spares an entry of the same tuple with another id. Marking ignores it,
    /// because the kernel does.
    pub id: Option<u32>,
}

/// A change of an entry's mark: `mark = (mark & !mask) | (value & mask)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MarkChange {
    /// The entry.
    pub key: Key,
    /// The bits to set.
    pub value: u32,
    /// The bits to change; others keep what they are.
    pub mask: u32,
}

/// What became of a request about one entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Done.
    Done,
    /// The entry is no longer there.
    Gone,
}

impl Conntrack {
    /// Opens the table of the calling thread's namespace.
    ///
    /// # Errors
    /// `Io` if no netlink socket can be had.
    pub fn open() -> Result<Self> {
        let transport = Transport::open(NETLINK_NETFILTER)?;
        Ok(Self { transport })
    }

    /// Opens the table of `namespace`.
    ///
    /// # Errors
    /// `Io` if the namespace cannot be entered or no netlink socket can be had.
    pub fn open_in(namespace: &Namespace) -> Result<Self> {
        let transport = Transport::open_in(namespace, NETLINK_NETFILTER)?;
        Ok(Self { transport })
    }

    /// The number of entries of the namespace, of both families, those not confirmed yet included.
    ///
    /// # Errors
    /// `Kernel` if the kernel refuses; `Malformed` if it does not say.
    pub fn count(&mut self) -> Result<u32> {
        let object = "number of conntrack entries";
        let body = codec::stats();
        let request = Outgoing {
            object,
            kind: codec::STATS,
            flags: 0,
            body: &body,
        };
        let mut count = None;
        self.transport.query(request, |message| {
            count = codec::read_stats(message).or(count);
            Ok(())
        })?;
        count.ok_or_else(|| Error::malformed(object, "no number"))
    }

    /// The entries that `filter` wants, of both families, in the kernel's order. An entry that comes
    /// or goes meanwhile may be there or not. The kernel walks the table of all namespaces: about 10 ms
    /// for its default size, and 2 ms for each 1,000 entries that are wanted.
    ///
    /// # Errors
    /// `Kernel` if the kernel refuses, for instance without `CAP_NET_ADMIN`.
    pub fn entries(&mut self, filter: &Filter) -> Result<Vec<Entry>> {
        self.select(filter, |_| true)
    }

    /// The entries that `filter` and `wanted` want. Others are not kept in memory.
    ///
    /// # Errors
    /// As for [`Conntrack::entries`].
    pub fn select(
        &mut self,
        filter: &Filter,
        mut wanted: impl FnMut(&Entry) -> bool,
    ) -> Result<Vec<Entry>> {
        let body = codec::dump(filter);
        let request = Outgoing {
            object: "conntrack entries",
            kind: codec::GET,
            flags: 0,
            body: &body,
        };
        self.transport.dump(request, |message| {
            Ok(codec::read(message).filter(|entry| wanted(entry)))
        })
    }

    /// Changes the marks of many entries, pipelined; one fate for each, in order. The kernel does not
    /// lock the mark against packets that set it at the same time: look again after a grace period.
    ///
    /// # Errors
    /// The outer error means that answers of the kernel are lost.
    pub fn set_marks(&mut self, changes: &[MarkChange]) -> Result<Vec<Result<Fate>>> {
        let bodies: Vec<_> = changes.iter().map(codec::mark).collect();
        let fates = self.exchange(codec::NEW, &bodies)?;
        Ok(name_fates(changes.iter().map(|change| &change.key), fates))
    }

    /// Deletes entries, pipelined; one fate for each, in order. A flow whose entry is deleted goes on
    /// under a new entry if rules let it.
    ///
    /// # Errors
    /// The outer error means that answers of the kernel are lost.
    pub fn delete(&mut self, keys: &[Key]) -> Result<Vec<Result<Fate>>> {
        let bodies: Vec<_> = keys.iter().map(codec::key).collect();
        let fates = self.exchange(codec::DELETE, &bodies)?;
        Ok(name_fates(keys.iter(), fates))
    }

    /// Deletes every entry that has one of `addresses` as a source or destination in either direction,
    /// and returns how many it deleted. Looks again until none is left, at most [`DELETE_ROUNDS`] times,
    /// so the addresses should no longer carry traffic. Each look walks the whole table (see
    /// [`Conntrack::entries`]) unless it is empty: give many addresses at once.
    ///
    /// # Errors
    /// `Unsettled` if entries keep appearing; else as for [`Conntrack::entries`].
    pub fn delete_addresses(&mut self, addresses: &[IpAddr]) -> Result<usize> {
        let addresses: BTreeSet<IpAddr> = addresses.iter().copied().collect();
        if addresses.is_empty() || self.count()? == 0 {
            return Ok(0);
        }
        let mut deleted = 0;
        for _ in 0..DELETE_ROUNDS {
            let found = self.select(&Filter::default(), |entry| {
                entry.addresses().iter().any(|ip| addresses.contains(ip))
            })?;
            if found.is_empty() {
                return Ok(deleted);
            }
            let keys: Vec<_> = found.iter().map(Entry::key).collect();
            for fate in self.delete(&keys)? {
                deleted += usize::from(fate? == Fate::Done);
            }
        }
        Err(Error::Unsettled {
            object: format!("conntrack entries of {addresses:?}"),
            what: format!("new ones keep appearing after {DELETE_ROUNDS} rounds of deletion"),
        })
    }

    /// Empties the table of this namespace. Flows that go on are judged as new ones.
    ///
    /// # Errors
    /// `Kernel` if the kernel refuses, for instance without `CAP_NET_ADMIN`.
    pub fn clear(&mut self) -> Result<()> {
        let fates = self.exchange(codec::DELETE, &[codec::everything()])?;
        match fates.into_iter().flatten().next() {
            Some(refusal) => Err(refusal.about("conntrack entries")),
            None => Ok(()),
        }
    }

    fn exchange(&mut self, kind: u16, bodies: &[Vec<u8>]) -> Result<Vec<Option<Refusal>>> {
        self.transport.exchange(bodies.iter().map(|body| Outgoing {
            object: "conntrack entry",
            kind,
            flags: 0,
            body,
        }))
    }
}

/// Switches on packet and byte counters for connections that begin from now on, in the namespace of the
/// calling thread.
///
/// # Errors
/// `Io` if the kernel has no connection tracking.
pub fn enable_accounting() -> Result<()> {
    sysctl::write("net/netfilter/nf_conntrack_acct", "1")
}

/// [`enable_accounting`] inside `namespace`.
///
/// # Errors
/// As for [`enable_accounting`], and `Io` if the namespace cannot be entered.
pub fn enable_accounting_in(namespace: &Namespace) -> Result<()> {
    namespace.run(enable_accounting)?
}

fn name_fates<'a>(
    keys: impl Iterator<Item = &'a Key>,
    answers: Vec<Option<Refusal>>,
) -> Vec<Result<Fate>> {
    keys.zip(answers)
        .map(|(key, answer)| match answer {
            None => Ok(Fate::Done),
            Some(refusal) if refusal.errno == libc::ENOENT => Ok(Fate::Gone),
            Some(refusal) => Err(refusal.about(&format!("conntrack entry {}", key.original))),
        })
        .collect()
}
