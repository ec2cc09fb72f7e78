//! What is written is read, from the messages themselves and from the kernel.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::arbitrary::{CHAINS, lookup_set, rule, set, text};
use super::namespace::inside;
use crate::kernel::msg;
use crate::object::{
    AnonymousSet, BaseChain, Chain, ChainKind, Element, Expression, Hook, LookupSet, Op, Policy,
    Rule, Set, TableId, Text, Transaction, priority,
};
use crate::wire::Messages;
use crate::{Connection, decode, encode};

fn runner(cases: u32) -> TestRunner {
    TestRunner::new(Config {
        cases,
        failure_persistence: None,
        ..Config::default()
    })
}

/// A table of random parts.
fn program() -> impl Strategy<Value = (Transaction, Set, Vec<Element>, Vec<Rule>, Option<Text>)> {
    (
        set(),
        proptest::collection::vec(rule(), 0..6),
        proptest::option::of(text()),
    )
        .prop_map(|((set, elements), rules, comment)| {
            let mut change = Transaction::new(TableId::inet("t"));
            change.push(Op::AddTable {
                comment: comment.clone(),
            });
            change.push(Op::AddChain(base()));
            change.push(Op::AddChain(Chain::regular(CHAINS[1])));
            change.push(Op::AddSet(lookup_set()));
            change.push(Op::AddSet(set.clone()));
            change.push(Op::AddElements {
                set: set.id(),
                elements: elements.clone(),
            });
            change.ops.extend(rules.iter().cloned().map(Op::AddRule));
            (change, set, elements, rules, comment)
        })
}

fn base() -> Chain {
    Chain::base(
        CHAINS[0],
        ChainKind::Filter,
        Hook::Prerouting,
        priority::RAW,
        Policy::Drop,
    )
}

#[test]
fn messages() {
    runner(300)
        .run(&program(), |(change, set, elements, rules, comment)| {
            let batch = encode::batch(&change, None, 1).expect("fits");
            let all: Vec<_> = Messages::new(&batch.bytes).collect();
            let of = |kind: u16| all.iter().filter(move |m| m.nft_kind() == Some(kind));
            prop_assert_eq!(all.len(), batch.origins.len() + 2);

            let table = of(msg::NFT_MSG_NEWTABLE).next().map(decode::table);
            prop_assert_eq!(table, Some(Ok((change.table.clone(), comment))));
            let chains: Vec<Chain> = of(msg::NFT_MSG_NEWCHAIN)
                .filter_map(|m| Some(decode::chain(m).ok()?.1))
                .collect();
            prop_assert_eq!(chains, [base(), Chain::regular(CHAINS[1])]);

            let sets: Vec<_> = of(msg::NFT_MSG_NEWSET)
                .map(|m| decode::set(m).expect("is read"))
                .collect();
            prop_assert_eq!(&sets[1].set, &set);
            let element_messages: Vec<_> = of(msg::NFT_MSG_NEWSETELEM).copied().collect();
            let own = element_messages
                .iter()
                .take(usize::from(!elements.is_empty()))
                .copied();
            let found = decode::elements(own, &set.key, set.id().layout, set.data);
            prop_assert_eq!(found, Ok(elements.clone()));

            let mut anonymous = Vec::new();
            let mut rest = element_messages
                .into_iter()
                .skip(usize::from(!elements.is_empty()));
            for s in sets.into_iter().filter(|s| s.anonymous) {
                let Set {
                    key,
                    data,
                    interval,
                    size,
                    ..
                } = s.set.clone();
                let own = (size != Some(0)).then(|| rest.next()).flatten();
                let elements =
                    decode::elements(own, &key, s.set.id().layout, data).expect("is read");
                anonymous.push(AnonymousSet {
                    key,
                    data,
                    interval,
                    elements,
                });
            }
            let mut anonymous = anonymous.into_iter();
            let found: Vec<Rule> = of(msg::NFT_MSG_NEWRULE)
                .map(|m| resolve(decode::rule(m).expect("is read").1.rule, &mut anonymous))
                .collect();
            prop_assert_eq!(found, rules);
            Ok(())
        })
        .unwrap_or_else(|e| panic!("{e}"));
}

fn resolve(mut rule: Rule, anonymous: &mut impl Iterator<Item = AnonymousSet>) -> Rule {
    for expression in &mut rule.expressions {
        if let Expression::Lookup { set, .. } = expression
            && matches!(set, LookupSet::Named(name) if name.starts_with("__"))
        {
            *set = LookupSet::Anonymous(anonymous.next().expect("each was written"));
        }
    }
    rule
}

#[test]
fn kernel() {
    inside(|| {
        runner(150)
            .run(&program(), |(change, set, elements, rules, comment)| {
                let mut connection = Connection::open().expect("opens");
                let loaded = connection.commit(&change);
                prop_assert!(
                    loaded.is_ok(),
                    "{}\n{}",
                    loaded.expect_err("it failed"),
                    change
                );
                let found = connection
                    .dump_table(&change.table)
                    .expect("is read")
                    .expect("exists");
                let del = Transaction {
                    table: change.table.clone(),
                    ops: vec![Op::DelTable],
                };
                connection.commit(&del).expect("is deleted");
                prop_assert_eq!(found.comment, comment);
                prop_assert_eq!(&found.sets[&set.name].set, &set);
                prop_assert_eq!(&found.sets[&set.name].elements, &elements);
                prop_assert_eq!(&found.sets[&lookup_set().name].set, &lookup_set());
                let chain = &found.chains[CHAINS[0]];
                prop_assert_eq!(&chain.chain, &base());
                prop_assert_eq!(
                    chain
                        .rules
                        .iter()
                        .map(|r| r.rule.clone())
                        .collect::<Vec<_>>(),
                    rules
                );
                Ok(())
            })
            .unwrap_or_else(|e| panic!("{e}"));
    });
}

#[test]
fn cut_and_flipped_bytes_never_panic() {
    let bytes = (
        program(),
        any::<prop::sample::Index>(),
        any::<u8>(),
        any::<prop::sample::Index>(),
    );
    runner(300)
        .run(&bytes, |((change, set, ..), at, to, cut)| {
            let mut bytes = encode::batch(&change, None, 1).expect("fits").bytes;
            let place = at.index(bytes.len());
            bytes[place] = to;
            bytes.truncate(cut.index(bytes.len()) + 1);
            for message in Messages::new(&bytes) {
                // Whatever comes out, something does.
                let _ = decode::table(&message);
                let _ = decode::chain(&message);
                let _ = decode::rule(&message);
                let _ = decode::set(&message);
                let _ = decode::elements([message], &set.key, set.id().layout, set.data);
            }
            Ok(())
        })
        .unwrap_or_else(|e| panic!("{e}"));
}

#[test]
fn base_chains_of_every_hook() {
    inside(|| {
        let mut connection = Connection::open().expect("opens");
        let hooks = [
            Hook::Prerouting,
            Hook::Input,
            Hook::Forward,
            Hook::Output,
            Hook::Postrouting,
        ];
        let mut change = Transaction::new(TableId::inet("t"));
        change.push(Op::AddTable { comment: None });
        for (index, hook) in hooks.into_iter().enumerate() {
            let priority = i32::try_from(index).expect("a few") - 300;
            change.push(Op::AddChain(Chain::base(
                &hook.to_string(),
                ChainKind::Filter,
                hook,
                priority,
                Policy::Accept,
            )));
        }
        let route = Chain::base(
            "mangle",
            ChainKind::Route,
            Hook::Output,
            priority::MANGLE,
            Policy::Accept,
        );
        change.push(Op::AddChain(route));
        let device = BaseChain {
            kind: ChainKind::Filter,
            hook: Hook::Ingress,
            priority: 0,
            policy: Policy::Accept,
            device: Some("lo".into()),
        };
        change.push(Op::AddChain(Chain {
            name: "dev".into(),
            base: Some(device.clone()),
        }));
        connection.commit(&change).expect("loads");
        let found = connection
            .dump_table(&change.table)
            .expect("is read")
            .expect("exists");
        for op in &change.ops {
            if let Op::AddChain(chain) = op {
                assert_eq!(found.chains[&chain.name].chain, *chain);
            }
        }
    });
}
