//! What a trial puts around the program under test: who hears what the host receives, who keeps the host
//! itself silent, translation, and packets that are not tracked.

use std::net::{IpAddr, Ipv4Addr};

use ocicat_nft::object::build::{L4PROTO, MARK, TH_DPORT};
use ocicat_nft::object::{
    Chain, ChainKind, Expression, Hook, Op, Policy, Register, Rule, TableId, Transaction, Value,
    Verdict, build, priority,
};
use ocicat_oracle::Packet;

use crate::host::Tracking;
use crate::origin;

/// NFLOG group of packets that have reached the host.
pub(crate) const HEARD_GROUP: u16 = 9;
/// Bytes of such a packet: all of it.
const SNAPLEN: u32 = 256;
/// Before connections are tracked, and before anything of ours.
const FIRST: i32 = priority::RAW - 200;
/// After fragments have been put together, before anything of ours.
const NOT_TRACKED: i32 = priority::RAW - 50;
/// After everything of ours.
const LAST: i32 = priority::FILTER + 100;
const TABLE: &str = "proof";
const TRANSLATION: &str = "proof_nat";

/// The table of the surroundings. To `swallowed` nothing goes out.
pub(crate) fn table(tracking: Tracking, swallowed: Option<Ipv4Addr>) -> Transaction {
    let base = |name: &str, hook, priority| {
        let chain = Chain::base(name, ChainKind::Filter, hook, priority, Policy::Accept);
        Op::AddChain(chain)
    };
    let mut ops = vec![
        Op::AddTable { comment: None },
        base("silence", Hook::Output, FIRST),
        base("heard", Hook::Input, LAST),
        Op::AddRule(
            Rule::new("silence")
                .with(build::neq(MARK, &Value::Mark(origin::MARK)))
                .with(build::verdict(Verdict::Drop)),
        ),
        // Nobody answers.
        Op::AddRule(
            Rule::new("heard")
                .with(build::log_group(HEARD_GROUP, SNAPLEN, None))
                .with(build::verdict(Verdict::Drop)),
        ),
    ];
    if tracking == Tracking::Untracked {
        for (name, hook) in [("raw", Hook::Prerouting), ("raw_out", Hook::Output)] {
            ops.push(base(name, hook, NOT_TRACKED));
            ops.push(Op::AddRule(Rule::new(name).with(build::notrack())));
        }
    }
    if let Some(address) = swallowed {
        ops.push(base("hole", Hook::Postrouting, FIRST));
        ops.push(Op::AddRule(
            Rule::new("hole")
                .with(build::ipv4())
                .with(build::eq(build::IP_DADDR, &Value::Ipv4Addr(address)))
                .with(build::verdict(Verdict::Drop)),
        ));
    }
    Transaction {
        table: TableId::inet(TABLE),
        ops,
    }
}

/// A table that gives packets like the first the destination of the second.
pub(crate) fn translation(before: &Packet, after: &Packet) -> Transaction {
    let chain = Chain::base(
        "dnat",
        ChainKind::Nat,
        Hook::Prerouting,
        priority::DSTNAT,
        Policy::Accept,
    );
    let (family, number, address) = match after.destination {
        IpAddr::V4(address) => (build::ipv4(), 2, address.octets().to_vec()),
        IpAddr::V6(address) => (build::ipv6(), 10, address.octets().to_vec()),
    };
    let to_before = match before.destination {
        IpAddr::V4(address) => build::eq(build::IP_DADDR, &Value::Ipv4Addr(address)),
        IpAddr::V6(address) => build::eq(build::IP6_DADDR, &Value::Ipv6Addr(address)),
    };
    let port = Register::Word(4);
    let translate = [
        Expression::Immediate {
            to: Register::R1,
            value: address,
        },
        Expression::Immediate {
            to: port,
            value: after.destination_port.to_be_bytes().to_vec(),
        },
        nat(number, Register::R1, port),
    ];
    let rule = Rule::new("dnat")
        .with(family)
        .with(to_before)
        .with(build::eq(L4PROTO, &Value::InetProto(before.protocol)))
        .with(build::eq(
            TH_DPORT,
            &Value::InetService(before.destination_port),
        ))
        .with(translate.to_vec());
    Transaction {
        table: TableId::inet(TRANSLATION),
        ops: vec![
            Op::AddTable { comment: None },
            Op::AddChain(chain),
            Op::AddRule(rule),
        ],
    }
}

/// Removes what [`translation`] made.
pub(crate) fn no_translation() -> Transaction {
    Transaction {
        table: TableId::inet(TRANSLATION),
        ops: vec![Op::DelTable],
    }
}

/// The kernel's expression `nat` to an address and a port (`enum nft_nat_attributes`), which the product
/// has no use for.
fn nat(family: u32, address: Register, port: Register) -> Expression {
    const TYPE: u16 = 1;
    const FAMILY: u16 = 2;
    const ADDRESS: u16 = 3;
    const PORT: u16 = 5;
    const DESTINATION: u32 = 1;
    let attributes = [
        (TYPE, DESTINATION),
        (FAMILY, family),
        (ADDRESS, address.number()),
        (PORT, port.number()),
    ];
    let mut data = Vec::new();
    for (kind, value) in attributes {
        // Length and kind in the machine's order, the value in the network's.
        data.extend(8_u16.to_ne_bytes());
        data.extend(kind.to_ne_bytes());
        data.extend(value.to_be_bytes());
    }
    Expression::Other {
        name: "nat".to_owned(),
        data,
    }
}
