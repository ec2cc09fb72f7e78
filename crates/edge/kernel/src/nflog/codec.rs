//! `nfnetlink_log.h` as bytes.

use std::time::Duration;

use super::{Packet, Settings};
use crate::wire::{self, Message, NETFILTER_HEADER, put};

const SUBSYSTEM: u16 = 4 << 8;
/// `NFULNL_MSG_PACKET`.
pub(super) const PACKET: u16 = SUBSYSTEM;
/// `NFULNL_MSG_CONFIG`.
pub(super) const CONFIG: u16 = SUBSYSTEM | 1;
/// Bytes the kernel collects into one datagram; it allows at most 128 KiB.
pub(super) const DATAGRAM: usize = 64 * 1024;

const NFULA_CFG_CMD: u16 = 1;
const NFULA_CFG_MODE: u16 = 2;
const NFULA_CFG_NLBUFSIZ: u16 = 3;
const NFULA_CFG_TIMEOUT: u16 = 4;
const NFULA_CFG_QTHRESH: u16 = 5;
const NFULA_CFG_FLAGS: u16 = 6;

const NFULNL_CFG_CMD_BIND: u8 = 1;
const NFULNL_COPY_PACKET: u8 = 2;
const NFULNL_CFG_F_SEQ: u16 = 1;

const NFULA_PACKET_HDR: u16 = 1;
const NFULA_MARK: u16 = 2;
const NFULA_TIMESTAMP: u16 = 3;
const NFULA_IFINDEX_INDEV: u16 = 4;
const NFULA_IFINDEX_OUTDEV: u16 = 5;
const NFULA_PAYLOAD: u16 = 9;
const NFULA_PREFIX: u16 = 10;
const NFULA_SEQ: u16 = 12;

const ANY_FAMILY: u8 = 0;

/// The bodies of the two requests that make us the reader: bind, then everything else.
pub(super) fn configuration(settings: &Settings) -> [Vec<u8>; 2] {
    let header = || wire::netfilter_header(ANY_FAMILY, settings.group);
    let mut bind = header();
    put(&mut bind, NFULA_CFG_CMD, &[NFULNL_CFG_CMD_BIND]);

    let mut rest = header();
    let mut mode = settings.snap_length.to_be_bytes().to_vec();
    mode.extend([NFULNL_COPY_PACKET, 0]);
    let datagram = u32::try_from(DATAGRAM).expect("a datagram is far below 4 GiB");
    let hundredths = u32::try_from(settings.queue_timeout.as_millis() / 10).unwrap_or(u32::MAX);
    put(&mut rest, NFULA_CFG_MODE, &mode);
    put(&mut rest, NFULA_CFG_NLBUFSIZ, &datagram.to_be_bytes());
    put(
        &mut rest,
        NFULA_CFG_TIMEOUT,
        &hundredths.max(1).to_be_bytes(),
    );
    put(
        &mut rest,
        NFULA_CFG_QTHRESH,
        &settings.queue_threshold.max(1).to_be_bytes(),
    );
    put(&mut rest, NFULA_CFG_FLAGS, &NFULNL_CFG_F_SEQ.to_be_bytes());
    [bind, rest]
}

/// A packet and its number among those of the group.
pub(super) fn read(message: Message<'_>) -> Option<(Packet<'_>, Option<u32>)> {
    let mut sequence = None;
    let mut packet = Packet {
        mark: 0,
        prefix: &[],
        in_interface: None,
        out_interface: None,
        hook: 0,
        ether_type: 0,
        timestamp: None,
        payload: &[],
    };
    for (kind, value) in wire::attributes(message.body.get(NETFILTER_HEADER..)?) {
        match kind {
            NFULA_PACKET_HDR => {
                packet.ether_type = wire::u16_be(value.get(..2)?)?;
                packet.hook = *value.get(2)?;
            }
            NFULA_MARK => packet.mark = wire::u32_be(value)?,
            NFULA_TIMESTAMP => packet.timestamp = timestamp(value),
            NFULA_IFINDEX_INDEV => packet.in_interface = wire::u32_be(value),
            NFULA_IFINDEX_OUTDEV => packet.out_interface = wire::u32_be(value),
            NFULA_PAYLOAD => packet.payload = value,
            NFULA_PREFIX => packet.prefix = value.strip_suffix(&[0]).unwrap_or(value),
            NFULA_SEQ => sequence = wire::u32_be(value),
            _ => {}
        }
    }
    Some((packet, sequence))
}

/// Seconds and microseconds.
fn timestamp(value: &[u8]) -> Option<Duration> {
    let seconds = wire::u64_be(value.get(..8)?)?;
    let micros = wire::u64_be(value.get(8..16)?)?;
    Duration::from_secs(seconds).checked_add(Duration::from_micros(micros))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Vec<u8> {
        let mut body = wire::netfilter_header(2, 5);
        put(&mut body, NFULA_PACKET_HDR, &[0x08, 0x00, 2, 0]);
        put(&mut body, NFULA_MARK, &7_u32.to_be_bytes());
        put(&mut body, NFULA_PREFIX, b"denied\0");
        put(&mut body, NFULA_IFINDEX_INDEV, &3_u32.to_be_bytes());
        let mut time = 1_700_000_000_u64.to_be_bytes().to_vec();
        time.extend(250_000_u64.to_be_bytes());
        put(&mut body, NFULA_TIMESTAMP, &time);
        put(&mut body, NFULA_SEQ, &41_u32.to_be_bytes());
        put(&mut body, NFULA_PAYLOAD, &[0x45, 0, 0, 20]);
        body
    }

    fn message(body: &[u8]) -> Message<'_> {
        Message {
            kind: PACKET,
            flags: 0,
            sequence: 0,
            body,
        }
    }

    #[test]
    fn reads_what_a_rule_logged() {
        let body = sample();
        let (packet, sequence) = read(message(&body)).unwrap();
        assert_eq!(
            (packet.hook, packet.ether_type, packet.mark),
            (2, 0x0800, 7)
        );
        assert_eq!(packet.prefix, b"denied");
        assert_eq!((packet.in_interface, packet.out_interface), (Some(3), None));
        assert_eq!(
            packet.timestamp,
            Some(Duration::from_millis(1_700_000_000_250))
        );
        assert_eq!(packet.payload, [0x45, 0, 0, 20]);
        assert_eq!(sequence, Some(41));
    }

    #[test]
    fn cut_and_changed_bytes_never_panic() {
        let body = sample();
        for end in 0..body.len() {
            let _ = read(message(&body[..end]));
            for byte in [0, 1, 0xff] {
                let mut changed = body.clone();
                changed[end] = byte;
                let _ = read(message(&changed));
            }
        }
    }
}
