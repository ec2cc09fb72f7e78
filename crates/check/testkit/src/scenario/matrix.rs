//! A `reach` section: who reaches whom.

use ocicat_oracle::{Packet, Verdict};

use super::ScenarioError;
use super::query::{self, End, Query, Span, words};

/// The queries of a matrix: those of each port, row by row.
pub fn read<'t>(
    service: &str,
    line: usize,
    rows: impl Iterator<Item = (usize, &'t str)>,
) -> Result<Vec<Query>, ScenarioError> {
    let at = |line: usize| move |message: String| ScenarioError { line, message };
    let packets = packets(service).map_err(at(line))?;
    let mut columns: Option<Vec<End>> = None;
    let mut queries = Vec::new();
    for (line, row) in rows {
        let row = row.split('#').next().unwrap_or(row);
        match &columns {
            None => {
                let ends = words(row).map(|(_, word)| end(word));
                columns = Some(ends.collect::<Result<_, _>>().map_err(at(line))?);
            }
            Some(columns) => {
                let cells = cells(line, row, columns).map_err(at(line))?;
                queries.extend(packets.iter().flat_map(|packet| {
                    let cells = cells.clone().into_iter();
                    cells.map(|cell| Query {
                        packet: *packet,
                        ..cell
                    })
                }));
            }
        }
    }
    match queries.is_empty() {
        true => Err(at(line)(
            "expected a row of destinations, and rows of '+', '-' and '.' that ask something"
                .to_owned(),
        )),
        false => Ok(queries),
    }
}

/// Reads `tcp 80 81`, `icmp`: the packets but for their addresses.
fn packets(service: &str) -> Result<Vec<Packet>, String> {
    let mut words = service.split_whitespace();
    let protocol = query::parse_protocol(words.next().unwrap_or_default())?;
    let ports = words.map(|word| {
        word.parse::<u16>()
            .map_err(|_| format!("{word:?}: expected a port"))
    });
    let ports: Vec<u16> = ports.collect::<Result<_, _>>()?;
    let mut packet = Packet::bare([0, 0, 0, 0].into(), [0, 0, 0, 0].into(), protocol);
    if packet.has_ports() {
        if ports.is_empty() {
            return Err("expected ports after the protocol".to_owned());
        }
        packet.source_port = query::SOURCE_PORT;
        let of_port = |port: &u16| Packet {
            destination_port: *port,
            ..packet
        };
        return Ok(ports.iter().map(of_port).collect());
    }
    if !ports.is_empty() {
        return Err(format!("protocol {protocol} has no ports"));
    }
    // An echo request.
    packet.icmp_type = match protocol {
        1 => 8,
        58 => 128,
        _ => 0,
    };
    Ok(vec![packet])
}

fn end(word: &str) -> Result<End, String> {
    match query::parse_end(word)? {
        (end, None) => Ok(end),
        (_, Some(_)) => Err(format!("{word:?}: ports stand in the head of the section")),
    }
}

/// What a row asks, of packets that are not known yet.
fn cells(line: usize, row: &str, columns: &[End]) -> Result<Vec<Query>, String> {
    let mut words = words(row);
    let source = end(words.next().map(|(_, word)| word).unwrap_or_default())?;
    let cells: Vec<(usize, &str)> = words.collect();
    if cells.len() != columns.len() {
        return Err(format!(
            "expected {} cells, one for each destination, found {}",
            columns.len(),
            cells.len()
        ));
    }
    let bare = Packet::bare([0, 0, 0, 0].into(), [0, 0, 0, 0].into(), 0);
    let mut asked = Vec::new();
    for ((start, cell), destination) in cells.into_iter().zip(columns) {
        let expected = match cell {
            "+" => Verdict::Allow,
            "-" => Verdict::Deny,
            "." => continue,
            other => return Err(format!("{other:?}: expected '+', '-' or '.'")),
        };
        asked.push(Query {
            span: Span::new(line, start..start + 1),
            ..Query::between(source.clone(), destination.clone(), bare, expected.into())
        });
    }
    Ok(asked)
}
