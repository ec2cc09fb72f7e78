//! Random programs that the kernel accepts.

use std::collections::BTreeSet;

use proptest::collection::{btree_set, vec};
use proptest::prelude::*;
use proptest::sample::select;

use crate::object::{
    AnonymousSet, CmpOp, Counter, CtKey, Data, Element, ElementKey, Expression, FibResult, IfName,
    Key, KeyType, LogStatement, LogTarget, MetaKey, RangeOp, Register, Reject, Rule, Set, SetData,
    Text, Value, Verdict, build, fib_flag,
};

/// The chain of the rules, a base chain; and another, to which they jump.
pub const CHAINS: [&str; 2] = ["c", "other"];

/// A set of any layout with its elements, sorted, as they are read back.
pub fn set() -> impl Strategy<Value = (Set, Vec<Element>)> {
    (
        vec(key_type(), 1..=4),
        data_type(),
        any::<[bool; 2]>(),
        option(text()),
        option(100u32..1000),
    )
        .prop_flat_map(|(mut key, data, [interval, counter], comment, size)| {
            // The kernel's longest key is 64 bytes; names have no ranges.
            while key
                .iter()
                .map(|k| k.len().next_multiple_of(4))
                .sum::<usize>()
                > 64
            {
                key.pop();
            }
            let interval = interval && key[0] != KeyType::IfName;
            let set = Set {
                name: "s".into(),
                key,
                data,
                interval,
                counter,
                constant: false,
                size,
                comment,
            };
            (elements(&set), Just(set))
        })
        .prop_map(|(elements, set)| (set, elements))
}

/// A rule of the first chain; it may look up the set of [`lookup_set`].
pub fn rule() -> impl Strategy<Value = Rule> {
    (vec(piece(), 0..6), option(text()), option(verdict())).prop_map(|(pieces, comment, last)| {
        Rule {
            chain: CHAINS[0].into(),
            expressions: pieces
                .into_iter()
                .flatten()
                .chain(last.map(Expression::Verdict))
                .collect(),
            comment,
        }
    })
}

/// The set that rules look up.
pub fn lookup_set() -> Set {
    Set::map("m", [KeyType::ClassId, KeyType::InetService], KeyType::Mark).interval()
}

pub fn text() -> impl Strategy<Value = Text> {
    "\\PC{1,140}".prop_map(|text| Text::from(text.as_str()))
}

fn option<T: Clone + std::fmt::Debug>(
    of: impl Strategy<Value = T>,
) -> impl Strategy<Value = Option<T>> {
    proptest::option::of(of)
}

fn key_type() -> impl Strategy<Value = KeyType> {
    select(vec![
        KeyType::Ipv4Addr,
        KeyType::Ipv6Addr,
        KeyType::EtherAddr,
        KeyType::EtherType,
        KeyType::InetProto,
        KeyType::InetService,
        KeyType::IcmpType,
        KeyType::IcmpCode,
        KeyType::Icmpv6Type,
        KeyType::Icmpv6Code,
        KeyType::Mark,
        KeyType::ClassId,
        KeyType::IfaceIndex,
        KeyType::IfName,
        KeyType::Other { id: 37, len: 4 },
    ])
}

fn data_type() -> impl Strategy<Value = SetData> {
    prop_oneof![
        Just(SetData::None),
        Just(SetData::Verdict),
        key_type().prop_map(SetData::Value)
    ]
}

fn value(of: KeyType) -> BoxedStrategy<Value> {
    match of {
        KeyType::IfName => "[a-z][a-z0-9.-]{0,14}"
            .prop_filter_map("a name", |name| IfName::new(&name).ok().map(Value::IfName))
            .boxed(),
        other => vec(any::<u8>(), other.len())
            .prop_map(move |bytes| {
                Value::read(other, &bytes).expect("any bytes of its length are a value")
            })
            .boxed(),
    }
}

fn verdict() -> impl Strategy<Value = Verdict> {
    select(vec![
        Verdict::Accept,
        Verdict::Drop,
        Verdict::Continue,
        Verdict::Return,
        Verdict::Jump(CHAINS[1].into()),
        Verdict::Goto(CHAINS[1].into()),
    ])
}

fn elements(set: &Set) -> BoxedStrategy<Vec<Element>> {
    let (data, counter) = (set.data, set.counter);
    let fill = move |keys: Vec<ElementKey>| {
        let element = |key: ElementKey| {
            let data = match data {
                SetData::None => Just(None).boxed(),
                SetData::Verdict => verdict().prop_map(|v| Some(Data::Verdict(v))).boxed(),
                SetData::Value(of) => value(of).prop_map(|v| Some(Data::Value(v))).boxed(),
            };
            let counts = any::<(u32, u32)>().prop_map(move |(p, b)| {
                counter.then_some(Counter {
                    packets: p.into(),
                    bytes: b.into(),
                })
            });
            (Just(key), data, counts, option(text())).prop_map(|(key, data, counter, comment)| {
                Element {
                    key,
                    data,
                    counter,
                    comment,
                }
            })
        };
        keys.into_iter().map(element).collect::<Vec<_>>()
    };
    let keys = if set.interval {
        disjoint(&set.key).boxed()
    } else {
        distinct(&set.key).boxed()
    };
    let keys = (keys, any::<bool>()).prop_map(|(mut keys, catch_all)| {
        keys.extend(catch_all.then_some(ElementKey::CatchAll));
        keys.sort();
        keys
    });
    keys.prop_flat_map(fill).boxed()
}

fn distinct(key: &[KeyType]) -> impl Strategy<Value = Vec<ElementKey>> + use<> {
    let fields: Vec<_> = key.iter().map(|k| value(*k)).collect();
    btree_set(fields, 0..20).prop_map(|keys| {
        keys.into_iter()
            .map(|k| ElementKey::Exact(Key(k)))
            .collect()
    })
}

/// Ranges whose first fields are disjoint; in the other fields a range from the lower of two values.
fn disjoint(key: &[KeyType]) -> impl Strategy<Value = Vec<ElementKey>> + use<> {
    let first = key[0];
    let bounds = btree_set(value(first), 0..16).prop_map(move |values| {
        let mut sorted: Vec<Vec<u8>> = values.iter().map(ordered).collect();
        sorted.sort();
        sorted
    });
    let rest: Vec<_> = key[1..].iter().map(|k| (value(*k), value(*k))).collect();
    (bounds, rest).prop_map(move |(bounds, rest)| {
        let pairs = bounds.chunks_exact(2).map(|pair| {
            let read = |bytes: &[u8]| {
                Value::read_ordered(first, bytes).expect("it was written by such a value")
            };
            let (mut low, mut high) = (vec![read(&pair[0])], vec![read(&pair[1])]);
            for (a, b) in &rest {
                let swapped = ordered(a) > ordered(b);
                let (from, to) = if swapped { (b, a) } else { (a, b) };
                low.push(from.clone());
                high.push(to.clone());
            }
            Element::range(Key(low), Key(high)).key
        });
        // A key twice would be a conflict.
        pairs.collect::<BTreeSet<_>>().into_iter().collect()
    })
}

fn ordered(value: &Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    value.write_ordered(&mut bytes);
    bytes
}

/// Expressions that make sense together.
fn piece() -> impl Strategy<Value = Vec<Expression>> {
    prop_oneof![
        matches(),
        lookups(),
        statements(),
        (select(vec!["eth0", "ocw*", "x*"]), any::<bool>()).prop_map(|(name, not)| {
            if not {
                build::iifname_not(name)
            } else {
                build::oifname(name)
            }
        }),
    ]
}

fn matches() -> impl Strategy<Value = Vec<Expression>> {
    prop_oneof![comparison(), prefix(), port_range(), connection(), route()]
}

fn comparison() -> impl Strategy<Value = Vec<Expression>> {
    use CmpOp::{Eq, Gt, Gte, Lt, Lte, Neq};
    let key = select(vec![MetaKey::Length, MetaKey::Cpu, MetaKey::Mark]);
    let op = select(vec![Eq, Neq, Lt, Lte, Gt, Gte]);
    (key, op, any::<[u8; 4]>(), 0u8..16).prop_map(|(key, op, value, word)| {
        let (at, value) = (Register::Word(word), value.to_vec());
        let load = Expression::MetaLoad { key, to: at };
        vec![
            load,
            Expression::Cmp {
                op,
                from: at,
                value,
            },
        ]
    })
}

fn prefix() -> impl Strategy<Value = Vec<Expression>> {
    let v4 = (any::<[u8; 4]>(), 0u8..=32);
    let v6 = (any::<[u8; 16]>(), 0u8..=128);
    prop_oneof![
        v4.prop_map(|(a, len)| build::ipv4_prefix(build::IP_SADDR, a.into(), len)),
        v6.prop_map(|(a, len)| build::ipv6_prefix(build::IP6_DADDR, a.into(), len)),
    ]
}

fn port_range() -> impl Strategy<Value = Vec<Expression>> {
    let port = Value::InetService;
    let inside = any::<(u16, u16)>()
        .prop_map(move |(a, b)| build::between(build::TH_DPORT, &port(a.min(b)), &port(a.max(b))));
    let op = select(vec![RangeOp::Eq, RangeOp::Neq]);
    let range = (any::<u16>(), 1u16..99, op).prop_map(move |(a, by, op)| {
        let mut out = build::eq(build::TH_SPORT, &port(0));
        let first = a.saturating_sub(by).to_be_bytes().to_vec();
        let last = a.saturating_add(1).to_be_bytes().to_vec();
        out[1] = Expression::Range {
            op,
            from: Register::R1,
            first,
            last,
        };
        out
    });
    prop_oneof![inside, range]
}

fn connection() -> impl Strategy<Value = Vec<Expression>> {
    let key = CtKey::Other(5);
    prop_oneof![
        any::<(u32, u32)>().prop_map(|(mask, v)| build::masked_eq(build::CT_MARK, mask, v)),
        (1u32..128).prop_map(build::ct_state),
        Just(vec![Expression::CtLoad {
            key,
            direction: None,
            to: Register::R1
        }]),
    ]
}

fn route() -> impl Strategy<Value = Vec<Expression>> {
    let result = select(vec![FibResult::Oif, FibResult::OifName]);
    result.prop_map(|result| {
        let flags = fib_flag::SADDR | fib_flag::IIF;
        vec![Expression::Fib {
            result,
            flags,
            to: Register::R1,
        }]
    })
}

fn lookups() -> impl Strategy<Value = Vec<Expression>> {
    let ports = btree_set(any::<u16>(), 1..40);
    let keys = [build::PRIORITY, build::TH_DPORT];
    let named = crate::object::LookupSet::Named(lookup_set().name);
    let layout = lookup_set().id().layout;
    let some_set =
        (disjoint(&[KeyType::InetService]), vec(verdict(), 8)).prop_map(|(keys, verdicts)| {
            let elements = keys.into_iter().zip(verdicts).map(|(key, v)| Element {
                key,
                data: Some(Data::Verdict(v)),
                counter: None,
                comment: None,
            });
            let set = AnonymousSet::new([KeyType::InetService], elements);
            let set = AnonymousSet {
                data: SetData::Verdict,
                interval: true,
                ..set
            };
            let layout = set.layout();
            let to = Some(Register::Verdict);
            build::lookup(
                &[build::TH_DPORT],
                layout,
                crate::object::LookupSet::Anonymous(set),
                to,
            )
        });
    prop_oneof![
        ports.prop_map(|ports| {
            let set =
                AnonymousSet::of(ports.into_iter().map(Value::InetService)).expect("at least one");
            build::one_of(&[build::TH_DPORT], set)
        }),
        some_set,
        Just(build::lookup(&keys, layout, named, Some(Register::R1))),
    ]
}

fn statements() -> impl Strategy<Value = Vec<Expression>> {
    let group =
        (any::<u16>(), any::<u32>(), any::<u16>()).prop_map(|(group, snaplen, queue_threshold)| {
            LogTarget::Group {
                group,
                snaplen,
                queue_threshold,
            }
        });
    let kernel = (0u32..8, 0u32..16).prop_map(|(level, flags)| LogTarget::Kernel { level, flags });
    let log = (option(text()), prop_oneof![group, kernel])
        .prop_map(|(prefix, target)| vec![Expression::Log(LogStatement { prefix, target })]);
    prop_oneof![
        log,
        any::<(u32, u32)>().prop_map(|(p, b)| {
            vec![Expression::Counter(Counter {
                packets: p.into(),
                bytes: b.into(),
            })]
        }),
        any::<(u32, u32)>().prop_map(|(and, or)| build::ct_mark_update(and, or)),
        any::<u32>().prop_map(|n| build::meta_set(MetaKey::Priority, &Value::ClassId(n))),
        (0u8..4).prop_map(|code| build::reject(Reject::Icmpx(code))),
        Just([build::l4proto(6), build::reject(Reject::TcpReset)].concat()),
        Just(build::notrack()),
    ]
}
