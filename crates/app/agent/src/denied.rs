//! Denied packets and packets of Log rules, from the kernel's NFLOG to the log.
//!
//! Each message names the outcome that decided, so the line names the rule. At most [`BURST`] lines
//! and [`PER_SECOND`] a second are written; what is left out is counted and said. Counters in the
//! kernel count every packet.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, PoisonError};
use std::time::Instant;

use ocicat_flow::Outcome;
use ocicat_kernel::nflog::{Nflog, Packet, Settings};
use tokio::io::unix::AsyncFd;

use crate::core::Outcomes;

const BURST: f64 = 200.0;
const PER_SECOND: f64 = 100.0;

/// Reads a group until the task is dropped.
///
/// # Errors
/// If the group cannot be had, or its socket fails.
pub async fn follow(group: u16, outcomes: Outcomes) -> anyhow::Result<()> {
    let nflog = Nflog::open(&Settings::of_group(group))?;
    #[expect(
        deprecated,
        reason = "the reader owns its descriptor for as long as it lives"
    )]
    let mut reader = AsyncFd::new(nflog)?;
    let mut budget = Budget {
        tokens: BURST,
        at: Instant::now(),
        left_out: 0,
    };
    let mut lost = 0;
    loop {
        let mut guard = reader.readable_mut().await?;
        let datagrams = guard.get_inner_mut().receive(|packet| {
            if budget.take() {
                write(&packet, &outcomes);
            }
        })?;
        if datagrams == 0 {
            guard.clear_ready();
        }
        let loss = guard.get_inner().loss();
        let now_lost = loss.packets + loss.overruns;
        if now_lost != lost {
            tracing::warn!(
                packets = now_lost - lost,
                group,
                "the kernel's log overflowed"
            );
            lost = now_lost;
        }
    }
}

struct Budget {
    tokens: f64,
    at: Instant,
    left_out: u64,
}

impl Budget {
    fn take(&mut self) -> bool {
        let now = Instant::now();
        let earned = now.duration_since(self.at).as_secs_f64() * PER_SECOND;
        self.tokens = (self.tokens + earned).min(BURST);
        self.at = now;
        if self.tokens < 1.0 {
            self.left_out += 1;
            return false;
        }
        self.tokens -= 1.0;
        if self.left_out > 0 {
            tracing::info!(
                packets = self.left_out,
                "packets were not written to the log"
            );
            self.left_out = 0;
        }
        true
    }
}

fn write(packet: &Packet<'_>, outcomes: &Outcomes) {
    // Denied packets carry the outcome in their mark, logged ones in the prefix "ocicat NUMBER".
    let prefix = std::str::from_utf8(packet.prefix).unwrap_or_default();
    let logged = prefix
        .trim_end_matches('\0')
        .strip_prefix("ocicat ")
        .and_then(|n| n.parse().ok());
    let id = ocicat_compile::outcome_of(logged.unwrap_or(packet.mark));
    let outcome = id.and_then(|id| {
        let outcomes = outcomes.lock().unwrap_or_else(PoisonError::into_inner);
        outcomes.get(&id).cloned()
    });
    let Some(flow) = Flow::parse(packet.payload) else {
        return;
    };
    let Flow {
        source,
        destination,
        protocol,
        ports,
    } = flow;
    let (source_port, port) = ports.unwrap_or_default();
    let reason = outcome
        .as_deref()
        .map_or_else(|| "unknown".to_owned(), reason);
    let what = if logged.is_some() { "logged" } else { "denied" };
    tracing::info!(
        target: "packet",
        %source, source_port, %destination, port, protocol, reason, "{what}"
    );
}

fn reason(outcome: &Outcome) -> String {
    outcome.to_string()
}

struct Flow {
    source: IpAddr,
    destination: IpAddr,
    protocol: u8,
    ports: Option<(u16, u16)>,
}

impl Flow {
    /// Reads the IP header, and ports if they follow it directly.
    fn parse(bytes: &[u8]) -> Option<Self> {
        let (source, destination, protocol, rest): (IpAddr, IpAddr, u8, &[u8]) =
            match bytes.first()? >> 4 {
                4 => {
                    let header = usize::from(bytes[0] & 0x0f) * 4;
                    let source: [u8; 4] = bytes.get(12..16)?.try_into().ok()?;
                    let destination: [u8; 4] = bytes.get(16..20)?.try_into().ok()?;
                    let rest = bytes.get(header..)?;
                    (
                        Ipv4Addr::from(source).into(),
                        Ipv4Addr::from(destination).into(),
                        bytes[9],
                        rest,
                    )
                }
                6 => {
                    let source: [u8; 16] = bytes.get(8..24)?.try_into().ok()?;
                    let destination: [u8; 16] = bytes.get(24..40)?.try_into().ok()?;
                    let rest = bytes.get(40..)?;
                    (
                        Ipv6Addr::from(source).into(),
                        Ipv6Addr::from(destination).into(),
                        bytes[6],
                        rest,
                    )
                }
                _ => return None,
            };
        let port = |at: usize| Some(u16::from_be_bytes(rest.get(at..at + 2)?.try_into().ok()?));
        let ports = match protocol {
            6 | 17 | 132 => port(0).zip(port(2)),
            _ => None,
        };
        Some(Self {
            source,
            destination,
            protocol,
            ports,
        })
    }
}

/// An empty table of outcomes.
pub fn outcomes() -> Outcomes {
    Arc::default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flows_are_read_and_short_packets_are_not() {
        let mut packet = vec![
            0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2,
        ];
        packet.extend([0x30, 0x39, 0, 53, 0, 8, 0, 0]);
        let flow = Flow::parse(&packet).unwrap();
        assert_eq!(
            (flow.source.to_string(), flow.destination.to_string()),
            ("10.0.0.1".into(), "10.0.0.2".into())
        );
        assert_eq!((flow.protocol, flow.ports), (17, Some((12345, 53))));
        for length in 0..20 {
            assert!(Flow::parse(&packet[..length]).is_none());
        }
    }

    #[test]
    fn a_flood_is_cut_to_its_budget() {
        let mut budget = Budget {
            tokens: BURST,
            at: Instant::now(),
            left_out: 0,
        };
        let written = (0..10_000).filter(|_| budget.take()).count();
        assert!((200..400).contains(&written), "{written}");
    }
}
