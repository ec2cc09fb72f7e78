//! A whole data plane: every shape of rule and map that Ocicat uses, built by hand, loaded, listed by
//! the `nft` program and loaded again from its listing; and the same program as text, loaded by `nft`,
//! must read back as the one built here.

use super::namespace::{has_nft, inside, list, nft};
use crate::Connection;
use crate::object::{
    AnonymousSet, Chain, ChainKind, Element, Expression, Hook, KeyType, MetaKey, Op, Policy, Rule,
    Ruleset, Set, TableId, Transaction, Value, Verdict, build, priority,
};

const TEXT: &str = include_str!("prototype.nft");

#[test]
fn lists_and_reloads() {
    if !has_nft() {
        return;
    }
    inside(|| {
        Connection::open()
            .and_then(|mut nft| nft.commit(&prototype()).map_err(std::io::Error::other))
            .expect("loads");
        let listing = list();
        for text in [
            "elements = { 10.9.0.1 comment \"shop/web\" : 1:1, 10.9.0.2 comment \"shop/db\" : 1:2 }",
            "type classid . inet_proto . inet_service : classid",
            "2:10 . tcp . 80 : 3:1",
            "meta l4proto { tcp, udp, sctp } meta priority set meta priority . meta l4proto . th dport map @ports goto verdict",
            "elements = { 8000-8999 : jump r1 }",
            "iifname vmap @stacks_e",
            "3:ff counter packets 0 bytes 0 comment \"end of tier default\" : goto drop_log",
            "meta priority set ip6 daddr map @class6 return",
            "type filter hook forward priority filter; policy drop;",
            "accept comment \"decided\"",
            "log group 7 drop",
        ] {
            assert!(listing.contains(text), "{text}\nis not in\n{listing}");
        }
        inside(|| {
            nft(&["-f", "-"], &listing).expect("the listing loads");
            assert_eq!(lines(&list()), lines(&listing), "and lists the same");
        });
    });
}

#[test]
fn equals_what_nft_makes_of_the_text() {
    if !has_nft() {
        return;
    }
    let (mut ours, mut theirs) = (None, None);
    inside(|| {
        nft(&["-f", "-"], TEXT).expect("the text loads");
        theirs = dump();
    });
    inside(|| {
        Connection::open()
            .expect("opens")
            .commit(&prototype())
            .expect("loads");
        ours = dump();
    });
    let (Some(ours), Some(theirs)) = (ours, theirs) else {
        return;
    };
    for (name, set) in &theirs.sets {
        assert_eq!(
            ours.sets.get(name).map(|s| (&s.set, &s.elements)),
            Some((&set.set, &set.elements))
        );
    }
    for (name, chain) in &theirs.chains {
        let rules = |r: &Ruleset| {
            r.chains
                .get(name)
                .map(|c| c.rules.iter().map(|r| r.rule.clone()).collect::<Vec<_>>())
        };
        assert_eq!(ours.chains.get(name).map(|c| &c.chain), Some(&chain.chain));
        assert_eq!(rules(&ours), rules(&theirs), "chain {name}");
    }
    assert_eq!(
        (ours.sets.len(), ours.chains.len()),
        (theirs.sets.len(), theirs.chains.len())
    );
}

fn dump() -> Option<Ruleset> {
    Connection::open()
        .expect("opens")
        .dump_table(&TableId::inet("ocicat"))
        .expect("is read")
}

/// The lines of a listing, sorted: the order of elements in a hash table depends on its seed.
fn lines(listing: &str) -> Vec<String> {
    let flat = listing.replace(",\n", ", ");
    let mut lines: Vec<String> = flat
        .lines()
        .map(|line| {
            let mut words: Vec<&str> = line.trim().split(&[',', '{', '}']).map(str::trim).collect();
            words.sort_unstable();
            words.join(",")
        })
        .collect();
    lines.sort_unstable();
    lines
}

fn prototype() -> Transaction {
    let mut t = Transaction::new(TableId::inet("ocicat"));
    t.push(Op::AddTable { comment: None });
    for name in [
        "drop_log", "r1", "judge", "verdict", "cls_dst", "cls_src", "e7", "i9",
    ] {
        t.push(Op::AddChain(Chain::regular(name)));
    }
    t.push(Op::AddChain(Chain::base(
        "forward",
        ChainKind::Filter,
        Hook::Forward,
        priority::FILTER,
        Policy::Drop,
    )));
    for (set, elements) in sets() {
        let id = set.id();
        t.push(Op::AddSet(set));
        t.push(Op::AddElements { set: id, elements });
    }
    t.ops.extend(rules().into_iter().map(Op::AddRule));
    t
}

fn sets() -> Vec<(Set, Vec<Element>)> {
    [addresses(), rows(), ports(), outcomes(), interfaces()].concat()
}

fn class(id: u32) -> Value {
    Value::ClassId(id)
}

fn addresses() -> Vec<(Set, Vec<Element>)> {
    let v4 = |text: &str| Value::Ipv4Addr(text.parse().expect("an address"));
    let v6 = |text: &str| Value::Ipv6Addr(text.parse().expect("an address"));
    let class4 = vec![
        Element::new(v4("10.9.0.1"))
            .value(class(0x1_0001))
            .comment("shop/web"),
        Element::new(v4("10.9.0.2"))
            .value(class(0x1_0002))
            .comment("shop/db"),
    ];
    let class6 = vec![
        Element::new(v6("fd00:9::1")).value(class(0x1_0001)),
        Element::new(v6("fd00:9::2")).value(class(0x1_0002)),
    ];
    vec![
        (
            Set::map("class4", [KeyType::Ipv4Addr], KeyType::ClassId),
            class4,
        ),
        (
            Set::map("class6", [KeyType::Ipv6Addr], KeyType::ClassId),
            class6,
        ),
    ]
}

fn rows() -> Vec<(Set, Vec<Element>)> {
    let map = |name: &str| Set::map(name, [KeyType::ClassId], KeyType::ClassId);
    let to = |from: u32, to: u32| Element::new(class(from)).value(class(to));
    let defaults = vec![to(0x2_0010, 0x3_00ff), to(0x2_0020, 0x3_00ff)];
    vec![
        (map("rows_e7"), vec![to(0x1_0002, 0x2_0010)]),
        (map("rows_i9"), vec![to(0x1_0001, 0x2_0020)]),
        (map("rowdefault"), defaults),
    ]
}

fn ports() -> Vec<(Set, Vec<Element>)> {
    use KeyType::{ClassId, IcmpCode, IcmpType, InetProto, InetService};
    let port = |row: u32, protocol: u8, port: u16, outcome: u32| {
        let key = [
            class(row),
            Value::InetProto(protocol),
            Value::InetService(port),
        ];
        Element::new(key).value(class(outcome))
    };
    let exact = vec![
        port(0x2_0010, 6, 80, 0x3_0001),
        port(0x2_0020, 6, 80, 0x3_0002),
        port(0x2_0010, 17, 9000, 0x3_0001),
        port(0x2_0020, 17, 9000, 0x3_0002),
    ];
    let range = |row| Element::new([class(row), Value::InetProto(6)]).value(class(0x3_0003));
    let ranges = vec![range(0x2_0010), range(0x2_0020)];
    let icmp = |row, outcome| {
        let key = [class(row), Value::IcmpType(8), Value::IcmpCode(0)];
        Element::new(key).value(class(outcome))
    };
    let icmps = vec![icmp(0x2_0010, 0x3_0001), icmp(0x2_0020, 0x3_0002)];
    let (first, last) = (Value::InetService(8000), Value::InetService(8999));
    let chains = vec![Element::range(first, last).verdict(Verdict::Jump("r1".into()))];
    vec![
        (
            Set::map("ports", [ClassId, InetProto, InetService], ClassId),
            exact,
        ),
        (Set::map("ranges_r1", [ClassId, InetProto], ClassId), ranges),
        (
            Set::map("icmps", [ClassId, IcmpType, IcmpCode], ClassId),
            icmps,
        ),
        (Set::vmap("portrange", [InetService]).interval(), chains),
    ]
}

fn outcomes() -> Vec<(Set, Vec<Element>)> {
    let outcome = |id: u32, verdict: Verdict| Element::new(class(id)).verdict(verdict);
    let denied = outcome(0x3_00ff, Verdict::Goto("drop_log".into())).comment("end of tier default");
    let allowed = vec![
        outcome(0x3_0001, Verdict::Return).comment("shop/p1 rule 0"),
        outcome(0x3_0002, Verdict::Return),
        outcome(0x3_0003, Verdict::Return),
    ];
    vec![
        (
            Set::vmap("deny", [KeyType::ClassId]).counter(),
            vec![denied],
        ),
        (Set::vmap("allow", [KeyType::ClassId]).counter(), allowed),
    ]
}

fn interfaces() -> Vec<(Set, Vec<Element>)> {
    let jump = |name: &str, chain: &str| {
        let name = Value::IfName(name.parse().expect("a name"));
        Element::new(name).verdict(Verdict::Jump(chain.into()))
    };
    let from = vec![jump("va", "e7").comment("shop/web"), jump("vb", "e7")];
    let to = vec![jump("va", "i9"), jump("vb", "i9")];
    vec![
        (Set::vmap("stacks_e", [KeyType::IfName]), from),
        (Set::vmap("stacks_i", [KeyType::IfName]), to),
    ]
}

fn rules() -> Vec<Rule> {
    [judgement(), classes(), stacks(), forwarding()].concat()
}

const CLASS: MetaKey = MetaKey::Priority;

fn goto(chain: &str) -> Vec<Expression> {
    build::verdict(Verdict::Goto(chain.into()))
}

fn judgement() -> Vec<Rule> {
    use build::{ICMP_CODE, ICMP_TYPE, L4PROTO, PRIORITY, TH_DPORT};
    let with_ports = || {
        let set = AnonymousSet::of([6, 17, 132].map(Value::InetProto)).expect("it is not empty");
        Rule::new("judge").with(build::one_of(&[L4PROTO], set))
    };
    let map = |key: &[build::Load], map: &str| build::meta_set_map(CLASS, key, map);
    let drop = || build::verdict(Verdict::Drop);
    let icmp = map(&[PRIORITY, ICMP_TYPE, ICMP_CODE], "icmps");
    vec![
        Rule::new("drop_log")
            .with(build::log_group(7, 0, None))
            .with(drop()),
        Rule::new("r1").with(map(&[PRIORITY, L4PROTO], "ranges_r1")),
        with_ports()
            .with(map(&[PRIORITY, L4PROTO, TH_DPORT], "ports"))
            .with(goto("verdict")),
        with_ports().with(build::vmap_interval(&[TH_DPORT], "portrange")),
        Rule::new("judge")
            .with(build::l4proto(1))
            .with(icmp)
            .with(goto("verdict")),
        Rule::new("judge").with(map(&[PRIORITY], "rowdefault")),
        Rule::new("judge").with(goto("verdict")),
        Rule::new("verdict").with(build::vmap(&[PRIORITY], "deny")),
        Rule::new("verdict").with(build::vmap(&[PRIORITY], "allow")),
        Rule::new("verdict").with(drop()),
    ]
}

fn classes() -> Vec<Rule> {
    let mut rules = Vec::new();
    for (chain, v4, v6) in [
        ("cls_dst", build::IP_DADDR, build::IP6_DADDR),
        ("cls_src", build::IP_SADDR, build::IP6_SADDR),
    ] {
        let rule = |family: Vec<Expression>, load, map: &str| {
            let found = build::verdict(Verdict::Return);
            Rule::new(chain)
                .with(family)
                .with(build::meta_set_map(CLASS, &[load], map))
                .with(found)
        };
        rules.push(rule(build::ipv4(), v4, "class4"));
        rules.push(rule(build::ipv6(), v6, "class6"));
        rules.push(Rule::new(chain).with(build::meta_set(CLASS, &class(0x1_ffff))));
    }
    rules
}

fn stacks() -> Vec<Rule> {
    let stack = |chain: &str, first: &str, rows: &str| {
        let jump = build::verdict(Verdict::Jump(first.into()));
        [
            jump,
            build::meta_set_map(CLASS, &[build::PRIORITY], rows),
            goto("judge"),
        ]
        .map(|expressions| Rule::new(chain).with(expressions))
    };
    [
        stack("e7", "cls_dst", "rows_e7"),
        stack("i9", "cls_src", "rows_i9"),
    ]
    .concat()
}

fn forwarding() -> Vec<Rule> {
    let bit = |mask: u32| build::masked_eq(build::CT_MARK, mask, mask);
    let rule = || Rule::new("forward");
    let accept = || build::verdict(Verdict::Accept);
    let ended = rule()
        .with(bit(0x8000_0000))
        .with(build::verdict(Verdict::Drop));
    vec![
        ended.comment("ended by policy"),
        rule()
            .with(bit(0x4000_0000))
            .with(accept())
            .comment("decided"),
        rule().with(build::vmap(&[build::IIFNAME], "stacks_e")),
        rule().with(build::vmap(&[build::OIFNAME], "stacks_i")),
        rule().with(build::meta_set(CLASS, &class(0))),
        rule()
            .with(build::ct_mark_update(0x3fff_ffff, 0x4000_0000))
            .with(accept()),
    ]
}
