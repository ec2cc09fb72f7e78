//! Questions about far addresses, counted by the rules that ask them.

use rustc_hash::{FxHashMap, FxHashSet};

use ocicat_node::ClassId;

use crate::identity::{Answer, Identities, Identity};
use crate::label::Name;
use crate::owner::TestIndex;
use crate::rule::AddressTest;
use crate::slab::{BlockId, IdentityId, QuestionId, Slab};
use crate::source::Interner;

/// So many new questions are asked of each identity one by one; more are indexed first.
const ONE_BY_ONE: usize = 16;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum QuestionKey {
    Address(AddressTest),
    /// Which numbers a port of this name and protocol has.
    NamedPort(Name, u8),
}

/// A rule that asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Asker {
    pub(crate) block: BlockId,
    pub(crate) rule: u32,
    pub(crate) yes: Yes,
}

impl Asker {
    /// By block, then by rule, and what is enough first.
    pub(crate) fn order(&self) -> (u64, Yes) {
        let rule = u64::from(self.block.0) << 32 | u64::from(self.rule);
        (rule, self.yes)
    }
}

/// What the answer yes of a claimed address is to a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Yes {
    /// The rule matches, and there is nothing else to know of the address.
    Enough,
    Part,
    /// It is nothing unless another answer is yes, to which it is a part.
    Detail,
}

#[derive(Debug)]
pub(crate) struct Question {
    pub(crate) key: QuestionKey,
    count: u32,
    /// The rules that ask it of far addresses, once for each time they do. A rule that no longer asks
    /// stays until the end of the commit, because tables made before it may still depend on the
    /// question.
    pub(crate) users: Vec<Asker>,
    identities: FxHashSet<IdentityId>,
    /// The classes for which the answer is not no (nor unknown); sorted.
    pub(crate) classes: Vec<ClassId>,
}

#[derive(Debug, Default)]
pub(crate) struct Questions {
    numbers: FxHashMap<QuestionKey, QuestionId>,
    pub(crate) items: Slab<QuestionId, Question>,
    index: TestIndex,
    fresh: Vec<QuestionId>,
    idle: Vec<QuestionId>,
    dead: Vec<QuestionId>,
    left: Vec<(QuestionId, Asker)>,
}

impl Questions {
    pub(crate) fn acquire(&mut self, interner: &mut Interner, key: QuestionKey) -> QuestionId {
        let id = match self.numbers.get(&key) {
            Some(&id) => id,
            None => {
                match &key {
                    QuestionKey::Address(test) => test.retain(interner),
                    QuestionKey::NamedPort(name, _) => {
                        interner.names.retain(*name);
                    }
                }
                let id = self.items.insert(Question {
                    key: key.clone(),
                    count: 0,
                    users: Vec::new(),
                    identities: FxHashSet::default(),
                    classes: Vec::new(),
                });
                self.numbers.insert(key, id);
                self.fresh.push(id);
                id
            }
        };
        self.items[id].count += 1;
        id
    }

    pub(crate) fn release(&mut self, id: QuestionId) {
        let question = &mut self.items[id];
        question.count -= 1;
        if question.count == 0 {
            self.idle.push(id);
        }
    }

    /// Notes who asks a question that is held.
    pub(crate) fn join(&mut self, id: QuestionId, user: Asker) {
        self.items[id].users.push(user);
    }

    pub(crate) fn leave(&mut self, id: QuestionId, user: Asker) {
        self.left.push((id, user));
    }

    pub(crate) fn find(&self, key: &QuestionKey) -> Option<QuestionId> {
        self.numbers.get(key).copied()
    }

    /// The questions asked since the last call that somebody still asks, and those that nobody
    /// asks any more. The latter keep their answers until [`Questions::forget`].
    pub(crate) fn take_changes(&mut self) -> (Vec<QuestionId>, Vec<QuestionId>) {
        let asked = |items: &Slab<QuestionId, Question>, id: QuestionId| items[id].count > 0;
        let mut fresh = std::mem::take(&mut self.fresh);
        let mut dead = std::mem::take(&mut self.idle);
        dead.sort_unstable();
        dead.dedup();
        dead.retain(|id| !asked(&self.items, *id));
        let known: FxHashSet<QuestionId> = fresh.iter().copied().collect();
        fresh.retain(|id| asked(&self.items, *id));
        for id in &fresh {
            if let QuestionKey::Address(AddressTest::Owner(test)) = &self.items[*id].key {
                self.index.insert(id.0, test);
            }
        }
        for id in &dead {
            let key = &self.items[*id].key;
            self.numbers.remove(key);
            if let QuestionKey::Address(AddressTest::Owner(test)) = key
                && !known.contains(id)
            {
                self.index.remove(id.0, test);
            }
        }
        self.dead.extend(&dead);
        // What came and went within the commit was never answered.
        dead.retain(|id| !known.contains(id));
        (fresh, dead)
    }

    /// Answers all questions for the identities in `changed`, which are sorted, and the questions in
    /// `fresh` for the others. Returns the identities whose answers are different now, sorted.
    pub(crate) fn answer(
        &mut self,
        identities: &mut Identities,
        interner: &Interner,
        changed: &[IdentityId],
        fresh: &[QuestionId],
    ) -> Vec<IdentityId> {
        let mut different = FxHashSet::default();
        for id in changed {
            let answers = self.all_answers(identities, interner, *id);
            if self.set_answers(*id, &mut identities.items[*id], answers) {
                different.insert(*id);
            }
        }
        if !fresh.is_empty() {
            let others: Vec<IdentityId> = identities
                .items
                .iter()
                .map(|(id, _)| id)
                .filter(|id| changed.binary_search(id).is_err())
                .collect();
            for (id, found) in self.fresh_answers(identities, interner, &others, fresh) {
                let identity = &mut identities.items[id];
                for answer in found {
                    self.items[answer.0].identities.insert(id);
                    if let Err(at) = identity.answers.binary_search(&answer) {
                        identity.answers.insert(at, answer);
                    }
                }
                different.insert(id);
            }
        }
        let mut different: Vec<IdentityId> = different.into_iter().collect();
        different.sort_unstable();
        different
    }

    /// Takes back the answers to questions that nobody asks any more.
    pub(crate) fn forget(&mut self, identities: &mut Identities, dead: &[QuestionId]) {
        for id in dead {
            for identity in std::mem::take(&mut self.items[*id].identities) {
                if let Some(identity) = identities.items.get_mut(identity) {
                    identity.answers.retain(|(question, _)| question != id);
                }
            }
        }
    }

    fn all_answers(&self, ids: &Identities, interner: &Interner, id: IdentityId) -> Vec<Answer> {
        let owner = ids.owner(interner, id);
        let yes = self.index.satisfied(&owner, &interner.names);
        let mut answers: Vec<Answer> = yes.into_iter().map(|n| (QuestionId(n), 0)).collect();
        let ports = ids.items[id]
            .key
            .ports
            .iter()
            .filter_map(|(name, protocol, port)| {
                let question = self.find(&QuestionKey::NamedPort(*name, *protocol))?;
                Some((question, u32::from(*port)))
            });
        answers.extend(ports);
        answers.sort_unstable();
        answers.dedup();
        answers
    }

    fn set_answers(&mut self, id: IdentityId, identity: &mut Identity, new: Vec<Answer>) -> bool {
        if identity.answers == new {
            return false;
        }
        for (question, _) in &identity.answers {
            self.items[*question].identities.remove(&id);
        }
        for (question, _) in &new {
            self.items[*question].identities.insert(id);
        }
        identity.answers = new;
        true
    }

    fn fresh_answers(
        &self,
        ids: &Identities,
        interner: &Interner,
        others: &[IdentityId],
        fresh: &[QuestionId],
    ) -> Vec<(IdentityId, Vec<Answer>)> {
        let mut tests = Vec::new();
        let mut ports = FxHashMap::default();
        for id in fresh {
            match &self.items[*id].key {
                QuestionKey::Address(AddressTest::Owner(test)) => tests.push((*id, test)),
                QuestionKey::Address(_) => {}
                QuestionKey::NamedPort(name, protocol) => {
                    ports.insert((*name, *protocol), *id);
                }
            }
        }
        let mut index = TestIndex::default();
        let indexed = tests.len() > ONE_BY_ONE;
        if indexed {
            tests.iter().for_each(|(id, test)| index.insert(id.0, test));
        }
        let mut found = Vec::new();
        for id in others {
            let mut answers: Vec<Answer> = Vec::new();
            if indexed {
                let owner = ids.owner(interner, *id);
                let numbers = index.satisfied(&owner, &interner.names);
                answers.extend(numbers.into_iter().map(|number| (QuestionId(number), 0)));
            } else {
                for (question, test) in &tests {
                    if ids.may_have(*id, test.label_need())
                        && test.matches(&ids.owner(interner, *id), &interner.names)
                    {
                        answers.push((*question, 0));
                    }
                }
            }
            if !ports.is_empty() {
                answers.extend(
                    ids.items[*id]
                        .key
                        .ports
                        .iter()
                        .filter_map(|(name, p, port)| {
                            Some((*ports.get(&(*name, *p))?, u32::from(*port)))
                        }),
                );
            }
            if !answers.is_empty() {
                found.push((*id, answers));
            }
        }
        found
    }

    pub(crate) fn forget_identity(&mut self, id: IdentityId, identity: &Identity) {
        for (question, _) in &identity.answers {
            if let Some(question) = self.items.get_mut(*question) {
                question.identities.remove(&id);
            }
        }
    }

    /// Ends the commit: forgets dead questions, and users that left.
    pub(crate) fn collect(&mut self, interner: &mut Interner) {
        for (id, user) in std::mem::take(&mut self.left) {
            if let Some(question) = self.items.get_mut(id)
                && let Some(at) = question.users.iter().position(|other| *other == user)
            {
                question.users.swap_remove(at);
            }
        }
        for id in std::mem::take(&mut self.dead) {
            match self.items.remove(id).map(|question| question.key) {
                Some(QuestionKey::Address(test)) => test.release(interner),
                Some(QuestionKey::NamedPort(name, _)) => interner.names.release(name),
                None => {}
            }
        }
        self.items.end_rest();
    }
}
