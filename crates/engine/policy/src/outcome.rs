//! Interned outcomes and rows, counted by what holds them.

use std::sync::Arc;

use ocicat_flow::Outcome;
use ocicat_node::{OutcomeId, Row, RowId};
use rustc_hash::FxHashMap;

/// Numbers are never used again.
#[derive(Debug, Default)]
pub(crate) struct Outcomes {
    numbers: FxHashMap<Box<[u32]>, OutcomeId>,
    items: FxHashMap<OutcomeId, OutcomeItem>,
    next: u32,
    fresh: Vec<OutcomeId>,
    idle: Vec<OutcomeId>,
}

#[derive(Debug)]
struct OutcomeItem {
    outcome: Arc<Outcome>,
    key: Box<[u32]>,
    count: u32,
    emitted: bool,
}

impl Outcomes {
    /// The number of the outcome that `key` stands for; equal keys stand for equal outcomes. It
    /// is forgotten at the end of the commit unless a row holds it.
    pub(crate) fn intern(&mut self, key: &[u32], make: impl FnOnce() -> Outcome) -> OutcomeId {
        if let Some(&id) = self.numbers.get(key) {
            return id;
        }
        let id = OutcomeId(self.next);
        self.next += 1;
        let outcome = Arc::new(make());
        let item = OutcomeItem {
            outcome,
            key: key.into(),
            count: 0,
            emitted: false,
        };
        self.items.insert(id, item);
        self.numbers.insert(key.into(), id);
        self.fresh.push(id);
        self.idle.push(id);
        id
    }

    pub(crate) fn get(&self, id: OutcomeId) -> Option<&Arc<Outcome>> {
        Some(&self.items.get(&id)?.outcome)
    }

    fn retain(&mut self, id: OutcomeId) {
        self.items
            .get_mut(&id)
            .expect("rows are made of interned outcomes")
            .count += 1;
    }

    fn release(&mut self, id: OutcomeId) {
        let item = self
            .items
            .get_mut(&id)
            .expect("held by the row that lets go");
        item.count -= 1;
        if item.count == 0 {
            self.idle.push(id);
        }
    }

    /// Outcomes that came to be held since the last call.
    pub(crate) fn take_fresh(&mut self) -> Vec<(OutcomeId, Arc<Outcome>)> {
        let mut out = Vec::new();
        for id in std::mem::take(&mut self.fresh) {
            if let Some(item) = self.items.get_mut(&id).filter(|item| item.count > 0) {
                item.emitted = true;
                out.push((id, item.outcome.clone()));
            }
        }
        out
    }

    /// Forgets what nobody holds; returns those that were told of, sorted.
    pub(crate) fn take_dead(&mut self) -> Vec<OutcomeId> {
        let mut dead = Vec::new();
        for id in std::mem::take(&mut self.idle) {
            if self.items.get(&id).is_some_and(|item| item.count == 0)
                && let Some(item) = self.items.remove(&id)
            {
                self.numbers.remove(&item.key);
                if item.emitted {
                    dead.push(id);
                }
            }
        }
        dead.sort_unstable();
        dead
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (OutcomeId, &Arc<Outcome>)> {
        self.items.iter().map(|(id, item)| (*id, &item.outcome))
    }
}

/// Numbers are never used again.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    numbers: FxHashMap<Arc<Row>, RowId>,
    items: FxHashMap<RowId, RowItem>,
    next: u32,
    fresh: Vec<RowId>,
    idle: Vec<RowId>,
}

#[derive(Debug)]
struct RowItem {
    row: Arc<Row>,
    count: u32,
    emitted: bool,
}

impl Rows {
    /// The number of the row. It is forgotten at the end of the commit unless a table holds it.
    pub(crate) fn intern(&mut self, row: &Row, outcomes: &mut Outcomes) -> RowId {
        if let Some(&id) = self.numbers.get(row) {
            return id;
        }
        all_outcomes(row).for_each(|outcome| outcomes.retain(outcome));
        let id = RowId(self.next);
        self.next += 1;
        // A copy has no room for more.
        let row = Arc::new(row.clone());
        self.numbers.insert(row.clone(), id);
        self.items.insert(
            id,
            RowItem {
                row,
                count: 0,
                emitted: false,
            },
        );
        self.fresh.push(id);
        self.idle.push(id);
        id
    }

    pub(crate) fn get(&self, id: RowId) -> Option<&Arc<Row>> {
        Some(&self.items.get(&id)?.row)
    }

    pub(crate) fn retain(&mut self, id: RowId) {
        self.items
            .get_mut(&id)
            .expect("tables hold interned rows")
            .count += 1;
    }

    pub(crate) fn release(&mut self, id: RowId) {
        let item = self
            .items
            .get_mut(&id)
            .expect("held by the table that lets go");
        item.count -= 1;
        if item.count == 0 {
            self.idle.push(id);
        }
    }

    /// Rows that came to be held since the last call.
    pub(crate) fn take_fresh(&mut self) -> Vec<(RowId, Arc<Row>)> {
        let mut out = Vec::new();
        for id in std::mem::take(&mut self.fresh) {
            if let Some(item) = self.items.get_mut(&id).filter(|item| item.count > 0) {
                item.emitted = true;
                out.push((id, item.row.clone()));
            }
        }
        out
    }

    /// Forgets what nobody holds; returns those that were told of, sorted.
    pub(crate) fn take_dead(&mut self, outcomes: &mut Outcomes) -> Vec<RowId> {
        let mut dead = Vec::new();
        for id in std::mem::take(&mut self.idle) {
            if self.items.get(&id).is_some_and(|item| item.count == 0)
                && let Some(item) = self.items.remove(&id)
            {
                self.numbers.remove(&item.row);
                all_outcomes(&item.row).for_each(|outcome| outcomes.release(outcome));
                if item.emitted {
                    dead.push(id);
                }
            }
        }
        dead.sort_unstable();
        dead
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (RowId, &Arc<Row>)> {
        self.items.iter().map(|(id, item)| (*id, &item.row))
    }
}

fn all_outcomes(row: &Row) -> impl Iterator<Item = OutcomeId> + '_ {
    row.cells
        .outcomes()
        .chain(row.cuts.iter().flat_map(|cut| cut.cells.outcomes()))
}
