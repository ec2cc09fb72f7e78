//! One packet on its way through chains, while commits come into force.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ocicat_oracle::Packet;
use ocicat_program::nft::{
    CmpOp, CtKey, Data, Expression, LookupSet, MetaKey, PayloadBase, RangeOp, Register, Rule,
    Verdict, build,
};

use crate::kernel::{Elements, Table};

/// Jumps within jumps (`NFT_JUMP_STACK_SIZE`).
const DEEPEST: usize = 16;

/// A packet between two interfaces.
#[derive(Debug, Clone, Copy)]
pub struct Sent<'a> {
    pub packet: Packet,
    pub iif: &'a str,
    pub oif: &'a str,
}

/// What becomes of a packet in a chain. What the chain does with a packet that is not dropped belongs
/// to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Drop,
    Pass {
        /// It leaves the hook.
        accepted: bool,
        /// The packet mark, and that of its connection.
        marks: [u32; 2],
        untracked: bool,
    },
}

/// Which table each read finds: from that read on, counted from 0, that table. Entering a chain and
/// looking a key up are reads.
pub type Moments<'a> = [(usize, &'a Table)];

/// A packet inside a hook.
pub struct Walk<'a> {
    sent: Sent<'a>,
    moments: &'a Moments<'a>,
    parity: usize,
    pub reads: usize,
    priority: u32,
    mark: u32,
    connection_mark: u32,
    untracked: bool,
}

/// What a rule or chain says.
enum Said {
    Nothing,
    Verdict(Verdict),
}

type Walked<T> = Result<T, String>;

impl<'a> Walk<'a> {
    /// Begins at the first of the moments.
    pub fn new(sent: Sent<'a>, moments: &'a Moments<'a>) -> Self {
        Self {
            sent,
            moments,
            parity: moments[0].1.commits % 2,
            reads: 0,
            priority: 0,
            mark: 0,
            connection_mark: 0,
            untracked: false,
        }
    }

    /// From the begin of a chain to the end of it.
    pub fn chain(&mut self, name: &str) -> Walked<Fate> {
        let verdict = self.enter(name, 0)?;
        let accepted = match verdict {
            Verdict::Drop => return Ok(Fate::Drop),
            Verdict::Accept => true,
            Verdict::Return => false,
            other => return Err(format!("{name} ends with {other:?}")),
        };
        Ok(Fate::Pass {
            accepted,
            marks: [self.mark, self.connection_mark],
            untracked: self.untracked,
        })
    }

    /// Something of the newest table. What that no longer has was found in one before, and stays for who
    /// has found it until a grace period is over.
    fn read<T>(&mut self, of: impl Fn(&'a Table) -> Option<&'a T>) -> Option<&'a T> {
        let read = self.reads;
        self.reads += 1;
        let passed = self.moments.iter().filter(|(from, _)| *from <= read);
        passed.rev().find_map(|(_, table)| of(table))
    }

    fn enter(&mut self, name: &str, depth: usize) -> Walked<Verdict> {
        if depth == DEEPEST {
            return Err(format!("{name}: jumps are nested too deep"));
        }
        let chain = self.read(|table| table.chains.get(name));
        let chain = chain.ok_or_else(|| format!("there is no chain {name}"))?;
        for rule in chain.rules[self.parity].iter() {
            match self.rule(rule).map_err(|e| format!("{name}: {e}"))? {
                Said::Nothing | Said::Verdict(Verdict::Continue) => {}
                Said::Verdict(Verdict::Jump(to)) => match self.enter(&to, depth + 1)? {
                    Verdict::Return => {}
                    end => return Ok(end),
                },
                Said::Verdict(Verdict::Goto(to)) => return self.enter(&to, depth + 1),
                Said::Verdict(end) => return Ok(end),
            }
        }
        Ok(Verdict::Return)
    }

    fn rule(&mut self, rule: &Rule) -> Walked<Said> {
        let mut words = Words::default();
        for expression in &rule.expressions {
            match expression {
                Expression::Verdict(verdict) => return Ok(Said::Verdict(verdict.clone())),
                Expression::Reject(_) => return Ok(Said::Verdict(Verdict::Drop)),
                Expression::Lookup {
                    set,
                    from,
                    to,
                    invert,
                } => {
                    let found = self.look_up(set, &words, *from)?;
                    match (found, to) {
                        (found, None) if found.is_some() == *invert => return Ok(Said::Nothing),
                        (_, None) => {}
                        (None, _) => return Ok(Said::Nothing),
                        (Some(Some(Data::Verdict(verdict))), Some(Register::Verdict)) => {
                            return Ok(Said::Verdict(verdict));
                        }
                        (Some(Some(Data::Value(value))), Some(to)) => {
                            let mut bytes = Vec::new();
                            value.write(&mut bytes);
                            words.store(*to, &bytes)?;
                        }
                        other => return Err(format!("{expression} finds {other:?}")),
                    }
                }
                other => {
                    if !self.step(other, &mut words)? {
                        return Ok(Said::Nothing);
                    }
                }
            }
        }
        Ok(Said::Nothing)
    }

    /// `false` if the rule ends.
    fn step(&mut self, expression: &Expression, words: &mut Words) -> Walked<bool> {
        match expression {
            Expression::MetaLoad { key, to } => words.store(*to, &self.meta(*key)?)?,
            Expression::MetaSet { key, from } => match key {
                MetaKey::Priority => self.priority = words.number(*from)?,
                MetaKey::Mark => self.mark = words.number(*from)?,
                other => return Err(format!("meta {other:?} is set")),
            },
            Expression::CtLoad { key, to, .. } => match key {
                CtKey::State => words.store(*to, &build::CT_STATE_NEW.to_ne_bytes())?,
                CtKey::Mark => words.store(*to, &self.connection_mark.to_ne_bytes())?,
                CtKey::Direction => words.store(*to, &[0])?,
                other => return Err(format!("ct {other:?} is read")),
            },
            Expression::CtSet { from, .. } => self.connection_mark = words.number(*from)?,
            Expression::PayloadLoad {
                base,
                offset,
                len,
                to,
            } => words.store(*to, &self.payload(*base, *offset, *len)?)?,
            Expression::Cmp { op, from, value } => {
                let held = words.bytes(*from, value.len())?;
                return Ok(match op {
                    CmpOp::Eq => held == value,
                    CmpOp::Neq => held != value,
                    CmpOp::Lt => held < &value[..],
                    CmpOp::Lte => held <= &value[..],
                    CmpOp::Gt => held > &value[..],
                    CmpOp::Gte => held >= &value[..],
                });
            }
            Expression::Range {
                op,
                from,
                first,
                last,
            } => {
                let held = words.bytes(*from, first.len())?;
                let inside = (&first[..]..=&last[..]).contains(&held);
                return Ok(inside == (*op == RangeOp::Eq));
            }
            Expression::Bitwise {
                from,
                to,
                mask,
                xor,
            } => {
                let held = words.bytes(*from, mask.len())?;
                let bits = held.iter().zip(mask).zip(xor);
                let bytes: Vec<u8> = bits.map(|((b, m), x)| (b & m) ^ x).collect();
                words.store(*to, &bytes)?;
            }
            Expression::Byteorder {
                from,
                to,
                len,
                size,
                ..
            } => {
                let mut bytes = words.bytes(*from, *len as usize)?.to_vec();
                bytes.chunks_mut(*size as usize).for_each(<[u8]>::reverse);
                words.store(*to, &bytes)?;
            }
            Expression::Immediate { to, value } => words.store(*to, value)?,
            Expression::Counter(_) | Expression::Log(_) => {}
            Expression::Notrack => self.untracked = true,
            other => return Err(format!("not known here: {other}")),
        }
        Ok(true)
    }

    fn look_up(
        &mut self,
        set: &LookupSet,
        words: &Words,
        from: Register,
    ) -> Walked<Option<Option<Data>>> {
        let of_rule;
        let elements = match set {
            LookupSet::Named(name) => {
                let held = self.read(|table| table.sets.get(name));
                &**held.ok_or_else(|| format!("there is no set {name}"))?
            }
            LookupSet::Anonymous(set) => {
                of_rule = Elements::of(&set.key, set.layout(), &set.elements);
                &of_rule
            }
        };
        let Register::Word(mut word) = from else {
            return Err("a key in the register of verdicts".to_owned());
        };
        let mut fields = Vec::new();
        for field in &elements.key {
            let length = field.len();
            fields.push(words.bytes(Register::Word(word), length)?);
            word += u8::try_from(length.div_ceil(4)).map_err(|e| e.to_string())?;
        }
        Ok(elements.get(&fields).map(Option::<&Data>::cloned))
    }

    fn meta(&self, key: MetaKey) -> Walked<Vec<u8>> {
        let name = |name: &str| {
            let mut bytes = name.as_bytes().to_vec();
            bytes.resize(16, 0);
            bytes
        };
        Ok(match key {
            MetaKey::Priority => self.priority.to_ne_bytes().to_vec(),
            MetaKey::Mark => self.mark.to_ne_bytes().to_vec(),
            MetaKey::IifName => name(self.sent.iif),
            MetaKey::OifName => name(self.sent.oif),
            MetaKey::NfProto => vec![match self.sent.packet.source {
                IpAddr::V4(_) => 2,
                IpAddr::V6(_) => 10,
            }],
            MetaKey::L4Proto => vec![self.sent.packet.protocol],
            other => return Err(format!("meta {other:?} is read")),
        })
    }

    fn payload(&self, base: PayloadBase, offset: u32, len: u32) -> Walked<Vec<u8>> {
        let packet = &self.sent.packet;
        let address = |address: IpAddr| match address {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        };
        let mut header = Vec::new();
        match base {
            PayloadBase::Network => {
                header.resize(if packet.source.is_ipv4() { 12 } else { 8 }, 0);
                header.extend(address(packet.source));
                header.extend(address(packet.destination));
            }
            PayloadBase::Transport if packet.is_icmp() => {
                header.extend([packet.icmp_type, packet.icmp_code]);
            }
            PayloadBase::Transport => {
                header.extend(packet.source_port.to_be_bytes());
                header.extend(packet.destination_port.to_be_bytes());
            }
            other => return Err(format!("{other:?} is read")),
        }
        let (from, len) = (offset as usize, len as usize);
        let bytes = header.get(from..from + len);
        bytes
            .map(<[u8]>::to_vec)
            .ok_or_else(|| format!("{len} bytes are read at {offset} of {base:?}"))
    }
}

/// Registers: what was stored at each word, as far as it goes.
#[derive(Default)]
struct Words(BTreeMap<u8, Vec<u8>>);

impl Words {
    fn store(&mut self, to: Register, bytes: &[u8]) -> Walked<()> {
        let Register::Word(word) = to else {
            return Err("a value in the register of verdicts".to_owned());
        };
        self.0.insert(word, bytes.to_vec());
        Ok(())
    }

    fn bytes(&self, from: Register, len: usize) -> Walked<&[u8]> {
        let held = match from {
            Register::Word(word) => self.0.get(&word).and_then(|bytes| bytes.get(..len)),
            Register::Verdict => None,
        };
        held.ok_or_else(|| format!("{len} bytes of {from:?} were not stored"))
    }

    fn number(&self, from: Register) -> Walked<u32> {
        let bytes = self.bytes(from, 4)?;
        Ok(u32::from_ne_bytes(
            bytes.try_into().expect("four bytes were asked for"),
        ))
    }
}
