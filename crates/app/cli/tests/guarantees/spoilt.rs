//! Somebody changes one element in the kernel. The agent finds it, whatever map it is in, and puts it
//! back.

use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use ocicat_nft::Connection;
use ocicat_nft::object::{Data, Element, Op, Ruleset, Set, TableId, Transaction, Value, Verdict};
use serde_json::json;

use crate::forgery::allowed;
use crate::hosts::world::{host_endpoint, host_policy};
use crate::support::api::policy;
use crate::support::cluster::{Choice, Cluster};
use crate::support::within;

/// A small table is looked at as soon as somebody else has committed anything.
const REPAIRED: Duration = Duration::from_secs(5);
/// What a change replaced has been removed after so long.
const COLLECTED: Duration = Duration::from_secs(2);
const TABLE: &str = "ocicat";

#[test]
fn one_changed_element_of_any_map_is_found_and_repaired() {
    let Some(cluster) = Cluster::start(Choice::default()) else {
        return;
    };
    let server = cluster.workload(0, "shop", "server", &[]);
    let _client = cluster.workload(0, "shop", "client", &[]);
    cluster.api.create(&everything());
    allowed::ask(&cluster, ("shop", "server"));
    cluster.api.create(&allowed::felix("Any"));
    every_stage(&cluster);
    let host = &cluster.hosts[0];
    let verify = json!({ "op": "verify" });
    let mut nft = Connection::open_in(host.namespace.as_fd()).unwrap();
    let mut dump = || nft.dump_table(&TableId::inet(TABLE)).unwrap().unwrap();
    // Every kind of map has elements.
    let mut before = dump();
    let complete = within(Duration::from_secs(10), || {
        before = dump();
        kinds(&before).values().all(|count| *count > 0)
    });
    assert!(complete, "maps without elements: {:?}", kinds(&before));
    std::thread::sleep(COLLECTED);
    let before = dump();
    let report = host.ask(&verify);
    assert_eq!(report["differences"], json!([]), "{report:#}");
    assert!(report["cells"].as_u64() > Some(100), "{report:#}");
    let wanted = contents(&before);
    let mut slowest = Duration::ZERO;
    for name in wanted.keys() {
        let now = dump();
        // The epoch, and with it the letter at the end of names, changes with each repair.
        let full = now
            .sets
            .keys()
            .find(|full| stem(full) == name)
            .unwrap()
            .clone();
        let set = &now.sets[&full];
        let Some(element) = set.elements.first() else {
            continue;
        };
        let spoilt = spoil(&set.set, element, &set.elements);
        let mut ops = vec![Op::DelElements {
            set: set.set.id(),
            elements: vec![element.clone()],
        }];
        ops.extend(spoilt.map(|spoilt| Op::AddElements {
            set: set.set.id(),
            elements: vec![spoilt],
        }));
        let table = TableId::inet(TABLE);
        let mut strangers = Connection::open_in(host.namespace.as_fd()).unwrap();
        strangers.commit(&Transaction { table, ops }).unwrap();
        let begin = Instant::now();
        // What was replaced goes a little later.
        let repaired = within(REPAIRED, || {
            let now = dump();
            now.sets.len() == before.sets.len() && contents(&now) == wanted
        });
        assert!(
            repaired,
            "{name}: {element} was changed and is not put back"
        );
        slowest = slowest.max(begin.elapsed());
    }
    println!("{} maps, slowest repair {slowest:.2?}", wanted.len());
    assert_eq!(host.ask(&verify)["differences"], json!([]));
    drop(server);
}

/// A policy whose table uses every kind of map.
fn everything() -> serde_json::Value {
    let of = |protocol: serde_json::Value, more: serde_json::Value| {
        let mut rule = json!({ "action": "Allow", "protocol": protocol });
        for (field, value) in more.as_object().unwrap() {
            rule[field] = value.clone();
        }
        rule
    };
    let icmp = |kind: u8, code: Option<u8>| json!({ "icmp": { "type": kind, "code": code } });
    let types = |kind: u8| json!({ "icmp": { "type": kind } });
    let rules = json!([
        of(json!("TCP"), json!({ "destination": { "ports": [80, "1000:2000"] } })),
        of(json!("UDP"), json!({ "source": { "ports": ["100:200"] } })),
        of(json!("ICMP"), icmp(8, Some(0))),
        of(json!("ICMP"), types(13)),
        of(json!("ICMPv6"), icmp(128, Some(0))),
        of(json!("ICMPv6"), types(129)),
        of(json!(47), json!({})),
        { "action": "Deny", "source": { "nets": ["203.0.113.0/24"] } },
        { "action": "Deny", "source": { "nets": ["2001:db8::/32"] } },
        { "action": "Log" },
        { "action": "Allow", "source": { "selector": "all()" } },
    ]);
    policy(
        "shop",
        "everything",
        json!({ "types": ["Ingress"], "ingress": rules }),
    )
}

/// A host endpoint that policies judge at each of its stages.
fn every_stage(cluster: &Cluster) {
    let rule = json!({ "action": "Allow", "destination": { "nets": ["203.0.113.0/24"] } });
    for (name, field) in [
        ("untracked", "doNotTrack"),
        ("pre-dnat", "preDNAT"),
        ("forwarded", "applyOnForward"),
    ] {
        let mut spec = json!({ "types": ["Ingress"], "ingress": [rule] });
        if field != "preDNAT" {
            spec["types"] = json!(["Ingress", "Egress"]);
            spec["egress"] = json!([rule]);
        }
        spec["applyOnForward"] = json!(true);
        spec[field] = json!(true);
        cluster.api.create(&host_policy(name, spec));
    }
    cluster.api.create(&host_endpoint(cluster, 0));
}

/// The element with other data; nothing where there are no data, or where there is no other.
fn spoil(set: &Set, element: &Element, all: &[Element]) -> Option<Element> {
    let data = match element.data.as_ref()? {
        Data::Verdict(Verdict::Return) => Data::Verdict(Verdict::Drop),
        Data::Verdict(_) => Data::Verdict(Verdict::Return),
        Data::Value(Value::ClassId(number)) => Data::Value(Value::ClassId(number ^ 1)),
        Data::Value(Value::Mark(number)) => Data::Value(Value::Mark(number ^ 1)),
        Data::Value(other) => panic!("{}: {other:?} among {}", set.name, all.len()),
    };
    Some(Element {
        data: Some(data),
        ..element.clone()
    })
}

/// How many elements there are of each kind of map.
fn kinds(ruleset: &Ruleset) -> BTreeMap<String, usize> {
    let mut kinds = BTreeMap::new();
    for (name, set) in &ruleset.sets {
        let kind = stem(name).trim_end_matches(|c: char| c.is_ascii_digit());
        *kinds.entry(kind.to_owned()).or_default() += set.elements.len();
    }
    // Of a stack all of whose classes have its default row.
    kinds.remove("rows_e");
    kinds
}

/// All elements by map, without counters and without the letters of the epoch.
fn contents(ruleset: &Ruleset) -> BTreeMap<String, Vec<Element>> {
    let element = |element: &Element| Element {
        counter: None,
        data: element.data.clone().map(|data| match data {
            Data::Verdict(Verdict::Goto(to)) => Data::Verdict(Verdict::Goto(stem(&to).to_owned())),
            Data::Verdict(Verdict::Jump(to)) => Data::Verdict(Verdict::Jump(stem(&to).to_owned())),
            other => other,
        }),
        ..element.clone()
    };
    let sets = ruleset.sets.iter();
    sets.map(|(name, set)| {
        (
            stem(name).to_owned(),
            set.elements.iter().map(element).collect(),
        )
    })
    .collect()
}

fn stem(name: &str) -> &str {
    name.strip_suffix("_a")
        .or(name.strip_suffix("_b"))
        .unwrap_or(name)
}
