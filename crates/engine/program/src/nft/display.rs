//! Programs as text: objects in the language of `nft`, expressions as its `--debug=netlink` prints them.

use std::fmt::{self, Display, Formatter, Write as _};

use super::expression::{
    ByteorderOp, CmpOp, CtDirection, CtKey, Expression, FibResult, LogStatement, LogTarget,
    LookupSet, MetaKey, PayloadBase, RangeOp, Register, Reject,
};
use super::object::{Chain, Rule};
use super::ruleset::Ruleset;
use super::set::{AnonymousSet, Data, Element, ElementKey, Key, Set, SetData};
use super::transaction::{Op, Transaction};
use super::value::{KeyType, Value};

impl Display for KeyType {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ipv4Addr => "ipv4_addr",
            Self::Ipv6Addr => "ipv6_addr",
            Self::EtherAddr => "ether_addr",
            Self::EtherType => "ether_type",
            Self::InetProto => "inet_proto",
            Self::InetService => "inet_service",
            Self::IcmpType => "icmp_type",
            Self::IcmpCode => "icmp_code",
            Self::Icmpv6Type => "icmpv6_type",
            Self::Icmpv6Code => "icmpv6_code",
            Self::Mark => "mark",
            Self::ClassId => "classid",
            Self::IfaceIndex => "iface_index",
            Self::IfName => "ifname",
            Self::Other { id, .. } => return write!(f, "type{id}"),
        })
    }
}

impl Display for Value {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ipv4Addr(a) => a.fmt(f),
            Self::Ipv6Addr(a) => a.fmt(f),
            Self::EtherAddr(bytes) => {
                let pairs = bytes.iter().map(|byte| format!("{byte:02x}"));
                join(f, pairs, ":")
            }
            Self::EtherType(n) => write!(f, "0x{n:04x}"),
            Self::InetService(n) => n.fmt(f),
            Self::InetProto(n)
            | Self::IcmpType(n)
            | Self::IcmpCode(n)
            | Self::Icmpv6Type(n)
            | Self::Icmpv6Code(n) => n.fmt(f),
            Self::Mark(n) => write!(f, "0x{n:08x}"),
            Self::IfaceIndex(n) => n.fmt(f),
            Self::ClassId(n) => write!(f, "{:x}:{:x}", n >> 16, n & 0xffff),
            Self::IfName(name) => write!(f, "\"{name}\""),
            Self::Other(_, bytes) => f.write_str(&hex(bytes)),
        }
    }
}

impl Display for Key {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        join(f, &self.0, " . ")
    }
}

impl Display for ElementKey {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(key) => key.fmt(f),
            Self::CatchAll => f.write_str("*"),
            Self::Range { first, last } => {
                for (i, (from, to)) in first.0.iter().zip(&last.0).enumerate() {
                    f.write_str(if i == 0 { "" } else { " . " })?;
                    from.fmt(f)?;
                    if from != to {
                        write!(f, "-{to}")?;
                    }
                }
                Ok(())
            }
        }
    }
}

impl Display for Data {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value(value) => value.fmt(f),
            Self::Verdict(verdict) => verdict.fmt(f),
        }
    }
}

impl Display for Element {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.key.fmt(f)?;
        if let Some(counter) = self.counter {
            write!(
                f,
                " counter packets {} bytes {}",
                counter.packets, counter.bytes
            )?;
        }
        if let Some(comment) = &self.comment {
            write!(f, " comment \"{comment}\"")?;
        }
        match &self.data {
            Some(data) => write!(f, " : {data}"),
            None => Ok(()),
        }
    }
}

impl Display for Set {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let word = if self.data == SetData::None {
            "set"
        } else {
            "map"
        };
        write!(f, "{word} {} {{ type ", self.name)?;
        join(f, &self.key, " . ")?;
        match self.data {
            SetData::None => {}
            SetData::Verdict => f.write_str(" : verdict")?,
            SetData::Value(data) => write!(f, " : {data}")?,
        }
        f.write_str(";")?;
        match (self.constant, self.interval) {
            (false, false) => {}
            (true, false) => f.write_str(" flags constant;")?,
            (false, true) => f.write_str(" flags interval;")?,
            (true, true) => f.write_str(" flags constant,interval;")?,
        }
        if self.counter {
            f.write_str(" counter;")?;
        }
        if let Some(size) = self.size {
            write!(f, " size {size};")?;
        }
        if let Some(comment) = &self.comment {
            write!(f, " comment \"{comment}\";")?;
        }
        f.write_str(" }")
    }
}

impl Display for AnonymousSet {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("{ ")?;
        join(f, &self.elements, ", ")?;
        f.write_str(" }")
    }
}

impl Display for Chain {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "chain {}", self.name)?;
        let Some(base) = &self.base else {
            return Ok(());
        };
        write!(f, " {{ type {} hook {}", base.kind, base.hook)?;
        if let Some(device) = &base.device {
            write!(f, " device \"{device}\"")?;
        }
        write!(f, " priority {}; policy {}; }}", base.priority, base.policy)
    }
}

impl Display for Rule {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.chain)?;
        for expression in &self.expressions {
            write!(f, " {expression}")?;
        }
        match &self.comment {
            Some(comment) => write!(f, " comment \"{comment}\""),
            None => Ok(()),
        }
    }
}

impl Display for Op {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::AddTable { comment: None } => f.write_str("add table"),
            Self::AddTable {
                comment: Some(comment),
            } => write!(f, "add table comment \"{comment}\""),
            Self::DelTable => f.write_str("delete table"),
            Self::AddChain(chain) => write!(f, "add {chain}"),
            Self::DelChain(chain) => write!(f, "delete chain {chain}"),
            Self::FlushChain(chain) => write!(f, "flush chain {chain}"),
            Self::AddRule(rule) => write!(f, "add rule {rule}"),
            Self::ReplaceRule { handle, rule } => write!(f, "replace rule handle {handle} {rule}"),
            Self::DelRule { chain, handle } => write!(f, "delete rule {chain} handle {handle}"),
            Self::AddSet(set) => write!(f, "add {set}"),
            Self::DelSet(set) => write!(f, "delete set {set}"),
            Self::FlushSet(set) => write!(f, "flush set {set}"),
            Self::AddElements { set, elements } => {
                write!(f, "add element {} {{ ", set.name)?;
                join(f, elements, ", ")?;
                f.write_str(" }")
            }
            Self::DelElements { set, elements } => {
                write!(f, "delete element {} {{ ", set.name)?;
                join(f, elements.iter().map(|e| &e.key), ", ")?;
                f.write_str(" }")
            }
            Self::AddNumbers(numbers) => {
                write!(f, "add element {} {{ ", numbers.map())?;
                join(f, numbers.elements(), ", ")?;
                f.write_str(" }")
            }
            Self::DelNumbers(numbers) => {
                write!(f, "delete element {} {{ ", numbers.map())?;
                join(f, numbers.elements().map(|element| element.key), ", ")?;
                f.write_str(" }")
            }
        }
    }
}

impl Display for Transaction {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "table {}", self.table)?;
        for op in &self.ops {
            writeln!(f, "{op}")?;
        }
        Ok(())
    }
}

impl Display for Ruleset {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "table {}", self.table)?;
        if let Some(comment) = &self.comment {
            writeln!(f, "comment \"{comment}\"")?;
        }
        for installed in self.sets.values() {
            writeln!(f, "{}", installed.set)?;
            for element in &installed.elements {
                writeln!(f, "  {element}")?;
            }
        }
        for installed in self.chains.values() {
            writeln!(f, "{}", installed.chain)?;
            for rule in &installed.rules {
                writeln!(f, "  {} # handle {}", rule.rule, rule.handle)?;
            }
        }
        Ok(())
    }
}

impl Display for Register {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.number().fmt(f)
    }
}

impl Display for Expression {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("[ ")?;
        match self {
            Self::MetaLoad { key, to } => write!(f, "meta load {key} => reg {to}"),
            Self::MetaSet { key, from } => write!(f, "meta set {key} with reg {from}"),
            Self::CtLoad { key, direction, to } => {
                write!(f, "ct load {key} => reg {to}")?;
                direction.map_or(Ok(()), |side| write!(f, ", dir {side}"))
            }
            Self::CtSet { key, from } => write!(f, "ct set {key} with reg {from}"),
            Self::PayloadLoad {
                base,
                offset,
                len,
                to,
            } => write!(
                f,
                "payload load {len}b @ {base} header + {offset} => reg {to}"
            ),
            Self::Cmp { op, from, value } => write!(f, "cmp {op} reg {from} {}", hex(value)),
            Self::Range {
                op,
                from,
                first,
                last,
            } => write!(f, "range {op} reg {from} {} {}", hex(first), hex(last)),
            Self::Bitwise {
                from,
                to,
                mask,
                xor,
            } => write!(
                f,
                "bitwise reg {to} = ( reg {from} & {} ) ^ {}",
                hex(mask),
                hex(xor)
            ),
            Self::Byteorder {
                from,
                to,
                op,
                len,
                size,
            } => write!(f, "byteorder reg {to} = {op}(reg {from}, {size}, {len})"),
            Self::Lookup {
                set,
                from,
                to,
                invert,
            } => {
                write!(f, "lookup reg {from} set {set}")?;
                to.map_or(Ok(()), |to| write!(f, " dreg {to}"))?;
                f.write_str(if *invert { " 0x1" } else { "" })
            }
            Self::Immediate { to, value } => write!(f, "immediate reg {to} {}", hex(value)),
            Self::Verdict(verdict) => write!(f, "immediate reg 0 {verdict}"),
            Self::Counter(c) => write!(f, "counter pkts {} bytes {}", c.packets, c.bytes),
            Self::Log(log) => log.fmt(f),
            Self::Reject(reject) => reject.fmt(f),
            Self::Masquerade { flags, ports } => {
                write!(f, "masq flags 0x{flags:x}")?;
                let range = |(min, max)| write!(f, " proto_min reg {min} proto_max reg {max}");
                ports.map_or(Ok(()), range)
            }
            Self::Notrack => f.write_str("notrack"),
            Self::Fib { result, flags, to } => {
                write!(f, "fib flags 0x{flags:x} {result} => reg {to}")
            }
            Self::Other { name, data } => write!(f, "{name} {}", hex(data)),
        }?;
        f.write_str(" ]")
    }
}

impl Display for RangeOp {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Eq => "eq",
            Self::Neq => "neq",
        })
    }
}

impl Display for ByteorderOp {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ntoh => "ntoh",
            Self::Hton => "hton",
        })
    }
}

impl Display for CtDirection {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Original => "original",
            Self::Reply => "reply",
        })
    }
}

impl Display for FibResult {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Oif => "oif",
            Self::OifName => "oifname",
            Self::AddrType => "type",
        })
    }
}

impl Display for LookupSet {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(name) => f.write_str(name),
            Self::Anonymous(set) => set.fmt(f),
        }
    }
}

impl Display for LogStatement {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("log")?;
        if let Some(prefix) = &self.prefix {
            write!(f, " prefix \"{prefix}\"")?;
        }
        match self.target {
            LogTarget::Group {
                group,
                snaplen,
                queue_threshold,
            } => {
                write!(
                    f,
                    " group {group} snaplen {snaplen} qthreshold {queue_threshold}"
                )
            }
            LogTarget::Kernel { level, flags } => write!(f, " level {level} flags 0x{flags:x}"),
        }
    }
}

impl Display for Reject {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (kind, code) = match self {
            Self::Icmp(code) => (0, *code),
            Self::TcpReset => (1, 0),
            Self::Icmpx(code) => (2, *code),
        };
        write!(f, "reject type {kind} code {code}")
    }
}

impl Display for MetaKey {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Length => "len",
            Self::Protocol => "protocol",
            Self::Priority => "priority",
            Self::Mark => "mark",
            Self::Iif => "iif",
            Self::Oif => "oif",
            Self::IifName => "iifname",
            Self::OifName => "oifname",
            Self::IifType => "iiftype",
            Self::OifType => "oiftype",
            Self::NfTrace => "nftrace",
            Self::NfProto => "nfproto",
            Self::L4Proto => "l4proto",
            Self::PktType => "pkttype",
            Self::Cpu => "cpu",
            Self::Other(key) => return write!(f, "key{key}"),
        })
    }
}

impl Display for CtKey {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::State => "state",
            Self::Direction => "direction",
            Self::Status => "status",
            Self::Mark => "mark",
            Self::Zone => "zone",
            Self::Other(key) => return write!(f, "key{key}"),
        })
    }
}

impl Display for PayloadBase {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Link => "link",
            Self::Network => "network",
            Self::Transport => "transport",
            Self::Inner => "inner",
        })
    }
}

impl Display for CmpOp {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Eq => "eq",
            Self::Neq => "neq",
            Self::Lt => "lt",
            Self::Lte => "lte",
            Self::Gt => "gt",
            Self::Gte => "gte",
        })
    }
}

fn join<T: Display>(
    f: &mut Formatter<'_>,
    items: impl IntoIterator<Item = T>,
    between: &str,
) -> fmt::Result {
    for (i, item) in items.into_iter().enumerate() {
        if i > 0 {
            f.write_str(between)?;
        }
        item.fmt(f)?;
    }
    Ok(())
}

/// Bytes in the order of memory, so that the text is the same on every host.
fn hex(bytes: &[u8]) -> String {
    let mut out = String::from("0x");
    for byte in bytes {
        // Writing to a String cannot fail.
        let _ = write!(out, "{byte:02x}");
    }
    out
}
