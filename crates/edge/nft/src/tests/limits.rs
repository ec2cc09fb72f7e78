//! Namespaces, handles, and readers among writers.

use std::fs::File;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};

use super::namespace::inside;
use crate::Connection;
use crate::object::{
    Chain, Element, KeyType, Op, Rule, Set, TableId, Transaction, Value, Verdict, build,
};

fn table_with(ops: Vec<Op>) -> Transaction {
    let mut change = Transaction::new(TableId::inet("t"));
    change.push(Op::AddTable { comment: None });
    change.push(Op::AddChain(Chain::regular("c")));
    change.ops.extend(ops);
    change
}

#[test]
fn a_connection_reaches_another_namespace_and_its_thread_stays() {
    inside(|| {
        let outer = File::open("/proc/thread-self/ns/net").expect("is readable");
        inside(|| {
            let mut there = Connection::open_in(outer.as_fd()).expect("opens");
            there.commit(&table_with(vec![])).expect("loads");
            let mut here = Connection::open().expect("opens");
            assert_eq!(here.tables().expect("is read"), []);
        });
        let mut connection = Connection::open().expect("opens");
        assert_eq!(connection.tables().expect("is read"), [TableId::inet("t")]);
        connection
            .commit(&Transaction {
                table: TableId::inet("t"),
                ops: vec![Op::DelTable],
            })
            .expect("is deleted");
        assert_eq!(connection.tables().expect("is read"), []);
    });
}

#[test]
fn rules_are_replaced_and_deleted_by_handle() {
    inside(|| {
        let rule = |comment: &str| {
            Rule::new("c")
                .with(build::verdict(Verdict::Accept))
                .comment(comment)
        };
        let mut connection = Connection::open().expect("opens");
        let change = table_with(
            ["one", "two", "three"]
                .map(|c| Op::AddRule(rule(c)))
                .to_vec(),
        );
        connection.commit(&change).expect("loads");
        let handles: Vec<u64> = rules(&mut connection)
            .into_iter()
            .map(|(handle, _)| handle)
            .collect();
        let ops = vec![
            Op::ReplaceRule {
                handle: handles[1],
                rule: rule("second"),
            },
            Op::DelRule {
                chain: "c".into(),
                handle: handles[0],
            },
        ];
        connection
            .commit(&Transaction {
                table: change.table.clone(),
                ops,
            })
            .expect("is done");
        let comments: Vec<String> = rules(&mut connection)
            .into_iter()
            .map(|(_, comment)| comment)
            .collect();
        assert_eq!(comments, ["second", "three"]);
        let ops = vec![Op::FlushChain("c".into()), Op::DelChain("c".into())];
        connection
            .commit(&Transaction {
                table: change.table.clone(),
                ops,
            })
            .expect("is done");
        let dump = connection
            .dump_table(&change.table)
            .expect("is read")
            .expect("exists");
        assert!(dump.chains.is_empty());
    });
}

fn rules(connection: &mut Connection) -> Vec<(u64, String)> {
    let dump = connection
        .dump_table(&TableId::inet("t"))
        .expect("is read")
        .expect("exists");
    let rules = dump.chains["c"].rules.iter();
    rules
        .map(|r| {
            (
                r.handle,
                r.rule.comment.clone().expect("has one").to_string(),
            )
        })
        .collect()
}

/// A writer swaps two elements in each commit; a reader must never see both or none.
#[test]
fn a_dump_is_of_one_moment() {
    inside(|| {
        let namespace = File::open("/proc/thread-self/ns/net").expect("is readable");
        let set = Set::new("s", [KeyType::Mark]);
        let filler: Vec<Element> = (100..3000).map(|n| Element::new(Value::Mark(n))).collect();
        let all = [filler, vec![Element::new(Value::Mark(0))]].concat();
        let change = table_with(vec![
            Op::AddSet(set.clone()),
            Op::AddElements {
                set: set.id(),
                elements: all,
            },
        ]);
        let mut writer = Connection::open().expect("opens");
        writer.commit(&change).expect("loads");
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let one = |n| vec![Element::new(Value::Mark(n))];
                for (from, to) in [(0, 1), (1, 0)].into_iter().cycle() {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let ops = vec![
                        Op::DelElements {
                            set: set.id(),
                            elements: one(from),
                        },
                        Op::AddElements {
                            set: set.id(),
                            elements: one(to),
                        },
                    ];
                    writer
                        .commit(&Transaction {
                            table: TableId::inet("t"),
                            ops,
                        })
                        .expect("is swapped");
                    std::thread::sleep(std::time::Duration::from_micros(500));
                }
            });
            let mut reader = Connection::open_in(namespace.as_fd()).expect("opens");
            for _ in 0..50 {
                match reader.dump_table(&TableId::inet("t")) {
                    Ok(found) => assert_eq!(found.expect("exists").sets["s"].elements.len(), 2901),
                    Err(crate::ReadError::Unsettled { .. }) => {}
                    Err(e) => panic!("{e}"),
                }
            }
            stop.store(true, Ordering::Relaxed);
        });
    });
}
