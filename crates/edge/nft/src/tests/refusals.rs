//! What the kernel refuses comes back as the operation and the element it is about, and nothing of the
//! transaction is in force.

use super::namespace::inside;
use crate::object::{
    Chain, ChainKind, Element, Hook, KeyType, Op, Policy, Rule, Set, SetId, TableId, Transaction,
    Value, Verdict, build, priority,
};
use crate::{CommitError, Connection, Rejection};

fn ports() -> Set {
    Set::map("ports", [KeyType::InetService], KeyType::ClassId)
}

fn element(port: u16, class: u32) -> Element {
    Element::new(Value::InetService(port)).value(Value::ClassId(class))
}

fn base() -> Transaction {
    let mut change = Transaction::new(TableId::inet("t"));
    change.push(Op::AddTable { comment: None });
    change.push(Op::AddChain(Chain::regular("c")));
    change.push(Op::AddSet(ports()));
    change
}

fn refusals(connection: &mut Connection, ops: Vec<Op>) -> Vec<Rejection> {
    let change = Transaction {
        table: TableId::inet("t"),
        ops,
    };
    match connection.commit(&change) {
        Err(CommitError::Rejected(rejections)) => rejections,
        other => panic!("expected refusals, not {other:?}"),
    }
}

fn first(connection: &mut Connection, ops: Vec<Op>) -> (usize, Option<usize>, i32, String) {
    let rejection = refusals(connection, ops).swap_remove(0);
    (
        rejection.op,
        rejection.element,
        rejection.errno,
        rejection.object,
    )
}

#[test]
fn the_operation_is_named() {
    inside(|| {
        let mut connection = Connection::open().expect("opens");
        connection.commit(&base()).expect("loads");
        let ok = || Op::AddRule(Rule::new("c").with(build::counter()));
        let jump = Rule::new("c").with(build::verdict(Verdict::Goto("nowhere".into())));
        assert_eq!(
            first(&mut connection, vec![ok(), Op::AddRule(jump), ok()]),
            (
                1,
                None,
                libc::ENOENT,
                "add rule c [ immediate reg 0 goto nowhere ]".into()
            ),
        );
        assert_eq!(
            first(&mut connection, vec![ok(), Op::DelChain("gone".into())]),
            (1, None, libc::ENOENT, "delete chain gone".into()),
        );
        let used = Rule::new("c").with(build::verdict(Verdict::Jump("c2".into())));
        let ops = vec![
            Op::AddChain(Chain::regular("c2")),
            Op::AddRule(used),
            Op::DelChain("c2".into()),
        ];
        assert_eq!(
            first(&mut connection, ops),
            (2, None, libc::EBUSY, "delete chain c2".into())
        );
        let all = refusals(
            &mut connection,
            vec![Op::DelSet("a1".into()), ok(), Op::DelSet("a2".into())],
        );
        assert_eq!(all.iter().map(|r| r.op).collect::<Vec<_>>(), [0, 2]);
        let table = connection
            .dump_table(&TableId::inet("t"))
            .expect("is read")
            .expect("exists");
        assert_eq!(table.chains["c"].rules, [], "nothing of it is in force");
    });
}

#[test]
fn the_element_is_named() {
    inside(|| {
        let mut connection = Connection::open().expect("opens");
        connection.commit(&base()).expect("loads");
        let add = |elements| Op::AddElements {
            set: ports().id(),
            elements,
        };
        connection
            .commit(&Transaction {
                table: TableId::inet("t"),
                ops: vec![add(vec![element(80, 1)])],
            })
            .expect("loads");
        // More than one message, so that the index counts from the operation and not from the message.
        let many: Vec<Element> = (1..5000)
            .map(|n| element(n, if n == 80 { 2 } else { 1 }))
            .collect();
        assert_eq!(
            first(&mut connection, vec![Op::FlushChain("c".into()), add(many)]),
            (
                1,
                Some(79),
                libc::EEXIST,
                "add element ports { 80 : 0:2 }".into()
            ),
        );
        let late: Vec<Element> = (1..5000)
            .rev()
            .map(|n| element(n, if n == 80 { 2 } else { 1 }))
            .collect();
        assert_eq!(first(&mut connection, vec![add(late)]).1, Some(4919));
        let del = Op::DelElements {
            set: ports().id(),
            elements: vec![element(80, 1), element(81, 1)],
        };
        assert_eq!(
            first(&mut connection, vec![del]),
            (
                0,
                Some(1),
                libc::ENOENT,
                "delete element ports { 81 }".into()
            ),
        );
        let found = connection
            .elements(&TableId::inet("t"), &ports())
            .expect("is read");
        assert_eq!(found, [element(80, 1)], "nothing of it is in force");
    });
}

#[test]
fn the_interval_is_named() {
    inside(|| {
        let mut connection = Connection::open().expect("opens");
        let set = Set::new("ranges", [KeyType::InetService]).interval();
        let range = |a, b| Element::range(Value::InetService(a), Value::InetService(b));
        let mut change = base();
        change.push(Op::AddSet(set.clone()));
        change.push(Op::AddElements {
            set: set.id(),
            elements: vec![range(100, 200)],
        });
        connection.commit(&change).expect("loads");
        let overlap = vec![range(1, 2), range(3, 4), range(150, 250), range(300, 400)];
        let (op, element, errno, object) = first(
            &mut connection,
            vec![Op::AddElements {
                set: set.id(),
                elements: overlap,
            }],
        );
        assert_eq!((op, element, errno), (0, Some(2), libc::EEXIST));
        assert_eq!(object, "add element ranges { 150-250 }");
    });
}

#[test]
fn errors_read_well() {
    inside(|| {
        let mut connection = Connection::open().expect("opens");
        connection.commit(&base()).expect("loads");
        let rejections = refusals(
            &mut connection,
            vec![Op::DelSet("a".into()), Op::DelSet("b".into())],
        );
        let text = CommitError::Rejected(rejections).to_string();
        assert_eq!(
            text,
            "inet t, operation 0: delete set a: No such file or directory (os error 2); 1 more"
        );
        let missing = connection.elements(&TableId::inet("t"), &Set::new("none", [KeyType::Mark]));
        assert_eq!(
            missing.expect_err("there is none").to_string(),
            "reading the ruleset: No such file or directory (os error 2)"
        );
        assert_eq!(
            connection
                .dump_table(&TableId::inet("other"))
                .expect("is read"),
            None
        );
    });
}

#[test]
fn very_many_refusals_do_not_hang_or_pass() {
    inside(|| {
        let mut connection = Connection::open().expect("opens");
        connection.commit(&base()).expect("loads");
        let ops = (0..20_000).map(|n| Op::DelSet(format!("s{n}"))).collect();
        let all = refusals(&mut connection, ops);
        assert_eq!((all.len(), all[0].op), (64, 0));
        connection
            .commit(&base())
            .expect("the connection still works");
    });
}

#[test]
fn a_stale_generation_is_refused() {
    inside(|| {
        let mut connection = Connection::open().expect("opens");
        connection.commit(&base()).expect("loads");
        let generation = connection.generation().expect("is told");
        let mut other = Connection::open().expect("opens");
        let add = Transaction {
            table: TableId::inet("t"),
            ops: vec![Op::AddChain(Chain::regular("d"))],
        };
        other.commit_at(&add, generation).expect("is current");
        let stale = connection.commit_at(&add, generation);
        assert!(
            matches!(stale, Err(CommitError::Stale(g)) if g == generation),
            "{stale:?}"
        );
        let now = connection.generation().expect("is told");
        connection.commit_at(&add, now).expect("is current");
    });
}

#[test]
fn what_does_not_fit_is_told_before_it_is_sent() {
    inside(|| {
        let mut connection = Connection::open().expect("opens");
        let mut change = base();
        let rule = (0..3000).fold(Rule::new("c"), |rule, _| rule.with(build::counter()));
        change.push(Op::AddRule(rule));
        let error = connection.commit(&change);
        assert!(
            matches!(error, Err(CommitError::TooLarge { op: Some(3), .. })),
            "{error:?}"
        );
        let mut change = base();
        change.push(Op::AddChain(Chain::regular(&"x".repeat(300))));
        let Err(CommitError::Rejected(all)) = connection.commit(&change) else {
            panic!("a name of 300 bytes")
        };
        assert_eq!((all[0].op, all[0].errno), (3, libc::ERANGE));
        assert_eq!(connection.tables().expect("is read"), []);
        assert!(
            connection
                .commit(&Transaction::new(TableId::inet("t")))
                .is_ok(),
            "nothing to do"
        );
        let none = Op::AddElements {
            set: ports().id(),
            elements: vec![],
        };
        assert!(
            connection
                .commit(&Transaction {
                    table: TableId::inet("t"),
                    ops: vec![none]
                })
                .is_ok()
        );
    });
}

#[test]
fn a_hook_that_a_family_lacks_is_refused() {
    inside(|| {
        let mut connection = Connection::open().expect("opens");
        let mut change = base();
        let chain = Chain::base(
            "in",
            ChainKind::Filter,
            Hook::Egress,
            priority::FILTER,
            Policy::Accept,
        );
        change.push(Op::AddChain(chain));
        let Err(CommitError::Rejected(all)) = connection.commit(&change) else {
            panic!("egress without a device")
        };
        assert_eq!(all[0].op, 3);
    });
}

#[test]
fn a_key_of_the_wrong_shape_is_refused() {
    inside(|| {
        let mut connection = Connection::open().expect("opens");
        let mut change = base();
        let elements = vec![
            element(1, 1),
            Element::new(Value::Mark(1)).value(Value::ClassId(1)),
        ];
        change.push(Op::AddElements {
            set: ports().id(),
            elements,
        });
        let Err(CommitError::Rejected(all)) = connection.commit(&change) else {
            panic!("a key of 4 bytes")
        };
        assert_eq!(
            (all[0].op, all[0].element, all[0].errno),
            (3, Some(1), libc::EINVAL)
        );
        let nowhere = SetId {
            name: "nowhere".into(),
            layout: ports().id().layout,
        };
        let mut change = base();
        change.push(Op::AddElements {
            set: nowhere,
            elements: vec![element(1, 1)],
        });
        let Err(CommitError::Rejected(all)) = connection.commit(&change) else {
            panic!("no such set")
        };
        assert_eq!((all[0].op, all[0].errno), (3, libc::ENOENT));
    });
}
