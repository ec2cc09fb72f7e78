//! Tables, chains, rules and verdicts.

use std::fmt;

use super::expression::Expression;
use super::text::Text;

/// Address family of a table (`NFPROTO_*` of `linux/netfilter.h`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IPv4 and IPv6 packets through the same chains.
    Inet,
    /// IPv4 packets.
    Ip,
    /// IPv6 packets.
    Ip6,
    /// ARP packets.
    Arp,
    /// Frames crossing a bridge.
    Bridge,
    /// Frames entering or leaving one device.
    Netdev,
}

impl Family {
    /// The kernel's number.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Inet => 1,
            Self::Ip => 2,
            Self::Arp => 3,
            Self::Netdev => 5,
            Self::Bridge => 7,
            Self::Ip6 => 10,
        }
    }

    /// The family of a kernel's number, if there is one.
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            1 => Self::Inet,
            2 => Self::Ip,
            3 => Self::Arp,
            5 => Self::Netdev,
            7 => Self::Bridge,
            10 => Self::Ip6,
            _ => return None,
        })
    }
}

/// Names a table: a family and a name of at most 255 bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableId {
    /// Its address family.
    pub family: Family,
    /// Its name, unique in the family.
    pub name: String,
}

impl TableId {
    /// A table's name in family `inet`.
    #[must_use]
    pub fn inet(name: &str) -> Self {
        Self {
            family: Family::Inet,
            name: name.to_owned(),
        }
    }
}

/// A chain of rules.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Chain {
    /// Its name, unique in the table; at most 255 bytes.
    pub name: String,
    /// Where the kernel enters it; `None` for a chain that is only jumped to.
    pub base: Option<BaseChain>,
}

impl Chain {
    /// A chain that is only jumped to.
    #[must_use]
    pub fn regular(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            base: None,
        }
    }

    /// A chain that the kernel enters at a hook, without a device.
    #[must_use]
    pub fn base(name: &str, kind: ChainKind, hook: Hook, priority: i32, policy: Policy) -> Self {
        Self {
            name: name.to_owned(),
            base: Some(BaseChain {
                kind,
                hook,
                priority,
                policy,
                device: None,
            }),
        }
    }
}

/// Where and how the kernel enters a chain.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BaseChain {
    /// What the chain may do.
    pub kind: ChainKind,
    /// The hook.
    pub hook: Hook,
    /// Order among the chains of the hook, lowest first; see [`priority`].
    pub priority: i32,
    /// What happens to packets that reach the end.
    pub policy: Policy,
    /// The device, for [`Family::Netdev`] only.
    pub device: Option<String>,
}

/// Usual priorities of base chains (`linux/netfilter_ipv4.h`), in families `inet`, `ip` and `ip6`.
pub mod priority {
    /// Before connection tracking.
    pub const RAW: i32 = -300;
    /// After connection tracking, before destination NAT.
    pub const MANGLE: i32 = -150;
    /// Destination NAT.
    pub const DSTNAT: i32 = -100;
    /// Filtering.
    pub const FILTER: i32 = 0;
    /// Source NAT.
    pub const SRCNAT: i32 = 100;
}

/// What a base chain may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ChainKind {
    /// Judge packets.
    Filter,
    /// Translate addresses; only the first packet of a connection enters.
    Nat,
    /// Judge, and route again if a packet's mark changed (hook `output` only).
    Route,
}

/// A hook of the network stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Hook {
    /// Before routing.
    Prerouting,
    /// To the host itself.
    Input,
    /// Through the host.
    Forward,
    /// From the host itself.
    Output,
    /// After routing.
    Postrouting,
    /// Entering a device: family netdev, or inet with a device.
    Ingress,
    /// Leaving a device: family netdev.
    Egress,
}

/// Verdict of a base chain on packets that reach its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Policy {
    /// Let them pass.
    Accept,
    /// Drop them.
    Drop,
}

/// A verdict (`enum nft_verdicts`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// Pass this hook's chain; later base chains still judge.
    Accept,
    /// Drop at once.
    Drop,
    /// Go on with the next expression.
    Continue,
    /// Return to the calling chain.
    Return,
    /// Call a chain.
    Jump(String),
    /// Go to a chain without coming back.
    Goto(String),
    /// A verdict this crate does not name, such as a queue; the kernel's number.
    Other(i32),
}

/// A rule: expressions evaluated in order until one does not match.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Rule {
    /// Name of its chain.
    pub chain: String,
    /// What it evaluates.
    pub expressions: Vec<Expression>,
    /// A note for people.
    pub comment: Option<Text>,
}

impl Rule {
    /// An empty rule of a chain, which matches every packet and does nothing.
    #[must_use]
    pub fn new(chain: &str) -> Self {
        Self {
            chain: chain.to_owned(),
            expressions: Vec::new(),
            comment: None,
        }
    }

    /// Appends expressions.
    #[must_use]
    pub fn with(mut self, expressions: impl IntoIterator<Item = Expression>) -> Self {
        self.expressions.extend(expressions);
        self
    }

    /// Sets the comment.
    #[must_use]
    pub fn comment(mut self, comment: impl Into<Text>) -> Self {
        self.comment = Some(comment.into());
        self
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Inet => "inet",
            Self::Ip => "ip",
            Self::Ip6 => "ip6",
            Self::Arp => "arp",
            Self::Bridge => "bridge",
            Self::Netdev => "netdev",
        })
    }
}

impl fmt::Display for TableId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.family, self.name)
    }
}

impl fmt::Display for ChainKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Filter => "filter",
            Self::Nat => "nat",
            Self::Route => "route",
        })
    }
}

impl fmt::Display for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Prerouting => "prerouting",
            Self::Input => "input",
            Self::Forward => "forward",
            Self::Output => "output",
            Self::Postrouting => "postrouting",
            Self::Ingress => "ingress",
            Self::Egress => "egress",
        })
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Accept => "accept",
            Self::Drop => "drop",
        })
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accept => f.write_str("accept"),
            Self::Drop => f.write_str("drop"),
            Self::Continue => f.write_str("continue"),
            Self::Return => f.write_str("return"),
            Self::Jump(chain) => write!(f, "jump {chain}"),
            Self::Goto(chain) => write!(f, "goto {chain}"),
            Self::Other(code) => write!(f, "verdict {code}"),
        }
    }
}
