//! The short way of a commit, for pods of other hosts that come and go: when only they changed, and
//! look like others that are known, only addresses change hands.
//!
//! This is most of what happens in a cluster, and it comes one by one, when caches hold something
//! else. So what counts is how little is touched, code included.

use crate::Engine;
use crate::delta::Commit;
use crate::slab::{IdentityId, give_back};

impl Engine {
    /// Whether nothing changed but endpoints of other hosts with identities that are known.
    pub(crate) fn only_remote(&mut self) -> bool {
        if self.stirred || self.identities.has_fresh() {
            return false;
        }
        self.endpoints.take_dirty(&mut self.befores);
        self.befores.iter().all(|before| {
            !self.endpoints.is_host(before.entry)
                && !self.locals.items.contains_key(&before.entry)
                && !(self.locals).is_local(&self.interner, &self.endpoints, before.entry)
        })
    }

    /// Gives the addresses of endpoints that changed to whom they have now. Returns the identities
    /// that were held for the endpoints as they were.
    pub(crate) fn move_addresses(&mut self) -> Vec<IdentityId> {
        let mut released = Vec::new();
        for before in self.befores.drain(..) {
            let after = self.endpoints.present(before.entry);
            let old = before.presence;
            for address in old.iter().flat_map(|presence| &presence.addresses) {
                self.space.remove_owner(*address, before.entry);
            }
            for address in after.iter().flat_map(|(_, addresses)| *addresses) {
                self.space.add_owner(*address, before.entry);
            }
            released.extend(old.map(|presence| presence.identity));
        }
        give_back(&mut self.befores);
        self.space.settle(&mut self.identities, &self.endpoints);
        released
    }

    /// Ends a commit in which addresses went from one class to another, and nothing else happened.
    pub(crate) fn tell_moved(&mut self, released: Vec<IdentityId>) -> Commit {
        let mut commit = Commit::default();
        self.tell_addresses(&mut commit.delta, &[]);
        for identity in released {
            self.identities.release(identity);
        }
        self.collect_remote();
        commit
    }

    /// Forgets endpoints and identities that are gone.
    pub(crate) fn collect_remote(&mut self) {
        self.endpoints.collect();
        if self.identities.has_idle() {
            let questions = &mut self.questions;
            self.identities.collect(&mut self.interner, |id, identity| {
                questions.forget_identity(id, identity);
            });
        }
        self.space.end_rest();
        self.identities.items.end_rest();
        self.endpoints.items.end_rest();
        self.interner.labels.end_rest();
    }
}
