//! Writes the expressions that the `nft` program generates for a piece of its language.
//!
//! Each function names that piece. What `nft` adds by itself before a piece, such as
//! `meta nfproto ipv4` before `ip daddr` in a table of family inet, is written out by the caller with
//! [`ipv4`], [`ipv6`], [`ether_ipv4`], [`ether_ipv6`] or [`l4proto`]; `nft` drops it again when it
//! lists the rule.
//!
//! ```
//! use ocicat_program::nft::{MetaKey, Rule, build};
//!
//! // meta priority set ip daddr map @class4 return
//! let rule = Rule::new("class_of_daddr")
//!     .with(build::ipv4())
//!     .with(build::meta_set_map(MetaKey::Priority, &[build::IP_DADDR], "class4"))
//!     .with(build::verdict(ocicat_program::nft::Verdict::Return));
//! assert_eq!(rule.expressions.len(), 6);
//! ```

mod load;
mod lookup;
mod matching;
mod statement;

pub use load::{
    CT_MARK, CT_STATE_ESTABLISHED, CT_STATE_INVALID, CT_STATE_NEW, CT_STATE_RELATED,
    CT_STATE_UNTRACKED, CT_STATUS_DNAT, CT_STATUS_SNAT, ETHER_DADDR, ETHER_SADDR, ETHER_TYPE,
    ICMP_CODE, ICMP_TYPE, ICMPV6_CODE, ICMPV6_TYPE, IIF, IIFNAME, IP_DADDR, IP_PROTOCOL, IP_SADDR,
    IP6_DADDR, IP6_SADDR, L4PROTO, Load, MARK, OIF, OIFNAME, PRIORITY, PROTOCOL, TH_DPORT,
    TH_SPORT,
};
pub use lookup::{
    ct_mark_set_map, in_interval_set, in_set, lookup, meta_set_map, meta_set_map_interval,
    meta_set_prefix_map, not_in_interval_set, not_in_set, one_of, vmap, vmap_interval,
};
pub use matching::{
    between, ct_direction, ct_state, ct_status, eq, ether, ether_ipv4, ether_ipv6, fib_daddr_local,
    iifname, iifname_not, ipv4, ipv4_prefix, ipv6, ipv6_prefix, l4proto, masked_eq, masked_neq,
    neq, not_between, oifname, oifname_not,
};
pub use statement::{
    counter, ct_mark_set, ct_mark_set_from, ct_mark_update, log_group, masquerade,
    masquerade_fully_random, meta_mark_update, meta_set, meta_set_from, notrack, reject, verdict,
};

use super::expression::{ByteorderOp, Expression, Register};

fn prefix_mask(bytes: usize, len: u8) -> Vec<u8> {
    let bit = |i: usize| u8::from(i < usize::from(len));
    (0..bytes)
        .map(|b| (0..8).fold(0, |byte, i| byte << 1 | bit(b * 8 + i)))
        .collect()
}

fn bitwise(mask: Vec<u8>, xor: Vec<u8>) -> Expression {
    Expression::Bitwise {
        from: Register::R1,
        to: Register::R1,
        mask,
        xor,
    }
}

fn hton(at: Register) -> Expression {
    Expression::Byteorder {
        from: at,
        to: at,
        op: ByteorderOp::Hton,
        len: 4,
        size: 4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nft::{Layout, LookupSet, Value};

    fn text(expressions: &[Expression]) -> String {
        expressions
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(" ")
    }

    #[test]
    fn fields_of_a_key_follow_each_other_in_registers() {
        let key = [IIFNAME, ETHER_SADDR, IP_SADDR];
        let expected = "[ meta load iifname => reg 1 ] [ payload load 6b @ link header + 6 => reg 2 ] \
                        [ payload load 4b @ network header + 12 => reg 14 ] [ lookup reg 1 set s ]";
        assert_eq!(text(&in_set(&key, "s")), expected);
    }

    #[test]
    fn ordered_keys_are_turned_in_interval_sets_only() {
        let named = || LookupSet::Named("s".into());
        let turned = text(&lookup(
            &[PRIORITY, TH_DPORT],
            Layout::IntervalConcat,
            named(),
            None,
        ));
        assert!(
            turned.contains("byteorder reg 1 = hton(reg 1, 4, 4)"),
            "{turned}"
        );
        let exact = text(&lookup(&[PRIORITY, TH_DPORT], Layout::Exact, named(), None));
        assert!(!exact.contains("byteorder"), "{exact}");
    }

    #[test]
    fn prefixes_of_whole_bytes_load_no_more_than_those() {
        let address = "10.1.2.3".parse().expect("an address");
        let eight = "[ payload load 1b @ network header + 12 => reg 1 ] [ cmp eq reg 1 0x0a ]";
        assert_eq!(text(&ipv4_prefix(IP_SADDR, address, 8)), eight);
        let nine = text(&ipv4_prefix(IP_SADDR, address, 9));
        assert!(
            nine.contains("& 0xff800000 ) ^ 0x00000000 ] [ cmp eq reg 1 0x0a000000 ]"),
            "{nine}"
        );
        assert_eq!(ipv4_prefix(IP_SADDR, address, 0), []);
        assert_eq!(
            ipv4_prefix(IP_SADDR, address, 99),
            ipv4_prefix(IP_SADDR, address, 32)
        );
    }

    #[test]
    fn wildcards_compare_only_what_they_give() {
        assert!(text(&iifname("ocw*")).ends_with("[ cmp eq reg 1 0x6f6377 ]"));
        assert!(
            text(&iifname("ocw")).ends_with("[ cmp eq reg 1 0x6f637700000000000000000000000000 ]")
        );
    }

    #[test]
    fn a_bit_that_is_set_is_taken_from_the_mask() {
        let expected = ct_mark_update(0x3fff_ffff, 0x4000_0000);
        assert_eq!(ct_mark_update(0x7fff_ffff, 0x4000_0000), expected);
        assert_ne!(ct_mark_update(0x7fff_ffff, 0), expected);
    }

    #[test]
    fn constants_are_written_in_the_order_of_registers() {
        let set = meta_set(crate::nft::MetaKey::Priority, &Value::ClassId(1));
        assert_eq!(
            set[0],
            Expression::Immediate {
                to: Register::R1,
                value: 1u32.to_ne_bytes().to_vec()
            }
        );
    }
}
