//! Programs to netlink messages. Pure: no socket, no state.
//!
//! ```text
//!   Transaction ──► BATCH_BEGIN, one or more messages for each operation, BATCH_END
//!                                  │ sequence number ► Origin
//!                                  ▼
//!            an error of the kernel finds the operation and the element it is about
//! ```

mod element;
mod expression;
mod set;

use crate::code;
use crate::kernel::msg::{
    self, NFT_MSG_DELCHAIN, NFT_MSG_DELRULE, NFT_MSG_DELSET, NFT_MSG_DELTABLE, NFT_MSG_NEWCHAIN,
    NFT_MSG_NEWRULE, NFT_MSG_NEWTABLE, NLM_F_ACK, NLM_F_APPEND, NLM_F_CREATE, NLM_F_REPLACE,
    NLM_F_REQUEST,
};
use crate::kernel::{attr, udata};
use crate::object::{
    AnonymousSet, BaseChain, Chain, Element, Expression, Family, LookupSet, Numbers, Op, Rule,
    SetId, TableId, Transaction,
};
use crate::wire::Writer;

/// A transaction as bytes, and where each message came from.
pub struct Batch {
    /// All messages.
    pub bytes: Vec<u8>,
    /// Sequence number of the first message; the others follow one by one.
    pub first_sequence: u32,
    /// One for each message between the begin and the end.
    pub origins: Vec<Origin>,
}

/// What a message of a batch was made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Index of the operation.
    pub op: usize,
    /// Where the message begins in the batch.
    pub start: usize,
    /// Index in the operation of the first element that the message carries.
    pub first_element: usize,
}

/// The operation, by its index, that does not fit its message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong {
    pub op: usize,
}

impl Batch {
    /// Sequence number after the last message.
    pub fn next_sequence(&self) -> u32 {
        self.last_sequence().wrapping_add(2)
    }

    /// Sequence number of the last message before the end: the one that asks for an acknowledgement.
    pub fn last_sequence(&self) -> u32 {
        // A batch of more than 2^32 messages is far above the limit on bytes.
        self.first_sequence
            .wrapping_add(u32::try_from(self.origins.len()).unwrap_or(u32::MAX))
    }

    /// Where the message with a sequence number came from; `None` for begin and end, and strangers.
    pub fn origin(&self, sequence: u32) -> Option<Origin> {
        let index = sequence.wrapping_sub(self.first_sequence).checked_sub(1)?;
        self.origins.get(usize::try_from(index).ok()?).copied()
    }
}

/// Encodes a transaction. With a generation, the kernel refuses it if anything was committed since.
///
/// # Errors
///
/// [`TooLong`] if a part of an operation, such as one rule's expressions, exceeds 65,535 bytes.
pub fn batch(
    transaction: &Transaction,
    generation: Option<u32>,
    first_sequence: u32,
) -> Result<Batch, TooLong> {
    let mut e = Encoder {
        w: Writer::default(),
        table: &transaction.table,
        sequence: first_sequence,
        op: 0,
        origins: Vec::with_capacity(transaction.ops.len()),
        anonymous: 0,
    };
    let begin = e.w.begin(
        msg::NFNL_MSG_BATCH_BEGIN,
        NLM_F_REQUEST,
        first_sequence,
        0,
        msg::NFNL_SUBSYS_NFTABLES,
    );
    if let Some(generation) = generation {
        e.w.be32(attr::NFNL_BATCH_GENID, generation);
    }
    e.w.end(begin);
    for (index, op) in transaction.ops.iter().enumerate() {
        e.op = index;
        e.operation(op);
        if e.w.take_too_long() {
            return Err(TooLong { op: index });
        }
    }
    if let Some(last) = e.origins.last() {
        e.w.add_flags(last.start, NLM_F_ACK);
    }
    e.sequence = e.sequence.wrapping_add(1);
    let end = e.w.begin(
        msg::NFNL_MSG_BATCH_END,
        NLM_F_REQUEST,
        e.sequence,
        0,
        msg::NFNL_SUBSYS_NFTABLES,
    );
    e.w.end(end);
    Ok(Batch {
        bytes: e.w.into_bytes(),
        first_sequence,
        origins: e.origins,
    })
}

/// User data: one value.
fn udata(out: &mut Vec<u8>, kind: u8, value: &[u8]) {
    // Callers pass numbers, and texts of at most 127 bytes with their NUL.
    out.push(kind);
    out.push(u8::try_from(value.len()).unwrap_or(u8::MAX));
    out.extend_from_slice(value);
}

/// User data: a text with its NUL.
fn udata_text(out: &mut Vec<u8>, kind: u8, text: &crate::object::Text) {
    let mut value = text.as_str().as_bytes().to_vec();
    value.push(0);
    udata(out, kind, &value);
}

struct Encoder<'a> {
    w: Writer,
    table: &'a TableId,
    /// That of the last message begun.
    sequence: u32,
    op: usize,
    origins: Vec<Origin>,
    /// Identifiers given to sets of this batch.
    anonymous: u32,
}

impl Encoder<'_> {
    fn operation(&mut self, op: &Op) {
        match op {
            Op::AddTable { comment } => self.message(NFT_MSG_NEWTABLE, NLM_F_CREATE, |w, table| {
                w.string(attr::NFTA_TABLE_NAME, table);
                w.be32(attr::NFTA_TABLE_FLAGS, 0);
                if let Some(comment) = comment {
                    let mut data = Vec::new();
                    udata_text(&mut data, udata::TABLE_COMMENT, comment);
                    w.bytes(attr::NFTA_TABLE_USERDATA, &data);
                }
            }),
            Op::DelTable => self.message(NFT_MSG_DELTABLE, 0, |w, table| {
                w.string(attr::NFTA_TABLE_NAME, table);
            }),
            Op::AddChain(chain) => self.chain(chain),
            Op::DelChain(name) => self.message(NFT_MSG_DELCHAIN, 0, |w, table| {
                w.string(attr::NFTA_CHAIN_TABLE, table);
                w.string(attr::NFTA_CHAIN_NAME, name);
            }),
            Op::FlushChain(name) => self.message(NFT_MSG_DELRULE, 0, |w, table| {
                w.string(attr::NFTA_RULE_TABLE, table);
                w.string(attr::NFTA_RULE_CHAIN, name);
            }),
            Op::AddRule(rule) => self.rule(rule, None),
            Op::ReplaceRule { handle, rule } => self.rule(rule, Some(*handle)),
            Op::DelRule { chain, handle } => self.message(NFT_MSG_DELRULE, 0, |w, table| {
                w.string(attr::NFTA_RULE_TABLE, table);
                w.string(attr::NFTA_RULE_CHAIN, chain);
                w.be64(attr::NFTA_RULE_HANDLE, *handle);
            }),
            Op::AddSet(set) => self.set(set),
            Op::DelSet(name) => self.message(NFT_MSG_DELSET, 0, |w, table| {
                w.string(attr::NFTA_SET_TABLE, table);
                w.string(attr::NFTA_SET_NAME, name);
            }),
            Op::FlushSet(name) => self.message(msg::NFT_MSG_DELSETELEM, 0, |w, table| {
                w.string(attr::NFTA_SET_ELEM_LIST_TABLE, table);
                w.string(attr::NFTA_SET_ELEM_LIST_SET, name);
            }),
            Op::AddElements { set, elements } => {
                self.elements(msg::NFT_MSG_NEWSETELEM, set, None, elements);
            }
            Op::DelElements { set, elements } => {
                self.elements(msg::NFT_MSG_DELSETELEM, set, None, elements);
            }
            Op::AddNumbers(numbers) => self.numbers(msg::NFT_MSG_NEWSETELEM, numbers),
            Op::DelNumbers(numbers) => self.numbers(msg::NFT_MSG_DELSETELEM, numbers),
        }
    }

    /// Writes one message and remembers where it came from.
    fn message(&mut self, kind: u16, flags: u16, inside: impl FnOnce(&mut Writer, &str)) {
        self.message_from(0, kind, flags, inside);
    }

    fn message_from(
        &mut self,
        first_element: usize,
        kind: u16,
        flags: u16,
        inside: impl FnOnce(&mut Writer, &str),
    ) {
        self.sequence = self.sequence.wrapping_add(1);
        self.origins.push(Origin {
            op: self.op,
            start: self.w.len(),
            first_element,
        });
        let open = self.w.begin_nft(
            kind,
            NLM_F_REQUEST | flags,
            self.sequence,
            self.table.family.number(),
        );
        inside(&mut self.w, &self.table.name);
        self.w.end(open);
    }

    fn chain(&mut self, chain: &Chain) {
        let family = self.table.family;
        self.message(NFT_MSG_NEWCHAIN, NLM_F_CREATE, |w, table| {
            w.string(attr::NFTA_CHAIN_TABLE, table);
            w.string(attr::NFTA_CHAIN_NAME, &chain.name);
            if let Some(base) = &chain.base {
                base_chain(w, family, base);
            }
        });
    }

    fn rule(&mut self, rule: &Rule, replaces: Option<u64>) {
        let mut ids = Vec::new();
        for expression in &rule.expressions {
            if let Expression::Lookup {
                set: LookupSet::Anonymous(set),
                ..
            } = expression
            {
                ids.push(self.anonymous_set(set));
            }
        }
        let flags = if replaces.is_some() {
            NLM_F_REPLACE
        } else {
            NLM_F_CREATE | NLM_F_APPEND
        };
        self.message(NFT_MSG_NEWRULE, flags, |w, table| {
            w.string(attr::NFTA_RULE_TABLE, table);
            w.string(attr::NFTA_RULE_CHAIN, &rule.chain);
            if let Some(handle) = replaces {
                w.be64(attr::NFTA_RULE_HANDLE, handle);
            }
            let mut ids = ids.into_iter();
            w.nested(attr::NFTA_RULE_EXPRESSIONS, |w| {
                for expression in &rule.expressions {
                    expression::encode(w, expression, &mut ids);
                }
            });
            if let Some(comment) = &rule.comment {
                let mut data = Vec::new();
                udata_text(&mut data, udata::RULE_COMMENT, comment);
                w.bytes(attr::NFTA_RULE_USERDATA, &data);
            }
        });
    }

    /// Makes the set of a rule; returns the identifier by which the rule finds it in this batch.
    fn anonymous_set(&mut self, set: &AnonymousSet) -> u32 {
        self.anonymous += 1;
        let id = self.anonymous;
        self.message(msg::NFT_MSG_NEWSET, NLM_F_CREATE, |w, table| {
            set::encode_anonymous(w, table, set, id);
        });
        let name = SetId {
            name: set::anonymous_name(set).to_owned(),
            layout: set.layout(),
        };
        self.elements(msg::NFT_MSG_NEWSETELEM, &name, Some(id), &set.elements);
        id
    }

    fn set(&mut self, set: &crate::object::Set) {
        // The kernel wants an identifier with each new set, unique in the batch.
        self.anonymous += 1;
        let id = self.anonymous;
        self.message(msg::NFT_MSG_NEWSET, NLM_F_CREATE, |w, table| {
            set::encode(w, table, set, id);
        });
    }

    /// Writes elements into as few messages as their 16-bit lengths allow.
    fn elements(&mut self, kind: u16, set: &SetId, id: Option<u32>, elements: &[Element]) {
        let flags = create_if_new(kind);
        let part = part_of(kind);
        let mut done = 0;
        while done < elements.len() {
            let first = done;
            self.message_from(first, kind, flags, |w, table| {
                w.string(attr::NFTA_SET_ELEM_LIST_TABLE, table);
                w.string(attr::NFTA_SET_ELEM_LIST_SET, &set.name);
                if let Some(id) = id {
                    w.be32(attr::NFTA_SET_ELEM_LIST_SET_ID, id);
                }
                let list = w.open_nested(attr::NFTA_SET_ELEM_LIST_ELEMENTS);
                while done < elements.len() {
                    let is_first = done == first;
                    if !is_first
                        && w.len_since(list) + element::MAX_LEN > crate::kernel::MAX_ATTRIBUTE
                    {
                        break;
                    }
                    element::encode(w, set.layout, &elements[done], part);
                    done += 1;
                }
                w.close(list);
            });
        }
    }

    /// Likewise for numbers.
    fn numbers(&mut self, kind: u16, numbers: &Numbers) {
        let flags = create_if_new(kind);
        let part = part_of(kind);
        let at_once = (crate::kernel::MAX_ATTRIBUTE - 4) / element::numbers_len(numbers.stride());
        let mut words = numbers.words();
        for first in (0..numbers.len()).step_by(at_once) {
            self.message_from(first, kind, flags, |w, table| {
                w.string(attr::NFTA_SET_ELEM_LIST_TABLE, table);
                w.string(attr::NFTA_SET_ELEM_LIST_SET, numbers.map());
                let list = w.open_nested(attr::NFTA_SET_ELEM_LIST_ELEMENTS);
                for words in words.by_ref().take(at_once) {
                    element::numbers(w, words, part);
                }
                w.close(list);
            });
        }
    }
}

fn part_of(kind: u16) -> element::Part {
    match kind {
        msg::NFT_MSG_DELSETELEM => element::Part::Key,
        _ => element::Part::Whole,
    }
}

fn create_if_new(kind: u16) -> u16 {
    if kind == msg::NFT_MSG_NEWSETELEM {
        NLM_F_CREATE
    } else {
        0
    }
}

fn base_chain(w: &mut Writer, family: Family, base: &BaseChain) {
    w.nested(attr::NFTA_CHAIN_HOOK, |w| {
        // A hook that the family lacks gets a number that no family has: the kernel names the chain.
        w.be32(
            attr::NFTA_HOOK_HOOKNUM,
            code::number(code::hooks(family), &base.hook).unwrap_or(u32::MAX),
        );
        w.bytes(attr::NFTA_HOOK_PRIORITY, &base.priority.to_be_bytes());
        if let Some(device) = &base.device {
            w.string(attr::NFTA_HOOK_DEV, device);
        }
    });
    // Both tables are total.
    w.be32(
        attr::NFTA_CHAIN_POLICY,
        code::number(&code::POLICY, &base.policy).unwrap_or_default(),
    );
    w.string(
        attr::NFTA_CHAIN_TYPE,
        code::number(&code::CHAIN_KIND, &base.kind).unwrap_or_default(),
    );
}
