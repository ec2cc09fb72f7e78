//! Denied packets and packets of Log rules, from the kernel's NFLOG to the log.
//!
//! Each message names the outcome that decided, so the line names the rule. At most [`BURST`] lines
//! and [`PER_SECOND`] a second are written; what is left out is counted and said. Counters in the
//! kernel count every packet.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use ocicat_compile::Config;
use ocicat_flow::{Direction, Outcome};
use ocicat_kernel::nflog::{Nflog, Packet, Settings};
use ocicat_kernel::rtnl::Rtnl;
use ocicat_node::{EndpointId, OutcomeId};
use tokio::io::unix::AsyncFd;

const BURST: f64 = 200.0;
const PER_SECOND: f64 = 100.0;

/// Reads a group until the task is dropped.
///
/// # Errors
/// If the group cannot be had, or its socket fails.
pub async fn follow(group: u16, known: Known) -> anyhow::Result<()> {
    let mut links = Links::open()?;
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
                write(&packet, &known, &mut links);
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

fn write(packet: &Packet<'_>, known: &Known, links: &mut Links) {
    let prefix = std::str::from_utf8(packet.prefix).unwrap_or_default();
    let note = Note::read(prefix.trim_end_matches('\0'), packet);
    let interface = match note.is_out {
        true => packet.out_interface,
        false => packet.in_interface,
    };
    let interface = interface.map(|index| links.name(index)).unwrap_or_default();
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
    let known = known.lock();
    let direction = known.direction(&interface, note.is_out);
    let endpoint = known.endpoint(&interface);
    let outcome = note.outcome.and_then(|id| known.outcomes.get(&id));
    let reason = outcome.map_or_else(|| "unknown".to_owned(), ToString::to_string);
    let what = if note.is_logged { "logged" } else { "denied" };
    tracing::info!(
        target: "packet",
        prefix = known.prefix, %direction, endpoint, interface, %source, source_port, %destination,
        port, protocol, reason, "{what}"
    );
}

/// What a message of the kernel says besides the packet. Denied packets carry the outcome in their
/// mark, logged ones at the end of the prefix. Of forwarded packets the prefix says whether the side
/// judged on which they leave.
#[derive(Debug, PartialEq, Eq)]
struct Note {
    outcome: Option<OutcomeId>,
    is_logged: bool,
    is_out: bool,
}

/// `NF_INET_LOCAL_OUT`.
const OUTPUT: u8 = 3;

impl Note {
    fn read(prefix: &str, packet: &Packet<'_>) -> Self {
        let (rest, is_out) = match prefix.strip_suffix(" out") {
            Some(rest) => (rest, true),
            None => (prefix, false),
        };
        let last = rest.rsplit_once(' ').map(|(_, last)| last);
        let number = last.and_then(|last| last.parse().ok());
        let logged = number.and_then(ocicat_compile::outcome_of);
        Self {
            outcome: logged.or_else(|| ocicat_compile::outcome_of(packet.mark)),
            is_logged: logged.is_some(),
            is_out: is_out || packet.hook == OUTPUT,
        }
    }
}

/// Names of interfaces by number, read again when a number is new. A number may come to name another
/// interface only after the first is gone.
struct Links {
    rtnl: Rtnl,
    names: HashMap<u32, String>,
}

impl Links {
    fn open() -> anyhow::Result<Self> {
        Ok(Self {
            rtnl: Rtnl::open()?,
            names: HashMap::new(),
        })
    }

    fn name(&mut self, index: u32) -> String {
        if !self.names.contains_key(&index) {
            match self.rtnl.links() {
                Ok(links) => {
                    self.names = links
                        .into_iter()
                        .map(|link| (link.index, link.name))
                        .collect();
                }
                Err(error) => tracing::warn!(%error, "cannot read the host's links"),
            }
        }
        let name = self.names.get(&index).cloned();
        name.unwrap_or_else(|| format!("#{index}"))
    }
}

/// Outcomes that are remembered at most, for messages of the kernel that name them.
const OUTCOMES_REMEMBERED: usize = 200_000;

/// What the core tells the readers.
#[derive(Debug, Clone, Default)]
pub struct Known(Arc<Mutex<Tables>>);

#[derive(Debug, Default)]
struct Tables {
    outcomes: BTreeMap<OutcomeId, Arc<Outcome>>,
    /// By interface.
    workloads: BTreeMap<String, EndpointId>,
    links: BTreeMap<String, EndpointId>,
    /// Of interfaces that are no workload's.
    rest: Option<EndpointId>,
    prefix: String,
    config: Config,
}

impl Known {
    pub fn add_outcomes(&self, outcomes: impl Iterator<Item = (OutcomeId, Arc<Outcome>)>) {
        let mut tables = self.lock();
        tables.outcomes.extend(outcomes);
        while tables.outcomes.len() > OUTCOMES_REMEMBERED {
            tables.outcomes.pop_first();
        }
    }

    /// The interface of a workload; `None` if it has none any more.
    pub fn set_attachment(&self, id: &EndpointId, interface: Option<&str>) {
        let mut tables = self.lock();
        match interface {
            Some(interface) => {
                tables.workloads.insert(interface.to_owned(), id.clone());
            }
            None => tables.workloads.retain(|_, known| known != id),
        }
    }

    /// The host endpoints of interfaces, and that of all others.
    pub fn set_links(&self, links: BTreeMap<String, EndpointId>, rest: Option<EndpointId>) {
        let mut tables = self.lock();
        tables.links = links;
        tables.rest = rest;
    }

    /// What is in front of each line, and which interfaces are workloads'.
    pub fn set_prefixes(&self, config: &Config) {
        let mut tables = self.lock();
        if tables.config != *config {
            tables.prefix.clone_from(&config.log_prefix);
            tables.config = config.clone();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Tables> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tables {
    /// The direction in which the endpoint behind the interface judged. What leaves by a workload's
    /// interface is what the workload receives.
    fn direction(&self, interface: &str, is_out: bool) -> Direction {
        if is_out == self.config.is_workload(interface) {
            Direction::Ingress
        } else {
            Direction::Egress
        }
    }

    fn endpoint(&self, interface: &str) -> &str {
        let found = match self.config.is_workload(interface) {
            true => self.workloads.get(interface),
            false => self.links.get(interface).or(self.rest.as_ref()),
        };
        found.map_or("unknown", |id| id)
    }
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
    fn a_message_says_who_judged() {
        let packet = |hook, mark| Packet {
            mark,
            prefix: &[],
            in_interface: None,
            out_interface: None,
            hook,
            ether_type: 0x0800,
            timestamp: None,
            payload: &[],
        };
        let number = ocicat_compile::kernel_outcome(OutcomeId(5));
        let read = |prefix: &str, hook, mark| {
            let note = Note::read(prefix, &packet(hook, mark));
            (note.outcome.map(|id| id.0), note.is_logged, note.is_out)
        };
        assert_eq!(read("my prefix 7", 2, number), (Some(5), false, false));
        assert_eq!(read("my prefix out", 2, number), (Some(5), false, true));
        assert_eq!(
            read(&format!("p {number} out"), 2, 9),
            (Some(5), true, true)
        );
        assert_eq!(read("p", OUTPUT, number), (Some(5), false, true));
        let known = Known::default();
        known.set_prefixes(&Config::default());
        let tables = known.lock();
        let direction = |name, is_out| tables.direction(name, is_out).to_string();
        assert_eq!(direction("ocw1", true), "ingress");
        assert_eq!(direction("ocw1", false), "egress");
        assert_eq!(direction("eth0", true), "egress");
        assert_eq!(direction("eth0", false), "ingress");
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
