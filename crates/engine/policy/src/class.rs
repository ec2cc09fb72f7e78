//! Address classes: kinds with equal answers to every question.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ocicat_node::ClassId;
use rustc_hash::{FxHashMap, FxHashSet};

use crate::identity::{Answer, Identities};
use crate::question::Questions;
use crate::slab::{KindId, QuestionId, RegionId};
use crate::space::Space;

/// The answers about an address that are not no. Of an unclaimed address, answers that depend on
/// owners and are not here are unknown.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Signature {
    pub(crate) unclaimed: bool,
    /// Sorted; a question about named ports occurs once for each number.
    pub(crate) answers: Box<[Answer]>,
}

#[derive(Debug)]
pub(crate) struct Class {
    pub(crate) signature: Arc<Signature>,
    kinds: FxHashSet<KindId>,
}

#[derive(Debug, Default)]
pub(crate) struct Classes {
    pub(crate) items: FxHashMap<ClassId, Class>,
    numbers: FxHashMap<Arc<Signature>, ClassId>,
    /// Sorted.
    pub(crate) unclaimed: Vec<ClassId>,
    next: u32,
}

/// Which questions have another answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Difference {
    Questions(Vec<QuestionId>),
    /// Also those that are answered by being unclaimed.
    Everything,
}

/// Where the members of a class were before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// They are the same, the meaning is another.
    Itself,
    /// The class is new; those of its members that are not new were in this one.
    Class(ClassId),
    /// The class is new; its members are too, or were in several classes.
    None,
}

/// A class that is new, or means something else than before.
#[derive(Debug)]
pub(crate) struct Changed {
    pub(crate) class: ClassId,
    pub(crate) origin: Origin,
    pub(crate) difference: Difference,
}

#[derive(Debug, Default)]
pub(crate) struct ClassChanges {
    /// Sorted by class.
    pub(crate) changed: Vec<Changed>,
    pub(crate) dead: Vec<ClassId>,
    /// Kinds that are in another class now.
    pub(crate) moved: Vec<KindId>,
}

impl ClassChanges {
    /// Classes that are new, and in which class their members were before.
    pub(crate) fn new_with_origin(&self) -> impl Iterator<Item = (ClassId, ClassId)> + '_ {
        self.changed
            .iter()
            .filter_map(|changed| match changed.origin {
                Origin::Class(origin) => Some((changed.class, origin)),
                Origin::Itself | Origin::None => None,
            })
    }

    /// Classes that are new, sorted.
    pub(crate) fn new_classes(&self) -> impl Iterator<Item = (ClassId, Origin)> + '_ {
        let new = self
            .changed
            .iter()
            .filter(|changed| changed.origin != Origin::Itself);
        new.map(|changed| (changed.class, changed.origin))
    }
}

/// Kinds that have one new signature in common.
struct Group {
    signature: Arc<Signature>,
    kinds: Vec<KindId>,
    taken: bool,
}

impl Difference {
    fn between(a: &Signature, b: &Signature) -> Self {
        if a.unclaimed != b.unclaimed {
            return Self::Everything;
        }
        let (mut a, mut b) = (a.answers.iter().peekable(), b.answers.iter().peekable());
        let mut questions: Vec<QuestionId> = Vec::new();
        loop {
            let order = match (a.peek(), b.peek()) {
                (None, None) => break,
                (Some(x), Some(y)) => x.cmp(y),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
            };
            let only = match order {
                Ordering::Equal => a.next().and(b.next()).and(None),
                Ordering::Less => a.next(),
                Ordering::Greater => b.next(),
            };
            questions.extend(only.map(|(question, _)| *question));
        }
        questions.dedup();
        Self::Questions(questions)
    }
}

impl Signature {
    /// Whether the answer is yes.
    pub(crate) fn has(&self, question: QuestionId) -> bool {
        self.answers.binary_search(&(question, 0)).is_ok()
    }

    /// The numbers answered to a question about a named port, or about a service.
    pub(crate) fn ports(&self, question: QuestionId) -> impl Iterator<Item = u16> + '_ {
        let start = self.answers.partition_point(|(other, _)| *other < question);
        let rest = self.answers[start..].iter();
        rest.take_while(move |(other, _)| *other == question)
            .filter_map(|(_, port)| u16::try_from(*port).ok())
    }
}

impl Classes {
    /// Puts every dirty kind where it belongs. The fewest addresses move: a class of which most
    /// members change alike keeps its number and changes its meaning. Such a class receives
    /// nobody in the same commit, so that no number changes holders and meaning at once.
    pub(crate) fn settle(
        &mut self,
        space: &mut Space,
        identities: &Identities,
        questions: &mut Questions,
    ) -> ClassChanges {
        let mut changes = ClassChanges::default();
        let mut touched: BTreeMap<ClassId, FxHashSet<KindId>> = BTreeMap::new();
        for (kind, class) in space.lost_kinds.drain(..) {
            if let Some(class_item) = self.items.get_mut(&class) {
                class_item.kinds.remove(&kind);
                touched.entry(class).or_default();
            }
        }
        let mut groups = self.groups(space, identities);
        for group in &groups {
            for kind in &group.kinds {
                if let Some(class) = space.kind_items[*kind].class {
                    touched.entry(class).or_default().insert(*kind);
                }
            }
        }
        let renames = self.renames(space, &touched, &groups);
        let before: FxHashMap<ClassId, Arc<Signature>> = touched
            .keys()
            .map(|id| (*id, self.items[id].signature.clone()))
            .collect();
        for (class, group) in renames {
            groups[group].taken = true;
            let mut displaced = self.rename(class, &groups[group], questions, &mut changes);
            displaced.retain(|kind| !touched[&class].contains(kind));
            if !displaced.is_empty() {
                join(&mut groups, before[&class].clone(), displaced);
            }
        }
        for group in groups.iter().filter(|group| !group.taken) {
            self.place(group, space, questions, &before, &mut changes);
        }
        for class in touched.into_keys() {
            if self
                .items
                .get(&class)
                .is_some_and(|item| item.kinds.is_empty())
            {
                self.remove(class, questions);
                changes.dead.push(class);
            }
        }
        changes
            .changed
            .sort_unstable_by_key(|changed| changed.class);
        changes
    }

    /// Forgets the answers to questions that nobody asks. Classes that are equal then become
    /// one: the largest keeps its number, and takes in the others.
    pub(crate) fn merge(
        &mut self,
        space: &mut Space,
        questions: &mut Questions,
        dead: &[QuestionId],
    ) -> ClassChanges {
        let mut changes = ClassChanges::default();
        let listed = dead
            .iter()
            .flat_map(|question| &questions.items[*question].classes);
        let affected: BTreeSet<ClassId> = listed.copied().collect();
        for question in dead {
            questions.items[*question].classes.clear();
        }
        let mut order: Vec<Arc<Signature>> = Vec::new();
        let mut groups: FxHashMap<Arc<Signature>, Vec<ClassId>> = FxHashMap::default();
        for id in &affected {
            let old = self.items[id].signature.clone();
            let kept = old
                .answers
                .iter()
                .filter(|(q, _)| dead.binary_search(q).is_err());
            let signature = Arc::new(Signature {
                unclaimed: old.unclaimed,
                answers: kept.copied().collect(),
            });
            self.numbers.remove(&old);
            let group = groups.entry(signature.clone()).or_insert_with(|| {
                order.push(signature.clone());
                Vec::new()
            });
            group.push(*id);
        }
        for signature in order {
            let mut group = groups.remove(&signature).unwrap_or_default();
            group.extend(self.numbers.get(&signature));
            let weight = |id: &ClassId| -> usize {
                let kinds = self.items[id]
                    .kinds
                    .iter()
                    .map(|kind| &space.kind_items[*kind]);
                kinds
                    .map(|kind| kind.members.len() + usize::from(kind.of_region))
                    .sum()
            };
            let heaviest = group.iter().copied().rev().max_by_key(weight);
            let Some(winner) = heaviest else { continue };
            for loser in group.into_iter().filter(|id| *id != winner) {
                if let Some(class) = self.items.remove(&loser) {
                    for kind in &class.kinds {
                        space.kind_items[*kind].class = Some(winner);
                    }
                    unlist(questions, loser, &signature);
                    self.unclaimed.retain(|other| *other != loser);
                    changes.moved.extend(class.kinds.iter().copied());
                    self.items
                        .get_mut(&winner)
                        .expect("in the group")
                        .kinds
                        .extend(class.kinds);
                }
                changes.dead.push(loser);
            }
            self.numbers.insert(signature.clone(), winner);
            self.items.get_mut(&winner).expect("in the group").signature = signature;
        }
        changes
    }

    /// The dirty kinds whose signature is another than that of their class, by signature.
    fn groups(&self, space: &mut Space, identities: &Identities) -> Vec<Group> {
        let mut dirty = std::mem::take(&mut space.dirty_kinds);
        dirty.sort_unstable();
        dirty.dedup();
        let mut around: FxHashMap<RegionId, Vec<Answer>> = FxHashMap::default();
        let mut numbers: FxHashMap<Arc<Signature>, usize> = FxHashMap::default();
        let mut groups: Vec<Group> = Vec::new();
        for id in dirty {
            let Some(kind) = space.kind_items.get_mut(id) else {
                continue;
            };
            kind.dirty = false;
            let kind = &space.kind_items[id];
            let region = kind.key.region;
            let from_region = around
                .entry(region)
                .or_insert_with(|| region_answers(space, identities, region));
            let mut answers = from_region.clone();
            for identity in kind.key.owners.identities() {
                answers.extend_from_slice(&identities.items[*identity].answers);
            }
            answers.extend(kind.key.listed.iter().flat_map(|listed| listed.iter()));
            // A few sorted lists one after the other, which this kind of sorting merges.
            answers.sort();
            answers.dedup();
            let unclaimed = space.is_unclaimed(&kind.key);
            let signature = Signature {
                unclaimed,
                answers: answers.into(),
            };
            let same = |class: ClassId| *self.items[&class].signature == signature;
            if kind.class.is_some_and(same) {
                continue;
            }
            let number = match numbers.get(&signature) {
                Some(&number) => number,
                None => {
                    let signature = Arc::new(signature);
                    numbers.insert(signature.clone(), groups.len());
                    groups.push(Group {
                        signature,
                        kinds: Vec::new(),
                        taken: false,
                    });
                    groups.len() - 1
                }
            };
            groups[number].kinds.push(id);
        }
        groups
    }

    /// For each class of which more addresses go to one group than stay: that group, provided
    /// that all of the group come from the class and no other class has its signature.
    fn renames(
        &self,
        space: &Space,
        touched: &BTreeMap<ClassId, FxHashSet<KindId>>,
        groups: &[Group],
    ) -> Vec<(ClassId, usize)> {
        let weight = |kind: &KindId| {
            let kind = &space.kind_items[*kind];
            kind.members.len() + usize::from(kind.of_region)
        };
        let mut best: BTreeMap<ClassId, (usize, usize)> = BTreeMap::new();
        for (number, group) in groups.iter().enumerate() {
            let origin = |kind: &KindId| space.kind_items[*kind].class;
            let Some(class) = origin(&group.kinds[0]) else {
                continue;
            };
            let all = group.kinds.iter().all(|kind| origin(kind) == Some(class));
            if !all || self.numbers.contains_key(&group.signature) {
                continue;
            }
            let total = group.kinds.iter().map(weight).sum();
            let entry = best.entry(class).or_insert((total, number));
            if total > entry.0 {
                *entry = (total, number);
            }
        }
        let stays_smaller = |class: &ClassId, total: usize| {
            let leaving = &touched[class];
            let staying = self.items[class]
                .kinds
                .iter()
                .filter(|kind| !leaving.contains(kind));
            staying.map(weight).sum::<usize>() < total
        };
        let chosen = best
            .into_iter()
            .filter(|(class, (total, _))| stays_smaller(class, *total));
        chosen.map(|(class, (_, number))| (class, number)).collect()
    }

    /// The class takes the group's signature. Returns the other kinds that it had.
    fn rename(
        &mut self,
        id: ClassId,
        group: &Group,
        questions: &mut Questions,
        changes: &mut ClassChanges,
    ) -> Vec<KindId> {
        let class = self.items.get_mut(&id).expect("chosen among the classes");
        let old = std::mem::replace(&mut class.signature, group.signature.clone());
        let staying: FxHashSet<KindId> = group.kinds.iter().copied().collect();
        let all = std::mem::replace(&mut class.kinds, staying);
        let mut displaced: Vec<KindId> = all.difference(&class.kinds).copied().collect();
        displaced.sort_unstable();
        self.numbers.remove(&old);
        self.numbers.insert(group.signature.clone(), id);
        relist(questions, id, &old, &group.signature);
        self.note_unclaimed(id);
        changes.changed.push(Changed {
            class: id,
            origin: Origin::Itself,
            difference: Difference::between(&old, &group.signature),
        });
        displaced
    }

    /// The group joins the class that has its signature, or founds one.
    fn place(
        &mut self,
        group: &Group,
        space: &mut Space,
        questions: &mut Questions,
        before: &FxHashMap<ClassId, Arc<Signature>>,
        changes: &mut ClassChanges,
    ) {
        let target = match self.numbers.get(&group.signature) {
            Some(&class) => class,
            None => {
                let class = ClassId(self.next);
                self.next += 1;
                let signature = group.signature.clone();
                let class_before = |kind: &KindId| {
                    let kind = &space.kind_items[*kind];
                    kind.class.or(kind.origin)
                };
                // Members of several classes have no row in common.
                let mut origins = group.kinds.iter().filter_map(class_before);
                let first = origins.next();
                let origin = first.filter(|first| origins.all(|other| other == *first));
                let old = origin.map(|origin| match before.get(&origin) {
                    Some(signature) => signature,
                    None => &self.items[&origin].signature,
                });
                let difference = match old {
                    Some(old) => Difference::between(old, &signature),
                    None => Difference::Everything,
                };
                let origin = match (origin, &difference) {
                    (Some(origin), Difference::Questions(_)) => Origin::Class(origin),
                    _ => Origin::None,
                };
                changes.changed.push(Changed {
                    class,
                    origin,
                    difference,
                });
                list(questions, class, &signature);
                self.numbers.insert(signature.clone(), class);
                self.items.insert(
                    class,
                    Class {
                        signature,
                        kinds: FxHashSet::default(),
                    },
                );
                self.note_unclaimed(class);
                class
            }
        };
        for id in &group.kinds {
            let kind = &mut space.kind_items[*id];
            if kind.class == Some(target) {
                continue;
            }
            if let Some(old) = kind
                .class
                .replace(target)
                .and_then(|old| self.items.get_mut(&old))
            {
                old.kinds.remove(id);
            }
            changes.moved.push(*id);
            self.items
                .get_mut(&target)
                .expect("found or founded above")
                .kinds
                .insert(*id);
        }
    }

    fn remove(&mut self, id: ClassId, questions: &mut Questions) {
        if let Some(class) = self.items.remove(&id) {
            self.numbers.remove(&class.signature);
            unlist(questions, id, &class.signature);
            self.unclaimed.retain(|other| *other != id);
        }
    }

    fn note_unclaimed(&mut self, id: ClassId) {
        let unclaimed = self.items[&id].signature.unclaimed;
        match (self.unclaimed.binary_search(&id), unclaimed) {
            (Ok(at), false) => {
                self.unclaimed.remove(at);
            }
            (Err(at), true) => self.unclaimed.insert(at, id),
            _ => {}
        }
    }

    /// Sorted.
    pub(crate) fn ids(&self) -> Vec<ClassId> {
        let mut ids: Vec<ClassId> = self.items.keys().copied().collect();
        ids.sort_unstable();
        ids
    }

    pub(crate) fn kinds(&self, id: ClassId) -> impl Iterator<Item = KindId> + '_ {
        self.items
            .get(&id)
            .into_iter()
            .flat_map(|class| class.kinds.iter().copied())
    }
}

/// Adds kinds to the group of their signature, which may have to be made.
fn join(groups: &mut Vec<Group>, signature: Arc<Signature>, kinds: Vec<KindId>) {
    match groups
        .iter_mut()
        .find(|group| !group.taken && group.signature == signature)
    {
        Some(group) => group.kinds.extend(kinds),
        None => groups.push(Group {
            signature,
            kinds,
            taken: false,
        }),
    }
}

fn region_answers(space: &Space, identities: &Identities, region: RegionId) -> Vec<Answer> {
    let nets = space.nets_answered(region);
    let mut answers: Vec<Answer> = nets.into_iter().map(|question| (question, 0)).collect();
    for set in space.sets_around(region) {
        answers.extend_from_slice(&identities.items[set].answers);
    }
    answers.sort_unstable();
    answers.dedup();
    answers
}

/// Lists with the questions that the class answers now, and no longer with those that it answered
/// before. The lists are long and most answers stay.
fn relist(questions: &mut Questions, class: ClassId, old: &Signature, new: &Signature) {
    let asked = |signature: &Signature, question: QuestionId| {
        let at = signature.answers.partition_point(|(q, _)| *q < question);
        signature
            .answers
            .get(at)
            .is_some_and(|(q, _)| *q == question)
    };
    for (question, _) in old.answers.iter().filter(|(q, _)| !asked(new, *q)) {
        unlist_one(questions, class, *question);
    }
    for (question, _) in new.answers.iter().filter(|(q, _)| !asked(old, *q)) {
        list_one(questions, class, *question);
    }
}

fn list(questions: &mut Questions, class: ClassId, signature: &Signature) {
    let answers = signature.answers.iter();
    answers.for_each(|(question, _)| list_one(questions, class, *question));
}

fn unlist(questions: &mut Questions, class: ClassId, signature: &Signature) {
    let answers = signature.answers.iter();
    answers.for_each(|(question, _)| unlist_one(questions, class, *question));
}

fn list_one(questions: &mut Questions, class: ClassId, question: QuestionId) {
    let Some(question) = questions.items.get_mut(question) else {
        return;
    };
    // A new class has the highest number.
    let classes = &mut question.classes;
    match classes.last() {
        Some(last) if *last >= class => {
            if let Err(at) = classes.binary_search(&class) {
                classes.insert(at, class);
            }
        }
        _ => classes.push(class),
    }
}

fn unlist_one(questions: &mut Questions, class: ClassId, question: QuestionId) {
    if let Some(question) = questions.items.get_mut(question)
        && let Ok(at) = question.classes.binary_search(&class)
    {
        question.classes.remove(at);
    }
}
