use std::io::{Read, Write};
use std::net::{IpAddr, TcpListener, TcpStream, UdpSocket};
use std::process::Command;
use std::time::Duration;

use ocicat_kernel::conntrack::{
    self, Conntrack, Entry, Fate, Filter, Key, Layer4, MarkChange, MarkMatch, status,
};
use ocicat_kernel::netns::ScratchNamespace;

use super::packets::{ping, tcp_works, udp, udp_arrives};
use super::{nft, scratch};

const RULES: &str = "table inet t { chain out { type filter hook output priority 0; ct state new ct mark set 0x100; }; }";

/// A namespace that tracks its loopback, with accounting.
fn tracked() -> Option<(ScratchNamespace, Conntrack)> {
    let namespace = scratch()?;
    nft(&namespace, RULES);
    conntrack::enable_accounting_in(&namespace).unwrap();
    let table = Conntrack::open_in(&namespace).unwrap();
    Some((namespace, table))
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// Two sockets and the entry of one datagram between them.
fn flow(
    namespace: &ScratchNamespace,
    table: &mut Conntrack,
    address: &str,
) -> (UdpSocket, UdpSocket, Entry) {
    let (from, to) = (udp(namespace, ip(address)), udp(namespace, ip(address)));
    assert!(udp_arrives(&from, &to));
    let port = from.local_addr().unwrap().port();
    let found = table
        .select(&Filter::default(), |entry| source_port(entry) == Some(port))
        .unwrap();
    assert_eq!(found.len(), 1, "{found:?}");
    (from, to, found[0])
}

fn source_port(entry: &Entry) -> Option<u16> {
    match entry.original.layer4 {
        Layer4::Ports { source, .. } => Some(source),
        _ => None,
    }
}

#[test]
fn entries_say_who_talks_to_whom() {
    let Some((namespace, mut table)) = tracked() else {
        return;
    };
    for address in ["127.0.0.1", "::1"] {
        let (from, to, entry) = flow(&namespace, &mut table, address);
        assert_eq!(entry.original.source, ip(address));
        assert_eq!(entry.original.protocol, 17);
        let ports = |a: &UdpSocket, b: &UdpSocket| Layer4::Ports {
            source: a.local_addr().unwrap().port(),
            destination: b.local_addr().unwrap().port(),
        };
        assert_eq!(entry.original.layer4, ports(&from, &to));
        assert_eq!(entry.reply.layer4, ports(&to, &from));
        assert_eq!((entry.mark, entry.zone), (0x100, 0));
        assert_eq!(
            entry.status & (status::CONFIRMED | status::SEEN_REPLY),
            status::CONFIRMED
        );
        assert!(
            entry
                .timeout_s
                .is_some_and(|seconds| (1..=30).contains(&seconds))
        );
        let sent = entry.sent.expect("accounting is on");
        assert_eq!(sent.packets, 1);
        assert!(sent.bytes >= 33);
        assert_eq!(entry.received.map(|counters| counters.packets), Some(0));
        assert!(udp_arrives(&to, &from));
        let later = table.entries(&Filter::default()).unwrap();
        let later = later.iter().find(|other| other.id == entry.id).unwrap();
        assert_ne!(later.status & status::SEEN_REPLY, 0);
    }
}

#[test]
fn tcp_and_icmp_entries() {
    let Some((namespace, mut table)) = tracked() else {
        return;
    };
    assert!(tcp_works(&namespace, &namespace, ip("127.0.0.1")));
    ping(&namespace, ip("127.0.0.1")).unwrap();
    ping(&namespace, ip("::1")).unwrap();
    let entries = table.entries(&Filter::default()).unwrap();
    let tcp = entries
        .iter()
        .find(|entry| entry.original.protocol == 6)
        .unwrap();
    assert!(tcp.tcp_state.is_some_and(|state| state >= 3), "{tcp:?}");
    assert!(!tcp.picked_up, "{tcp:?}");
    for (protocol, echo, reply) in [(1, 8, 0), (58, 128, 129)] {
        let entry = entries
            .iter()
            .find(|entry| entry.original.protocol == protocol)
            .unwrap();
        let Layer4::Icmp { kind, code: 0, id } = entry.original.layer4 else {
            panic!("{entry:?}");
        };
        assert_eq!(kind, echo);
        assert_eq!(
            entry.reply.layer4,
            Layer4::Icmp {
                kind: reply,
                code: 0,
                id
            }
        );
        let change = MarkChange {
            key: entry.key(),
            value: 1,
            mask: 1,
        };
        assert_eq!(
            table.set_marks(&[change]).unwrap().remove(0).unwrap(),
            Fate::Done
        );
        assert_eq!(
            table.delete(&[entry.key()]).unwrap().remove(0).unwrap(),
            Fate::Done
        );
    }
}

#[test]
fn a_connection_that_is_older_than_its_entry_is_known_as_such() {
    let Some((namespace, mut table)) = tracked() else {
        return;
    };
    let (mut client, mut server) = namespace
        .run(|| {
            let listener = TcpListener::bind((ip("127.0.0.1"), 0))?;
            let client = TcpStream::connect(listener.local_addr()?)?;
            std::io::Result::Ok((client, listener.accept()?.0))
        })
        .unwrap()
        .unwrap();
    table.clear().unwrap();
    let mut byte = [0];
    server.write_all(b"1").unwrap();
    client.read_exact(&mut byte).unwrap();
    client.write_all(b"2").unwrap();
    server.read_exact(&mut byte).unwrap();
    let entries = table.entries(&Filter::default()).unwrap();
    let entry = entries
        .iter()
        .find(|entry| entry.original.protocol == 6)
        .unwrap();
    assert!(entry.picked_up, "{entry:?}");
    // The server spoke first.
    let Layer4::Ports { source, .. } = entry.original.layer4 else {
        panic!("{entry:?}");
    };
    assert_eq!(source, server.local_addr().unwrap().port());
}

#[test]
fn marks_change_under_a_mask_and_stop_a_flow() {
    let Some((namespace, mut table)) = tracked() else {
        return;
    };
    nft(
        &namespace,
        "table inet u { chain out { type filter hook output priority -5; ct mark & 0x80000000 != 0 drop; }; }",
    );
    for address in ["127.0.0.1", "::1"] {
        let (from, to, entry) = flow(&namespace, &mut table, address);
        let end = MarkChange {
            key: entry.key(),
            value: 0xffff_ffff,
            mask: 0x8000_0000,
        };
        let fates = table.set_marks(&[end, end]).unwrap();
        assert!(
            fates.iter().all(|fate| matches!(fate, Ok(Fate::Done))),
            "{fates:?}"
        );
        let marked = Filter {
            mark: Some(MarkMatch {
                value: 0x8000_0000,
                mask: 0x8000_0000,
            }),
        };
        let found = table.entries(&marked).unwrap();
        let marks: Vec<_> = found
            .iter()
            .filter(|other| other.id == entry.id)
            .map(|other| other.mark)
            .collect();
        assert_eq!(marks, [0x8000_0100], "other bits are kept");
        to.set_read_timeout(Some(Duration::from_millis(100)))
            .unwrap();
        assert!(!udp_arrives(&from, &to), "the flow has ended");
        assert!(!udp_arrives(&to, &from), "also from the other side");
        let clear = MarkChange { value: 0, ..end };
        table.set_marks(&[clear]).unwrap().remove(0).unwrap();
        assert!(udp_arrives(&from, &to), "the flow goes on");
    }
}

#[test]
fn the_kernel_filters_by_mark() {
    let Some((namespace, mut table)) = tracked() else {
        return;
    };
    let flows: Vec<_> = (0..20)
        .map(|_| flow(&namespace, &mut table, "127.0.0.1"))
        .collect();
    let changes: Vec<_> = flows
        .iter()
        .zip(0..)
        .map(|((_, _, entry), number): (_, u32)| MarkChange {
            key: entry.key(),
            value: number % 2,
            mask: 1,
        })
        .collect();
    table.set_marks(&changes).unwrap();
    for value in 0..2 {
        let filter = Filter {
            mark: Some(MarkMatch { value, mask: 1 }),
        };
        let found = table.entries(&filter).unwrap();
        assert_eq!(found.len(), 10);
        assert!(
            found
                .iter()
                .all(|entry| entry.mark & 1 == value && entry.mark & 0x100 != 0)
        );
    }
}

#[test]
fn entries_that_are_gone_are_told_from_failures() {
    let Some((namespace, mut table)) = tracked() else {
        return;
    };
    let (_, _, entry) = flow(&namespace, &mut table, "127.0.0.1");
    let stranger = Key {
        id: Some(entry.id.wrapping_add(1)),
        ..entry.key()
    };
    let fates = table.delete(&[stranger, entry.key(), entry.key()]).unwrap();
    let fates: Vec<_> = fates.into_iter().map(Result::unwrap).collect();
    assert_eq!(fates, [Fate::Gone, Fate::Done, Fate::Gone]);
    let change = MarkChange {
        key: entry.key(),
        value: 1,
        mask: 1,
    };
    assert_eq!(
        table.set_marks(&[change]).unwrap().remove(0).unwrap(),
        Fate::Gone
    );
}

#[test]
fn all_entries_of_an_address_go_and_no_others() {
    let Some((namespace, mut table)) = tracked() else {
        return;
    };
    let near: Vec<_> = (0..5)
        .map(|_| flow(&namespace, &mut table, "127.0.0.1"))
        .collect();
    let others = [
        flow(&namespace, &mut table, "127.0.0.2"),
        flow(&namespace, &mut table, "::1"),
    ];
    assert_eq!(
        table.delete_addresses(&[ip("127.0.0.1")]).unwrap(),
        near.len()
    );
    assert_eq!(
        table
            .delete_addresses(&[ip("127.0.0.1"), ip("10.0.0.1")])
            .unwrap(),
        0
    );
    assert_eq!(table.delete_addresses(&[]).unwrap(), 0);
    let left = table.entries(&Filter::default()).unwrap();
    assert_eq!(left.len(), others.len());
    assert_eq!(
        table
            .delete_addresses(&[ip("127.0.0.2"), ip("::1")])
            .unwrap(),
        2
    );
    assert_eq!(table.count().unwrap(), 0);
}

#[test]
fn a_large_table() {
    let Some((namespace, mut table)) = tracked() else {
        return;
    };
    let sockets: Vec<_> = (0..200).map(|_| udp(&namespace, ip("127.0.0.1"))).collect();
    let sinks: Vec<_> = (0..25).map(|_| udp(&namespace, ip("127.0.0.3"))).collect();
    for from in &sockets {
        for to in &sinks {
            from.send_to(b"x", to.local_addr().unwrap()).unwrap();
        }
    }
    let start = std::time::Instant::now();
    let entries = table.entries(&Filter::default()).unwrap();
    println!("{} entries read in {:?}", entries.len(), start.elapsed());
    assert_eq!((entries.len(), table.count().unwrap()), (5000, 5000));
    let changes: Vec<_> = entries
        .iter()
        .map(|entry| MarkChange {
            key: entry.key(),
            value: 2,
            mask: 2,
        })
        .collect();
    let start = std::time::Instant::now();
    let fates = table.set_marks(&changes).unwrap();
    println!("{} entries marked in {:?}", fates.len(), start.elapsed());
    assert!(fates.iter().all(|fate| matches!(fate, Ok(Fate::Done))));
    let start = std::time::Instant::now();
    assert_eq!(table.delete_addresses(&[ip("127.0.0.3")]).unwrap(), 5000);
    println!("5000 entries deleted in {:?}", start.elapsed());
}

/// What the `conntrack` program shows is what we read.
#[test]
fn agrees_with_the_conntrack_program() {
    let Some((namespace, mut table)) = tracked() else {
        return;
    };
    if Command::new("conntrack").arg("--version").output().is_err() {
        println!("skipped: the conntrack program is not installed");
        return;
    }
    let (from, to, entry) = flow(&namespace, &mut table, "127.0.0.1");
    let shown = super::exec(&namespace, &["conntrack", "-L", "-o", "id"]);
    let line = format!(
        "sport={} dport={}",
        from.local_addr().unwrap().port(),
        to.local_addr().unwrap().port()
    );
    let shown = shown.lines().find(|text| text.contains(&line)).unwrap();
    assert!(shown.contains(&format!("mark={}", entry.mark)), "{shown}");
    assert!(shown.contains(&format!("id={}", entry.id)), "{shown}");
}
