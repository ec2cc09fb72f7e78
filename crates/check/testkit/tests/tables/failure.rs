//! What can go wrong: a packet judged differently, or anything else.

use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;

use ocicat_oracle::{Packet, World, judge_stage, verdict};
use ocicat_testkit::{Answer, Post, Query, Whom};

/// A failure, and the packet if it is about one.
#[derive(Debug, Clone, PartialEq)]
pub struct Failure {
    pub packet: Option<Packet>,
    /// Of the packet, if it is about a stage of a host endpoint.
    pub post: Option<Post>,
    pub message: String,
}

impl Failure {
    pub fn of(message: impl Into<String>) -> Self {
        Self {
            packet: None,
            post: None,
            message: message.into(),
        }
    }

    /// The same of the pending world.
    pub fn pending(self) -> Self {
        Self {
            message: format!("pending: {}", self.message),
            ..self
        }
    }

    /// The packet as a query; what the oracle says of it is expected.
    pub fn query(&self, world: &World) -> Option<Query> {
        let packet = self.packet?;
        let answer = |world: &World| match &self.post {
            None => Answer::from(verdict(world, &packet).verdict),
            Some(post) => {
                let judgement =
                    judge_stage(world, &post.key(), post.stage, post.direction, &packet);
                judgement.map_or(Answer::Absent, |x| x.verdict.into())
            }
        };
        let expected = answer(world);
        let pending = Some(answer(&world.pending())).filter(|pending| *pending != expected);
        Some(Query {
            whom: self.post.clone().map_or(Whom::Ends, Whom::Stage),
            pending,
            ..Query::of(&packet, expected, self.message.as_str())
        })
    }

    /// Whether a smaller case fails in the same way, as far as that can be told.
    pub fn is_like(&self, other: &Self) -> bool {
        self.packet.is_some() == other.packet.is_some()
            && self.post.is_some() == other.post.is_some()
    }
}

thread_local! {
    static CATCHING: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// Runs a check; a panic in it is a failure too, and prints nothing.
pub fn caught(check: impl FnOnce() -> Result<(), Failure>) -> Result<(), Failure> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let usual = take_hook();
        set_hook(Box::new(move |info| {
            if CATCHING.get() {
                PLACE.set(info.location().map(ToString::to_string).unwrap_or_default());
            } else {
                usual(info);
            }
        }));
    });
    CATCHING.set(true);
    let outcome = catch_unwind(AssertUnwindSafe(check));
    CATCHING.set(false);
    outcome.unwrap_or_else(|payload| {
        let text = payload.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| payload.downcast_ref::<&str>().copied());
        let place = PLACE.take();
        Err(Failure::of(format!(
            "panic at {place}: {}",
            text.unwrap_or("without a text")
        )))
    })
}

thread_local! {
    static PLACE: std::cell::RefCell<String> = const { std::cell::RefCell::new(String::new()) };
}
