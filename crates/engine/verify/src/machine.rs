//! Expressions, as `nf_tables` evaluates them (`net/netfilter/nft_*.c`), for many packets at once.

use ocicat_program::nft::{
    AnonymousSet, Bytes, CmpOp, CtKey, Data, Expression, FibResult, LogTarget, LookupSet, MetaKey,
    PayloadBase, RangeOp, Register, Verdict, build, fib_flag,
};

use crate::lookup::{Part, of_bytes};
use crate::packets::{Connection, Field, IpFamily, Packets};
use crate::run::{Event, Run};
use crate::{Ranges, Unsupported};

/// TCP, UDP, SCTP and UDPLite: what follows their IP header begins with ports.
const WITH_PORTS: [u128; 4] = [6, 17, 132, 136];
const WITH_TYPES: [u128; 2] = [1, 58];
/// Types of addresses (`linux/rtnetlink.h`).
const RTN_UNICAST: u32 = 1;
const RTN_LOCAL: u32 = 2;

/// What a register holds from a word on.
#[derive(Debug, Clone)]
enum Held {
    Bytes(Vec<u8>),
    Field { field: Field, mask: u128 },
}

/// Packets inside a rule.
#[derive(Debug, Clone)]
struct Inside {
    packets: Packets,
    events: Vec<Event>,
    words: [Option<Held>; 16],
    verdict: Option<Verdict>,
}

/// Packets behind a rule, with what happened in it.
pub(crate) struct Behind {
    pub(crate) packets: Packets,
    pub(crate) events: Vec<Event>,
    /// `None` where the rule ended before it decided.
    pub(crate) verdict: Option<Verdict>,
}

/// Evaluates the expressions of a rule.
pub(crate) fn rule(
    run: &mut Run<'_>,
    expressions: &[Expression],
    packets: Packets,
) -> Result<Vec<Behind>, Unsupported> {
    let mut behind = Vec::new();
    let mut inside = vec![Inside {
        packets,
        events: Vec::new(),
        words: Default::default(),
        verdict: None,
    }];
    for expression in expressions {
        let mut next = Vec::new();
        for one in inside {
            step(run, expression, one, &mut next, &mut behind)?;
        }
        inside = next;
    }
    behind.extend(inside.into_iter().map(Behind::from));
    Ok(behind)
}

impl From<Inside> for Behind {
    fn from(inside: Inside) -> Self {
        Self {
            packets: inside.packets,
            events: inside.events,
            verdict: inside.verdict,
        }
    }
}

/// One expression: packets go on to the next one, or leave the rule.
fn step(
    run: &mut Run<'_>,
    expression: &Expression,
    mut one: Inside,
    next: &mut Vec<Inside>,
    behind: &mut Vec<Behind>,
) -> Result<(), Unsupported> {
    match expression {
        Expression::CtLoad { key, to, .. } => match (key, one.packets.connection.mark) {
            (CtKey::State, _) => {
                let state = one.packets.connection.state.to_ne_bytes().to_vec();
                one.store(*to, Held::Bytes(state))?;
            }
            (CtKey::Mark, Some(mark)) => {
                one.store(*to, Held::Bytes(mark.to_ne_bytes().to_vec()))?;
            }
            (CtKey::Direction, Some(_)) => {
                let direction = u8::from(one.packets.connection.is_reply);
                one.store(*to, Held::Bytes(vec![direction]))?;
            }
            (CtKey::Mark | CtKey::Direction, None) => {
                behind.push(one.into());
                return Ok(());
            }
            (other, _) => return Err(Unsupported(format!("ct {other:?} is read"))),
        },
        Expression::Cmp { op, from, value } => {
            return one.compare(*from, value, |range| below(*op, range), *op, next, behind);
        }
        Expression::Range {
            op,
            from,
            first,
            last,
        } => return one.within(*op, *from, first, last, next, behind),
        Expression::Lookup {
            set,
            from,
            to,
            invert,
        } => return one.look_up(run, set, (*from, *to, *invert), next, behind),
        Expression::Verdict(Verdict::Continue) | Expression::Counter(_) => {}
        // Whoever sent the packet is told; it goes no further.
        Expression::Reject(_) => {
            one.verdict = Some(Verdict::Drop);
            behind.push(one.into());
            return Ok(());
        }
        Expression::Verdict(verdict) => {
            one.verdict = Some(verdict.clone());
            behind.push(one.into());
            return Ok(());
        }
        Expression::Log(log) => {
            let LogTarget::Group { group, .. } = log.target else {
                return Err(Unsupported("a log that goes to the kernel's".to_owned()));
            };
            one.events.push(Event::Logged {
                group,
                mark: one.packets.mark,
                prefix: log.prefix.clone(),
            });
        }
        other => compute(&mut one, other)?,
    }
    next.push(one);
    Ok(())
}

/// An expression that only changes what the packets carry.
fn compute(one: &mut Inside, expression: &Expression) -> Result<(), Unsupported> {
    match expression {
        Expression::MetaLoad { key, to } => {
            let held = one.meta(*key)?;
            one.store(*to, held)?;
        }
        Expression::MetaSet { key, from } => {
            let number = one.number(*from)?;
            match key {
                MetaKey::Priority => one.packets.priority = number,
                MetaKey::Mark => one.packets.mark = number,
                other => return Err(Unsupported(format!("meta {other:?} is set"))),
            }
        }
        Expression::CtSet {
            key: CtKey::Mark,
            from,
        } => {
            let number = one.number(*from)?;
            one.packets.connection.mark = one.packets.connection.mark.map(|_| number);
        }
        Expression::PayloadLoad {
            base,
            offset,
            len,
            to,
        } => {
            let held = one.payload(*base, *offset, *len)?;
            one.store(*to, held)?;
        }
        Expression::Bitwise {
            from,
            to,
            mask,
            xor,
        } => {
            let held = one.bitwise(*from, mask, xor)?;
            one.store(*to, held)?;
        }
        Expression::Byteorder {
            from,
            to,
            len,
            size,
            ..
        } => {
            let (len, size) = (*len as usize, *size as usize);
            let mut bytes = one.bytes(*from, len)?.to_vec();
            bytes.chunks_mut(size.max(1)).for_each(<[u8]>::reverse);
            one.store(*to, Held::Bytes(bytes))?;
        }
        Expression::Notrack => {
            one.packets.connection = Connection {
                state: build::CT_STATE_UNTRACKED,
                mark: None,
                is_reply: false,
            };
        }
        Expression::Fib {
            result: FibResult::AddrType,
            flags: fib_flag::DADDR,
            to,
        } => {
            let kind = match one.packets.to_host {
                true => RTN_LOCAL,
                false => RTN_UNICAST,
            };
            one.store(*to, Held::Bytes(kind.to_ne_bytes().to_vec()))?;
        }
        Expression::Immediate { to, value } => one.store(*to, Held::Bytes(value.clone()))?,
        other => return Err(Unsupported(format!("the expression {other}"))),
    }
    Ok(())
}

/// The numbers of so many bits that compare so with a value.
fn below(op: CmpOp, (value, highest): (u128, u128)) -> Ranges {
    let up_to = |last: Option<u128>| last.map(|last| (0, last)).into_iter().collect();
    let from = |first: Option<u128>| {
        first
            .filter(|first| *first <= highest)
            .map(|first| (first, highest))
            .into_iter()
            .collect()
    };
    Ranges::of(match op {
        CmpOp::Eq => vec![(value, value)],
        CmpOp::Neq => {
            let all = Ranges::of(vec![(0, highest)]);
            return all.without(&Ranges::one(value));
        }
        CmpOp::Lt => up_to(value.checked_sub(1)),
        CmpOp::Lte => up_to(Some(value)),
        CmpOp::Gt => from(value.checked_add(1)),
        CmpOp::Gte => from(Some(value)),
    })
}

impl Inside {
    fn meta(&self, key: MetaKey) -> Result<Held, Unsupported> {
        let packets = &self.packets;
        Ok(Held::Bytes(match key {
            MetaKey::Priority => packets.priority.to_ne_bytes().to_vec(),
            MetaKey::Mark => packets.mark.to_ne_bytes().to_vec(),
            MetaKey::IifName => packets.iif.to_vec(),
            MetaKey::OifName => packets.oif.to_vec(),
            // ARPHRD_ETHER: every interface of ours is one.
            MetaKey::IifType | MetaKey::OifType => 1u16.to_ne_bytes().to_vec(),
            MetaKey::NfProto => vec![match packets.family {
                IpFamily::V4 => 2,
                IpFamily::V6 => 10,
            }],
            MetaKey::L4Proto => return Ok(self.field(Field::Protocol)),
            other => return Err(Unsupported(format!("meta {other:?} is read"))),
        }))
    }

    fn payload(&self, base: PayloadBase, offset: u32, len: u32) -> Result<Held, Unsupported> {
        let family = self.packets.family;
        let field = match (base, offset, len) {
            (PayloadBase::Link, 6, 6) => Field::SourceMac,
            (PayloadBase::Link, 12, 2) => {
                return Ok(Held::Bytes(match family {
                    IpFamily::V4 => vec![0x08, 0x00],
                    IpFamily::V6 => vec![0x86, 0xdd],
                }));
            }
            (PayloadBase::Network, offset, 1..=16) if len * 8 <= family.bits() => {
                let field = match (family, offset) {
                    (IpFamily::V4, 12) | (IpFamily::V6, 8) => Field::Source,
                    (IpFamily::V4, 16) | (IpFamily::V6, 24) => Field::Destination,
                    _ => return Err(Unsupported(format!("bytes are read at network {offset}"))),
                };
                // The beginning of an address, where a prefix ends with a byte.
                let full = self.packets.full_mask(field);
                let low = (1_u128 << (family.bits() - len * 8)) - 1;
                return Ok(Held::Field {
                    field,
                    mask: full & !low,
                });
            }
            (PayloadBase::Transport, 0, 2) => Field::SourcePort,
            (PayloadBase::Transport, 2, 2) => Field::DestinationPort,
            (PayloadBase::Transport, 0, 1) => Field::IcmpType,
            (PayloadBase::Transport, 1, 1) => Field::IcmpCode,
            other => return Err(Unsupported(format!("bytes are read at {other:?}"))),
        };
        let protocols: &[u128] = match field {
            Field::SourcePort | Field::DestinationPort => &WITH_PORTS,
            Field::IcmpType | Field::IcmpCode => &WITH_TYPES,
            _ => return Ok(self.field(field)),
        };
        if !self.packets.is_within(Field::Protocol, protocols) {
            return Err(Unsupported(format!(
                "{field:?} is read of protocols that have none"
            )));
        }
        Ok(self.field(field))
    }

    fn field(&self, field: Field) -> Held {
        Held::Field {
            field,
            mask: self.packets.full_mask(field),
        }
    }

    fn store(&mut self, to: Register, held: Held) -> Result<(), Unsupported> {
        let Register::Word(word) = to else {
            return Err(Unsupported(
                "a value in the register of verdicts".to_owned(),
            ));
        };
        let length = match &held {
            Held::Bytes(bytes) => bytes.len(),
            Held::Field { field, .. } => self.packets.bits(*field) as usize / 8,
        };
        let word = usize::from(word);
        let end = word + length.div_ceil(4);
        let Some(words) = self.words.get_mut(word..end.max(word + 1)) else {
            return Err(Unsupported("a value beyond the registers".to_owned()));
        };
        words.fill(None);
        words[0] = Some(held);
        Ok(())
    }

    fn held(&self, from: Register) -> Result<&Held, Unsupported> {
        let held = match from {
            Register::Word(word) => self.words.get(usize::from(word)).and_then(Option::as_ref),
            Register::Verdict => None,
        };
        held.ok_or_else(|| Unsupported(format!("{from:?} is read and holds nothing")))
    }

    fn bytes(&self, from: Register, len: usize) -> Result<&[u8], Unsupported> {
        match self.held(from)? {
            Held::Bytes(bytes) => bytes
                .get(..len)
                .ok_or_else(|| Unsupported(format!("{len} bytes of a value of {}", bytes.len()))),
            Held::Field { field, .. } => {
                Err(Unsupported(format!("{field:?} is taken for a number")))
            }
        }
    }

    fn number(&self, from: Register) -> Result<u32, Unsupported> {
        let bytes = self.bytes(from, 4)?;
        Ok(u32::from_ne_bytes(bytes.try_into().map_err(|_| {
            Unsupported("a number of other than four bytes".to_owned())
        })?))
    }

    fn bitwise(&self, from: Register, mask: &Bytes, xor: &Bytes) -> Result<Held, Unsupported> {
        match self.held(from)? {
            Held::Bytes(bytes) => {
                let bytes = bytes.iter().zip(mask).zip(xor);
                Ok(Held::Bytes(bytes.map(|((b, m), x)| (b & m) ^ x).collect()))
            }
            Held::Field {
                field,
                mask: before,
            } => {
                let mask = of_bytes(mask);
                let full = self.packets.full_mask(*field);
                // A prefix: ones, then zeros.
                let low = full & !mask;
                if xor.iter().any(|byte| *byte != 0) || low & low.wrapping_add(1) != 0 {
                    return Err(Unsupported(format!(
                        "{field:?} under a mask that is no prefix"
                    )));
                }
                Ok(Held::Field {
                    field: *field,
                    mask: mask & before,
                })
            }
        }
    }

    fn compare(
        self,
        from: Register,
        value: &Bytes,
        satisfying: impl Fn((u128, u128)) -> Ranges,
        op: CmpOp,
        next: &mut Vec<Self>,
        behind: &mut Vec<Behind>,
    ) -> Result<(), Unsupported> {
        match self.held(from)?.clone() {
            Held::Bytes(_) => {
                let order = self.bytes(from, value.len())?.cmp(value);
                let matches = match op {
                    CmpOp::Eq => order.is_eq(),
                    CmpOp::Neq => order.is_ne(),
                    CmpOp::Lt => order.is_lt(),
                    CmpOp::Lte => order.is_le(),
                    CmpOp::Gt => order.is_gt(),
                    CmpOp::Gte => order.is_ge(),
                };
                self.go_if(matches, next, behind);
            }
            Held::Field { field, mask } => {
                let full = self.packets.full_mask(field);
                let rest = self.packets.bits(field) as usize - value.len() * 8;
                let wanted = if mask == full && rest == 0 {
                    satisfying((of_bytes(value), full))
                } else {
                    let low = full & !mask;
                    let first = of_bytes(value) << rest;
                    // A value with bits outside of the prefix equals nothing.
                    let equal: Vec<_> = (first & low == 0)
                        .then_some((first, first | low))
                        .into_iter()
                        .collect();
                    match op {
                        CmpOp::Eq => Ranges::of(equal),
                        CmpOp::Neq => Ranges::of(vec![(0, full)]).without(&Ranges::of(equal)),
                        _ => return Err(Unsupported(format!("a part of {field:?} is ordered"))),
                    }
                };
                self.split(field, &wanted, next, behind);
            }
        }
        Ok(())
    }

    fn within(
        self,
        op: RangeOp,
        from: Register,
        first: &Bytes,
        last: &Bytes,
        next: &mut Vec<Self>,
        behind: &mut Vec<Behind>,
    ) -> Result<(), Unsupported> {
        let inside = Ranges::of(vec![(of_bytes(first), of_bytes(last))]);
        match self.held(from)?.clone() {
            Held::Bytes(_) => {
                let value = of_bytes(self.bytes(from, first.len())?);
                self.go_if(inside.contains(value) == (op == RangeOp::Eq), next, behind);
            }
            Held::Field { field, mask } => {
                let full = self.packets.full_mask(field);
                if mask != full {
                    return Err(Unsupported(format!("a part of {field:?} is compared")));
                }
                let wanted = match op {
                    RangeOp::Eq => inside,
                    RangeOp::Neq => Ranges::of(vec![(0, full)]).without(&inside),
                };
                self.split(field, &wanted, next, behind);
            }
        }
        Ok(())
    }

    fn go_if(self, matches: bool, next: &mut Vec<Self>, behind: &mut Vec<Behind>) {
        if matches {
            next.push(self);
        } else {
            behind.push(self.into());
        }
    }

    /// Packets with a value of `wanted` go on, the others leave the rule.
    fn split(self, field: Field, wanted: &Ranges, next: &mut Vec<Self>, behind: &mut Vec<Behind>) {
        let others = self.packets.get(field).without(wanted);
        if let Some(packets) = self.packets.with(field, &others) {
            behind.push(
                Self {
                    packets,
                    ..self.clone()
                }
                .into(),
            );
        }
        if let Some(packets) = self.packets.with(field, wanted) {
            next.push(Self { packets, ..self });
        }
    }

    fn look_up(
        self,
        run: &mut Run<'_>,
        set: &LookupSet,
        (from, to, invert): (Register, Option<Register>, bool),
        next: &mut Vec<Self>,
        behind: &mut Vec<Behind>,
    ) -> Result<(), Unsupported> {
        let index = match set {
            LookupSet::Named(name) => run.named(name)?,
            LookupSet::Anonymous(set) => run.anonymous(set),
        };
        let key = self.key(&index.key, from)?;
        let found = index.look_up(self.packets.clone(), &key)?;
        let (hits, misses) = (found.hits, found.misses);
        for packets in misses {
            let one = Self {
                packets,
                ..self.clone()
            };
            one.go_if(invert, next, behind);
        }
        for (packets, item) in hits {
            let mut one = Self {
                packets,
                ..self.clone()
            };
            if invert {
                behind.push(one.into());
                continue;
            }
            let item = &index.items[item];
            if item.counts {
                one.events.push(Event::Counted {
                    set: index.name.clone(),
                    number: match key[..] {
                        [Part::Constant(number)] => Some(from_register(number)),
                        _ => None,
                    },
                    comment: item.comment.clone(),
                });
            }
            match (&item.data, to) {
                (_, None) => next.push(one),
                (Some(Data::Verdict(verdict)), Some(Register::Verdict)) => {
                    one.verdict = Some(verdict.clone());
                    behind.push(one.into());
                }
                (Some(Data::Value(value)), Some(to @ Register::Word(_))) => {
                    let mut bytes = Vec::new();
                    value.write(&mut bytes);
                    one.store(to, Held::Bytes(bytes))?;
                    next.push(one);
                }
                _ => return Err(Unsupported(format!("{}: data of another kind", index.name))),
            }
        }
        Ok(())
    }

    /// The fields of a key, each of which begins at a word of its own.
    fn key(
        &self,
        types: &[ocicat_program::nft::KeyType],
        from: Register,
    ) -> Result<Vec<Part>, Unsupported> {
        let Register::Word(mut word) = from else {
            return Err(Unsupported("a key in the register of verdicts".to_owned()));
        };
        let mut parts = Vec::with_capacity(types.len());
        for field_type in types {
            let length = field_type.len();
            parts.push(match self.held(Register::Word(word))? {
                Held::Bytes(_) => {
                    Part::Constant(of_bytes(self.bytes(Register::Word(word), length)?))
                }
                Held::Field { field, mask } => {
                    if self.packets.bits(*field) as usize != length * 8 {
                        return Err(Unsupported(format!("{field:?} as a key of {length} bytes")));
                    }
                    Part::Field {
                        field: *field,
                        mask: *mask,
                    }
                }
            });
            word = word.saturating_add(u8::try_from(length.div_ceil(4)).unwrap_or(u8::MAX));
        }
        Ok(parts)
    }
}

/// The number that four bytes of a register stand for.
fn from_register(bytes: u128) -> u32 {
    let low = u32::try_from(bytes & u128::from(u32::MAX)).expect("it was cut to 32 bits");
    u32::from_ne_bytes(low.to_be_bytes())
}

/// The elements of an anonymous set, for its index.
pub(crate) fn name_of(set: &AnonymousSet) -> String {
    format!("a set of {} elements in a rule", set.elements.len())
}
