//! How much was tried.

use std::fmt;

use crate::expectation::Asked;
use crate::field::HOST;
use crate::frame::{Cut, Options};

/// What policy reads in a place of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Tcp,
    Udp,
    Sctp,
    /// Of the family that it belongs to, as ICMPv6.
    Icmp,
    Icmpv6,
    UdpLite,
    /// Protocols that only rules by number name.
    Numbered,
    Fragments,
    /// With IPv4 options or IPv6 extension headers.
    Extended,
    /// From the host itself.
    FromHost,
    /// To the host itself.
    ToHost,
    Translated,
}

impl Kind {
    pub const ALL: [Self; 12] = [
        Self::Tcp,
        Self::Udp,
        Self::Sctp,
        Self::Icmp,
        Self::Icmpv6,
        Self::UdpLite,
        Self::Numbered,
        Self::Fragments,
        Self::Extended,
        Self::FromHost,
        Self::ToHost,
        Self::Translated,
    ];

    /// All that a packet is.
    pub(crate) fn of(asked: &Asked) -> impl Iterator<Item = Self> {
        let packet = &asked.packet;
        let protocol = match (packet.protocol, packet.source.is_ipv4()) {
            (6, _) => Some(Self::Tcp),
            (17, _) => Some(Self::Udp),
            (132, _) => Some(Self::Sctp),
            (1, true) => Some(Self::Icmp),
            (58, false) => Some(Self::Icmpv6),
            // Of the other family: connection tracking calls it invalid.
            (1 | 58, _) => None,
            (136, _) => Some(Self::UdpLite),
            _ => Some(Self::Numbered),
        };
        let shape = asked.shape;
        let options = [shape.options, shape.destination_options];
        let more = [
            (shape.cut != Cut::Whole, Self::Fragments),
            (options.contains(&Options::Padding), Self::Extended),
            (asked.from == HOST, Self::FromHost),
            (asked.to == HOST, Self::ToHost),
            (asked.translated.is_some(), Self::Translated),
        ];
        let more = more.into_iter().filter(|(is, _)| *is);
        protocol.into_iter().chain(more.map(|(_, kind)| kind))
    }
}

/// How often each verdict was met.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Verdicts {
    pub allowed: u64,
    pub denied: u64,
}

impl Verdicts {
    pub(crate) fn add(&mut self, allowed: bool, denied: bool) {
        self.allowed += u64::from(allowed);
        self.denied += u64::from(denied);
    }
}

/// What trials have covered. A number that stays 0 is something that was not tested.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    pub worlds: u64,
    /// States of worlds: one at the beginning and one after each change.
    pub states: u64,
    pub packets: u64,
    pub allowed: u64,
    pub denied: u64,
    /// Allowed by an outcome that logs.
    pub logged: u64,
    /// Dropped because connection tracking calls them invalid.
    pub invalid: u64,
    /// Judged without connection tracking.
    pub untracked: u64,
    pub fragmented: u64,
    /// With IPv4 options or IPv6 extension headers.
    pub extended: u64,
    pub ipv6: u64,
    /// Judged more than once.
    pub twice: u64,
    /// Neither from nor to a workload of the host.
    pub transit: u64,
    /// Judged by host endpoints.
    pub hosts: u64,
    /// From or to the host itself.
    pub local: u64,
    /// Dropped because workloads may not send to their host.
    pub refused: u64,
    /// Past host endpoints by a fail-safe port.
    pub failsafe: u64,
    /// Past host endpoints because it keeps a link of IPv6.
    pub upkeep: u64,
    /// To another destination than they were sent to.
    pub translated: u64,
    /// In the order of [`Kind::ALL`].
    pub kinds: [Verdicts; Kind::ALL.len()],
    /// States whose packets were sent again because the machine had lost some.
    pub repeated: u64,
}

impl Tally {
    /// Adds another.
    pub fn add(&mut self, other: &Self) {
        let pairs = [
            (&mut self.worlds, other.worlds),
            (&mut self.states, other.states),
            (&mut self.packets, other.packets),
            (&mut self.allowed, other.allowed),
            (&mut self.denied, other.denied),
            (&mut self.logged, other.logged),
            (&mut self.invalid, other.invalid),
            (&mut self.untracked, other.untracked),
            (&mut self.fragmented, other.fragmented),
            (&mut self.extended, other.extended),
            (&mut self.ipv6, other.ipv6),
            (&mut self.twice, other.twice),
            (&mut self.transit, other.transit),
            (&mut self.hosts, other.hosts),
            (&mut self.local, other.local),
            (&mut self.refused, other.refused),
            (&mut self.failsafe, other.failsafe),
            (&mut self.upkeep, other.upkeep),
            (&mut self.translated, other.translated),
            (&mut self.repeated, other.repeated),
        ];
        for (sum, more) in pairs {
            *sum += more;
        }
        for (sum, more) in self.kinds.iter_mut().zip(other.kinds) {
            sum.allowed += more.allowed;
            sum.denied += more.denied;
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} packets in {} states of {} worlds: {} allowed ({} logged), {} denied, {} invalid; {} judged \
             more than once, {} in transit, {} by host endpoints; {} local ({} refused, {} by fail-safe ports, {} link upkeep), \
             {} translated; {} untracked, {} IPv6, {} in fragments, {} with options; {} states repeated",
            self.packets,
            self.states,
            self.worlds,
            self.allowed,
            self.logged,
            self.denied,
            self.invalid,
            self.twice,
            self.transit,
            self.hosts,
            self.local,
            self.refused,
            self.failsafe,
            self.upkeep,
            self.translated,
            self.untracked,
            self.ipv6,
            self.fragmented,
            self.extended,
            self.repeated,
        )?;
        for (kind, verdicts) in Kind::ALL.iter().zip(self.kinds) {
            let Verdicts { allowed, denied } = verdicts;
            write!(f, "; {kind:?} {allowed} allowed, {denied} denied")?;
        }
        Ok(())
    }
}
