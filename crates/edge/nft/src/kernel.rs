//! Numbers of the kernel's interface: `linux/netlink.h`, `linux/netfilter/nfnetlink.h` and
//! `linux/netfilter/nf_tables.h`, and of libnftnl's user data (`libnftnl/udata.h`).
//!
//! Names are the kernel's, so that they can be searched for.

/// Attribute types of netlink, netfilter and `nf_tables`.
pub mod attr {
    /// Set on attributes that hold attributes.
    pub const NLA_F_NESTED: u16 = 0x8000;
    /// The bits of a type that are not flags.
    pub const NLA_TYPE_MASK: u16 = 0x3fff;

    pub const NLMSGERR_ATTR_MSG: u16 = 1;
    pub const NLMSGERR_ATTR_OFFS: u16 = 2;

    pub const NFNL_BATCH_GENID: u16 = 1;
    pub const NFTA_GEN_ID: u16 = 1;
    pub const NFTA_LIST_ELEM: u16 = 1;

    pub const NFTA_TABLE_NAME: u16 = 1;
    pub const NFTA_TABLE_FLAGS: u16 = 2;
    pub const NFTA_TABLE_USERDATA: u16 = 6;

    pub const NFTA_CHAIN_TABLE: u16 = 1;
    pub const NFTA_CHAIN_HANDLE: u16 = 2;
    pub const NFTA_CHAIN_NAME: u16 = 3;
    pub const NFTA_CHAIN_HOOK: u16 = 4;
    pub const NFTA_CHAIN_POLICY: u16 = 5;
    pub const NFTA_CHAIN_TYPE: u16 = 7;

    pub const NFTA_HOOK_HOOKNUM: u16 = 1;
    pub const NFTA_HOOK_PRIORITY: u16 = 2;
    pub const NFTA_HOOK_DEV: u16 = 3;

    pub const NFTA_RULE_TABLE: u16 = 1;
    pub const NFTA_RULE_CHAIN: u16 = 2;
    pub const NFTA_RULE_HANDLE: u16 = 3;
    pub const NFTA_RULE_EXPRESSIONS: u16 = 4;
    pub const NFTA_RULE_USERDATA: u16 = 7;

    pub const NFTA_EXPR_NAME: u16 = 1;
    pub const NFTA_EXPR_DATA: u16 = 2;

    pub const NFTA_SET_TABLE: u16 = 1;
    pub const NFTA_SET_NAME: u16 = 2;
    pub const NFTA_SET_FLAGS: u16 = 3;
    pub const NFTA_SET_KEY_TYPE: u16 = 4;
    pub const NFTA_SET_KEY_LEN: u16 = 5;
    pub const NFTA_SET_DATA_TYPE: u16 = 6;
    pub const NFTA_SET_DATA_LEN: u16 = 7;
    pub const NFTA_SET_DESC: u16 = 9;
    pub const NFTA_SET_ID: u16 = 10;
    pub const NFTA_SET_USERDATA: u16 = 13;
    pub const NFTA_SET_HANDLE: u16 = 16;
    pub const NFTA_SET_EXPR: u16 = 17;
    pub const NFTA_SET_EXPRESSIONS: u16 = 18;

    pub const NFTA_SET_DESC_SIZE: u16 = 1;
    pub const NFTA_SET_DESC_CONCAT: u16 = 2;
    pub const NFTA_SET_FIELD_LEN: u16 = 1;

    pub const NFTA_SET_ELEM_LIST_TABLE: u16 = 1;
    pub const NFTA_SET_ELEM_LIST_SET: u16 = 2;
    pub const NFTA_SET_ELEM_LIST_ELEMENTS: u16 = 3;
    pub const NFTA_SET_ELEM_LIST_SET_ID: u16 = 4;

    pub const NFTA_SET_ELEM_KEY: u16 = 1;
    pub const NFTA_SET_ELEM_DATA: u16 = 2;
    pub const NFTA_SET_ELEM_FLAGS: u16 = 3;
    pub const NFTA_SET_ELEM_USERDATA: u16 = 6;
    pub const NFTA_SET_ELEM_EXPR: u16 = 7;
    pub const NFTA_SET_ELEM_KEY_END: u16 = 10;
    pub const NFTA_SET_ELEM_EXPRESSIONS: u16 = 11;

    pub const NFTA_DATA_VALUE: u16 = 1;
    pub const NFTA_DATA_VERDICT: u16 = 2;
    pub const NFTA_VERDICT_CODE: u16 = 1;
    pub const NFTA_VERDICT_CHAIN: u16 = 2;

    pub const NFTA_IMMEDIATE_DREG: u16 = 1;
    pub const NFTA_IMMEDIATE_DATA: u16 = 2;
    pub const NFTA_BITWISE_SREG: u16 = 1;
    pub const NFTA_BITWISE_DREG: u16 = 2;
    pub const NFTA_BITWISE_LEN: u16 = 3;
    pub const NFTA_BITWISE_MASK: u16 = 4;
    pub const NFTA_BITWISE_XOR: u16 = 5;
    pub const NFTA_BITWISE_OP: u16 = 6;
    pub const NFTA_BYTEORDER_SREG: u16 = 1;
    pub const NFTA_BYTEORDER_DREG: u16 = 2;
    pub const NFTA_BYTEORDER_OP: u16 = 3;
    pub const NFTA_BYTEORDER_LEN: u16 = 4;
    pub const NFTA_BYTEORDER_SIZE: u16 = 5;
    pub const NFTA_CMP_SREG: u16 = 1;
    pub const NFTA_CMP_OP: u16 = 2;
    pub const NFTA_CMP_DATA: u16 = 3;
    pub const NFTA_RANGE_SREG: u16 = 1;
    pub const NFTA_RANGE_OP: u16 = 2;
    pub const NFTA_RANGE_FROM_DATA: u16 = 3;
    pub const NFTA_RANGE_TO_DATA: u16 = 4;
    pub const NFTA_LOOKUP_SET: u16 = 1;
    pub const NFTA_LOOKUP_SREG: u16 = 2;
    pub const NFTA_LOOKUP_DREG: u16 = 3;
    pub const NFTA_LOOKUP_SET_ID: u16 = 4;
    pub const NFTA_LOOKUP_FLAGS: u16 = 5;
    pub const NFTA_PAYLOAD_DREG: u16 = 1;
    pub const NFTA_PAYLOAD_BASE: u16 = 2;
    pub const NFTA_PAYLOAD_OFFSET: u16 = 3;
    pub const NFTA_PAYLOAD_LEN: u16 = 4;
    pub const NFTA_META_DREG: u16 = 1;
    pub const NFTA_META_KEY: u16 = 2;
    pub const NFTA_META_SREG: u16 = 3;
    pub const NFTA_CT_DREG: u16 = 1;
    pub const NFTA_CT_KEY: u16 = 2;
    pub const NFTA_CT_DIRECTION: u16 = 3;
    pub const NFTA_CT_SREG: u16 = 4;
    pub const NFTA_COUNTER_BYTES: u16 = 1;
    pub const NFTA_COUNTER_PACKETS: u16 = 2;
    pub const NFTA_LOG_GROUP: u16 = 1;
    pub const NFTA_LOG_PREFIX: u16 = 2;
    pub const NFTA_LOG_SNAPLEN: u16 = 3;
    pub const NFTA_LOG_QTHRESHOLD: u16 = 4;
    pub const NFTA_LOG_LEVEL: u16 = 5;
    pub const NFTA_LOG_FLAGS: u16 = 6;
    pub const NFTA_REJECT_TYPE: u16 = 1;
    pub const NFTA_REJECT_ICMP_CODE: u16 = 2;
    pub const NFTA_MASQ_FLAGS: u16 = 1;
    pub const NFTA_MASQ_REG_PROTO_MIN: u16 = 2;
    pub const NFTA_MASQ_REG_PROTO_MAX: u16 = 3;
    pub const NFTA_FIB_DREG: u16 = 1;
    pub const NFTA_FIB_RESULT: u16 = 2;
    pub const NFTA_FIB_FLAGS: u16 = 3;
}

/// Message types and flags.
pub mod msg {
    pub const NLMSG_HDRLEN: usize = 16;
    /// Bytes of `struct nfgenmsg`.
    pub const NFGENMSG_LEN: usize = 4;
    pub const NLMSG_ERROR: u16 = 2;
    pub const NLMSG_DONE: u16 = 3;

    pub const NLM_F_REQUEST: u16 = 1;
    pub const NLM_F_ACK: u16 = 4;
    pub const NLM_F_DUMP_INTR: u16 = 0x10;
    pub const NLM_F_REPLACE: u16 = 0x100;
    pub const NLM_F_DUMP: u16 = 0x300;
    pub const NLM_F_CREATE: u16 = 0x400;
    pub const NLM_F_APPEND: u16 = 0x800;
    /// In an error: the failed message is not repeated behind the header.
    pub const NLM_F_CAPPED: u16 = 0x100;
    /// In an error: attributes follow.
    pub const NLM_F_ACK_TLVS: u16 = 0x200;

    pub const NFNL_SUBSYS_NFTABLES: u16 = 10;
    pub const NFNL_MSG_BATCH_BEGIN: u16 = 16;
    pub const NFNL_MSG_BATCH_END: u16 = 17;

    pub const NFT_MSG_NEWTABLE: u16 = 0;
    pub const NFT_MSG_GETTABLE: u16 = 1;
    pub const NFT_MSG_DELTABLE: u16 = 2;
    pub const NFT_MSG_NEWCHAIN: u16 = 3;
    pub const NFT_MSG_GETCHAIN: u16 = 4;
    pub const NFT_MSG_DELCHAIN: u16 = 5;
    pub const NFT_MSG_NEWRULE: u16 = 6;
    pub const NFT_MSG_GETRULE: u16 = 7;
    pub const NFT_MSG_DELRULE: u16 = 8;
    pub const NFT_MSG_NEWSET: u16 = 9;
    pub const NFT_MSG_GETSET: u16 = 10;
    pub const NFT_MSG_DELSET: u16 = 11;
    pub const NFT_MSG_NEWSETELEM: u16 = 12;
    pub const NFT_MSG_GETSETELEM: u16 = 13;
    pub const NFT_MSG_DELSETELEM: u16 = 14;
    pub const NFT_MSG_GETGEN: u16 = 16;
}

/// Flags and codes inside attributes.
pub mod flag {
    pub const NFT_SET_ANONYMOUS: u32 = 0x1;
    pub const NFT_SET_CONSTANT: u32 = 0x2;
    pub const NFT_SET_INTERVAL: u32 = 0x4;
    pub const NFT_SET_MAP: u32 = 0x8;
    pub const NFT_SET_CONCAT: u32 = 0x80;

    pub const NFT_SET_ELEM_INTERVAL_END: u32 = 1;
    pub const NFT_SET_ELEM_CATCHALL: u32 = 2;

    pub const NFT_DATA_VERDICT: u32 = 0xffff_ff00;
    pub const NFT_LOOKUP_F_INV: u32 = 1;
    pub const NFT_BITWISE_MASK_XOR: u32 = 0;

    pub const NF_DROP: i32 = 0;
    pub const NF_ACCEPT: i32 = 1;
    pub const NFT_CONTINUE: i32 = -1;
    pub const NFT_JUMP: i32 = -3;
    pub const NFT_GOTO: i32 = -4;
    pub const NFT_RETURN: i32 = -5;

    pub const NFT_REJECT_ICMP_UNREACH: u32 = 0;
    pub const NFT_REJECT_TCP_RST: u32 = 1;
    pub const NFT_REJECT_ICMPX_UNREACH: u32 = 2;

    pub const NFT_FIB_RESULT_OIF: u32 = 1;
    pub const NFT_FIB_RESULT_OIFNAME: u32 = 2;
    pub const NFT_FIB_RESULT_ADDRTYPE: u32 = 3;
}

/// User data: what the kernel keeps for `nft` and does not read. A byte of type, a byte of length, the
/// value; numbers in host order.
pub mod udata {
    pub const TABLE_COMMENT: u8 = 0;
    pub const RULE_COMMENT: u8 = 0;
    pub const SET_KEYBYTEORDER: u8 = 0;
    pub const SET_DATABYTEORDER: u8 = 1;
    pub const SET_COMMENT: u8 = 7;
    pub const ELEM_COMMENT: u8 = 0;
    pub const ELEM_FLAGS: u8 = 1;

    /// An element flag: the interval has no end because it reaches the highest key.
    pub const ELEM_F_INTERVAL_OPEN: u32 = 1;

    /// Byte orders of `nft`: of concatenations and verdicts, of marks, of packets.
    pub const BYTEORDER_INVALID: u32 = 0;
    pub const BYTEORDER_HOST_ENDIAN: u32 = 1;
    pub const BYTEORDER_BIG_ENDIAN: u32 = 2;

    /// Bits of one field's type in the type of a concatenation.
    pub const TYPE_BITS: u32 = 6;
}

/// Largest length of an attribute, its header of 4 bytes included: a 16-bit field.
pub const MAX_ATTRIBUTE: usize = u16::MAX as usize;
