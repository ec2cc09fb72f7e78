//! Blocks addresses: makes a table once, then adds and removes addresses, and shows what was dropped.
//!
//! ```text
//! cargo run -p ocicat-nft --example blocklist -- add 192.0.2.1 2001:db8::1
//! cargo run -p ocicat-nft --example blocklist -- del 192.0.2.1
//! cargo run -p ocicat-nft --example blocklist -- show
//! cargo run -p ocicat-nft --example blocklist -- off
//! ```
//!
//! Try it in a network namespace of its own: `unshare --net`.

use std::error::Error;
use std::net::IpAddr;
use std::process::ExitCode;

use ocicat_nft::Connection;
use ocicat_nft::object::{
    Chain, ChainKind, Element, Hook, KeyType, Op, Policy, Rule, Set, TableId, Transaction, Value,
    Verdict, build, priority,
};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let verb = arguments.next().ok_or("say add, del, show or off")?;
    let addresses = arguments
        .map(|text| text.parse())
        .collect::<Result<Vec<IpAddr>, _>>()?;
    let mut nft = Connection::open()?;
    let table = TableId::inet("blocklist");
    match verb.as_str() {
        "add" => {
            let mut change = skeleton(&mut nft, &table)?;
            for (set, elements) in by_family(&addresses) {
                change.push(Op::AddElements {
                    set: set.id(),
                    elements,
                });
            }
            nft.commit(&change)?;
        }
        "del" => {
            let elements = by_family(&addresses).into_iter();
            let ops = elements
                .map(|(set, elements)| Op::DelElements {
                    set: set.id(),
                    elements,
                })
                .collect();
            nft.commit(&Transaction { table, ops })?;
        }
        "show" => {
            for set in sets() {
                for element in nft.elements(&table, &set)? {
                    println!("{element}");
                }
            }
        }
        "off" => nft.commit(&Transaction {
            table,
            ops: vec![Op::DelTable],
        })?,
        other => return Err(format!("{other} is not one of add, del, show, off").into()),
    }
    Ok(())
}

/// What makes the table, or nothing if it is there.
fn skeleton(nft: &mut Connection, table: &TableId) -> Result<Transaction, Box<dyn Error>> {
    let mut change = Transaction::new(table.clone());
    if nft.tables()?.contains(table) {
        return Ok(change);
    }
    let chain = Chain::base(
        "input",
        ChainKind::Filter,
        Hook::Input,
        priority::FILTER,
        Policy::Accept,
    );
    change.push(Op::AddTable {
        comment: Some("made by an example".into()),
    });
    change.push(Op::AddChain(chain));
    let families = [
        (build::ipv4(), build::IP_SADDR),
        (build::ipv6(), build::IP6_SADDR),
    ];
    for (set, (family, source)) in sets().into_iter().zip(families) {
        let found = build::in_set(&[source], &set.name);
        change.push(Op::AddSet(set));
        let drop = build::verdict(Verdict::Drop);
        change.push(Op::AddRule(
            Rule::new("input").with(family).with(found).with(drop),
        ));
    }
    Ok(change)
}

/// A set for each family. Their elements count what they drop.
fn sets() -> [Set; 2] {
    [
        Set::new("blocked4", [KeyType::Ipv4Addr]).counter(),
        Set::new("blocked6", [KeyType::Ipv6Addr]).counter(),
    ]
}

fn by_family(addresses: &[IpAddr]) -> [(Set, Vec<Element>); 2] {
    let [four, six] = sets();
    let (mut v4, mut v6) = (Vec::new(), Vec::new());
    for address in addresses {
        match address {
            IpAddr::V4(address) => v4.push(Element::new(Value::Ipv4Addr(*address))),
            IpAddr::V6(address) => v6.push(Element::new(Value::Ipv6Addr(*address))),
        }
    }
    [(four, v4), (six, v6)]
}
