//! The chains and maps that every program has, whatever the policy says.

use ocicat_program::nft::build::{
    self, CT_STATE_INVALID, CT_STATE_NEW, ICMP_CODE, ICMP_TYPE, ICMPV6_CODE, ICMPV6_TYPE, IIFNAME,
    IP_DADDR, IP_SADDR, IP6_DADDR, IP6_SADDR, L4PROTO, Load, OIFNAME, PRIORITY, TH_DPORT, TH_SPORT,
};
use ocicat_program::nft::{
    AnonymousSet, Chain, ChainKind, Expression, Hook, KeyType, MetaKey, Op, Policy, Rule, Set,
    Text, Value, Verdict, priority,
};

use crate::layout::{Epoch, Named};
use crate::{Config, EndpointToHost};

/// ICMPv6 between a workload and its host: multicast listener (130–132), router solicitation (133)
/// and neighbour discovery (135, 136); RFC 2710, RFC 4861.
const NEIGHBOUR_TYPES: [u8; 6] = [130, 131, 132, 133, 135, 136];
/// TCP, UDP, SCTP: the protocols whose ports rules may ask for.
const PORT_PROTOCOLS: [u8; 3] = [6, 17, 132];
/// Bytes of a denied packet that go to NFLOG: all headers of interest.
const SNAPLEN: u32 = 128;

/// The maps and sets of an epoch, empty.
pub(crate) fn sets(epoch: Epoch) -> impl Iterator<Item = Op> {
    Named::ALL
        .into_iter()
        .map(move |named| Op::AddSet(set(named, epoch)))
}

pub(crate) fn set(named: Named, epoch: Epoch) -> Set {
    use KeyType::{
        ClassId, EtherAddr, IcmpCode, IcmpType, Icmpv6Code, Icmpv6Type, IfName, InetProto,
        InetService, Ipv4Addr, Ipv6Addr, Mark,
    };
    let name = &named.name(epoch);
    match named {
        Named::Egress4 | Named::Ingress4 => Set::vmap(name, [IfName, Ipv4Addr]),
        Named::Egress6 | Named::Ingress6 => Set::vmap(name, [IfName, Ipv6Addr]),
        Named::Source4 => Set::new(name, [IfName, EtherAddr, Ipv4Addr]),
        Named::Source6 => Set::new(name, [IfName, EtherAddr, Ipv6Addr]),
        Named::SourceMac => Set::new(name, [IfName, EtherAddr]),
        Named::Cut => Set::map(name, [ClassId, InetProto, InetService], ClassId).interval(),
        Named::Exact => Set::map(name, [ClassId, InetProto, InetService], ClassId),
        Named::Interval => Set::vmap(name, [InetService]).interval(),
        Named::Icmp4Code => Set::map(name, [ClassId, IcmpType, IcmpCode], ClassId),
        Named::Icmp6Code => Set::map(name, [ClassId, Icmpv6Type, Icmpv6Code], ClassId),
        Named::Icmp4Type => Set::map(name, [ClassId, IcmpType], ClassId),
        Named::Icmp6Type => Set::map(name, [ClassId, Icmpv6Type], ClassId),
        Named::Protocol => Set::map(name, [ClassId, InetProto], ClassId),
        Named::RowDefault => Set::map(name, [ClassId], ClassId),
        Named::Deny | Named::Allow => Set::vmap(name, [ClassId]).counter(),
        Named::DenyMark => Set::map(name, [ClassId], Mark),
    }
}

/// The regular chains of an epoch and their rules, except those of stacks, intervals and classes.
pub(crate) fn chains(epoch: Epoch, config: &Config) -> Vec<Op> {
    let mut ops: Vec<Op> = CHAINS
        .iter()
        .map(|name| Op::AddChain(Chain::regular(&epoch.name(name))))
        .collect();
    let rules = [
        spoof(epoch),
        from_workload(epoch),
        to_workload(epoch),
        input(epoch, config),
        forward(epoch, config),
        judge(epoch),
        verdict(epoch, config),
    ];
    ops.extend(rules.into_iter().flatten().map(Op::AddRule));
    ops
}

/// Chains in the order in which they may be made.
const CHAINS: [&str; 10] = [
    "class_src",
    "class_dst",
    "judge",
    "verdict",
    "deny_log",
    "spoof",
    "from_workload",
    "to_workload",
    "input",
    "forward",
];

/// The base chains. They are made once and outlive epochs.
pub(crate) fn base_chains() -> Vec<Op> {
    let base = |name: &str, hook, priority, policy| {
        Op::AddChain(Chain::base(name, ChainKind::Filter, hook, priority, policy))
    };
    vec![
        base(
            "prerouting",
            Hook::Prerouting,
            priority::RAW,
            Policy::Accept,
        ),
        base("input", Hook::Input, priority::FILTER, Policy::Accept),
        base("forward", Hook::Forward, priority::FILTER, Policy::Drop),
        base("output", Hook::Output, priority::FILTER, Policy::Accept),
    ]
}

/// Points the base chains at an epoch.
pub(crate) fn turn_over(epoch: Epoch, config: &Config) -> Vec<Op> {
    let workload = format!("{}*", config.interface_prefix);
    let enter = |chain: &str, to: &str| {
        Rule::new(chain)
            .with(build::iifname(&workload))
            .with(build::verdict(Verdict::Jump(epoch.name(to))))
    };
    let rules = vec![
        enter("prerouting", "spoof"),
        enter("input", "input"),
        Rule::new("forward")
            .with(build::iifname_not(&workload))
            .with(build::oifname_not(&workload))
            .with(build::verdict(Verdict::Accept))
            .comment("neither from nor to a workload"),
        Rule::new("forward").with(build::verdict(Verdict::Goto(epoch.name("forward")))),
        Rule::new("output")
            .with(build::oifname(&workload))
            .with(build::ct_state(CT_STATE_NEW))
            .with(build::ct_mark_update(!config.decided(), config.decided()))
            .comment("connections of the host to its workloads"),
    ];
    let flush = ["prerouting", "input", "forward", "output"].map(|c| Op::FlushChain(c.to_owned()));
    flush
        .into_iter()
        .chain(rules.into_iter().map(Op::AddRule))
        .collect()
}

fn spoof(epoch: Epoch) -> Vec<Rule> {
    let chain = epoch.name("spoof");
    let rule = || Rule::new(&chain);
    let pass = || build::verdict(Verdict::Return);
    let mac = build::ETHER_SADDR;
    vec![
        rule()
            .with(build::ether_ipv4())
            .with(build::in_set(
                &[IIFNAME, mac, IP_SADDR],
                &Named::Source4.name(epoch),
            ))
            .with(pass()),
        rule()
            .with(build::ether_ipv6())
            .with(build::in_set(
                &[IIFNAME, mac, IP6_SADDR],
                &Named::Source6.name(epoch),
            ))
            .with(pass()),
        rule()
            .with(build::ether())
            .with(build::in_set(
                &[IIFNAME, mac],
                &Named::SourceMac.name(epoch),
            ))
            .with(build::l4proto(58))
            .with(build::one_of(&[ICMPV6_TYPE], neighbour_types()))
            .with(pass())
            .comment("neighbour discovery"),
        rule()
            .with(build::counter())
            .with(build::verdict(Verdict::Drop))
            .comment("a source that is not the workload's"),
    ]
}

fn from_workload(epoch: Epoch) -> Vec<Rule> {
    stacks_of(
        &epoch.name("from_workload"),
        IIFNAME,
        [IP_SADDR, IP6_SADDR],
        [Named::Egress4.name(epoch), Named::Egress6.name(epoch)],
    )
}

fn to_workload(epoch: Epoch) -> Vec<Rule> {
    stacks_of(
        &epoch.name("to_workload"),
        OIFNAME,
        [IP_DADDR, IP6_DADDR],
        [Named::Ingress4.name(epoch), Named::Ingress6.name(epoch)],
    )
}

fn stacks_of(chain: &str, interface: Load, address: [Load; 2], maps: [String; 2]) -> Vec<Rule> {
    let rule = || Rule::new(chain);
    vec![
        rule()
            .with(build::ipv4())
            .with(build::vmap(&[interface, address[0]], &maps[0])),
        rule()
            .with(build::ipv6())
            .with(build::vmap(&[interface, address[1]], &maps[1])),
        rule()
            .with(build::counter())
            .with(build::verdict(Verdict::Drop))
            .comment("a workload address without policy yet"),
    ]
}

/// What a workload sends to its own host.
fn input(epoch: Epoch, config: &Config) -> Vec<Rule> {
    let chain = epoch.name("input");
    let rule = || Rule::new(&chain);
    let mut rules = vec![
        rule()
            .with(build::l4proto(58))
            .with(build::one_of(&[ICMPV6_TYPE], neighbour_types()))
            .with(build::verdict(Verdict::Accept)),
    ];
    rules.extend(known_connections(&chain, config));
    rules.push(rule().with(build::verdict(Verdict::Jump(epoch.name("from_workload")))));
    match config.endpoint_to_host {
        EndpointToHost::Accept => rules.extend(allow(&chain, config)),
        EndpointToHost::Drop => rules.push(
            rule()
                .with(build::counter())
                .with(build::verdict(Verdict::Drop))
                .comment("endpoint to host"),
        ),
    }
    rules
}

fn forward(epoch: Epoch, config: &Config) -> Vec<Rule> {
    let chain = epoch.name("forward");
    let workload = format!("{}*", config.interface_prefix);
    let judged_by = |interface: Vec<Expression>, to: &str| {
        Rule::new(&chain)
            .with(interface)
            .with(build::verdict(Verdict::Jump(epoch.name(to))))
    };
    let mut rules = known_connections(&chain, config);
    rules.push(judged_by(build::iifname(&workload), "from_workload"));
    rules.push(judged_by(build::oifname(&workload), "to_workload"));
    rules.extend(allow(&chain, config));
    rules
}

/// Packets of connections that policy has ended or allowed already.
fn known_connections(chain: &str, config: &Config) -> Vec<Rule> {
    let (ended, decided) = (config.ended(), config.decided());
    let rule = || Rule::new(chain);
    vec![
        rule()
            .with(build::masked_eq(build::CT_MARK, ended, ended))
            .with(build::counter())
            .with(build::verdict(Verdict::Drop))
            .comment("ended by policy"),
        rule()
            .with(build::masked_eq(build::CT_MARK, decided, decided))
            .with(build::verdict(Verdict::Accept))
            .comment("allowed by policy"),
        rule()
            .with(build::ct_state(CT_STATE_INVALID))
            .with(build::counter())
            .with(build::verdict(Verdict::Drop))
            .comment("invalid"),
    ]
}

/// Leaves no number of ours in the packet, and marks the connection. Untracked packets have no
/// connection to mark: the last rule accepts them.
fn allow(chain: &str, config: &Config) -> Vec<Rule> {
    let decided = config.decided();
    vec![
        Rule::new(chain).with(build::meta_set(MetaKey::Priority, &Value::ClassId(0))),
        Rule::new(chain)
            .with(build::ct_mark_update(!decided, decided))
            .with(build::verdict(Verdict::Accept)),
        Rule::new(chain).with(build::verdict(Verdict::Accept)),
    ]
}

/// From the row in `meta priority` to the outcome. A hit changes the number, and the maps that
/// follow do not know it any more.
fn judge(epoch: Epoch) -> Vec<Rule> {
    let chain = epoch.name("judge");
    let set = |from: &[Load], named: Named| {
        build::meta_set_map(MetaKey::Priority, from, &named.name(epoch))
    };
    let rule = || Rule::new(&chain);
    let decided = || build::verdict(Verdict::Goto(epoch.name("verdict")));
    let ports = || build::one_of(&[L4PROTO], protocols(PORT_PROTOCOLS));
    let icmp = |protocol: u8, from: &[Load], named: Named| {
        rule()
            .with(build::l4proto(protocol))
            .with(set(from, named))
            .with(decided())
    };
    vec![
        rule().with(ports()).with(build::meta_set_map_interval(
            MetaKey::Priority,
            &[PRIORITY, L4PROTO, TH_SPORT],
            &Named::Cut.name(epoch),
        )),
        rule()
            .with(ports())
            .with(set(&[PRIORITY, L4PROTO, TH_DPORT], Named::Exact))
            .with(decided()),
        rule().with(ports()).with(build::vmap_interval(
            &[TH_DPORT],
            &Named::Interval.name(epoch),
        )),
        icmp(1, &[PRIORITY, ICMP_TYPE, ICMP_CODE], Named::Icmp4Code),
        icmp(1, &[PRIORITY, ICMP_TYPE], Named::Icmp4Type),
        icmp(58, &[PRIORITY, ICMPV6_TYPE, ICMPV6_CODE], Named::Icmp6Code),
        icmp(58, &[PRIORITY, ICMPV6_TYPE], Named::Icmp6Type),
        rule()
            .with(set(&[PRIORITY, L4PROTO], Named::Protocol))
            .with(decided()),
        rule().with(set(&[PRIORITY], Named::RowDefault)),
        rule().with(decided()),
    ]
}

fn verdict(epoch: Epoch, config: &Config) -> Vec<Rule> {
    let chain = epoch.name("verdict");
    let deny_log = epoch.name("deny_log");
    let mark = build::meta_set_map(MetaKey::Mark, &[PRIORITY], &Named::DenyMark.name(epoch));
    vec![
        Rule::new(&chain).with(build::vmap(&[PRIORITY], &Named::Deny.name(epoch))),
        Rule::new(&chain).with(build::vmap(&[PRIORITY], &Named::Allow.name(epoch))),
        Rule::new(&chain)
            .with(build::counter())
            .with(build::verdict(Verdict::Drop)),
        Rule::new(&deny_log).with(mark),
        Rule::new(&deny_log)
            .with(build::log_group(config.deny_group, SNAPLEN, None))
            .with(build::verdict(Verdict::Drop)),
    ]
}

/// The chain of an allowing outcome that Log rules matched.
pub(crate) fn log_chain(name: &str, outcome: u32, config: &Config) -> Vec<Op> {
    let prefix = Text::from(format!("ocicat {outcome}"));
    let rule = Rule::new(name).with(build::log_group(config.log_group, SNAPLEN, Some(prefix)));
    vec![Op::AddChain(Chain::regular(name)), Op::AddRule(rule)]
}

fn neighbour_types() -> AnonymousSet {
    anonymous(NEIGHBOUR_TYPES.map(Value::Icmpv6Type))
}

fn protocols<const N: usize>(numbers: [u8; N]) -> AnonymousSet {
    anonymous(numbers.map(Value::InetProto))
}

fn anonymous<const N: usize>(values: [Value; N]) -> AnonymousSet {
    AnonymousSet::of(values).expect("the lists above are not empty")
}
