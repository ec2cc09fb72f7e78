//! One commit: from what changed in the objects to what changes in the tables.
//!
//! The phases follow each other as the data does: labels, selection of local endpoints, blocks,
//! questions, address space, classes, stacks, tables, and then the words that tell of it.

use std::sync::Arc;

use rustc_hash::FxHashSet;

use crate::Engine;
use crate::block::{BlockSource, BodyKind};
use crate::delta::{Commit, Steps, endpoint_id};
use crate::identity::Role;
use crate::local::{Affected, Everywhere};
use crate::net;
use crate::policy::{DIRECTIONS, Subject, side};
use crate::rule::Rule;
use crate::slab::{BlockId, IdentityId, PolicyId, QuestionId};
use crate::source::{Source, Standing, release_source};

impl Engine {
    /// Brings tables and classes up to date with all objects, and tells what is different since
    /// the last commit. The work is in proportion to that.
    pub fn commit(&mut self) -> Commit {
        let mut released = Vec::new();
        if self.only_remote() {
            released = self.move_addresses();
            if self.space.is_settled() {
                return self.tell_moved(released);
            }
        }
        let sources = self.sources.take_changed();
        let changed = self
            .identities
            .derive(&mut self.interner, &self.sources, &sources);
        let (affected, reframed) = self.select(&changed);
        let again = self.activate((&affected, &reframed), &sources);
        let dead = self.settle_space(&changed, &mut released);
        let changes = self
            .classes
            .settle(&mut self.space, &self.identities, &mut self.questions);
        self.reported.extend(&affected);
        let mut steps = self.work(&changes, &again);
        self.tell_tables(&mut steps, &changes);
        self.merge(&mut steps, &dead);
        let commit = self.tell_rest(steps);
        for source in sources {
            release_source(&mut self.interner, source);
        }
        released
            .into_iter()
            .for_each(|identity| self.identities.release(identity));
        self.collect();
        self.stirred = false;
        commit
    }

    /// Takes over changed endpoints and decides which policies select which local ones. Returns
    /// also which policies have more than other rules; sorted.
    fn select(&mut self, changed: &[IdentityId]) -> (Affected, Vec<PolicyId>) {
        self.endpoints.take_dirty(&mut self.befores);
        for before in &self.befores {
            if self.locals.items.contains_key(&before.entry) {
                self.touched_endpoints.insert(before.entry);
            }
            let local = self
                .locals
                .is_local(&self.interner, &self.endpoints, before.entry);
            if self.endpoints.is_host(before.entry) {
                let id = endpoint_id(&self.endpoints.items[before.entry].key);
                self.hosts.put(before.entry, local, &self.endpoints, id);
                continue;
            }
            let presence = self.endpoints.presence(before.entry).filter(|_| local);
            self.locals.put(before.entry, presence.as_ref());
        }
        let (dirty, reframed) = self.policies.take_dirty();
        let view = (&self.identities, &self.interner);
        let mut affected = self
            .locals
            .select(view, &mut self.policies, changed, &reframed);
        affected.extend(&dirty);
        let different = (changed, reframed.as_slice());
        self.hosts
            .select(view, &mut self.policies, different, &mut affected);
        self.dirty_policies = dirty;
        (affected, reframed)
    }

    /// Makes and unmakes blocks, so that exactly the policies and profiles of local endpoints ask
    /// questions. Returns the blocks whose outcomes read differently although their rules may be
    /// the same.
    fn activate(
        &mut self,
        (affected, reframed): (&Affected, &[PolicyId]),
        sources: &[Source],
    ) -> FxHashSet<BlockId> {
        let mut again = FxHashSet::default();
        let mut came_or_went = FxHashSet::default();
        for id in affected {
            let dirty = self.dirty_policies.binary_search(id).is_ok();
            for direction in DIRECTIONS {
                let at = side(direction);
                let policy = &self.policies.items[*id];
                let wanted = self.policies.exists(*id) && policy.selected > 0;
                let rules = policy.rules[at].clone().filter(|_| wanted);
                let closed = matches!(policy.subject, Subject::Closed(_));
                let (reference, token) = (policy.reference.clone(), policy.token);
                let tier = policy.tier;
                match (policy.blocks[at], rules) {
                    (None, None) => {}
                    (Some(block), None) => {
                        self.blocks.remove(&mut self.questions, block);
                        self.policies.items[*id].blocks[at] = None;
                        came_or_went.insert(block);
                    }
                    (Some(_), Some(_)) if !dirty => {}
                    (known, Some(rules)) => {
                        let block = known.unwrap_or_else(|| {
                            let source = BlockSource::Policy(*id);
                            self.blocks
                                .insert(source, direction, reference.clone(), token)
                        });
                        let item = &mut self.blocks.items[block];
                        item.tier = Some(tier);
                        if item.token != token {
                            (item.reference, item.token) = (reference, token);
                            again.insert(block);
                        }
                        self.policies.items[*id].blocks[at] = Some(block);
                        let (kind, rules) = if closed {
                            (BodyKind::Closed, Arc::from([]))
                        } else {
                            (BodyKind::Rules, rules)
                        };
                        let asked_near = self.blocks.items[block].body.asks_near();
                        self.set_body(block, kind, rules);
                        // Other far sides alone give nobody another stack.
                        let same = known.is_some() && reframed.binary_search(id).is_err();
                        if !same || asked_near || self.blocks.items[block].body.asks_near() {
                            came_or_went.insert(block);
                        }
                    }
                }
            }
        }
        self.activate_profiles(sources, &mut came_or_went);
        let tiers = self.policies.take_dirty_tiers();
        if !tiers.is_empty() {
            let of_tier = self
                .policies
                .items
                .iter()
                .filter(|(_, p)| tiers.contains(&p.tier));
            self.reported.extend(of_tier.map(|(id, _)| id));
            for (id, block) in self.blocks.items.iter() {
                if block.tier.is_some_and(|tier| tiers.contains(&tier)) {
                    again.insert(id);
                    came_or_went.insert(id);
                }
            }
        }
        self.locals.mark_holders(&came_or_went);
        self.locals.list_blocks(&self.policies);
        self.hosts.mark_holders(&came_or_went);
        let ask = (&mut self.interner, &mut self.questions);
        self.hosts.list_blocks(&self.policies, &self.blocks, ask);
        again
    }

    fn activate_profiles(&mut self, sources: &[Source], touched: &mut FxHashSet<BlockId>) {
        let parts = (&mut self.blocks, &mut self.questions);
        let mut fresh = self.locals.hold_profiles(
            &self.identities,
            &mut self.interner,
            &mut self.policies,
            parts,
        );
        let parts = (&mut self.blocks, &mut self.questions);
        fresh.extend(self.hosts.hold_profiles(
            &self.identities,
            &mut self.interner,
            &mut self.policies,
            parts,
        ));
        for source in sources {
            let Source::Profile(name) = source else {
                continue;
            };
            fresh.extend(
                DIRECTIONS
                    .iter()
                    .filter_map(|d| self.blocks.profile(*name, *d)),
            );
        }
        for block in fresh {
            let item = &self.blocks.items[block];
            let BlockSource::Profile(name) = item.source else {
                continue;
            };
            let at = side(item.direction);
            let (kind, rules) = match self.sources.standing(&self.interner.names, name) {
                Standing::Namespace => (BodyKind::Rules, Arc::from([Rule::allow_all()])),
                Standing::Account => (BodyKind::Rules, Arc::from([])),
                Standing::Object => match self.policies.profile(name) {
                    Some(profile) => (BodyKind::Rules, profile.rules[at].clone()),
                    None => (BodyKind::Missing, Arc::from([])),
                },
                Standing::Missing => (BodyKind::Missing, Arc::from([])),
            };
            self.set_body(block, kind, rules);
            touched.insert(block);
        }
    }

    fn set_body(&mut self, block: BlockId, kind: BodyKind, rules: Arc<[Rule]>) {
        self.blocks
            .set_body(&mut self.interner, &mut self.questions, block, kind, rules);
    }

    /// Answers new questions, and brings regions, slots and kinds up to date. Returns the
    /// questions that are no longer asked; `released` are identities to release at the end.
    fn settle_space(
        &mut self,
        changed: &[IdentityId],
        released: &mut Vec<IdentityId>,
    ) -> Vec<QuestionId> {
        let (fresh, dead) = self.questions.take_changes();
        let different =
            self.questions
                .answer(&mut self.identities, &self.interner, changed, &fresh);
        let of_sets = |ids: &[IdentityId]| -> Vec<IdentityId> {
            let role = |id: &IdentityId| self.identities.items[*id].key.role;
            ids.iter()
                .copied()
                .filter(|id| role(id) == Role::NetworkSet)
                .collect()
        };
        let (sets_changed, sets_different) = (of_sets(changed), of_sets(&different));
        let everywhere = if self.nets.sets_changed() || !sets_changed.is_empty() {
            Everywhere::Yes
        } else {
            Everywhere::No
        };
        for id in &different {
            for kind in self.identities.items[*id].kinds.clone() {
                self.space.mark(kind);
            }
        }
        if !sets_different.is_empty() {
            let prefixes: Vec<_> = self.nets.prefixes_of(&sets_different).collect();
            for prefix in prefixes {
                if self.space.regions.find(&prefix).is_some() {
                    self.space.mark_inside(prefix);
                }
            }
        }
        released.extend(self.nets.apply(&mut self.space, &mut self.identities));
        net::add_questions(
            &mut self.space,
            &mut self.identities,
            &self.questions,
            &fresh,
        );
        self.lists
            .apply(&mut self.interner, &mut self.space, &self.questions, &fresh);
        released.extend(self.move_addresses());
        for id in &self.locals.dirty {
            for address in self
                .locals
                .items
                .get(id)
                .iter()
                .flat_map(|local| &local.addresses)
            {
                if let Some(slot) = self.space.slots.find(address.address) {
                    self.space.slots.items[slot].local = true;
                }
            }
        }
        self.locals
            .mark_near(&self.space, &self.identities, changed, everywhere);
        dead
    }

    /// Forgets questions that nobody asks any more, when no table depends on them.
    fn merge(&mut self, steps: &mut Steps, dead: &[QuestionId]) {
        if dead.is_empty() {
            return;
        }
        self.questions.forget(&mut self.identities, dead);
        let mut changes = self
            .classes
            .merge(&mut self.space, &mut self.questions, dead);
        net::remove_questions(&mut self.space, &self.questions, dead);
        self.lists
            .remove_questions(&mut self.space, &self.questions, dead);
        self.space.settle(&mut self.identities, &self.endpoints);
        let more = self
            .classes
            .settle(&mut self.space, &self.identities, &mut self.questions);
        debug_assert!(more.changed.is_empty(), "no address answers differently");
        changes.moved.extend(more.moved);
        changes.dead.extend(more.dead);
        self.hosts.forget_classes(&changes.dead);
        self.tell_merged(steps, &changes);
    }

    /// Ends the commit: forgets what nobody holds, and lets numbers be used again.
    fn collect(&mut self) {
        let forgotten: Vec<_> = self
            .dirty_policies
            .drain(..)
            .filter(|id| !self.policies.exists(*id))
            .collect();
        forgotten
            .into_iter()
            .for_each(|id| self.policies.forget(id));
        self.policies.collect(&mut self.interner);
        self.collect_remote();
        self.questions.collect(&mut self.interner);
        self.blocks.collect(&mut self.interner);
        self.stacks.end_commit();
    }
}
