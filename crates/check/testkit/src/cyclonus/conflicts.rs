//! Policies of which one allows what the other does not: there is no conflict, what anyone allows
//! is allowed, and both ends must agree.

use super::describe::{Peer, Pick, Policy, Rule, Spaces};
use super::story::Story;
use super::{WAYS, Way};
use crate::Scenario;

/// What a policy allows in its direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Open {
    Nothing,
    All,
    AllPods,
    AllAddresses,
    /// A block that nobody is in.
    NoAddress,
    /// A namespace that does not exist.
    NoPod,
}

const LISTS: [&[Open]; 9] = [
    &[Open::Nothing, Open::All],
    &[Open::Nothing, Open::AllPods],
    &[Open::Nothing, Open::AllAddresses],
    &[Open::NoAddress, Open::AllPods],
    &[Open::NoPod, Open::AllAddresses],
    &[Open::NoAddress, Open::NoPod],
    &[Open::NoAddress],
    &[Open::NoPod],
    &[Open::Nothing],
];

pub fn cases() -> Vec<Scenario> {
    let mut cases = vec![
        both_ends(Open::All, Open::Nothing),
        both_ends(Open::Nothing, Open::All),
        both_ends(Open::AllPods, Open::AllAddresses),
    ];
    for way in WAYS {
        for list in LISTS {
            let mut story = Story::new(&format!("conflicts, {way:?}, {list:?}"));
            for (index, open) in list.iter().enumerate() {
                let policy = Policy::new("x", &format!("p{index}"), Pick::Is("pod", "a"));
                story.put_policy(way.with(policy, open.rules()));
                story.ask();
            }
            cases.push(story.done());
        }
    }
    cases
}

/// Of what x/a sends to y/b.
fn both_ends(out: Open, into: Open) -> Scenario {
    let mut story = Story::new(&format!("conflicts, out {out:?}, in {into:?}"));
    let source = Policy::new("x", "out", Pick::Is("pod", "a"));
    story.put_policy(Way::Egress.with(source, out.rules()));
    let destination = Policy::new("y", "in", Pick::Is("pod", "b"));
    story.put_policy(Way::Ingress.with(destination, into.rules()));
    story.ask();
    story.done()
}

impl Open {
    fn rules(self) -> Vec<Rule> {
        let of = |peers: Vec<Peer>| {
            vec![Rule {
                ports: vec![],
                peers,
            }]
        };
        let pods = |spaces: Pick| Peer::Pods {
            spaces: Spaces::Of(spaces),
            pods: Pick::All,
        };
        match self {
            Self::Nothing => vec![],
            Self::All => of(vec![]),
            Self::AllPods => of(vec![pods(Pick::All)]),
            Self::AllAddresses => of(vec![
                Peer::block("0.0.0.0/0", &[]),
                Peer::block("::/0", &[]),
            ]),
            Self::NoAddress => of(vec![
                Peer::block("203.0.113.0/31", &[]),
                Peer::block("2001:db8:1::/127", &[]),
            ]),
            Self::NoPod => of(vec![pods(Pick::Is("never", "there"))]),
        }
    }
}
