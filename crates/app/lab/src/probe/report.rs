//! What a probe found, for people and for programs.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde::Serialize;

use super::plan::{Probe, Transport};
use super::send::{Expectation, Observation};
use crate::state::Workload;

/// The most lines of what is allowed, and of what disagrees, that are printed for people.
const MOST_LINES: usize = 60;

/// The most ports that are listed for one pair and protocol.
const MOST_PORTS: usize = 8;

/// A probe with what should have become of it and what did.
#[derive(Debug, Clone)]
pub struct Finding {
    pub probe: Probe,
    pub expected: Expectation,
    pub observed: Observation,
}

impl Finding {
    /// What was seen, as policy would put it. An answer under a wrong name agrees with no
    /// expectation: the packet passed, but not to where it was sent.
    #[must_use]
    pub fn verdict(&self, workloads: &[Workload]) -> Expectation {
        match &self.observed {
            Observation::Reached => Expectation::Allow,
            Observation::Silent | Observation::Failed(_) => Expectation::Deny,
            Observation::Answered(name) if *name == workloads[self.probe.to].full_name() => {
                Expectation::Allow
            }
            Observation::Answered(_) => match self.expected {
                Expectation::Allow => Expectation::Deny,
                Expectation::Deny => Expectation::Allow,
            },
        }
    }

    /// Whether what was seen is what policy says.
    #[must_use]
    pub fn agrees(&self, workloads: &[Workload]) -> bool {
        self.verdict(workloads) == self.expected
    }

    fn seen(&self) -> String {
        match &self.observed {
            Observation::Answered(name) => format!("answered by {name}"),
            Observation::Reached => "it got through".to_owned(),
            Observation::Silent => "nothing came back".to_owned(),
            Observation::Failed(why) => why.clone(),
        }
    }
}

/// All findings of one run.
#[derive(Debug)]
pub struct Report<'a> {
    pub workloads: &'a [Workload],
    pub findings: Vec<Finding>,
}

#[derive(Serialize)]
struct Json<'a> {
    probes: Vec<JsonProbe<'a>>,
}

#[derive(Serialize)]
struct JsonProbe<'a> {
    from: &'a str,
    to: &'a str,
    address: std::net::IpAddr,
    protocol: &'static str,
    port: u16,
    expected: String,
    observed: String,
}

impl Report<'_> {
    /// Findings that disagree with policy.
    pub fn mismatches(&self) -> impl Iterator<Item = &Finding> {
        self.findings
            .iter()
            .filter(|finding| !finding.agrees(self.workloads))
    }

    /// Findings that prove nothing, because the packet could not even be sent or delivered.
    pub fn failures(&self) -> impl Iterator<Item = &Finding> {
        self.findings
            .iter()
            .filter(|finding| matches!(finding.observed, Observation::Failed(_)))
    }

    /// `{"probes":[{from,to,address,protocol,port,expected,observed}]}`, a probe a line.
    ///
    /// # Errors
    /// None in practice: strings and numbers always serialise.
    pub fn json(&self) -> serde_json::Result<String> {
        let names: Vec<String> = self.workloads.iter().map(Workload::full_name).collect();
        let probes = self.findings.iter().map(|finding| JsonProbe {
            from: &names[finding.probe.from],
            to: &names[finding.probe.to],
            address: finding.probe.address,
            protocol: finding.probe.transport.name(),
            port: finding.probe.port,
            expected: format!("{:?}", finding.expected),
            observed: format!("{:?}", finding.verdict(self.workloads)),
        });
        serde_json::to_string(&Json {
            probes: probes.collect(),
        })
    }

    /// What got through, by groups of equal workloads; then what disagrees; then the count.
    #[must_use]
    pub fn text(&self, seconds: f64) -> String {
        let mut out = self.allowed_table();
        let mismatches: Vec<&Finding> = self.mismatches().collect();
        let _ = writeln!(out);
        if !mismatches.is_empty() {
            out.push_str(&self.mismatch_list(&mismatches));
        }
        let passed = self
            .findings
            .iter()
            .filter(|finding| finding.verdict(self.workloads) == Expectation::Allow)
            .count();
        let verdict = match mismatches.len() {
            0 => "all as policy says".to_owned(),
            1 => "1 is NOT as policy says".to_owned(),
            n => format!("{n} are NOT as policy says"),
        };
        let _ = writeln!(
            out,
            "{} probes: {} got through, {} did not; {verdict} ({seconds:.1} s)",
            grouped(self.findings.len()),
            grouped(passed),
            grouped(self.findings.len() - passed),
        );
        out
    }

    /// One line for each pair of workloads, with the first probe as an example.
    fn mismatch_list(&self, mismatches: &[&Finding]) -> String {
        let mut pairs: BTreeMap<(usize, usize), Vec<&Finding>> = BTreeMap::new();
        for finding in mismatches {
            pairs
                .entry((finding.probe.from, finding.probe.to))
                .or_default()
                .push(finding);
        }
        let mut out = String::from("Not as policy says:\n");
        for ((from, to), findings) in pairs.iter().take(MOST_LINES) {
            let first = findings[0];
            let Probe {
                address,
                transport,
                port,
                ..
            } = first.probe;
            let _ = writeln!(
                out,
                "  {} to {}: {} probes, such as {} {port} to {address}: expected {:?}, observed {:?} ({})",
                self.workloads[*from].full_name(),
                self.workloads[*to].full_name(),
                findings.len(),
                transport.name(),
                first.expected,
                first.verdict(self.workloads),
                first.seen(),
            );
        }
        if pairs.len() > MOST_LINES {
            let _ = writeln!(out, "  … and {} more pairs", pairs.len() - MOST_LINES);
        }
        out.push('\n');
        out
    }

    /// One line for each pair of groups of which something got through.
    fn allowed_table(&self) -> String {
        let groups = groups(self.workloads);
        let mut asked: BTreeMap<(usize, usize), [Cells; 2]> = BTreeMap::new();
        for finding in &self.findings {
            let Probe {
                from,
                to,
                transport,
                port,
                address,
                ..
            } = finding.probe;
            let pair = asked.entry((groups.of[from], groups.of[to])).or_default();
            let passed = finding.verdict(self.workloads) == Expectation::Allow;
            let cells = &mut pair[usize::from(address.is_ipv6())];
            cells.entry((port, transport)).or_default().add(passed);
        }
        let rows: Vec<(usize, usize, String)> = asked
            .iter()
            .map(|((from, to), pair)| (*from, *to, describe_pair(pair)))
            .filter(|(.., what)| !what.is_empty())
            .collect();
        let width = |of: fn(&(usize, usize, String)) -> usize, title: &str| {
            let longest = rows
                .iter()
                .map(|row| groups.names[of(row)].chars().count())
                .max();
            longest.unwrap_or(0).max(title.len())
        };
        let (left, right) = (width(|row| row.0, "FROM"), width(|row| row.1, "TO"));
        let mut out = format!("{:left$}   {:right$}   GETS THROUGH\n", "FROM", "TO");
        let mut previous = None;
        for (from, to, what) in rows.iter().take(MOST_LINES) {
            let name = if previous == Some(from) {
                ""
            } else {
                groups.names[*from].as_str()
            };
            let _ = writeln!(out, "{name:left$}   {:right$}   {what}", groups.names[*to]);
            previous = Some(from);
        }
        if rows.len() > MOST_LINES {
            let _ = writeln!(
                out,
                "… and {} more pairs (-o json has all)",
                rows.len() - MOST_LINES
            );
        }
        let _ = writeln!(out, "Nothing else does.");
        out
    }
}

/// What became of the probes between two groups in one family.
type Cells = BTreeMap<(u16, Transport), Tally>;

/// Both families at once if they do not differ.
fn describe_pair([v4, v6]: &[Cells; 2]) -> String {
    let (of_v4, of_v6) = (describe(v4), describe(v6));
    match (of_v4.as_str(), of_v6.as_str()) {
        (same, other) if same == other => of_v4,
        (_, _) if v6.is_empty() => of_v4,
        (_, _) if v4.is_empty() => of_v6,
        (only, "") => format!("IPv4 {only}"),
        ("", only) => format!("IPv6 {only}"),
        (one, other) => format!("IPv4 {one}; IPv6 {other}"),
    }
}

/// How many probes of one kind between two groups passed.
#[derive(Default)]
struct Tally {
    sent: usize,
    passed: usize,
}

impl Tally {
    fn add(&mut self, passed: bool) {
        self.sent += 1;
        self.passed += usize::from(passed);
    }
}

/// `tcp 80 443, udp 53`; ports that passed for some members only are marked.
fn describe(cells: &Cells) -> String {
    if !cells.is_empty() && cells.values().all(|tally| tally.passed == tally.sent) {
        return "everything".to_owned();
    }
    let mut parts = Vec::new();
    for transport in Transport::ALL {
        let of_it = cells.iter().filter(|((_, other), _)| *other == transport);
        if of_it.clone().count() > 1 && of_it.clone().all(|(_, tally)| tally.passed == tally.sent) {
            parts.push(format!("all {}", transport.name().to_lowercase()));
            continue;
        }
        let mut listed: Vec<String> = of_it
            .filter(|(_, tally)| tally.passed > 0)
            .map(|((port, _), tally)| {
                if tally.passed == tally.sent {
                    port.to_string()
                } else {
                    format!("{port} ({} of {})", tally.passed, tally.sent)
                }
            })
            .collect();
        if !listed.is_empty() {
            let more = listed.len().saturating_sub(MOST_PORTS);
            listed.truncate(MOST_PORTS);
            if more > 0 {
                listed.push(format!("and {more} more"));
            }
            parts.push(format!(
                "{} {}",
                transport.name().to_lowercase(),
                listed.join(" ")
            ));
        }
    }
    parts.join(", ")
}

/// Workloads of one controller are one group; others stand alone.
struct Groups {
    /// For each workload, the index of its group.
    of: Vec<usize>,
    names: Vec<String>,
}

fn groups(workloads: &[Workload]) -> Groups {
    // Name first, then kind: `shop/deploy/web` is shown as `shop/web ×3`, and sorted as it is shown.
    let title = |workload: &Workload| match &workload.owner {
        Some(owner) => {
            let (kind, name) = owner.split_once('/').unwrap_or(("", owner));
            (workload.namespace.clone(), name.to_owned(), kind.to_owned())
        }
        None => (
            workload.namespace.clone(),
            workload.name.clone(),
            String::new(),
        ),
    };
    let titles: BTreeSet<_> = workloads.iter().map(title).collect();
    let index: BTreeMap<_, usize> = titles.iter().zip(0..).collect();
    let of: Vec<usize> = workloads
        .iter()
        .map(|workload| index[&title(workload)])
        .collect();
    let names = titles
        .iter()
        .enumerate()
        .map(|(group, (namespace, name, _))| {
            let size = of.iter().filter(|member| **member == group).count();
            let times = if size == 1 {
                String::new()
            } else {
                format!(" ×{size}")
            };
            format!("{namespace}/{name}{times}")
        });
    Groups {
        names: names.collect(),
        of,
    }
}

/// 12345 as `12,345`.
fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::plan::tests::workload;
    use super::super::plan::{Filter, plan};
    use super::*;

    fn report(workloads: &[Workload], see: impl Fn(&Probe) -> Observation) -> Report<'_> {
        let probes = plan(workloads, &BTreeSet::from([80, 53]), &Filter::default(), 0);
        let findings = probes.into_iter().map(|probe| Finding {
            probe,
            expected: if probe.port == 80 {
                Expectation::Allow
            } else {
                Expectation::Deny
            },
            observed: see(&probe),
        });
        Report {
            workloads,
            findings: findings.collect(),
        }
    }

    fn two() -> [Workload; 2] {
        [
            workload("web-1", Some("deploy/web"), &["10.0.0.1"], &[80]),
            workload("db-0", Some("sts/db"), &["10.0.0.2"], &[]),
        ]
    }

    #[test]
    fn what_agrees_and_what_does_not() {
        let workloads = two();
        let good = report(&workloads, |probe| match probe.port {
            80 => Observation::Reached,
            _ => Observation::Silent,
        });
        assert_eq!(good.mismatches().count(), 0);
        assert!(
            good.text(0.5)
                .contains("8 probes: 4 got through, 4 did not; all as policy says")
        );
        let deaf = report(&workloads, |_| Observation::Silent);
        assert_eq!(deaf.mismatches().count(), 4);
        assert!(deaf.text(0.5).contains("expected Allow, observed Deny"));
    }

    #[test]
    fn a_wrong_name_never_agrees() {
        let workloads = two();
        let wrong = report(&workloads, |_| {
            Observation::Answered("shop/else".to_owned())
        });
        assert_eq!(wrong.mismatches().count(), 8);
        assert!(wrong.text(0.0).contains("answered by shop/else"));
    }

    #[test]
    fn json_has_the_promised_fields_and_no_others() {
        let workloads = two();
        let text = report(&workloads, |_| Observation::Silent).json().unwrap();
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            json["probes"][0],
            serde_json::json!({
                "from": "shop/web-1", "to": "shop/db-0", "address": "10.0.0.2",
                "protocol": "TCP", "port": 53, "expected": "Deny", "observed": "Deny"
            })
        );
    }

    #[test]
    fn families_are_told_apart_where_they_differ() {
        let cells = |passed: &[bool]| -> Cells {
            let mut cells = Cells::new();
            for (port, passed) in [80, 443].into_iter().zip(passed) {
                cells
                    .entry((port, Transport::Tcp))
                    .or_default()
                    .add(*passed);
            }
            cells
        };
        let (some, all, none) = (
            cells(&[true, false]),
            cells(&[true, true]),
            cells(&[false, false]),
        );
        assert_eq!(describe_pair(&[some, cells(&[true, false])]), "tcp 80");
        assert_eq!(describe_pair(&[none, all]), "IPv6 everything");
        assert_eq!(
            describe_pair(&[cells(&[true, false]), Cells::new()]),
            "tcp 80"
        );
    }

    #[test]
    fn numbers_are_grouped() {
        assert_eq!(
            [0, 999, 1000, 1_234_567].map(grouped),
            ["0", "999", "1,000", "1,234,567"]
        );
    }
}
