//! What the rules of a block ask of near addresses that are not fixed.

use std::sync::Arc;

use crate::block::{Blocks, Body, Far, Truth, ask_side};
use crate::class::Signature;
use crate::identity::NamedPort;
use crate::label::Name;
use crate::question::{QuestionKey, Questions};
use crate::slab::{BlockId, QuestionId};
use crate::source::Interner;
use crate::stack::Near;

use super::{Hosts, StageState};

#[derive(Debug, Default)]
pub(crate) struct NearBlock {
    /// How many host endpoints have the block.
    pub(super) holds: u32,
    /// What was asked; `None` until it is.
    asked: Option<NearAsked>,
}

#[derive(Debug)]
struct NearAsked {
    body: Arc<Body>,
    /// For each of the body's `near_rules`.
    sides: Box<[Far]>,
    ports: Box<[(Name, u8, QuestionId)]>,
}

impl NearAsked {
    fn questions(&self) -> impl Iterator<Item = QuestionId> + '_ {
        let sides = self.sides.iter().flat_map(Far::terms);
        let ports = self.ports.iter().map(|(.., question)| *question);
        sides.map(|term| term.question).chain(ports)
    }
}

impl Hosts {
    /// Asks for blocks that are new or different, and gives up what nobody holds.
    pub(super) fn ask_near(
        &mut self,
        blocks: &Blocks,
        interner: &mut Interner,
        questions: &mut Questions,
    ) {
        let mut released: Vec<QuestionId> = Vec::new();
        let mut again: Vec<BlockId> = Vec::new();
        for (block, near) in &self.near {
            let body = blocks.items.get(*block).map(|block| &block.body);
            let same = |asked: &NearAsked| body.is_some_and(|body| Arc::ptr_eq(body, &asked.body));
            if near.holds == 0 || !near.asked.as_ref().is_some_and(same) {
                again.push(*block);
            }
        }
        again.sort_unstable();
        for id in again {
            let Some(near) = self.near.get_mut(&id) else {
                continue;
            };
            let new = (near.holds > 0).then(|| ask(id, blocks, interner, questions));
            let gone = new.is_none();
            let old = std::mem::replace(&mut near.asked, new);
            released.extend(old.iter().flat_map(NearAsked::questions));
            if gone {
                self.near.remove(&id);
            }
        }
        for question in released {
            questions.release(question);
        }
    }

    /// Whether a rule of the stage asks something of the near side.
    pub(super) fn asks_near(&self, stage: &StageState) -> bool {
        let mut blocks = stage.blocks.iter().chain(&stage.profiles);
        blocks.any(|block| self.near.contains_key(block))
    }

    /// What addresses of a class answer to the near sides of the stage's rules.
    pub(super) fn near_of(&self, stage: &StageState, signature: &Signature) -> Near {
        let (mut off, mut open) = (Vec::new(), Vec::new());
        let mut ports: Vec<NamedPort> = Vec::new();
        let mut named = false;
        for (place, block) in (0u32..).zip(stage.blocks.iter().chain(&stage.profiles)) {
            let Some(asked) = self.near.get(block).and_then(|near| near.asked.as_ref()) else {
                continue;
            };
            for (index, far) in asked.body.near_rules.iter().zip(&asked.sides) {
                match far.truth(signature.unclaimed, |question| signature.has(question)) {
                    Truth::Yes => {}
                    Truth::No => off.push((place, *index)),
                    Truth::Unknown => open.push((place, *index)),
                }
            }
            for (name, protocol, question) in &asked.ports {
                named = true;
                let numbers = signature.ports(*question);
                ports.extend(numbers.map(|port| (*name, *protocol, port)));
            }
        }
        ports.sort_unstable();
        ports.dedup();
        Near {
            off: off.into(),
            open: open.into(),
            ports: ports.into(),
            open_ports: named && signature.unclaimed,
        }
    }
}

fn ask(
    id: BlockId,
    blocks: &Blocks,
    interner: &mut Interner,
    questions: &mut Questions,
) -> NearAsked {
    let body = blocks.items[id].body.clone();
    let side = |index: &u32| ask_side(&body.rules[*index as usize].near, interner, questions);
    let sides = body.near_rules.iter().map(side).collect();
    let ports = body.near_ports.iter().map(|(name, protocol)| {
        let key = QuestionKey::NamedPort(*name, *protocol);
        (*name, *protocol, questions.acquire(interner, key))
    });
    let ports = ports.collect();
    NearAsked { body, sides, ports }
}
