//! One line of a `queries` section, or one cell of a matrix.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;

use ocicat_api::{Kind, ObjectKey, Protocol};
use ocicat_oracle::{Census, Direction, Packet, Stage, Verdict};

/// A packet between two ends, and what should become of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    pub span: Span,
    pub source: End,
    pub destination: End,
    /// All of the packet but its addresses, which are unspecified ones.
    pub packet: Packet,
    /// Where the packet goes, and to which port, after the translation of its destination.
    pub translated: Option<(End, u16)>,
    pub whom: Whom,
    pub expected: Answer,
    /// What is said if staged policy were enforced, where that is asked.
    pub pending: Option<Answer>,
    /// What must have decided, in the oracle's words; empty where nothing is expected.
    pub decider: String,
    /// What stands after `#`; empty where nothing does.
    pub comment: String,
}

/// Where an expectation stands in the text.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Span {
    /// From 1; 0 if it was not read from a file.
    pub line: usize,
    /// From its start to its end, in bytes of the line.
    pub start: usize,
    pub end: usize,
}

impl Span {
    pub(super) fn new(line: usize, bytes: Range<usize>) -> Self {
        Self {
            line,
            start: bytes.start,
            end: bytes.end,
        }
    }
}

/// One end of a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    Address(IpAddr),
    /// A Pod or WorkloadEndpoint of that name.
    Workload {
        namespace: String,
        name: String,
    },
}

/// Who is asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Whom {
    /// The workloads that have the addresses of the packet.
    #[default]
    Ends,
    /// All who judge on the way through a host.
    Host(HostPath),
    /// One stage of a host endpoint.
    Stage(Post),
}

/// What is said of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    Verdict(Verdict),
    /// Nothing judges at that stage.
    Absent,
}

/// A stage of a host endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Post {
    /// The name of a HostEndpoint.
    pub host: String,
    pub stage: Stage,
    pub direction: Direction,
}

/// A host, and the interfaces by which a packet comes to it and leaves it. Without one, it comes
/// from the host itself or a workload there, or goes to such.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPath {
    pub node: String,
    pub input: Option<String>,
    pub output: Option<String>,
}

pub const SOURCE_PORT: u16 = 40_000;

const STAGES: [(&str, Stage); 4] = [
    ("untracked", Stage::Untracked),
    ("prednat", Stage::PreDnat),
    ("forward", Stage::Forward),
    ("local", Stage::Local),
];

const ANSWERS: [(&str, Answer); 4] = [
    ("Allow", Answer::Verdict(Verdict::Allow)),
    ("Deny", Answer::Verdict(Verdict::Deny)),
    ("Next", Answer::Verdict(Verdict::Next)),
    ("Absent", Answer::Absent),
];

impl Query {
    /// A query of exactly this packet.
    #[must_use]
    pub fn of(packet: &Packet, expected: impl Into<Answer>, comment: impl Into<String>) -> Self {
        let source = End::Address(packet.source);
        let destination = End::Address(packet.destination);
        Self {
            packet: Packet {
                source: UNSPECIFIED,
                destination: UNSPECIFIED,
                ..*packet
            },
            comment: comment.into(),
            ..Self::between(source, destination, *packet, expected.into())
        }
    }

    /// A query that was not read from a line, and is only of this.
    pub(super) fn between(source: End, destination: End, packet: Packet, expected: Answer) -> Self {
        Self {
            span: Span::default(),
            source,
            destination,
            packet,
            translated: None,
            whom: Whom::Ends,
            expected,
            pending: None,
            decider: String::new(),
            comment: String::new(),
        }
    }

    /// The packets before and after the translation, if there is one, with the addresses that the ends have in this world: at least one, IPv4 first.
    ///
    /// # Errors
    ///
    /// A name that no endpoint has, or ends without addresses of one family.
    pub fn packets(&self, census: &Census<'_>) -> Result<Vec<(Packet, Option<Packet>)>, String> {
        let sources = self.source.addresses(census)?;
        let destinations = self.destination.addresses(census)?;
        let first = |addresses: &[IpAddr], v6: bool| {
            let mut of_family = addresses.iter().filter(|address| address.is_ipv6() == v6);
            of_family.next().copied()
        };
        let by_name = [&self.source, &self.destination]
            .iter()
            .all(|end| matches!(end, End::Workload { .. }));
        let translations = match &self.translated {
            Some((end, port)) => Some((end.addresses(census)?, *port)),
            None => None,
        };
        let families: &[bool] = match self.packet.protocol {
            1 if by_name => &[false],
            58 if by_name => &[true],
            _ => &[false, true],
        };
        let of_family = |v6: &bool| {
            let packet = Packet {
                source: first(&sources, *v6)?,
                destination: first(&destinations, *v6)?,
                ..self.packet
            };
            let translated = match &translations {
                None => None,
                Some((addresses, port)) => Some(Packet {
                    destination: first(addresses, *v6)?,
                    destination_port: *port,
                    ..packet
                }),
            };
            Some((packet, translated))
        };
        let packets: Vec<_> = families.iter().filter_map(of_family).collect();
        match packets.is_empty() {
            true => Err("the ends have no addresses of the same family".to_owned()),
            false => Ok(packets),
        }
    }
}

impl End {
    /// As a query writes it. Only ends of packets with ports have a port.
    fn text(&self, port: Option<u16>) -> String {
        match (self, port) {
            (Self::Address(address), None) => address.to_string(),
            (Self::Address(address), Some(port)) => SocketAddr::new(*address, port).to_string(),
            (Self::Workload { namespace, name }, None) => format!("{namespace}/{name}"),
            (Self::Workload { namespace, name }, Some(port)) => {
                format!("{namespace}/{name}:{port}")
            }
        }
    }

    fn addresses(&self, census: &Census<'_>) -> Result<Vec<IpAddr>, String> {
        match self {
            Self::Address(address) => Ok(vec![*address]),
            Self::Workload { namespace, name } => {
                let found = census.endpoints.iter().find(|endpoint| {
                    endpoint.namespace == *namespace && *endpoint.key.name == **name
                });
                let endpoint = found.ok_or(format!("no endpoint {namespace}/{name}"))?;
                Ok(endpoint.addresses.clone())
            }
        }
    }
}

/// The line without its end. Of a comment of several lines the others follow, each after `#`.
impl fmt::Display for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let protocol = Protocol(self.packet.protocol)
            .to_string()
            .to_ascii_lowercase();
        let port = |port: u16| self.packet.has_ports().then_some(port);
        let source = self.source.text(port(self.packet.source_port));
        let destination = self.destination.text(port(self.packet.destination_port));
        write!(f, "{protocol} {source} > {destination}")?;
        if self.packet.is_icmp() {
            write!(
                f,
                " type {} code {}",
                self.packet.icmp_type, self.packet.icmp_code
            )?;
        }
        if let Some((end, port)) = &self.translated {
            write!(f, " to {}", end.text(Some(*port)))?;
        }
        match &self.whom {
            Whom::Ends => {}
            Whom::Host(path) => write!(f, " at {path}")?,
            Whom::Stage(post) => write!(f, " at {post}")?,
        }
        write!(
            f,
            " {}",
            expectation(self.expected, self.pending, &self.decider)
        )?;
        for (index, line) in self.comment.lines().enumerate() {
            write!(f, "{}# {line}", if index == 0 { "  " } else { "\n" })?;
        }
        Ok(())
    }
}

/// `eth0 prednat ingress`.
impl fmt::Display for Post {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = STAGES.iter().find(|(_, stage)| *stage == self.stage);
        let name = name.map_or("", |(name, _)| name);
        write!(f, "{} {name} {}", self.host, self.direction)
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = ANSWERS.iter().find(|(_, answer)| answer == self);
        f.write_str(name.map_or("", |(name, _)| name))
    }
}

impl From<Verdict> for Answer {
    fn from(verdict: Verdict) -> Self {
        Self::Verdict(verdict)
    }
}

impl Post {
    /// The key of its host endpoint.
    #[must_use]
    pub fn key(&self) -> ObjectKey {
        ObjectKey {
            kind: Kind::HostEndpoint,
            namespace: None,
            name: self.host.as_str().into(),
        }
    }
}

/// `NODE in INTERFACE out INTERFACE`, as far as there are such.
impl fmt::Display for HostPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.node)?;
        if let Some(interface) = &self.input {
            write!(f, " in {interface}")?;
        }
        if let Some(interface) = &self.output {
            write!(f, " out {interface}")?;
        }
        Ok(())
    }
}

/// `Allow pending Deny by DECIDER`, as far as there is such.
pub fn expectation(answer: Answer, pending: Option<Answer>, decider: &str) -> String {
    let mut text = answer.to_string();
    if let Some(pending) = pending {
        text.push_str(&format!(" pending {pending}"));
    }
    if !decider.is_empty() {
        text.push_str(&format!(" by {decider}"));
    }
    text
}

const UNSPECIFIED: IpAddr = IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED);
const SHAPE: &str = "expected PROTOCOL SOURCE > DESTINATION [type N [code N]] \
                     [at ...] Allow|Deny|Next|Absent";

/// Words of a line, with the bytes where they begin.
pub fn words(line: &str) -> impl Iterator<Item = (usize, &str)> {
    let begin = line.as_ptr() as usize;
    line.split_whitespace()
        .map(move |word| (word.as_ptr() as usize - begin, word))
}

/// Reads `PROTOCOL SOURCE > DESTINATION [type N [code N]] [to END:PORT] [at NODE [in INTERFACE]
/// [out INTERFACE] | at HOSTENDPOINT STAGE DIRECTION] ANSWER [pending ANSWER] [by DECIDER]
/// [# COMMENT]`.
pub fn parse(line: usize, whole: &str) -> Result<Query, String> {
    let (text, comment) = whole.split_once('#').unwrap_or((whole, ""));
    let mut words = words(text);
    let mut word = || words.next().map(|(_, word)| word).ok_or(SHAPE);
    let (protocol, from, arrow, to) = (word()?, word()?, word()?, word()?);
    if arrow != ">" {
        return Err(format!("{SHAPE}, found {arrow:?} instead of '>'"));
    }
    let protocol = parse_protocol(protocol)?;
    let mut packet = Packet::bare(UNSPECIFIED, UNSPECIFIED, protocol);
    let (source, source_port) = parse_end(from)?;
    let (destination, destination_port) = parse_end(to)?;
    if packet.has_ports() {
        packet.source_port = source_port.unwrap_or(SOURCE_PORT);
        packet.destination_port =
            destination_port.ok_or(format!("{to:?}: expected a port after the destination"))?;
    } else if source_port.or(destination_port).is_some() {
        return Err(format!("protocol {protocol} has no ports"));
    }
    let mut query = Query::between(source, destination, packet, Answer::Absent);
    let start = parse_fields(&mut query, &mut words)?;
    parse_expectation(&mut query, &mut words, text)?;
    query.span = Span::new(line, start..text.trim_end().len());
    comment.trim().clone_into(&mut query.comment);
    Ok(query)
}

/// Up to the verdict; returns where that begins.
fn parse_fields<'t>(
    query: &mut Query,
    words: &mut impl Iterator<Item = (usize, &'t str)>,
) -> Result<usize, String> {
    let is_icmp = query.packet.is_icmp();
    while let Some((start, word)) = words.next() {
        if let Some(answer) = parse_answer(word) {
            query.expected = answer;
            return Ok(start);
        }
        let mut next = || words.next().map(|(_, word)| word).unwrap_or_default();
        match (word, &mut query.whom) {
            ("type", _) if is_icmp => query.packet.icmp_type = number(word, next())?,
            ("code", _) if is_icmp => query.packet.icmp_code = number(word, next())?,
            ("to", _) if query.packet.has_ports() => {
                let word = next();
                let (end, port) = parse_end(word)?;
                let port = port.ok_or(format!("{word:?}: expected a port after the end"))?;
                query.translated = Some((end, port));
            }
            ("at", whom @ Whom::Ends) => {
                *whom = Whom::Host(HostPath {
                    node: next().to_owned(),
                    input: None,
                    output: None,
                });
            }
            ("in", Whom::Host(path)) => path.input = Some(next().to_owned()),
            ("out", Whom::Host(path)) => path.output = Some(next().to_owned()),
            (stage, whom @ Whom::Host(_)) => *whom = parse_stage(whom, stage, next())?,
            (other, _) => return Err(format!("{SHAPE}, found {other:?}")),
        }
    }
    Err(SHAPE.to_owned())
}

/// A stage of what was taken for a host.
fn parse_stage(whom: &Whom, stage: &str, direction: &str) -> Result<Whom, String> {
    let known = STAGES.iter().find(|(name, _)| *name == stage);
    let (Whom::Host(path), Some((_, stage))) = (whom, known) else {
        return Err(format!(
            "{stage:?}: expected in or out and an interface, stage untracked, prednat, forward or \
             local, or an answer"
        ));
    };
    let direction = match direction {
        "ingress" => Direction::Ingress,
        "egress" => Direction::Egress,
        other => return Err(format!("{other:?}: expected ingress or egress")),
    };
    Ok(Whom::Stage(Post {
        host: path.node.clone(),
        stage: *stage,
        direction,
    }))
}

fn parse_expectation<'t>(
    query: &mut Query,
    words: &mut impl Iterator<Item = (usize, &'t str)>,
    text: &str,
) -> Result<(), String> {
    while let Some((start, word)) = words.next() {
        match word {
            "pending" if query.pending.is_none() => {
                let answer = words.next().and_then(|(_, word)| parse_answer(word));
                let message = "expected Allow, Deny, Next or Absent after pending";
                query.pending = Some(answer.ok_or(message)?);
            }
            "by" => {
                text[start + 2..].trim().clone_into(&mut query.decider);
                return match query.decider.is_empty() {
                    true => Err("expected what decided after 'by'".to_owned()),
                    false => Ok(()),
                };
            }
            rest => return Err(format!("expected the end of the line, found {rest:?}")),
        }
    }
    Ok(())
}

fn parse_answer(word: &str) -> Option<Answer> {
    let known = ANSWERS.iter().find(|(name, _)| *name == word);
    known.map(|(_, answer)| *answer)
}

fn number(field: &str, text: &str) -> Result<u8, String> {
    text.parse()
        .map_err(|_| format!("{text:?}: expected a number 0-255 after {field:?}"))
}

/// A name, or a number 0–255: packets may have protocols that no rule can name.
pub fn parse_protocol(text: &str) -> Result<u8, String> {
    text.parse()
        .or_else(|_| text.parse::<Protocol>().map(|protocol| protocol.0))
        .map_err(|error| error.to_string())
}

pub fn parse_end(text: &str) -> Result<(End, Option<u16>), String> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok((End::Address(address), None));
    }
    if let Ok(both) = text.parse::<SocketAddr>() {
        return Ok((End::Address(both.ip()), Some(both.port())));
    }
    let expected = || {
        format!("{text:?}: expected an address or namespace/name, and :PORT where there are ports")
    };
    let (name, port) = match text.rsplit_once(':') {
        Some((name, port)) => (name, Some(port.parse().map_err(|_| expected())?)),
        None => (text, None),
    };
    let (namespace, name) = name.split_once('/').ok_or_else(expected)?;
    let end = End::Workload {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    };
    Ok((end, port))
}
