//! Sets and maps of every layout, in the kernel and as `nft` prints them.

use super::namespace::{has_nft, inside, list, nft};
use crate::Connection;
use crate::object::{
    Chain, Counter, Element, ElementKey, KeyType, Numbers, Op, Set, TableId, Transaction, Value,
    Verdict,
};

/// A table with one set and its elements.
fn table(set: &Set, elements: Vec<Element>) -> Transaction {
    let mut change = Transaction::new(TableId::inet("t"));
    change.push(Op::AddTable { comment: None });
    change.push(Op::AddChain(Chain::regular("other")));
    change.push(Op::AddSet(set.clone()));
    change.push(Op::AddElements {
        set: set.id(),
        elements,
    });
    change
}

fn change(set: &Set, op: impl FnOnce(crate::object::SetId) -> Op) -> Transaction {
    Transaction {
        table: TableId::inet("t"),
        ops: vec![op(set.id())],
    }
}

/// Loads a set, reads it back, and checks what `nft` prints, if it is there; then loads that again and
/// reads the same.
fn round_trip(set: &Set, mut elements: Vec<Element>, printed: &str) {
    let has_nft = has_nft();
    inside(|| {
        let mut connection = Connection::open().expect("opens");
        let transaction = table(set, elements.clone());
        connection.commit(&transaction).expect("loads");
        let found = connection
            .dump_table(&transaction.table)
            .expect("is read")
            .expect("exists");
        elements.sort();
        assert_eq!(found.sets[&set.name].set, *set);
        assert_eq!(found.sets[&set.name].elements, elements);
        if has_nft {
            let listing = list();
            let flat = listing.split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(flat.contains(printed), "{printed}\nis not in\n{flat}");
            nft(&["flush", "ruleset"], "").expect("is flushed");
            nft(&["-f", "-"], &listing).expect("the listing loads");
            let again = connection
                .dump_table(&transaction.table)
                .expect("is read")
                .expect("exists");
            assert_eq!(again.sets[&set.name].elements, elements);
        }
        let all = elements.clone();
        connection
            .commit(&change(set, |set| Op::DelElements { set, elements: all }))
            .expect("are deleted");
        assert_eq!(
            connection
                .elements(&transaction.table, set)
                .expect("is read"),
            []
        );
    });
}

/// Numbers come and go in one message, are named when they are refused, and a map of a given size holds
/// no more.
#[test]
fn maps_of_numbers() {
    inside(|| {
        let mut connection = Connection::open().expect("opens");
        let set = Set::map("rows", [KeyType::ClassId], KeyType::ClassId).size(3_000);
        let numbers = |pairs: &[(u32, u32)]| Numbers::pairs(&set.name, pairs.iter().copied());
        let pairs: Vec<(u32, u32)> = (0..3_000).map(|n| (0x1000_0000 + n, n)).collect();
        let mut transaction = table(&set, Vec::new());
        transaction.push(Op::AddNumbers(numbers(&pairs)));
        connection.commit(&transaction).expect("loads");
        let found = |connection: &mut Connection| {
            let found = connection.dump_table(&TableId::inet("t"));
            found.expect("is read").expect("exists").sets["rows"].clone()
        };
        let mut expected: Vec<Element> =
            pairs.iter().map(|(k, v)| Element::number(*k, *v)).collect();
        expected.sort();
        let held = found(&mut connection);
        assert_eq!((&held.set, &held.elements), (&set, &expected));
        let full = change(&set, |_| Op::AddNumbers(numbers(&[(7, 8)])));
        let refusal = connection.commit(&full).expect_err("there is no room");
        assert!(
            refusal.to_string().contains("add element rows { 0:7 "),
            "{refusal}"
        );
        let twice = change(&set, |_| Op::DelNumbers(numbers(&[pairs[5], (9, 9)])));
        let refusal = connection.commit(&twice).expect_err("one is not there");
        let text = refusal.to_string();
        assert!(text.contains("delete element rows { 0:9 }"), "{text}");
        connection
            .commit(&change(&set, |_| Op::DelNumbers(numbers(&pairs))))
            .expect("are deleted");
        assert_eq!(found(&mut connection).elements, []);
    });
}

fn port(n: u16) -> Value {
    Value::InetService(n)
}

fn v4(text: &str) -> Value {
    Value::Ipv4Addr(text.parse().expect("an address"))
}

fn v6(text: &str) -> Value {
    Value::Ipv6Addr(text.parse().expect("an address"))
}

#[test]
fn intervals_of_ports() {
    let set = Set::vmap("ranges", [KeyType::InetService]).interval();
    let jump = || Verdict::Jump("other".into());
    let elements = vec![
        Element::range(port(0), port(5)).verdict(Verdict::Drop),
        Element::new(port(6))
            .verdict(Verdict::Accept)
            .comment("next to it"),
        Element::range(port(8000), port(8999)).verdict(jump()),
        Element::range(port(9000), port(65_535))
            .verdict(jump())
            .comment("to the end"),
    ];
    let printed = "elements = { 0-5 : drop, 6 comment \"next to it\" : accept, 8000-8999 : jump other, \
                   9000-65535 comment \"to the end\" : jump other }";
    round_trip(&set, elements, printed);
}

#[test]
fn intervals_of_addresses_and_marks() {
    let set = Set::map("nets", [KeyType::Ipv4Addr], KeyType::Mark).interval();
    let elements = vec![
        Element::range(v4("10.0.0.0"), v4("10.255.255.255")).value(Value::Mark(5)),
        Element::range(v4("255.0.0.0"), v4("255.255.255.255")).value(Value::Mark(6)),
    ];
    round_trip(
        &set,
        elements,
        "elements = { 10.0.0.0/8 : 0x00000005, 255.0.0.0/8 : 0x00000006 }",
    );
    let set = Set::new("nets6", [KeyType::Ipv6Addr]).interval();
    let elements = vec![
        Element::range(v6("fd00::"), v6("fd00::ffff")),
        Element::range(v6("fe80::"), v6("febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff")),
    ];
    round_trip(&set, elements, "elements = { fd00::/112, fe80::/10 }");
    let set = Set::new("marks", [KeyType::Mark]).interval();
    round_trip(
        &set,
        vec![Element::range(Value::Mark(1), Value::Mark(0x1_0000))],
        "0x00000001-0x00010000",
    );
}

#[test]
fn concatenated_intervals() {
    let set = Set::map(
        "rowports",
        [KeyType::ClassId, KeyType::InetService],
        KeyType::ClassId,
    )
    .interval();
    let row = Value::ClassId;
    let elements = vec![
        Element::range([row(0x1_0001), port(80)], [row(0x1_0001), port(90)]).value(row(0x1_0004)),
        Element::range([row(0x1_0002), port(0)], [row(0x1_0002), port(65_535)])
            .value(row(0x1_0003)),
        Element::new([row(0x1_0003), port(443)])
            .value(row(0x1_0005))
            .comment("one port"),
    ];
    let printed = "elements = { 1:1 . 80-90 : 1:4, 1:2 . 0-65535 : 1:3, 1:3 . 443 comment \"one port\" : 1:5 }";
    round_trip(&set, elements, printed);
    let set = Set::new(
        "spoof",
        [KeyType::IfName, KeyType::EtherAddr, KeyType::Ipv4Addr],
    )
    .interval();
    let name = || Value::IfName("ocw1".parse().expect("a name"));
    let mac = || Value::EtherAddr([2, 0, 0, 0, 0, 1]);
    let elements = vec![Element::range(
        [name(), mac(), v4("10.0.0.0")],
        [name(), mac(), v4("10.0.0.255")],
    )];
    round_trip(
        &set,
        elements,
        "elements = { \"ocw1\" . 02:00:00:00:00:01 . 10.0.0.0/24 }",
    );
}

#[test]
fn catch_all_and_exact() {
    let set = Set::map("p24", [KeyType::Ipv4Addr], KeyType::ClassId);
    let class = Value::ClassId;
    let elements = vec![
        Element::new(v4("10.0.1.0")).value(class(0x1_0002)),
        Element::catch_all().value(class(0x1_0001)).comment("world"),
    ];
    round_trip(
        &set,
        elements,
        "elements = { 10.0.1.0 : 1:2, * comment \"world\" : 1:1 }",
    );
    let set = Set::vmap("portrange", [KeyType::InetService]).interval();
    let elements = vec![
        Element::range(port(1), port(2)).verdict(Verdict::Accept),
        Element::catch_all().verdict(Verdict::Drop),
    ];
    round_trip(&set, elements, "elements = { 1-2 : accept, * : drop }");
}

#[test]
fn every_type_of_key() {
    let name = Value::IfName("ocw1".parse().expect("a name"));
    for (value, printed) in [
        (
            Value::EtherAddr([2, 0, 0, 0, 0, 255]),
            "type ether_addr elements = { 02:00:00:00:00:ff }",
        ),
        (
            Value::EtherType(0x0800),
            "type ether_type elements = { ip }",
        ),
        (Value::InetProto(132), "type inet_proto elements = { sctp }"),
        (
            Value::IcmpType(8),
            "type icmp_type elements = { echo-request }",
        ),
        (
            Value::IcmpCode(1),
            "type icmp_code elements = { host-unreachable }",
        ),
        (
            Value::Icmpv6Type(128),
            "type icmpv6_type elements = { echo-request }",
        ),
        (
            Value::Icmpv6Code(1),
            "type icmpv6_code elements = { admin-prohibited }",
        ),
        (Value::Mark(0x1234), "type mark elements = { 0x00001234 }"),
        (Value::ClassId(0x1_0002), "type classid elements = { 1:2 }"),
        (
            Value::IfaceIndex(1),
            "type iface_index elements = { \"lo\" }",
        ),
        (v6("fd00::1"), "type ipv6_addr elements = { fd00::1 }"),
        (name, "type ifname elements = { \"ocw1\" }"),
    ] {
        let set = Set::new("s", [value.key_type()]);
        round_trip(&set, vec![Element::new(value)], printed);
    }
}

#[test]
fn attributes_of_sets() {
    let plain = || Set::new("s", [KeyType::InetProto, KeyType::InetService]);
    let elements = || vec![Element::new([Value::InetProto(6), port(80)])];
    let set = Set {
        size: Some(10),
        comment: Some("what it is for".into()),
        ..plain()
    };
    round_trip(
        &set,
        elements(),
        "type inet_proto . inet_service size 10 comment \"what it is for\"",
    );
    let set = Set {
        constant: true,
        ..plain()
    };
    round_trip(
        &set,
        elements(),
        "type inet_proto . inet_service flags constant",
    );
}

#[test]
fn elements_count_and_keep_their_counts() {
    inside(|| {
        let set = Set::vmap("deny", [KeyType::ClassId]).counter();
        let counter = Counter {
            packets: 7,
            bytes: 700,
        };
        let first = Element {
            counter: Some(counter),
            ..Element::new(Value::ClassId(1)).verdict(Verdict::Drop)
        };
        let second = Element::new(Value::ClassId(2)).verdict(Verdict::Accept);
        let mut connection = Connection::open().expect("opens");
        let transaction = table(&set, vec![first, second]);
        connection.commit(&transaction).expect("loads");
        let counts = connection
            .counters(&transaction.table, &set)
            .expect("is read");
        let key = |n| ElementKey::Exact(Value::ClassId(n).into());
        assert_eq!(counts, [(key(1), counter), (key(2), Counter::default())]);
        // An element that is there already keeps counting.
        let same = Element::new(Value::ClassId(1)).verdict(Verdict::Drop);
        connection
            .commit(&change(&set, |set| Op::AddElements {
                set,
                elements: vec![same],
            }))
            .expect("is there");
        assert_eq!(
            connection
                .counters(&transaction.table, &set)
                .expect("is read")[0]
                .1,
            counter
        );
        let dump = connection
            .dump_table(&transaction.table)
            .expect("is read")
            .expect("exists");
        assert!(dump.sets["deny"].set.counter);
    });
}

#[test]
fn a_hundred_thousand_elements() {
    const COUNT: u32 = 100_000;
    inside(|| {
        let set = Set::map("class4", [KeyType::Ipv4Addr], KeyType::ClassId);
        let element = |n: u32| {
            Element::new(Value::Ipv4Addr((0x0a00_0000 + n).into()))
                .value(Value::ClassId(n % 5000 + 1))
                .comment("a/b")
        };
        let mut connection = Connection::open().expect("opens");
        let transaction = table(&set, (0..COUNT).map(element).collect());
        connection.commit(&transaction).expect("loads");
        let one = |n| vec![element(n)];
        connection
            .commit(&change(&set, |set| Op::AddElements {
                set,
                elements: one(COUNT),
            }))
            .expect("one more");
        connection
            .commit(&change(&set, |set| Op::DelElements {
                set,
                elements: one(5),
            }))
            .expect("one less");
        let found = connection
            .elements(&transaction.table, &set)
            .expect("is read");
        let expected: Vec<Element> = (0..=COUNT).filter(|n| *n != 5).map(element).collect();
        let missing: Vec<&Element> = expected
            .iter()
            .filter(|e| found.binary_search(e).is_err())
            .collect();
        assert_eq!((found.len(), missing), (expected.len(), vec![]));
        connection
            .commit(&change(&set, |set| Op::FlushSet(set.name)))
            .expect("is flushed");
        assert_eq!(
            connection
                .elements(&transaction.table, &set)
                .expect("is read"),
            []
        );
    });
}
