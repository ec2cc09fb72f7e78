//! Expressions of rules.

use super::object::Verdict;
use super::set::{AnonymousSet, Counter};
use super::text::Text;

/// Bytes as a register or a packet holds them.
pub type Bytes = Vec<u8>;

/// A place of the kernel's per-packet scratch memory: 16 words of 4 bytes, and the verdict.
///
/// The kernel has two numberings (`NFT_REG_1` of 16 bytes, `NFT_REG32_00` of 4); words are the same
/// places without that ambiguity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Register {
    /// The verdict.
    Verdict,
    /// A word, 0 to 15, and those after it as far as the value reaches.
    Word(u8),
}

impl Register {
    /// Where most rules keep their one value: word 0, which nft calls register 1.
    pub const R1: Self = Self::Word(0);

    /// The kernel's number, as the kernel reports it: `NFT_REG_*` for every fourth word, `NFT_REG32_*`
    /// for the others.
    #[must_use]
    pub fn number(self) -> u32 {
        match self {
            Self::Verdict => 0,
            Self::Word(w) if w % 4 == 0 => 1 + u32::from(w) / 4,
            Self::Word(w) => 8 + u32::from(w),
        }
    }

    /// The register of a kernel's number, if there is one.
    #[must_use]
    pub fn from_number(number: u32) -> Option<Self> {
        match u8::try_from(number).ok()? {
            0 => Some(Self::Verdict),
            n @ 1..=4 => Some(Self::Word((n - 1) * 4)),
            n @ 8..=23 => Some(Self::Word(n - 8)),
            _ => None,
        }
    }
}

/// One step of a rule.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Expression {
    /// Loads a property of the packet.
    MetaLoad {
        /// Which.
        key: MetaKey,
        /// Where to.
        to: Register,
    },
    /// Sets a property of the packet.
    MetaSet {
        /// Which.
        key: MetaKey,
        /// From where.
        from: Register,
    },
    /// Loads a property of the packet's connection; ends the rule if there is none.
    CtLoad {
        /// Which.
        key: CtKey,
        /// Whose side of the connection, for keys that have sides.
        direction: Option<CtDirection>,
        /// Where to.
        to: Register,
    },
    /// Sets a property of the packet's connection.
    CtSet {
        /// Which.
        key: CtKey,
        /// From where.
        from: Register,
    },
    /// Loads bytes of the packet; ends the rule if it is too short.
    PayloadLoad {
        /// Which header.
        base: PayloadBase,
        /// Bytes from its start.
        offset: u32,
        /// How many bytes, 1 to 64.
        len: u32,
        /// Where to.
        to: Register,
    },
    /// Ends the rule unless a register compares so with a value.
    Cmp {
        /// How.
        op: CmpOp,
        /// The register.
        from: Register,
        /// The value, 1 to 64 bytes; compared over its own length only.
        value: Bytes,
    },
    /// Ends the rule unless a register is inside, or outside, a range.
    Range {
        /// Inside or outside.
        op: RangeOp,
        /// The register.
        from: Register,
        /// The lowest value.
        first: Bytes,
        /// The highest value, of the same length.
        last: Bytes,
    },
    /// `to = (from & mask) ^ xor`.
    Bitwise {
        /// Operand.
        from: Register,
        /// Result.
        to: Register,
        /// The mask.
        mask: Bytes,
        /// What is flipped afterwards, of the same length.
        xor: Bytes,
    },
    /// Changes byte order between network and host.
    Byteorder {
        /// Operand.
        from: Register,
        /// Result.
        to: Register,
        /// Which way.
        op: ByteorderOp,
        /// Bytes in all.
        len: u32,
        /// Bytes of each number: 2, 4 or 8.
        size: u32,
    },
    /// Looks a key up; ends the rule if it is absent.
    Lookup {
        /// The set.
        set: LookupSet,
        /// Where the key is.
        from: Register,
        /// Where the data go: a register for a map, [`Register::Verdict`] for a verdict map, `None` for
        /// a set.
        to: Option<Register>,
        /// For sets: end the rule if the key is present instead.
        invert: bool,
    },
    /// Loads a constant.
    Immediate {
        /// Where to; not the verdict.
        to: Register,
        /// The constant, 1 to 64 bytes.
        value: Bytes,
    },
    /// Decides.
    Verdict(Verdict),
    /// Counts packets that come this far.
    Counter(Counter),
    /// Reports the packet.
    Log(LogStatement),
    /// Answers with an error and drops.
    Reject(Reject),
    /// Source NAT to the address of the outgoing interface.
    Masquerade {
        /// [`nat_flag`]s.
        flags: u32,
        /// Where the lowest and the highest source port are, if they are limited.
        ports: Option<(Register, Register)>,
    },
    /// Keeps the packet out of connection tracking.
    Notrack,
    /// Asks the routing table.
    Fib {
        /// What is asked.
        result: FibResult,
        /// [`fib_flag`]s.
        flags: u32,
        /// Where the answer goes.
        to: Register,
    },
    /// An expression this crate does not name: its name and its attributes as the kernel gave them.
    Other {
        /// Its name.
        name: String,
        /// Its netlink attributes.
        data: Bytes,
    },
}

/// The set of a look-up.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum LookupSet {
    /// A set of the table.
    Named(String),
    /// A set of this rule only.
    Anonymous(AnonymousSet),
}

/// Properties of a packet (`enum nft_meta_keys`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MetaKey {
    /// Length in bytes, 4 bytes.
    Length,
    /// Ethernet protocol, 2 bytes, network order.
    Protocol,
    /// `skb->priority`, 4 bytes; private to the packet.
    Priority,
    /// `skb->mark`, 4 bytes.
    Mark,
    /// Index of the incoming interface, 4 bytes.
    Iif,
    /// Index of the outgoing interface, 4 bytes.
    Oif,
    /// Name of the incoming interface, 16 bytes.
    IifName,
    /// Name of the outgoing interface, 16 bytes.
    OifName,
    /// Hardware type of the incoming interface, 2 bytes, host order.
    IifType,
    /// Hardware type of the outgoing interface, 2 bytes, host order.
    OifType,
    /// Whether the packet is traced, 1 byte.
    NfTrace,
    /// `NFPROTO_IPV4` or `NFPROTO_IPV6`, 1 byte.
    NfProto,
    /// IP protocol after extension headers, 1 byte.
    L4Proto,
    /// Whether it is for us, broadcast, multicast or for others, 1 byte.
    PktType,
    /// The CPU, 4 bytes.
    Cpu,
    /// Another; the kernel's number.
    Other(u32),
}

/// Properties of a connection (`enum nft_ct_keys`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CtKey {
    /// State bits, 4 bytes; never ends the rule.
    State,
    /// 0 original, 1 reply; 1 byte.
    Direction,
    /// `IPS_*` bits, 4 bytes.
    Status,
    /// The mark, 4 bytes.
    Mark,
    /// The zone, 2 bytes, host order.
    Zone,
    /// Another; the kernel's number.
    Other(u32),
}

/// A side of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CtDirection {
    /// From who opened it.
    Original,
    /// To who opened it.
    Reply,
}

/// Where an offset into the packet starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PayloadBase {
    /// Link-layer header.
    Link,
    /// IP header.
    Network,
    /// TCP, UDP, ICMP, ... header; absent in later fragments.
    Transport,
    /// What the transport carries.
    Inner,
}

/// A comparison, bytewise: numbers must be in network order for all but equality.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CmpOp {
    /// Equal.
    Eq,
    /// Not equal.
    Neq,
    /// Lower.
    Lt,
    /// Lower or equal.
    Lte,
    /// Greater.
    Gt,
    /// Greater or equal.
    Gte,
}

/// Inside or outside a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RangeOp {
    /// Inside.
    Eq,
    /// Outside.
    Neq,
}

/// Which way bytes are turned; on a little-endian host both ways are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ByteorderOp {
    /// Network to host.
    Ntoh,
    /// Host to network.
    Hton,
}

/// How a packet is reported.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LogStatement {
    /// Text in front.
    pub prefix: Option<Text>,
    /// Where to.
    pub target: LogTarget,
}

/// Where a packet is reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LogTarget {
    /// To who listens on an NFLOG group.
    Group {
        /// The group.
        group: u16,
        /// Bytes of the packet that are copied; 0 for all.
        snaplen: u32,
        /// Packets the kernel collects before it tells; 0 for its default.
        queue_threshold: u16,
    },
    /// To the kernel's log.
    Kernel {
        /// Severity, 0 (emergency) to 7 (debug); `nft` writes 4 if none is given.
        level: u32,
        /// What to print besides (`NF_LOG_*` of `linux/netfilter/nf_log.h`).
        flags: u32,
    },
}

/// How a packet is refused (`enum nft_reject_types`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reject {
    /// An ICMP unreachable of the packet's own family, with this code of that family.
    Icmp(u8),
    /// A TCP reset; the rule must have matched TCP.
    TcpReset,
    /// An ICMP or `ICMPv6` unreachable with a code common to both: 0 no route, 1 port, 2 host,
    /// 3 administratively prohibited.
    Icmpx(u8),
}

/// What is asked of the routing table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FibResult {
    /// Index of the interface, 4 bytes.
    Oif,
    /// Name of the interface, 16 bytes.
    OifName,
    /// Type of the address (`RTN_*`), 4 bytes.
    AddrType,
}

/// What a routing look-up uses (`enum nft_fib_flags`).
pub mod fib_flag {
    /// The source address.
    pub const SADDR: u32 = 1;
    /// The destination address.
    pub const DADDR: u32 = 2;
    /// The packet's mark.
    pub const MARK: u32 = 4;
    /// The incoming interface.
    pub const IIF: u32 = 8;
    /// The outgoing interface.
    pub const OIF: u32 = 16;
    /// Only whether there is a route: one byte, 1 or 0.
    pub const PRESENT: u32 = 32;
}

/// How NAT chooses ports (`linux/netfilter/nf_nat.h`).
pub mod nat_flag {
    /// Ports are given.
    pub const PROTO_SPECIFIED: u32 = 2;
    /// Ports by hash.
    pub const RANDOM: u32 = 4;
    /// The same address for the same client.
    pub const PERSISTENT: u32 = 8;
    /// Ports by chance.
    pub const FULLY_RANDOM: u32 = 16;
}
