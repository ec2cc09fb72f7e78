//! Packets that no table judges: forged ones, those of unknown interfaces, of known connections, and of
//! nobody here.

use std::net::IpAddr;

use ocicat_program::nft::{BaseChain, ChainKind, Hook, Policy, build, priority};

use super::judged::{ELSEWHERE, NEIGHBOUR_TYPES, family, is_neighbour_discovery, number};
use super::{Checked, Verification};
use crate::Unsupported;
use crate::lookup::of_bytes;
use crate::packets::{Field, IpFamily, Packets};
use crate::ranges::Ranges;
use crate::run::End;

fn neighbour_types() -> Ranges {
    Ranges::of(NEIGHBOUR_TYPES.iter().map(|kind| (*kind, *kind)).collect())
}

const FAMILIES: [IpFamily; 2] = [IpFamily::V4, IpFamily::V6];

impl Verification<'_> {
    /// Base chains stand where they must, and what comes from or goes to an unknown interface of a
    /// workload's name is dropped.
    pub(super) fn check_base(&mut self) -> Checked {
        let has_hosts = !self.subject.state.host_endpoints.is_empty();
        let mut expected = vec![
            (
                "prerouting",
                Hook::Prerouting,
                priority::RAW,
                Policy::Accept,
            ),
            ("input", Hook::Input, priority::FILTER, Policy::Accept),
            ("forward", Hook::Forward, priority::FILTER, Policy::Drop),
            ("output", Hook::Output, priority::FILTER, Policy::Accept),
        ];
        if has_hosts {
            let (raw, mangle) = (priority::RAW, priority::MANGLE);
            expected.push(("raw_output", Hook::Output, raw, Policy::Accept));
            expected.push(("pre_dnat", Hook::Prerouting, mangle, Policy::Accept));
        }
        let ruleset = self.subject.ruleset;
        for &(name, hook, priority, policy) in &expected {
            let kind = ChainKind::Filter;
            let wanted = BaseChain {
                kind,
                hook,
                priority,
                policy,
                device: None,
            };
            let found = ruleset
                .chains
                .get(name)
                .and_then(|chain| chain.chain.base.as_ref());
            if found != Some(&wanted) {
                self.differ(format!("base chain {name} is not at its hook: {found:?}"));
            }
        }
        for (name, installed) in &ruleset.chains {
            let is_ours = expected.iter().any(|(ours, ..)| ours == name);
            if installed.chain.base.is_some() && !is_ours {
                self.differ(format!("base chain {name} is not ours"));
            }
        }
        // No interface has such a name unless somebody gives it one.
        let unknown = format!("{}~", self.subject.config.interface_prefix);
        for family in FAMILIES {
            for (base, iif, oif) in [
                ("prerouting", &*unknown, ""),
                ("forward", &*unknown, ELSEWHERE),
                ("forward", ELSEWHERE, &*unknown),
            ] {
                let what = format!("{base} by an unknown interface of a workload's name");
                self.all_end(&what, base, &self.all(family, iif, oif), End::Drop)?;
            }
            // What passes the host itself is for host endpoints, if there are any.
            if has_hosts {
                continue;
            }
            for (base, oif) in [("prerouting", ""), ("input", ""), ("forward", "elsewhere1")] {
                let what = format!("{base} of packets that are no workload's");
                let packets = self.all(family, ELSEWHERE, oif);
                self.all_end(&what, base, &packets, End::Accept)?;
            }
        }
        Ok(())
    }

    /// Only its own addresses, from its own Ethernet address.
    pub(super) fn check_forged(&mut self, place: usize) -> Checked {
        let one = self.attached[place].clone();
        let mac = of_bytes(&one.attachment.mac);
        for of in FAMILIES {
            let own = one
                .attachment
                .addresses
                .iter()
                .filter(|address| family(**address) == of);
            let own = own.map(|a| (number(*a), number(*a)));
            // And what the configuration lets it send from.
            let sources = self.subject.config.sources_of(&one.attachment.interface);
            let sources = sources
                .filter(|source| {
                    family(source.net.addr()) == of && source.mac == one.attachment.mac
                })
                .map(|source| (number(source.net.network()), number(source.net.broadcast())));
            let own = Ranges::of(own.chain(sources).collect());
            let packets = self.all(of, &one.attachment.interface, "");
            self.report.questions += 1;
            for fate in self.run.enter("prerouting", &packets)? {
                let of_mac = fate.packets.is_within(Field::SourceMac, &[mac]);
                let of_own = fate.packets.get(Field::Source).without(&own).is_empty();
                let may = of_mac
                    && (of_own || of == IpFamily::V6 && is_neighbour_discovery(&fate.packets));
                if fate.end == End::Accept && !may {
                    self.differ(format!(
                        "{} may send from addresses that are not its own, such as {:?} and {:?}",
                        one.endpoint,
                        fate.packets
                            .get(Field::SourceMac)
                            .first()
                            .map(|mac| format!("{mac:012x}")),
                        fate.packets
                            .get(Field::Source)
                            .first()
                            .map(|a| crate::tables::address(of, a)),
                    ));
                }
            }
            let what = format!("prerouting of packets that {} sends", one.endpoint);
            let honest = packets.with_one(Field::SourceMac, mac);
            if let Some(honest) = honest.and_then(|packets| packets.with(Field::Source, &own)) {
                self.all_end(&what, "prerouting", &honest, End::Accept)?;
            }
            let neighbours = packets
                .with_one(Field::SourceMac, mac)
                .filter(|_| of == IpFamily::V6)
                .and_then(|packets| packets.with_one(Field::Protocol, 58))
                .and_then(|packets| packets.with(Field::IcmpType, &neighbour_types()));
            if let Some(neighbours) = neighbours {
                let what = format!("neighbour discovery of {}", one.endpoint);
                self.all_end(&what, "prerouting", &neighbours, End::Accept)?;
            }
            let others = packets.get(Field::Source).without(&own);
            for (base, oif) in [("forward", ELSEWHERE), ("input", "")] {
                let what = format!("{base} of packets that {} forges", one.endpoint);
                let packets = self.all(of, &one.attachment.interface, oif);
                let Some(forged) = packets.with(Field::Source, &others) else {
                    continue;
                };
                for fate in self.run.enter(base, &forged)? {
                    let may = base == "input"
                        && of == IpFamily::V6
                        && is_neighbour_discovery(&fate.packets);
                    if fate.end != End::Drop && !may {
                        self.differ(format!("{what}: {:?}", fate.end));
                    }
                }
            }
        }
        Ok(())
    }

    /// What policy has ended is dropped, what it has allowed passes, what is invalid is dropped.
    pub(super) fn check_known(&mut self, (place, near): (usize, IpAddr)) -> Checked {
        let one = self.attached[place].clone();
        let config = self.subject.config;
        let (ended, decided) = (config.ended(), config.decided());
        let packets = self.all(family(near), &one.attachment.interface, ELSEWHERE);
        let packets = packets.with_one(Field::Source, number(near));
        let packets = packets.ok_or_else(|| Unsupported("no such address".to_owned()))?;
        let others = !config.mark_mask;
        for (word, state, mark, end) in [
            (
                "ended",
                build::CT_STATE_ESTABLISHED,
                Some(ended | decided),
                End::Drop,
            ),
            (
                "ended",
                build::CT_STATE_ESTABLISHED,
                Some(ended | others),
                End::Drop,
            ),
            (
                "allowed",
                build::CT_STATE_ESTABLISHED,
                Some(decided),
                End::Accept,
            ),
            (
                "allowed",
                build::CT_STATE_RELATED,
                Some(decided | others),
                End::Accept,
            ),
            ("invalid", build::CT_STATE_INVALID, None, End::Drop),
        ] {
            let mut packets = packets.clone();
            packets.connection.state = state;
            packets.connection.mark = mark;
            let what = format!("packets of {} that are {word}", one.endpoint);
            self.all_end(&what, "forward", &packets, end)?;
        }
        Ok(())
    }

    fn all_end(&mut self, what: &str, base: &str, packets: &Packets, end: End) -> Checked {
        self.report.questions += 1;
        for fate in self.run.enter(base, packets)? {
            if fate.end != end {
                self.differ(format!(
                    "{what}: some meet {:?} instead of {end:?}",
                    fate.end
                ));
            }
        }
        Ok(())
    }
}
