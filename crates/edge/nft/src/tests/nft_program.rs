//! Each function of `object::build` writes what the `nft` program makes of the text that its
//! documentation names, and `nft` prints that text of it.

mod case;

use super::namespace::{has_nft, inside, list, nft};
use crate::Connection;
use crate::object::{
    Chain, ChainKind, Hook, IfName, KeyType, Op, Policy, Rule, Set, TableId, Transaction, build,
    priority,
};

#[test]
fn build_writes_what_nft_makes_of_the_text() {
    if !has_nft() {
        return;
    }
    inside(|| {
        let mut connection = Connection::open().expect("opens");
        connection.commit(&skeleton()).expect("the sets are made");
        for (text, expected) in case::all() {
            // An expression too many or too few fails at the right text.
            nft(
                &["-f", "-"],
                &format!("flush chain inet t c\nadd rule inet t c {text}\n"),
            )
            .expect(text);
            let table = connection
                .dump_table(&TableId::inet("t"))
                .expect("is read")
                .expect("exists");
            let rule = &table.chains["c"].rules[0].rule;
            assert_eq!(rule.expressions, expected, "{text}\n{rule}");
        }
    });
}

#[test]
fn nft_prints_the_text_of_what_build_wrote_and_reads_it_again() {
    if !has_nft() {
        return;
    }
    inside(|| {
        let mut connection = Connection::open().expect("opens");
        let mut change = skeleton();
        for (_, expressions) in case::all() {
            change.push(Op::AddRule(Rule::new("c").with(expressions).comment("why")));
        }
        connection.commit(&change).expect("loads");
        let listing = list();
        for (text, _) in case::all() {
            assert!(
                listing.contains(&format!("\t{text} comment \"why\"\n")),
                "{text}\nis not in\n{listing}"
            );
        }
        let before = connection
            .dump_table(&change.table)
            .expect("is read")
            .expect("exists");
        nft(&["flush", "ruleset"], "").expect("is flushed");
        nft(&["-f", "-"], &listing).expect("the listing loads");
        assert_eq!(list(), listing);
        let after = connection
            .dump_table(&change.table)
            .expect("is read")
            .expect("exists");
        let rules = |r: &crate::object::Ruleset| {
            r.chains["c"]
                .rules
                .iter()
                .map(|r| r.rule.clone())
                .collect::<Vec<_>>()
        };
        assert_eq!(rules(&after), rules(&before));
    });
}

#[test]
fn masquerade_is_for_nat_chains() {
    if !has_nft() {
        return;
    }
    inside(|| {
        let mut change = Transaction::new(TableId::inet("t"));
        change.push(Op::AddTable {
            comment: Some("layout 1".into()),
        });
        let nat = Chain::base(
            "nat",
            ChainKind::Nat,
            Hook::Postrouting,
            priority::SRCNAT,
            Policy::Accept,
        );
        change.push(Op::AddChain(nat.clone()));
        change.push(Op::AddRule(Rule::new("nat").with(build::masquerade())));
        change.push(Op::AddRule(
            Rule::new("nat").with(build::masquerade_fully_random()),
        ));
        let mut connection = Connection::open().expect("opens");
        connection.commit(&change).expect("loads");
        let listing = list();
        assert!(
            listing.contains("\t\tmasquerade\n\t\tmasquerade fully-random\n"),
            "{listing}"
        );
        assert!(listing.contains("comment \"layout 1\""), "{listing}");
        assert!(
            listing.contains("type nat hook postrouting priority srcnat; policy accept;"),
            "{listing}"
        );
        let table = connection
            .dump_table(&change.table)
            .expect("is read")
            .expect("exists");
        assert_eq!(table.comment, Some("layout 1".into()));
        assert_eq!(table.chains["nat"].chain, nat);
        assert_eq!(
            connection.chains().expect("is read"),
            [(change.table.clone(), nat)]
        );
        assert_eq!(connection.tables().expect("is read"), [change.table]);
    });
}

fn skeleton() -> Transaction {
    let mut change = Transaction::new(TableId::inet("t"));
    change.push(Op::AddTable { comment: None });
    change.push(Op::AddChain(Chain::base(
        "c",
        ChainKind::Filter,
        Hook::Prerouting,
        priority::RAW,
        Policy::Accept,
    )));
    change.push(Op::AddChain(Chain::regular("other")));
    change.ops.extend(sets().into_iter().map(Op::AddSet));
    change
}

fn sets() -> Vec<Set> {
    use KeyType::{ClassId, EtherAddr, IfName, InetService, Ipv4Addr, Ipv6Addr, Mark};
    vec![
        Set::vmap("pairs", [IfName, Ipv4Addr]),
        Set::new("spoof4", [IfName, EtherAddr, Ipv4Addr]),
        Set::new("spoof6", [IfName, EtherAddr, Ipv6Addr]),
        Set::vmap("portrange", [InetService]).interval(),
        Set::vmap("rowrange", [ClassId, InetService]).interval(),
        Set::map("rowports", [ClassId, InetService], ClassId).interval(),
        Set::new("macs", [IfName, EtherAddr]),
        Set::new("nets", [Ipv4Addr]).interval(),
        Set::map("p24", [Ipv4Addr], ClassId),
        Set::map("p48", [Ipv6Addr], ClassId),
        Set::map("marks", [ClassId], Mark),
    ]
}

#[test]
fn names_of_interfaces_are_checked() {
    assert!(IfName::new("ocw0123456789ab").is_ok());
    for bad in ["", "ocw0123456789abc", "a b", "a/b", ".", ".."] {
        assert!(IfName::new(bad).is_err(), "{bad:?}");
    }
}
