//! Two endpoints without address, and regions with one free address.
//!
//! Each of the two may get that address, but not both at once. So they stand there in turn: in a
//! few rounds, every pair of different addresses is had at the same time once.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::analysis::Resolved;
use crate::explanation::{Pair, Place};
use crate::tables::Tables;

/// Addresses that both ends want, each with a number.
pub(crate) struct Contested(BTreeMap<IpAddr, u32>);

/// Who stands where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Round {
    /// The source stands at all contested addresses.
    Source,
    /// The destination does.
    Destination,
    /// The source stands at those whose number has this value of this bit; the destination at
    /// the others.
    Split { bit: u32, value: u32 },
}

impl Contested {
    pub(crate) fn of(source: &Resolved, destination: &Resolved) -> Self {
        let standing: BTreeSet<IpAddr> = source.tight.iter().map(|place| place.address).collect();
        let wanted = destination.tight.iter().map(|place| place.address);
        Self(
            wanted
                .filter(|address| standing.contains(address))
                .zip(0..)
                .collect(),
        )
    }

    /// Each pair in the round in which both ends stand where it needs them.
    pub(crate) fn rounds(&self, pairs: Vec<Pair>) -> BTreeMap<Round, Vec<Pair>> {
        let mut rounds: BTreeMap<Round, Vec<Pair>> = BTreeMap::new();
        for pair in pairs {
            let number = |place: &Place| self.0.get(&place.address).copied();
            let round = match (number(&pair.source), number(&pair.destination)) {
                (_, None) => Round::Source,
                (None, Some(_)) => Round::Destination,
                (Some(source), Some(destination)) => {
                    // They differ, as no pair has one address twice.
                    let bit = (source ^ destination).trailing_zeros().min(31);
                    Round::Split {
                        bit,
                        value: source >> bit & 1,
                    }
                }
            };
            rounds.entry(round).or_default().push(pair);
        }
        rounds
    }

    /// Puts both ends where the round wants them. Ends that have all their addresses for
    /// themselves stay as they are.
    pub(crate) fn stand(&self, tables: &mut Tables, round: Round, ends: [&Resolved; 2]) {
        for (end, is_source) in ends.into_iter().zip([true, false]) {
            if end.tight.is_empty() {
                continue;
            }
            let Some(judge) = &end.judge else { continue };
            let here = |address: &IpAddr| match (self.0.get(address), round) {
                (None, _) => true,
                (Some(_), Round::Source) => is_source,
                (Some(_), Round::Destination) => !is_source,
                (Some(number), Round::Split { bit, value }) => {
                    (number >> bit & 1 == value) == is_source
                }
            };
            let addresses = end.party.places.iter().map(|place| place.address);
            tables.set_addresses(judge, &addresses.filter(here).collect::<Vec<_>>());
        }
    }
}
