//! Blocks: the rules of one policy or profile in one direction, with their questions asked.

use std::sync::Arc;

use ocicat_flow::{Direction, PolicyKind, PolicyRef};
use ocicat_node::ClassId;
use rustc_hash::FxHashMap;

use crate::class::Signature;
use crate::label::Name;
use crate::question::{Asker, QuestionKey, Questions, Yes};
use crate::rule::{AddressTest, Ports, Rule, Sense, Service, Side};
use crate::slab::{BlockId, PolicyId, QuestionId, Slab, StackIndex};
use crate::source::Interner;

/// True, false, or not to be known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Truth {
    No,
    Unknown,
    Yes,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum BlockSource {
    Policy(PolicyId),
    /// A profile, by name.
    Profile(Name),
}

#[derive(Debug)]
pub(crate) struct Block {
    pub(crate) source: BlockSource,
    pub(crate) direction: Direction,
    /// Of policies. A block that was removed keeps the tier that it was in.
    pub(crate) tier: Option<Name>,
    pub(crate) reference: Arc<PolicyRef>,
    pub(crate) token: u32,
    pub(crate) body: Arc<Body>,
    /// Stacks that hold the block, with its place among their blocks.
    pub(crate) stacks: Vec<(StackIndex, u32)>,
    /// How many local identities name the profile.
    pub(crate) holds: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BodyKind {
    Rules,
    /// A policy whose selector cannot be read.
    Closed,
    /// A profile that does not exist.
    Missing,
}

#[derive(Debug)]
pub(crate) struct Body {
    pub(crate) kind: BodyKind,
    pub(crate) rules: Arc<[Rule]>,
    /// One for each rule.
    pub(crate) asked: Box<[Asked]>,
    /// The rules that ask for something of the near address.
    pub(crate) near_rules: Box<[u32]>,
    /// Ports of the near address that rules know by name: name and protocol.
    pub(crate) near_ports: Box<[(Name, u8)]>,
}

/// The far side of a rule in questions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) far: Far,
    /// Ports of the far end that the rule knows by name.
    pub(crate) ports: Box<[(Name, u8, QuestionId)]>,
    /// The question about the service whose ports the rule asks for.
    pub(crate) backend: Option<QuestionId>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Far {
    Always,
    All(Box<[Term]>),
    Any(Box<[Term]>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Term {
    pub(crate) question: QuestionId,
    pub(crate) sense: Sense,
    /// Unclaimed addresses leave the question open.
    pub(crate) by_owner: bool,
}

/// Classes that a rule may treat differently from those without any answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reach {
    Classes(Vec<ClassId>),
    All,
}

impl Reach {
    pub(crate) fn add(&mut self, other: Self) {
        match (&mut *self, other) {
            (Self::Classes(classes), Self::Classes(more)) => classes.extend(more),
            _ => *self = Self::All,
        }
    }
}

impl Far {
    /// The truth for a class whose yes answers `has` knows.
    pub(crate) fn truth(&self, unclaimed: bool, has: impl Fn(QuestionId) -> bool) -> Truth {
        let one = |term: &Term| match (has(term.question), unclaimed && term.by_owner, term.sense) {
            (true, _, Sense::Positive) | (false, false, Sense::Negative) => Truth::Yes,
            (false, true, _) => Truth::Unknown,
            (true, _, Sense::Negative) | (false, false, Sense::Positive) => Truth::No,
        };
        match self {
            Self::Always => Truth::Yes,
            Self::All(terms) => {
                let mut all = Truth::Yes;
                for term in terms {
                    match one(term) {
                        Truth::No => return Truth::No,
                        Truth::Unknown => all = Truth::Unknown,
                        Truth::Yes => {}
                    }
                }
                all
            }
            Self::Any(terms) => {
                let mut any = Truth::No;
                for term in terms {
                    match one(term) {
                        Truth::Yes => return Truth::Yes,
                        Truth::Unknown => any = Truth::Unknown,
                        Truth::No => {}
                    }
                }
                any
            }
        }
    }

    /// Whether it holds for claimed addresses to which every answer is no.
    pub(crate) fn base(&self) -> bool {
        self.truth(false, |_| false) == Truth::Yes
    }

    pub(crate) fn terms(&self) -> &[Term] {
        match self {
            Self::Always => &[],
            Self::All(terms) | Self::Any(terms) => terms,
        }
    }
}

impl Asked {
    /// The claimed classes for which the far side is not what it is without any answer, or whose
    /// named ports matter where it holds. Sorted, without repeats.
    pub(crate) fn deviating(&self, questions: &Questions) -> Vec<ClassId> {
        let listed = |question: QuestionId| questions.items[question].classes.as_slice();
        let mut found: Vec<ClassId> = Vec::new();
        let positive = |term: &&Term| term.sense == Sense::Positive;
        match &self.far {
            Far::Always => {}
            Far::Any(terms) => terms.iter().for_each(|t| found.extend(listed(t.question))),
            Far::All(terms) => {
                let narrowest = terms
                    .iter()
                    .filter(positive)
                    .min_by_key(|term| listed(term.question).len());
                match narrowest {
                    Some(term) => found.extend(listed(term.question)),
                    None => terms.iter().for_each(|t| found.extend(listed(t.question))),
                }
            }
        }
        if self.far.base() {
            self.ports
                .iter()
                .for_each(|(.., question)| found.extend(listed(*question)));
        }
        found.sort_unstable();
        found.dedup();
        found
    }

    /// Which classes may see the difference if the rule were not there.
    pub(crate) fn reach(&self, questions: &Questions) -> Reach {
        if self.far.base() {
            Reach::All
        } else {
            Reach::Classes(self.deviating(questions))
        }
    }

    /// The questions whose answers are port numbers, or numbers of sets of ports.
    pub(crate) fn numbered(&self) -> impl Iterator<Item = QuestionId> + '_ {
        let named = self.ports.iter().map(|(.., question)| *question);
        named.chain(self.backend)
    }

    /// What the answer yes to a question is to the rule.
    fn meaning(&self) -> impl Fn(QuestionId) -> Yes + Copy + '_ {
        let terms = self.far.terms();
        // Without these the rule does not match.
        let leads = match &self.far {
            Far::Always => &[],
            // Owners are told apart better than families and other nets.
            Far::All(terms) => {
                let mut positive = terms.iter().enumerate();
                let last = positive.rfind(|(_, term)| term.sense == Sense::Positive);
                last.map_or(&[][..], |(at, _)| &terms[at..=at])
            }
            Far::Any(terms) => terms,
        };
        let alone = leads.len() == terms.len() && self.numbered().next().is_none();
        move |question| {
            let is_lead = leads.iter().any(|term| term.question == question);
            match (leads, is_lead) {
                ([], _) => Yes::Part,
                (_, true) if alone => Yes::Enough,
                (_, true) => Yes::Part,
                (_, false) => Yes::Detail,
            }
        }
    }

    fn questions(&self) -> impl Iterator<Item = QuestionId> + '_ {
        let terms = self.far.terms().iter().map(|term| term.question);
        terms.chain(self.ports.iter().map(|(.., question)| *question))
    }

    /// Port numbers of the far end by name.
    pub(crate) fn far_ports<'a>(
        &'a self,
        signature: &'a Signature,
        name: Name,
        protocol: u8,
    ) -> impl Iterator<Item = u16> + 'a {
        let asked = self
            .ports
            .iter()
            .find(|(n, p, _)| (*n, *p) == (name, protocol));
        asked
            .into_iter()
            .flat_map(|(.., question)| signature.ports(*question))
    }
}

impl Body {
    /// Which classes may see the difference between two bodies of one block.
    pub(crate) fn reach_of_change(old: &Self, new: &Self, questions: &Questions) -> Reach {
        if old.kind != BodyKind::Rules || new.kind != BodyKind::Rules {
            return if old.kind == new.kind {
                Reach::Classes(Vec::new())
            } else {
                Reach::All
            };
        }
        let mut reach = Reach::Classes(Vec::new());
        for index in 0..old.rules.len().max(new.rules.len()) {
            let (before, after) = (old.rules.get(index), new.rules.get(index));
            if before != after {
                for asked in [old.asked.get(index), new.asked.get(index)]
                    .into_iter()
                    .flatten()
                {
                    reach.add(asked.reach(questions));
                }
            }
        }
        reach
    }

    /// Which classes may see the difference if the block were not there.
    pub(crate) fn reach(&self, questions: &Questions) -> Reach {
        if self.kind != BodyKind::Rules {
            return Reach::All;
        }
        let mut reach = Reach::Classes(Vec::new());
        self.asked
            .iter()
            .for_each(|asked| reach.add(asked.reach(questions)));
        reach
    }

    /// Whether anything is asked of the near address.
    pub(crate) fn asks_near(&self) -> bool {
        !self.near_rules.is_empty() || !self.near_ports.is_empty()
    }

    /// Who asks what, once for each time.
    fn users(&self, block: BlockId) -> impl Iterator<Item = (QuestionId, Asker)> + '_ {
        let rules = (0u32..).zip(&self.asked);
        rules.flat_map(move |(rule, asked)| {
            let yes = asked.meaning();
            let asker = move |question| Asker {
                block,
                rule,
                yes: yes(question),
            };
            asked
                .questions()
                .map(move |question| (question, asker(question)))
        })
    }

    fn release(&self, block: BlockId, questions: &mut Questions) {
        for (question, user) in self.users(block) {
            questions.release(question);
            questions.leave(question, user);
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Blocks {
    pub(crate) items: Slab<BlockId, Block>,
    profiles: FxHashMap<(Name, usize), BlockId>,
    /// Blocks whose body changed in this commit, with the body before.
    pub(crate) changed: FxHashMap<BlockId, Arc<Body>>,
    gone: Vec<BlockId>,
}

impl Blocks {
    pub(crate) fn insert(
        &mut self,
        source: BlockSource,
        direction: Direction,
        reference: Arc<PolicyRef>,
        token: u32,
    ) -> BlockId {
        let body = Body {
            kind: BodyKind::Rules,
            rules: Arc::new([]),
            asked: Box::default(),
            near_rules: Box::default(),
            near_ports: Box::default(),
        };
        self.items.insert(Block {
            source,
            direction,
            tier: None,
            reference,
            token,
            body: Arc::new(body),
            stacks: Vec::new(),
            holds: 0,
        })
    }

    /// Asks the questions of new rules, and then gives up those of the old.
    pub(crate) fn set_body(
        &mut self,
        interner: &mut Interner,
        questions: &mut Questions,
        id: BlockId,
        kind: BodyKind,
        rules: Arc<[Rule]>,
    ) {
        let direction = self.items[id].direction;
        let asked = rules
            .iter()
            .map(|rule| ask(rule, direction, interner, questions));
        let asked = asked.collect();
        let near_rules = (0u32..)
            .zip(rules.iter())
            .filter(|(_, rule)| rule.near != Side::Always);
        let near_rules = near_rules.map(|(index, _)| index).collect();
        let services = rules.iter().flat_map(|rule| &rule.services);
        let near_ports = named_ports(services, |service| service.near_ports(direction)).into();
        let body = Arc::new(Body {
            kind,
            rules,
            asked,
            near_rules,
            near_ports,
        });
        for (question, user) in body.users(id) {
            questions.join(question, user);
        }
        let old = std::mem::replace(&mut self.items[id].body, body);
        old.release(id, questions);
        self.changed.entry(id).or_insert(old);
    }

    /// The block stays until the end of the commit, because stacks may still hold it.
    pub(crate) fn remove(&mut self, questions: &mut Questions, id: BlockId) {
        let block = &self.items[id];
        block.body.release(id, questions);
        if let BlockSource::Profile(name) = block.source {
            self.profiles
                .remove(&(name, crate::policy::side(block.direction)));
        }
        self.gone.push(id);
    }

    /// The rules of a block that are others than before this commit. `None` if it has not as many
    /// as before.
    pub(crate) fn edited_rules(&self, block: BlockId) -> Option<Vec<u32>> {
        let Some(before) = self.changed.get(&block) else {
            return Some(Vec::new());
        };
        let now = &self.items[block].body;
        if before.kind != now.kind || before.rules.len() != now.rules.len() {
            return None;
        }
        let rules = (0u32..).zip(before.rules.iter().zip(now.rules.iter()));
        let edited = rules.filter(|(_, (before, now))| before != now);
        Some(edited.map(|(index, _)| index).collect())
    }

    /// Whether the rule is another than before this commit, or new.
    pub(crate) fn is_edited(&self, (block, index): (BlockId, u32)) -> bool {
        let Some(before) = self.changed.get(&block) else {
            return false;
        };
        let now = &self.items[block].body.rules;
        before.rules.get(index as usize) != now.get(index as usize)
    }

    pub(crate) fn profile(&self, name: Name, direction: Direction) -> Option<BlockId> {
        self.profiles
            .get(&(name, crate::policy::side(direction)))
            .copied()
    }

    /// One more local identity names the profile. True: the block is new and has no body yet.
    pub(crate) fn hold_profile(
        &mut self,
        interner: &mut Interner,
        name: Name,
        direction: Direction,
        token: impl FnOnce() -> u32,
    ) -> (BlockId, bool) {
        let key = (name, crate::policy::side(direction));
        if let Some(&id) = self.profiles.get(&key) {
            self.items[id].holds += 1;
            return (id, false);
        }
        interner.names.retain(name);
        let reference = PolicyRef {
            kind: PolicyKind::Profile,
            namespace: None,
            name: interner.names.text(name).clone(),
            tier: "".into(),
        };
        let source = BlockSource::Profile(name);
        let id = self.insert(source, direction, Arc::new(reference), token());
        self.items[id].holds = 1;
        self.profiles.insert(key, id);
        (id, true)
    }

    pub(crate) fn let_go_profile(
        &mut self,
        questions: &mut Questions,
        name: Name,
        direction: Direction,
    ) {
        let Some(id) = self.profile(name, direction) else {
            return;
        };
        let block = &mut self.items[id];
        block.holds -= 1;
        if block.holds == 0 {
            self.remove(questions, id);
        }
    }

    /// Ends the commit.
    pub(crate) fn collect(&mut self, interner: &mut Interner) {
        self.changed.clear();
        for id in std::mem::take(&mut self.gone) {
            if let Some(Block {
                source: BlockSource::Profile(name),
                ..
            }) = self.items.remove(id)
            {
                interner.names.release(name);
            }
        }
        self.items.end_rest();
    }
}

/// Acquires the questions of one rule.
fn ask(
    rule: &Rule,
    direction: Direction,
    interner: &mut Interner,
    questions: &mut Questions,
) -> Asked {
    let far = ask_side(&rule.far, interner, questions);
    let named = named_ports(&rule.services, |service| service.far_ports(direction));
    let ports = named.into_iter().map(|(name, protocol)| {
        let key = QuestionKey::NamedPort(name, protocol);
        (name, protocol, questions.acquire(interner, key))
    });
    let ports = ports.collect();
    let service = |test: &&AddressTest| matches!(test, AddressTest::Service(..));
    let service = rule.far.tests().find(service).filter(|_| rule.backend);
    let backend = service.and_then(|test| questions.find(&QuestionKey::Address(test.clone())));
    Asked {
        far,
        ports,
        backend,
    }
}

/// Acquires the questions of one side.
pub(crate) fn ask_side(side: &Side, interner: &mut Interner, questions: &mut Questions) -> Far {
    let mut term = |test: &AddressTest, sense: Sense| Term {
        question: questions.acquire(interner, QuestionKey::Address(test.clone())),
        sense,
        by_owner: test.asks_owner(),
    };
    match side {
        Side::Always => Far::Always,
        Side::All(tests) => {
            let terms = tests.iter().map(|(test, sense)| term(test, *sense));
            Far::All(terms.collect())
        }
        Side::Any(tests) => {
            let terms = tests.iter().map(|test| term(test, Sense::Positive));
            Far::Any(terms.collect())
        }
    }
}

/// The names among some ports of each service, with the protocol; sorted, without repeats.
fn named_ports<'a>(
    services: impl IntoIterator<Item = &'a Service>,
    ports: impl Fn(&'a Service) -> Option<&'a Ports>,
) -> Vec<(Name, u8)> {
    let mut named: Vec<(Name, u8)> = (services.into_iter())
        .flat_map(|service| {
            let names = ports(service).into_iter().flat_map(Ports::names);
            names.filter_map(|name| Some((name, service.protocol?)))
        })
        .collect();
    named.sort_unstable();
    named.dedup();
    named
}
