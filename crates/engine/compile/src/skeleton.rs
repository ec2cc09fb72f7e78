//! The chains and maps that every program has, whatever the policy says.

use ipnet::IpNet;
use ocicat_program::nft::build::{
    self, CT_STATE_INVALID, CT_STATE_NEW, ICMP_CODE, ICMP_TYPE, ICMPV6_CODE, ICMPV6_TYPE, IIFNAME,
    IP_DADDR, IP_SADDR, IP6_DADDR, IP6_SADDR, L4PROTO, Load, MARK, OIFNAME, PRIORITY, TH_DPORT,
    TH_SPORT,
};
use ocicat_program::nft::{
    AnonymousSet, Chain, ChainKind, Expression, Hook, KeyType, MetaKey, Op, Policy, Reject, Rule,
    Ruleset, Set, Text, Value, Verdict, priority,
};

use crate::layout::{Epoch, HostStage, Named};
use crate::{Config, DenyAction, EndpointToHost};

pub(crate) mod host;

/// ICMPv6 between a workload and its host: multicast listener (130–132), router solicitation (133)
/// and neighbour discovery (135, 136); RFC 2710, RFC 4861.
const NEIGHBOUR_TYPES: [u8; 6] = [130, 131, 132, 133, 135, 136];
/// TCP, UDP, SCTP: the protocols whose ports rules may ask for.
const PORT_PROTOCOLS: [u8; 3] = [6, 17, 132];
/// Bytes of a denied packet that go to NFLOG: all headers of interest.
const SNAPLEN: u32 = 128;

/// The maps and sets of an epoch, empty.
pub(crate) fn sets(epoch: Epoch) -> impl Iterator<Item = Op> {
    Named::all().map(move |named| Op::AddSet(set(named, epoch)))
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
        Named::EgressOther4 | Named::EgressOther6 => Set::vmap(name, [IfName]),
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
        Named::Host(_) => Set::vmap(name, [IfName]),
        Named::FailsafeIn | Named::FailsafeOut => Set::new(name, [InetProto, InetService]),
    }
}

/// The regular chains of an epoch and their rules, except those of stacks, intervals, classes and
/// host endpoints.
pub(crate) fn chains(epoch: Epoch, config: &Config) -> Vec<Op> {
    let host = HostStage::ALL.map(HostStage::name);
    let names = CHAINS.into_iter().chain(host).chain(["transit", "forward"]);
    let mut ops: Vec<Op> = names
        .map(|name| Op::AddChain(Chain::regular(&epoch.name(name))))
        .collect();
    let rules = [
        spoof(epoch, config),
        from_workload(epoch, config),
        to_workload(epoch),
        input(epoch, config),
        forward(epoch, config),
        judge(epoch),
        verdict(epoch, config),
        host::rules(epoch, config),
    ];
    ops.extend(host::failsafe_ports(epoch, config));
    ops.extend(rules.into_iter().flatten().map(Op::AddRule));
    ops
}

/// Chains in the order in which they may be made.
const CHAINS: [&str; 18] = [
    "class_src",
    "class_dst",
    "judge",
    "verdict",
    "next",
    "deny",
    "deny_log",
    "deny_log_out",
    "spoof",
    "from_workload",
    "to_workload",
    "input",
    "allowed",
    "allowed_early",
    "untracked_end",
    "pre_dnat_end",
    "local_in_first",
    "local_out_first",
];

/// Base chains that only host endpoints need: untracked egress policy, pre-DNAT policy.
const HOST_BASE_CHAINS: [&str; 2] = ["raw_output", "pre_dnat"];
const BASE_CHAINS: [&str; 4] = ["prerouting", "input", "forward", "output"];

/// The base chains. They are made once and outlive epochs. `with_hosts`: those of host endpoints
/// too.
pub(crate) fn base_chains(with_hosts: bool) -> Vec<Op> {
    let base = |name: &str, hook, priority, policy| {
        Op::AddChain(Chain::base(name, ChainKind::Filter, hook, priority, policy))
    };
    let (raw, mangle, filter) = (priority::RAW, priority::MANGLE, priority::FILTER);
    let mut ops = vec![
        base("prerouting", Hook::Prerouting, raw, Policy::Accept),
        base("input", Hook::Input, filter, Policy::Accept),
        base("forward", Hook::Forward, filter, Policy::Drop),
        base("output", Hook::Output, filter, Policy::Accept),
    ];
    if with_hosts {
        let [raw_output, pre_dnat] = HOST_BASE_CHAINS;
        ops.push(base(raw_output, Hook::Output, raw, Policy::Accept));
        ops.push(base(pre_dnat, Hook::Prerouting, mangle, Policy::Accept));
    }
    ops
}

/// Removes base chains that are there and no longer needed.
pub(crate) fn drop_base_chains(with_hosts: bool, found: &Ruleset) -> Vec<Op> {
    let needless = HOST_BASE_CHAINS
        .into_iter()
        .filter(|name| !with_hosts && found.chains.contains_key(*name));
    needless
        .flat_map(|name| [Op::FlushChain(name.into()), Op::DelChain(name.into())])
        .collect()
}

/// How many base chains the table has.
pub(crate) fn count_base_chains(with_hosts: bool) -> usize {
    BASE_CHAINS.len()
        + if with_hosts {
            HOST_BASE_CHAINS.len()
        } else {
            0
        }
}

/// Points the base chains at an epoch.
pub(crate) fn turn_over(epoch: Epoch, config: &Config, with_hosts: bool) -> Vec<Op> {
    let mut rules: Vec<Rule> = Vec::new();
    for workload in workloads(config) {
        let enter = |chain: &str, to: &str| {
            Rule::new(chain)
                .with(build::iifname(&workload))
                .with(build::verdict(Verdict::Jump(epoch.name(to))))
        };
        rules.push(enter("prerouting", "spoof"));
        rules.push(enter("input", "input"));
        rules.push(
            Rule::new("output")
                .with(build::oifname(&workload))
                .with(build::ct_state(CT_STATE_NEW))
                .with(build::ct_mark_update(!config.decided(), config.decided()))
                .comment("connections of the host to its workloads"),
        );
    }
    if with_hosts {
        rules.extend(host::enter(epoch, config));
    }
    let passing = if with_hosts {
        Verdict::Goto(epoch.name("transit"))
    } else {
        Verdict::Accept
    };
    rules.push(
        Rule::new("forward")
            .with(not_workload(config, build::iifname_not))
            .with(not_workload(config, build::oifname_not))
            .with(build::verdict(passing))
            .comment("neither from nor to a workload"),
    );
    rules.push(Rule::new("forward").with(build::verdict(Verdict::Goto(epoch.name("forward")))));
    let host = with_hosts.then_some(HOST_BASE_CHAINS).into_iter().flatten();
    let flush = BASE_CHAINS.into_iter().chain(host);
    flush
        .map(|chain| Op::FlushChain(chain.to_owned()))
        .chain(rules.into_iter().map(Op::AddRule))
        .collect()
}

/// Patterns of the names of workload interfaces.
fn workloads(config: &Config) -> impl Iterator<Item = String> {
    config.prefixes().map(|prefix| format!("{prefix}*"))
}

/// The interface is none of a workload.
fn not_workload(config: &Config, name_not: fn(&str) -> Vec<Expression>) -> Vec<Expression> {
    workloads(config)
        .flat_map(|pattern| name_not(&pattern))
        .collect()
}

fn spoof(epoch: Epoch, config: &Config) -> Vec<Rule> {
    let chain = epoch.name("spoof");
    let rule = || Rule::new(&chain);
    let pass = || build::verdict(Verdict::Return);
    let mac = build::ETHER_SADDR;
    let mut rules = vec![
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
        // Not in IPv4, where these numbers mean nothing, and any source would pass.
        rule()
            .with(build::ether_ipv6())
            .with(build::in_set(
                &[IIFNAME, mac],
                &Named::SourceMac.name(epoch),
            ))
            .with(build::l4proto(58))
            .with(build::one_of(&[ICMPV6_TYPE], neighbour_types()))
            .with(pass())
            .comment("neighbour discovery"),
    ];
    rules.extend(config.sources.iter().map(|source| {
        rule()
            .with(from_net(source.net))
            .with(build::iifname(&source.interface))
            .with(build::eq(mac, &Value::EtherAddr(source.mac)))
            .with(pass())
            .comment("a source that it is allowed")
    }));
    rules.push(
        rule()
            .with(build::counter())
            .with(build::verdict(Verdict::Drop))
            .comment("a source that is not the workload's"),
    );
    rules
}

/// The source is in the net, with what `nft` wants before `ether saddr`.
fn from_net(net: IpNet) -> Vec<Expression> {
    let families = [build::ether_ipv4(), build::ether_ipv6()];
    in_net(families, [IP_SADDR, IP6_SADDR], net)
}

/// The packet is of the net's family, one of `families`, and its address is in the net.
fn in_net(families: [Vec<Expression>; 2], address: [Load; 2], net: IpNet) -> Vec<Expression> {
    let ([v4, v6], [address4, address6]) = (families, address);
    let (family, prefix) = match net {
        IpNet::V4(net) => (
            v4,
            build::ipv4_prefix(address4, net.network(), net.prefix_len()),
        ),
        IpNet::V6(net) => (
            v6,
            build::ipv6_prefix(address6, net.network(), net.prefix_len()),
        ),
    };
    [family, prefix].concat()
}

fn from_workload(epoch: Epoch, config: &Config) -> Vec<Rule> {
    let chain = epoch.name("from_workload");
    let maps = [Named::Egress4.name(epoch), Named::Egress6.name(epoch)];
    let mut rules = stacks_of(&chain, IIFNAME, [IP_SADDR, IP6_SADDR], maps);
    let others = config.sources.iter().map(|source| {
        let named = match source.net {
            IpNet::V4(_) => Named::EgressOther4,
            IpNet::V6(_) => Named::EgressOther6,
        };
        Rule::new(&chain)
            .with(from_net(source.net))
            .with(build::iifname(&source.interface))
            .with(build::vmap(&[IIFNAME], &named.name(epoch)))
    });
    let end = rules.len() - 1;
    rules.splice(end..end, others);
    rules
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
            .with(build::ipv6())
            .with(build::l4proto(58))
            .with(build::one_of(&[ICMPV6_TYPE], neighbour_types()))
            .with(build::verdict(Verdict::Accept)),
    ];
    rules.extend(known_connections(&chain, config));
    rules.push(invalid(&chain));
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

/// What a workload sends or receives through the host.
fn forward(epoch: Epoch, config: &Config) -> Vec<Rule> {
    let chain = epoch.name("forward");
    let judged_by = |interface: Vec<Expression>, to: &str| {
        Rule::new(&chain)
            .with(interface)
            .with(build::verdict(Verdict::Jump(epoch.name(to))))
    };
    let mut rules = known_connections(&chain, config);
    rules.push(invalid(&chain));
    rules.push(host::side_in(&chain, epoch, config));
    rules.extend(workloads(config).map(|w| judged_by(build::iifname(&w), "from_workload")));
    rules.push(host::pass(&chain, config));
    rules.extend(workloads(config).map(|w| judged_by(build::oifname(&w), "to_workload")));
    rules.push(judged_by(
        not_workload(config, build::oifname_not),
        HostStage::ForwardOut.name(),
    ));
    rules.push(host::unpass(&chain, config));
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
    ]
}

fn invalid(chain: &str) -> Rule {
    Rule::new(chain)
        .with(build::ct_state(CT_STATE_INVALID))
        .with(build::counter())
        .with(build::verdict(Verdict::Drop))
        .comment("invalid")
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
    let (deny_log, out) = (epoch.name("deny_log"), epoch.name("deny_log_out"));
    let (next, deny) = (epoch.name("next"), epoch.name("deny"));
    let mark = || build::meta_set_map(MetaKey::Mark, &[PRIORITY], &Named::DenyMark.name(epoch));
    let log = |prefix: String| {
        let prefix = Some(Text::from(prefix));
        build::log_group(config.deny_group, SNAPLEN, prefix)
    };
    let prefix = config.kernel_prefix();
    let denied = || build::verdict(Verdict::Goto(deny.clone()));
    let mut rules = vec![
        Rule::new(&chain).with(build::vmap(&[PRIORITY], &Named::Deny.name(epoch))),
        Rule::new(&chain).with(build::vmap(&[PRIORITY], &Named::Allow.name(epoch))),
        Rule::new(&chain)
            .with(build::counter())
            .with(build::verdict(Verdict::Drop)),
        Rule::new(&next).with(build::meta_set(MetaKey::Priority, &Value::ClassId(0))),
        Rule::new(&deny_log)
            .with(build::masked_eq(MARK, config.passed(), config.passed()))
            .with(build::verdict(Verdict::Goto(out.clone()))),
        Rule::new(&deny_log).with(mark()),
        Rule::new(&deny_log)
            .with(log(prefix.clone()))
            .with(denied()),
        Rule::new(&out).with(mark()),
        Rule::new(&out)
            .with(log(format!("{prefix}{OUT}")))
            .with(denied()),
    ];
    if config.deny_action == DenyAction::Reject {
        rules.push(
            Rule::new(&deny)
                .with(build::l4proto(6))
                .with(build::reject(Reject::TcpReset)),
        );
        rules.push(Rule::new(&deny).with(build::reject(Reject::Icmpx(ADMIN_PROHIBITED))));
    } else {
        rules.push(Rule::new(&deny).with(build::verdict(Verdict::Drop)));
    }
    rules
}

/// `NFT_REJECT_ICMPX_ADMIN_PROHIBITED`.
const ADMIN_PROHIBITED: u8 = 3;
/// At the end of the prefix of a forwarded packet that was judged by the side on which it leaves.
const OUT: &str = " out";

/// The chain of an outcome that does not deny and that Log rules matched. It goes on to `then`.
pub(crate) fn log_chain(
    name: &str,
    outcome: u32,
    config: &Config,
    then: Option<String>,
) -> Vec<Op> {
    let log = |end: &str| {
        let prefix = Text::from(format!("{} {outcome}{end}", config.kernel_prefix()));
        build::log_group(config.log_group, SNAPLEN, Some(prefix))
    };
    let is_out = |equal: fn(Load, u32, u32) -> Vec<Expression>| {
        equal(MARK, config.passed(), config.passed())
    };
    let rules = [
        Rule::new(name)
            .with(is_out(build::masked_eq))
            .with(log(OUT)),
        Rule::new(name)
            .with(is_out(build::masked_neq))
            .with(log("")),
    ];
    let then = then.map(|to| Rule::new(name).with(build::verdict(Verdict::Goto(to))));
    let rules = rules.into_iter().chain(then).map(Op::AddRule);
    std::iter::once(Op::AddChain(Chain::regular(name)))
        .chain(rules)
        .collect()
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
