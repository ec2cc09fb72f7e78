//! Texts and what they must become. Sets are those of the tests' table.

use crate::object::{
    AnonymousSet, CtDirection, Element, Expression, KeyType, LogStatement, LogTarget, MetaKey,
    Reject, Value, Verdict, build,
};
use build::{
    CT_MARK, ETHER_DADDR, ETHER_SADDR, ICMP_TYPE, ICMPV6_CODE, ICMPV6_TYPE, IIF, IIFNAME, IP_DADDR,
    IP_PROTOCOL, IP_SADDR, IP6_DADDR, IP6_SADDR, L4PROTO, MARK, OIF, PRIORITY, PROTOCOL, TH_DPORT,
    TH_SPORT,
};

type Case = (&'static str, Vec<Expression>);

pub fn all() -> Vec<Case> {
    [
        packet(),
        headers(),
        connection(),
        anonymous_sets(),
        sets(),
        maps(),
        verdicts(),
        changes(),
    ]
    .concat()
}

#[derive(Default)]
struct Cases(Vec<Case>);

impl Cases {
    fn is(&mut self, text: &'static str, expressions: Vec<Expression>) {
        self.0.push((text, expressions));
    }
}

fn packet() -> Vec<Case> {
    let class = Value::ClassId;
    let mut c = Cases::default();
    c.is("iifname \"ocw*\"", build::iifname("ocw*"));
    c.is("iifname \"eth0\"", build::iifname("eth0"));
    c.is("iifname != \"ocw*\"", build::iifname_not("ocw*"));
    c.is("oifname \"ocw*\"", build::oifname("ocw*"));
    c.is("oifname != \"eth0\"", build::oifname_not("eth0"));
    c.is("meta nfproto ipv4", build::ipv4());
    c.is("meta nfproto ipv6", build::ipv6());
    c.is("meta iiftype ether", build::ether());
    c.is("meta l4proto tcp", build::l4proto(6));
    c.is(
        "meta protocol ip",
        build::eq(PROTOCOL, &Value::EtherType(0x0800)),
    );
    c.is("iif \"lo\"", build::eq(IIF, &Value::IfaceIndex(1)));
    c.is("oif \"lo\"", build::eq(OIF, &Value::IfaceIndex(1)));
    c.is("meta priority 1:5", build::eq(PRIORITY, &class(0x1_0005)));
    let range = build::between(PRIORITY, &class(0x3_0000), &class(0x3_ffff));
    c.is("meta priority 3:0-3:ffff", range);
    let masked = build::masked_eq(PRIORITY, 0xffff_0000, 0x3_0000);
    c.is("meta priority & ffff:0 == 3:0", masked);
    let masked = build::masked_neq(MARK, 0xff, 5);
    c.is("meta mark & 0x000000ff != 0x00000005", masked);
    c.0
}

fn headers() -> Vec<Case> {
    let (low, high) = (Value::InetService(80), Value::InetService(90));
    let mac = Value::EtherAddr([2, 0, 0, 0, 0, 1]);
    let v4 = "10.1.2.3".parse().expect("an address");
    let v6 = "fe80::1".parse().expect("an address");
    let mut c = Cases::default();
    c.is("th dport 80", build::eq(TH_DPORT, &low));
    c.is("tcp dport 80", tcp(build::eq(TH_DPORT, &low)));
    c.is("tcp dport != 80", tcp(build::neq(TH_DPORT, &low)));
    c.is(
        "tcp dport 80-90",
        tcp(build::between(TH_DPORT, &low, &high)),
    );
    c.is(
        "tcp dport != 80-90",
        tcp(build::not_between(TH_DPORT, &low, &high)),
    );
    c.is("tcp sport 80", tcp(build::eq(TH_SPORT, &low)));
    c.is(
        "ip saddr 10.0.0.0/8",
        ip(build::ipv4_prefix(IP_SADDR, v4, 8)),
    );
    c.is(
        "ip saddr 10.0.0.0/7",
        ip(build::ipv4_prefix(IP_SADDR, v4, 7)),
    );
    c.is(
        "ip daddr 10.1.2.3",
        ip(build::ipv4_prefix(IP_DADDR, v4, 32)),
    );
    c.is(
        "ip6 saddr fe80::/10",
        ip6(build::ipv6_prefix(IP6_SADDR, v6, 10)),
    );
    c.is(
        "ip6 daddr fe80::/16",
        ip6(build::ipv6_prefix(IP6_DADDR, v6, 16)),
    );
    c.is(
        "ip protocol tcp",
        ip(build::eq(IP_PROTOCOL, &Value::InetProto(6))),
    );
    c.is(
        "ether saddr 02:00:00:00:00:01",
        ether(build::eq(ETHER_SADDR, &mac)),
    );
    c.is(
        "ether daddr 02:00:00:00:00:01",
        ether(build::eq(ETHER_DADDR, &mac)),
    );
    let icmp = [build::l4proto(1), build::eq(ICMP_TYPE, &Value::IcmpType(8))].concat();
    c.is("icmp type echo-request", ip(icmp));
    let icmpv6 = [
        build::l4proto(58),
        build::eq(ICMPV6_CODE, &Value::Icmpv6Code(0)),
    ]
    .concat();
    c.is("icmpv6 code no-route", ip6(icmpv6));
    c.0
}

fn connection() -> Vec<Case> {
    let both = build::CT_STATE_ESTABLISHED | build::CT_STATE_RELATED;
    let mut c = Cases::default();
    c.is("ct state invalid", build::ct_state(build::CT_STATE_INVALID));
    c.is("ct state established,related", build::ct_state(both));
    c.is(
        "ct state untracked",
        build::ct_state(build::CT_STATE_UNTRACKED),
    );
    c.is("ct state new", build::ct_state(build::CT_STATE_NEW));
    c.is("ct status dnat", build::ct_status(build::CT_STATUS_DNAT));
    c.is("ct status snat", build::ct_status(build::CT_STATUS_SNAT));
    c.is(
        "ct direction reply",
        build::ct_direction(CtDirection::Reply),
    );
    c.is(
        "ct direction original",
        build::ct_direction(CtDirection::Original),
    );
    c.is("ct mark 0x00000007", build::eq(CT_MARK, &Value::Mark(7)));
    let highest = build::masked_eq(CT_MARK, 0x8000_0000, 0x8000_0000);
    c.is("ct mark 0x80000000/1", highest);
    let other = build::masked_eq(CT_MARK, 0x4000_0000, 0x4000_0000);
    c.is("ct mark & 0x40000000 == 0x40000000", other);
    c.0
}

fn anonymous_sets() -> Vec<Case> {
    let port = Value::InetService;
    let protocols = AnonymousSet::of([17, 6].map(Value::InetProto)).expect("it is not empty");
    let types = AnonymousSet::of([130, 131, 135].map(Value::Icmpv6Type)).expect("it is not empty");
    let ranges = [
        Element::range(port(1), port(5)),
        Element::new(port(7)),
        Element::range(port(65_000), port(65_535)),
    ];
    let ranges = AnonymousSet::new([KeyType::InetService], ranges).interval();
    let icmpv6 = ip6([build::l4proto(58), build::one_of(&[ICMPV6_TYPE], types)].concat());
    vec![
        (
            "meta l4proto { tcp, udp }",
            build::one_of(&[L4PROTO], protocols),
        ),
        (
            "th dport { 1-5, 7, 65000-65535 }",
            build::one_of(&[TH_DPORT], ranges),
        ),
        (
            "icmpv6 type { mld-listener-query, mld-listener-report, nd-neighbor-solicit }",
            icmpv6,
        ),
    ]
}

fn sets() -> Vec<Case> {
    let spoof4 = build::in_set(&[IIFNAME, ETHER_SADDR, IP_SADDR], "spoof4");
    let spoof6 = build::not_in_set(&[IIFNAME, ETHER_SADDR, IP6_SADDR], "spoof6");
    let macs = build::in_set(&[IIFNAME, ETHER_SADDR], "macs");
    vec![
        (
            "iifname . ether saddr . ip saddr @spoof4",
            [build::ether_ipv4(), spoof4].concat(),
        ),
        (
            "iifname . ether saddr . ip6 saddr != @spoof6",
            [build::ether_ipv6(), spoof6].concat(),
        ),
        ("iifname . ether saddr @macs", ether(macs)),
        (
            "ip saddr @nets",
            ip(build::in_interval_set(&[IP_SADDR], "nets")),
        ),
        (
            "ip saddr != @nets",
            ip(build::not_in_interval_set(&[IP_SADDR], "nets")),
        ),
    ]
}

fn maps() -> Vec<Case> {
    let prefix = |load, len, map| build::meta_set_prefix_map(MetaKey::Priority, load, len, map);
    let rows = build::meta_set_map_interval(MetaKey::Priority, &[PRIORITY, TH_DPORT], "rowports");
    let mut c = Cases::default();
    c.is(
        "iifname . ip saddr vmap @pairs",
        ip(build::vmap(&[IIFNAME, IP_SADDR], "pairs")),
    );
    c.is(
        "th dport vmap @portrange",
        build::vmap_interval(&[TH_DPORT], "portrange"),
    );
    let vmap = build::vmap_interval(&[PRIORITY, TH_DPORT], "rowrange");
    c.is("meta priority . th dport vmap @rowrange", vmap);
    let text = "meta priority set ip daddr & 255.255.255.0 map @p24";
    c.is(text, ip(prefix(IP_DADDR, 24, "p24")));
    let text = "meta priority set ip daddr & 255.255.254.0 map @p24";
    c.is(text, ip(prefix(IP_DADDR, 23, "p24")));
    let text = "meta priority set ip6 daddr & ffff:ffff:ffff:: map @p48";
    c.is(text, ip6(prefix(IP6_DADDR, 48, "p48")));
    c.is(
        "meta priority set ip daddr map @p24",
        ip(prefix(IP_DADDR, 32, "p24")),
    );
    c.is(
        "meta priority set meta priority . th dport map @rowports",
        rows,
    );
    let marks = build::meta_set_map(MetaKey::Mark, &[PRIORITY], "marks");
    c.is("meta mark set meta priority map @marks", marks);
    let marks = build::ct_mark_set_map(&[PRIORITY], "marks");
    c.is("ct mark set meta priority map @marks", marks);
    c.0
}

fn verdicts() -> Vec<Case> {
    let target = LogTarget::Kernel { level: 4, flags: 0 };
    let prefix = Some("denied: ".into());
    let to_kernel = Expression::Log(LogStatement {
        prefix: prefix.clone(),
        target,
    });
    let mut c = Cases::default();
    c.is("accept", build::verdict(Verdict::Accept));
    c.is("continue", build::verdict(Verdict::Continue));
    c.is("jump other", build::verdict(Verdict::Jump("other".into())));
    c.is("counter packets 0 bytes 0", build::counter());
    c.is("log group 7", build::log_group(7, 0, None));
    let text = "log prefix \"denied: \" group 7 snaplen 100";
    c.is(text, build::log_group(7, 100, prefix));
    c.is("log prefix \"denied: \"", vec![to_kernel]);
    c.is(
        "reject with icmpx admin-prohibited",
        build::reject(Reject::Icmpx(3)),
    );
    let reset = build::reject(Reject::TcpReset);
    c.is("meta l4proto tcp reject with tcp reset", tcp(reset));
    c.is("notrack", build::notrack());
    c.0
}

fn changes() -> Vec<Case> {
    let mut c = Cases::default();
    let class = build::meta_set(MetaKey::Priority, &Value::ClassId(0x1_0002));
    c.is("meta priority set 1:2", class);
    let mark = build::meta_set(MetaKey::Mark, &Value::Mark(5));
    c.is("meta mark set 0x00000005", mark);
    c.is(
        "meta mark set ct mark",
        build::meta_set_from(MetaKey::Mark, CT_MARK),
    );
    c.is("ct mark set meta mark", build::ct_mark_set_from(MARK));
    c.is("ct mark set 0x00000001", build::ct_mark_set(1));
    let update = build::ct_mark_update(0x3fff_ffff, 0x4000_0000);
    c.is("ct mark set ct mark & 0x7fffffff | 0x40000000", update);
    let update = build::meta_mark_update(0xffff_0000, 1);
    c.is("meta mark set meta mark & 0xffff0001 | 0x00000001", update);
    c.0
}

fn tcp(then: Vec<Expression>) -> Vec<Expression> {
    [build::l4proto(6), then].concat()
}

fn ip(then: Vec<Expression>) -> Vec<Expression> {
    [build::ipv4(), then].concat()
}

fn ip6(then: Vec<Expression>) -> Vec<Expression> {
    [build::ipv6(), then].concat()
}

fn ether(then: Vec<Expression>) -> Vec<Expression> {
    [build::ether(), then].concat()
}
