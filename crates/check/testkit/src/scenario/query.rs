//! One line of a `queries` section.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use ocicat_api::Protocol;
use ocicat_oracle::{Census, Direction, Packet, Stage, Verdict, World};

/// A packet between two ends, and what should become of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// Where it stands, from 1; 0 if it was not read from a file.
    pub line: usize,
    pub source: End,
    pub destination: End,
    /// All of the packet but its addresses, which are unspecified ones.
    pub packet: Packet,
    /// Who is asked; `None` for both ends.
    pub post: Option<Post>,
    pub expected: Answer,
    /// What is expected when staged policies count, if that is said.
    pub pending: Option<Answer>,
    /// What stands after `#`; empty where nothing does.
    pub comment: String,
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

/// A stage of a host endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Post {
    /// The name of a HostEndpoint.
    pub host: String,
    pub stage: Stage,
    pub direction: Direction,
}

/// What is said of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    Verdict(Verdict),
    /// Nothing judges at that stage.
    Absent,
}

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

const SOURCE_PORT: u16 = 40_000;

impl Query {
    /// A query of exactly this packet, of both of its ends.
    #[must_use]
    pub fn of(packet: &Packet, expected: Answer, comment: impl Into<String>) -> Self {
        let unspecified = IpAddr::from([0, 0, 0, 0]);
        Self {
            line: 0,
            source: End::Address(packet.source),
            destination: End::Address(packet.destination),
            packet: Packet {
                source: unspecified,
                destination: unspecified,
                ..*packet
            },
            post: None,
            expected,
            pending: None,
            comment: comment.into(),
        }
    }

    /// The packet, with the addresses that its ends have in this world.
    ///
    /// # Errors
    ///
    /// A name that no endpoint has, or ends without addresses of one family.
    pub fn packet(&self, world: &World) -> Result<Packet, String> {
        let census = Census::new(world);
        let sources = self.source.addresses(&census)?;
        let destinations = self.destination.addresses(&census)?;
        let pair = sources
            .iter()
            .flat_map(|s| destinations.iter().map(move |d| (*s, *d)));
        // IPv4 first, whatever the order in the object.
        let pair = pair
            .filter(|(s, d)| s.is_ipv4() == d.is_ipv4())
            .min_by_key(|(s, _)| s.is_ipv6());
        let (source, destination) =
            pair.ok_or("the ends have no addresses of the same family".to_owned())?;
        Ok(Packet {
            source,
            destination,
            ..self.packet
        })
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
        if let Some(post) = &self.post {
            write!(f, " at {post}")?;
        }
        write!(f, " {}", self.expected)?;
        if let Some(pending) = &self.pending {
            write!(f, " pending {pending}")?;
        }
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

const SHAPE: &str = "expected PROTOCOL SOURCE > DESTINATION [type N [code N]] \
                     [at HOSTENDPOINT STAGE DIRECTION] Allow|Deny|Next|Absent [pending …]";

/// Reads `PROTOCOL SOURCE > DESTINATION [type N [code N]] [at HOSTENDPOINT STAGE DIRECTION] ANSWER
/// [pending ANSWER] [# COMMENT]`.
pub fn parse(line: usize, text: &str) -> Result<Query, String> {
    let (text, comment) = text.split_once('#').unwrap_or((text, ""));
    let mut words = text.split_whitespace();
    let mut word = || words.next().ok_or(SHAPE);
    let (protocol, from, arrow, to) = (word()?, word()?, word()?, word()?);
    if arrow != ">" {
        return Err(format!("{SHAPE}, found {arrow:?} instead of '>'"));
    }
    let protocol = parse_protocol(protocol)?;
    let unspecified = IpAddr::from([0, 0, 0, 0]);
    let mut packet = Packet::bare(unspecified, unspecified, protocol);
    let (source, source_port) = parse_end(from)?;
    let (destination, destination_port) = parse_end(to)?;
    if packet.has_ports() {
        packet.source_port = source_port.unwrap_or(SOURCE_PORT);
        packet.destination_port =
            destination_port.ok_or(format!("{to:?}: expected a port after the destination"))?;
    } else if source_port.or(destination_port).is_some() {
        return Err(format!("protocol {protocol} has no ports"));
    }
    let mut post = None;
    let expected = loop {
        let field = match words.next().ok_or(SHAPE)? {
            "at" if post.is_none() => {
                post = Some(parse_post(&mut words)?);
                continue;
            }
            word @ "type" if packet.is_icmp() => (word, &mut packet.icmp_type),
            word @ "code" if packet.is_icmp() => (word, &mut packet.icmp_code),
            other => break parse_answer(other)?,
        };
        let number = words.next().unwrap_or_default();
        *field.1 = number
            .parse()
            .map_err(|_| format!("{number:?}: expected a number 0-255 after {:?}", field.0))?;
    };
    let mut rest = words.peekable();
    let pending = match rest.next_if_eq(&"pending") {
        Some(_) => Some(parse_answer(rest.next().ok_or(SHAPE)?)?),
        None => None,
    };
    if let Some(rest) = rest.next() {
        return Err(format!("expected the end of the line, found {rest:?}"));
    }
    Ok(Query {
        line,
        source,
        destination,
        packet,
        post,
        expected,
        pending,
        comment: comment.trim().to_owned(),
    })
}

fn parse_answer(word: &str) -> Result<Answer, String> {
    let known = ANSWERS.iter().find(|(name, _)| *name == word);
    known
        .map(|(_, answer)| *answer)
        .ok_or_else(|| format!("{SHAPE}, found {word:?}"))
}

fn parse_post<'a>(words: &mut impl Iterator<Item = &'a str>) -> Result<Post, String> {
    let (host, stage, direction) = (words.next(), words.next(), words.next());
    let (Some(host), Some(stage), Some(direction)) = (host, stage, direction) else {
        return Err(SHAPE.to_owned());
    };
    let known = STAGES.iter().find(|(name, _)| *name == stage);
    let (_, stage) = known
        .ok_or_else(|| format!("{stage:?}: expected stage untracked, prednat, forward or local"))?;
    let direction = match direction {
        "ingress" => Direction::Ingress,
        "egress" => Direction::Egress,
        other => return Err(format!("{other:?}: expected ingress or egress")),
    };
    Ok(Post {
        host: host.to_owned(),
        stage: *stage,
        direction,
    })
}

/// A name, or a number 0–255: packets may have protocols that no rule can name.
fn parse_protocol(text: &str) -> Result<u8, String> {
    text.parse()
        .or_else(|_| text.parse::<Protocol>().map(|protocol| protocol.0))
        .map_err(|error| error.to_string())
}

fn parse_end(text: &str) -> Result<(End, Option<u16>), String> {
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
