use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use ocicat_kernel::netns::ScratchNamespace;
use ocicat_kernel::nflog::{Nflog, Settings};
use ocicat_kernel::rtnl::Rtnl;

use super::packets::{udp, udp_arrives};
use super::{nft, scratch};

const RULES: &str = "table inet t { chain out { type filter hook output priority 0; \
     udp dport 9 meta mark set 0xabcd log prefix \"denied\" group 7 drop; }; }";

/// A logged packet, kept.
struct Seen {
    mark: u32,
    prefix: Vec<u8>,
    out_interface: Option<u32>,
    hook: u8,
    ether_type: u16,
    payload: Vec<u8>,
}

fn open(namespace: &ScratchNamespace, settings: &Settings) -> Nflog {
    nft(namespace, RULES);
    Nflog::open_in(namespace, settings).unwrap()
}

/// Reads until `count` packets came or two seconds passed.
fn read(reader: &mut Nflog, count: usize) -> Vec<Seen> {
    let mut seen = Vec::new();
    let start = Instant::now();
    while seen.len() < count && start.elapsed() < Duration::from_secs(2) {
        let datagrams = reader
            .receive(|packet| {
                seen.push(Seen {
                    mark: packet.mark,
                    prefix: packet.prefix.to_vec(),
                    out_interface: packet.out_interface,
                    hook: packet.hook,
                    ether_type: packet.ether_type,
                    payload: packet.payload.to_vec(),
                });
            })
            .unwrap();
        if datagrams == 0 {
            std::thread::sleep(Duration::from_millis(2));
        }
    }
    seen
}

#[test]
fn denied_packets_arrive_with_their_mark() {
    let Some(namespace) = scratch() else { return };
    let mut reader = open(
        &namespace,
        &Settings {
            snap_length: 64,
            ..Settings::of_group(7)
        },
    );
    assert!(reader.as_raw_fd() >= 0);
    assert_eq!(reader.receive(|_| panic!("nothing was sent")).unwrap(), 0);
    let lo = Rtnl::open_in(&namespace).unwrap().link_index("lo").unwrap();
    for (address, ether_type, header) in [("127.0.0.1", 0x0800, 28), ("::1", 0x86dd, 48)] {
        let socket = udp(&namespace, address.parse().unwrap());
        let _ = socket.send_to(&[b'x'; 100], (address, 9));
        let seen = read(&mut reader, 1);
        assert_eq!(seen.len(), 1, "{address}");
        let packet = &seen[0];
        assert_eq!(
            (packet.mark, packet.ether_type, packet.hook),
            (0xabcd, ether_type, 3)
        );
        assert_eq!(packet.prefix, b"denied");
        assert_eq!(packet.out_interface, Some(lo));
        assert_eq!(packet.payload.len(), 64, "the snap length");
        assert_eq!(packet.payload[header..], vec![b'x'; 64 - header]);
    }
    assert_eq!(reader.loss(), ocicat_kernel::nflog::Loss::default());
}

#[test]
fn a_group_has_one_reader_in_each_namespace() {
    let (Some(one), Some(two)) = (scratch(), scratch()) else {
        return;
    };
    let first = open(&one, &Settings::of_group(7));
    let error = Nflog::open_in(&one, &Settings::of_group(7)).unwrap_err();
    assert_eq!(error.errno(), Some(libc::EPERM));
    assert!(error.to_string().starts_with("NFLOG group 7: "), "{error}");
    open(&two, &Settings::of_group(7));
    drop(first);
    Nflog::open_in(&one, &Settings::of_group(7)).expect("the group is free again");
}

#[test]
fn a_burst_is_read_without_loss_and_an_overrun_is_counted() {
    const BURST: usize = 20_000;
    let Some(namespace) = scratch() else { return };
    let mut reader = open(&namespace, &Settings::of_group(7));
    let socket = udp(&namespace, "127.0.0.1".parse().unwrap());
    for _ in 0..BURST {
        let _ = socket.send_to(b"x", ("127.0.0.1", 9));
    }
    assert_eq!(read(&mut reader, BURST).len(), BURST);
    assert_eq!(reader.loss(), ocicat_kernel::nflog::Loss::default());
    drop(reader);

    let small = Settings {
        receive_buffer: 64 * 1024,
        ..Settings::of_group(7)
    };
    let mut reader = Nflog::open_in(&namespace, &small).unwrap();
    for _ in 0..BURST {
        let _ = socket.send_to(b"x", ("127.0.0.1", 9));
    }
    let mut got = read(&mut reader, BURST).len();
    // One more shows how many are missing before it.
    let _ = socket.send_to(b"x", ("127.0.0.1", 9));
    got += read(&mut reader, 1).len();
    let loss = reader.loss();
    assert!(got < BURST && loss.overruns > 0, "{got} {loss:?}");
    assert_eq!(got as u64 + loss.packets, BURST as u64 + 1, "{loss:?}");
}

#[test]
fn allowed_packets_are_not_logged() {
    let Some(namespace) = scratch() else { return };
    let mut reader = open(
        &namespace,
        &Settings {
            queue_threshold: 1,
            ..Settings::of_group(7)
        },
    );
    let (from, to) = (
        udp(&namespace, "127.0.0.1".parse().unwrap()),
        udp(&namespace, "127.0.0.1".parse().unwrap()),
    );
    assert!(udp_arrives(&from, &to));
    assert_eq!(reader.receive(|_| panic!("was allowed")).unwrap(), 0);
}
