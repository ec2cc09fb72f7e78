//! The chains of host endpoints that are the same whatever policy says.
//!
//! ```text
//!   raw_output, prerouting ─► untracked_out, untracked_in ─┐ by interface
//!   pre_dnat ──────────────► pre_dnat_in ──────────────────┤        ┌► stack ─► what a stage does
//!   input, output ─────────► local_in, local_out ──────────┼► hN ───┤          with the outcome
//!   forward ─► transit, forward ─► forward_in, forward_out ┘        └► by near class ─► stack
//! ```

use ocicat_program::nft::build::{
    self, CT_STATE_INVALID, ICMPV6_TYPE, IIFNAME, IP_DADDR, IP_SADDR, IP6_DADDR, IP6_SADDR,
    L4PROTO, Load, MARK, OIFNAME, PRIORITY, TH_DPORT, TH_SPORT,
};
use ocicat_program::nft::{CtDirection, Element, Expression, MetaKey, Op, Rule, Value, Verdict};

use super::{PORT_PROTOCOLS, anonymous, known_connections, not_workload, protocols, set};
use crate::layout::{Epoch, HostStage, Named};
use crate::{Config, Failsafe};

/// ICMPv6 by which a host keeps its links: multicast listener (130–132, 143), router and neighbour
/// discovery (133–136); RFC 2710, RFC 3810, RFC 4861.
const LINK_TYPES: [u8; 8] = [130, 131, 132, 133, 134, 135, 136, 143];

/// From the base chains to those of the stages.
pub(super) fn enter(epoch: Epoch, config: &Config) -> Vec<Rule> {
    let rule = |chain: &str, name_not: fn(&str) -> Vec<Expression>, to: HostStage| {
        Rule::new(chain)
            .with(not_workload(config, name_not))
            .with(name_not("lo"))
            .with(build::verdict(Verdict::Jump(epoch.name(to.name()))))
    };
    vec![
        rule("prerouting", build::iifname_not, HostStage::UntrackedIn),
        rule("pre_dnat", build::iifname_not, HostStage::PreDnatIn),
        rule("input", build::iifname_not, HostStage::LocalIn),
        rule("raw_output", build::oifname_not, HostStage::UntrackedOut),
        rule("output", build::oifname_not, HostStage::LocalOut),
    ]
}

/// The chains of the stages, up to the map that leads to the endpoint of the interface.
pub(super) fn rules(epoch: Epoch, config: &Config) -> Vec<Rule> {
    let mut rules = Vec::new();
    for stage in [HostStage::UntrackedIn, HostStage::UntrackedOut] {
        let chain = epoch.name(stage.name());
        rules.push(
            Rule::new(&chain)
                .with(is_passed(config))
                .with(build::meta_mark_update(!config.passed(), 0)),
        );
        rules.push(link_upkeep(&chain, Verdict::Accept));
        rules.extend(untracked_failsafe(&chain, stage, epoch, config));
    }
    rules.extend(before_dnat(epoch, config));
    for stage in HostStage::ALL {
        let chain = epoch.name(stage.name());
        let interface = match stage.direction() {
            ocicat_flow::Direction::Ingress => IIFNAME,
            ocicat_flow::Direction::Egress => OIFNAME,
        };
        let map = Named::Host(stage).name(epoch);
        rules.push(Rule::new(&chain).with(build::vmap(&[interface], &map)));
    }
    rules.extend(ends(epoch, config));
    rules.extend(local_first(epoch, config));
    rules.extend(transit(epoch, config));
    rules
}

/// The rules of an endpoint's chain for a stage: `judge` is the chain that leads to the stack.
pub(crate) fn stage(stage: HostStage, chain: &str, judge: &str, epoch: Epoch) -> Vec<Rule> {
    let rule = || Rule::new(chain);
    let jump = |to: String| Rule::new(chain).with(build::verdict(Verdict::Jump(to)));
    let goto = |to: &str| Rule::new(chain).with(build::verdict(Verdict::Goto(epoch.name(to))));
    let judged = jump(judge.to_owned());
    match stage {
        HostStage::UntrackedIn | HostStage::UntrackedOut => vec![judged, goto("untracked_end")],
        HostStage::PreDnatIn => vec![judged, goto("pre_dnat_end")],
        HostStage::LocalIn => vec![jump(epoch.name("local_in_first")), judged, goto("allowed")],
        HostStage::LocalOut => vec![jump(epoch.name("local_out_first")), judged, goto("allowed")],
        HostStage::ForwardIn | HostStage::ForwardOut => vec![
            super::invalid(chain),
            rule()
                .with(build::ct_direction(CtDirection::Reply))
                .with(build::verdict(Verdict::Return))
                .comment("of a connection older than the endpoint"),
            judged,
            rule().with(no_number()),
        ],
    }
}

/// The incoming side of a forwarded packet, unless an earlier stage allowed it already.
pub(super) fn side_in(chain: &str, epoch: Epoch, config: &Config) -> Rule {
    Rule::new(chain)
        .with(build::masked_neq(MARK, config.passed(), config.passed()))
        .with(not_workload(config, build::iifname_not))
        .with(build::verdict(Verdict::Jump(
            epoch.name(HostStage::ForwardIn.name()),
        )))
}

/// From here on the outgoing side judges.
pub(super) fn pass(chain: &str, config: &Config) -> Rule {
    Rule::new(chain).with(build::meta_mark_update(!config.passed(), config.passed()))
}

pub(super) fn unpass(chain: &str, config: &Config) -> Rule {
    Rule::new(chain).with(build::meta_mark_update(!config.passed(), 0))
}

/// The fail-safe ports that are open from or to everywhere.
pub(super) fn failsafe_ports(epoch: Epoch, config: &Config) -> Vec<Op> {
    let lists = [
        (Named::FailsafeIn, &config.failsafe_inbound),
        (Named::FailsafeOut, &config.failsafe_outbound),
    ];
    let op = |(named, list): (Named, &Vec<Failsafe>)| {
        let mut elements: Vec<Element> = (list.iter().filter(|failsafe| failsafe.net.is_none()))
            .map(|x| Element::new([Value::InetProto(x.protocol.0), Value::InetService(x.port)]))
            .collect();
        elements.sort();
        elements.dedup();
        (!elements.is_empty()).then(|| Op::AddElements {
            set: set(named, epoch).id(),
            elements,
        })
    };
    lists.into_iter().filter_map(op).collect()
}

/// Who answers is judged by the packets of who asked, not by the answers.
fn reply_of_older(chain: &str) -> Rule {
    Rule::new(chain)
        .with(build::ct_direction(CtDirection::Reply))
        .with(build::verdict(Verdict::Accept))
        .comment("of a connection older than the endpoint")
}

fn is_passed(config: &Config) -> Vec<Expression> {
    build::masked_eq(MARK, config.passed(), config.passed())
}

fn no_number() -> Vec<Expression> {
    build::meta_set(MetaKey::Priority, &Value::ClassId(0))
}

fn link_upkeep(chain: &str, verdict: Verdict) -> Rule {
    // Not in IPv4, where these numbers mean nothing.
    Rule::new(chain)
        .with(build::ipv6())
        .with(build::l4proto(58))
        .with(build::one_of(
            &[ICMPV6_TYPE],
            anonymous(LINK_TYPES.map(Value::Icmpv6Type)),
        ))
        .with(build::verdict(verdict))
        .comment("what keeps a link of IPv6")
}

/// Which list of fail-safe ports, which port of the packet, and where the far address is.
struct Ports<'a> {
    named: Named,
    list: &'a [Failsafe],
    port: Load,
    far: [Load; 2],
}

impl<'a> Ports<'a> {
    /// To the ports of the host that are open.
    fn inbound(config: &'a Config) -> Self {
        Self {
            named: Named::FailsafeIn,
            list: &config.failsafe_inbound,
            port: TH_DPORT,
            far: [IP_SADDR, IP6_SADDR],
        }
    }

    fn outbound(config: &'a Config) -> Self {
        Self {
            named: Named::FailsafeOut,
            list: &config.failsafe_outbound,
            port: TH_DPORT,
            far: [IP_DADDR, IP6_DADDR],
        }
    }

    /// The same connections, seen from the answers.
    fn replies(self) -> Self {
        let far = match self.named {
            Named::FailsafeIn => [IP_DADDR, IP6_DADDR],
            _ => [IP_SADDR, IP6_SADDR],
        };
        Self {
            port: TH_SPORT,
            far,
            ..self
        }
    }

    /// A rule for all ports without a net, and one for each with a net.
    fn rules(&self, chain: &str, epoch: Epoch, then: &[Expression]) -> Vec<Rule> {
        let then = || then.to_vec();
        let mut rules = vec![
            Rule::new(chain)
                .with(build::one_of(&[L4PROTO], protocols(PORT_PROTOCOLS)))
                .with(build::in_set(
                    &[L4PROTO, self.port],
                    &self.named.name(epoch),
                ))
                .with(then())
                .comment("fail-safe"),
        ];
        for Failsafe {
            protocol,
            port,
            net,
        } in self.list
        {
            let Some(net) = net else { continue };
            let families = [build::ipv4(), build::ipv6()];
            rules.push(
                Rule::new(chain)
                    .with(super::in_net(families, self.far, *net))
                    .with(build::l4proto(protocol.0))
                    .with(build::eq(self.port, &Value::InetService(*port)))
                    .with(then())
                    .comment("fail-safe"),
            );
        }
        rules
    }
}

/// Without connection tracking the answers are known by their ports only.
fn untracked_failsafe(chain: &str, stage: HostStage, epoch: Epoch, config: &Config) -> Vec<Rule> {
    let (inbound, outbound) = (Ports::inbound(config), Ports::outbound(config));
    let accept = build::verdict(Verdict::Accept);
    let (ports, replies, then) = match stage {
        HostStage::UntrackedIn => {
            let to_us = [build::fib_daddr_local(), accept].concat();
            (inbound, outbound.replies(), to_us)
        }
        _ => (outbound, inbound.replies(), accept),
    };
    let mut rules = ports.rules(chain, epoch, &then);
    rules.extend(replies.rules(chain, epoch, &then));
    rules
}

fn before_dnat(epoch: Epoch, config: &Config) -> Vec<Rule> {
    let chain = epoch.name(HostStage::PreDnatIn.name());
    let decided = config.decided();
    let rule = || Rule::new(&chain);
    let accept = || build::verdict(Verdict::Accept);
    let mut rules = vec![
        rule().with(is_passed(config)).with(accept()),
        rule()
            .with(build::masked_eq(build::CT_MARK, decided, decided))
            .with(accept()),
        rule()
            .with(build::ct_direction(CtDirection::Reply))
            .with(accept()),
        link_upkeep(&chain, Verdict::Accept),
    ];
    let to_us = [build::fib_daddr_local(), accept()].concat();
    rules.extend(Ports::inbound(config).rules(&chain, epoch, &to_us));
    rules
}

/// What a stage does with a packet that its stack did not deny. A stage of which no policy decided
/// leaves no number.
fn ends(epoch: Epoch, config: &Config) -> Vec<Rule> {
    let allowed = epoch.name("allowed");
    let early = epoch.name("allowed_early");
    let mut rules = super::allow(&allowed, config);
    rules.push(unpass(&early, config));
    rules.push(Rule::new(&early).with(build::verdict(Verdict::Goto(allowed))));
    for (name, then) in [
        ("untracked_end", build::notrack()),
        ("pre_dnat_end", Vec::new()),
    ] {
        let chain = epoch.name(name);
        let accept = || build::verdict(Verdict::Accept);
        rules.extend([
            Rule::new(&chain)
                .with(build::eq(PRIORITY, &Value::ClassId(0)))
                .with(accept())
                .comment("no policy of this stage decided"),
            Rule::new(&chain).with(no_number()),
            pass(&chain, config),
            Rule::new(&chain).with(then).with(accept()),
        ]);
    }
    rules
}

/// What is asked of local packets before their stack.
fn local_first(epoch: Epoch, config: &Config) -> Vec<Rule> {
    let mut rules = Vec::new();
    let allowed = build::verdict(Verdict::Goto(epoch.name("allowed")));
    for (name, ports) in [
        ("local_in_first", Ports::inbound(config)),
        ("local_out_first", Ports::outbound(config)),
    ] {
        let chain = epoch.name(name);
        rules.extend(known_connections(&chain, config));
        rules.extend([
            Rule::new(&chain)
                .with(is_passed(config))
                .with(build::verdict(Verdict::Goto(epoch.name("allowed_early")))),
            Rule::new(&chain)
                .with(build::ct_state(CT_STATE_INVALID))
                .with(build::counter())
                .with(build::verdict(Verdict::Drop))
                .comment("invalid"),
            reply_of_older(&chain),
            link_upkeep(&chain, Verdict::Accept),
        ]);
        rules.extend(ports.rules(&chain, epoch, &allowed));
    }
    rules
}

/// What the host forwards that is neither from nor to a workload.
fn transit(epoch: Epoch, config: &Config) -> Vec<Rule> {
    let chain = epoch.name("transit");
    let mut rules = known_connections(&chain, config);
    let out = epoch.name(HostStage::ForwardOut.name());
    let decided = config.decided();
    rules.extend([
        reply_of_older(&chain),
        side_in(&chain, epoch, config),
        pass(&chain, config),
        Rule::new(&chain).with(build::verdict(Verdict::Jump(out))),
        unpass(&chain, config),
        Rule::new(&chain)
            .with(build::ct_mark_update(!decided, decided))
            .with(build::verdict(Verdict::Accept)),
        Rule::new(&chain).with(build::verdict(Verdict::Accept)),
    ]);
    rules
}
