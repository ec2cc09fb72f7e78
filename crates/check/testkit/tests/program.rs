//! The nftables program follows random histories without needing to be replaced for every change.

use std::collections::BTreeMap;

use ocicat_compile::{Compiler, Config};
use ocicat_node::{Attachment, EndpointId, EndpointPolicy};
use ocicat_policy::{Engine, Locality};
use ocicat_testkit::{Change, Random, random_change, random_world};

/// Histories, and changes in each.
const HISTORIES: u64 = 60;
const STEPS: usize = 30;

/// Every endpoint on an interface of its own.
fn attached(engine: &Engine) -> Vec<(EndpointId, Option<Attachment>)> {
    let attach = |(number, (id, policy)): (usize, (&EndpointId, &EndpointPolicy))| {
        let attachment = Attachment {
            interface: format!("ocw{number}"),
            mac: [2; 6],
            addresses: policy.addresses.iter().map(|local| local.address).collect(),
        };
        (id.clone(), Some(attachment))
    };
    engine.local_endpoints().enumerate().map(attach).collect()
}

#[test]
fn most_changes_need_no_replacement() {
    let (mut updates, mut replaced) = (0, BTreeMap::new());
    for seed in 0..HISTORIES {
        let mut random = Random::new(seed);
        let mut world = random_world(&mut random);
        let mut engine = Engine::new(Locality::Everything);
        for object in world.objects.values() {
            engine.upsert(object);
        }
        let mut compiler = Compiler::new(Config::default());
        let _ = compiler.update(&engine.commit().delta, &attached(&engine));
        for _ in 0..STEPS {
            let change = random_change(&mut random, &world);
            let what = match &change {
                Change::Put(object) => {
                    engine.upsert(object);
                    format!("put {}", object.kind())
                }
                Change::Delete(key) => {
                    engine.remove(key);
                    format!("delete {}", key.kind)
                }
            };
            change.apply(&mut world);
            let delta = engine.commit().delta;
            let update = compiler.update(&delta, &attached(&engine));
            updates += usize::from(!delta.is_empty());
            if update.replace {
                *replaced.entry(what).or_insert(0) += 1;
            }
            let _ = compiler.collect();
        }
    }
    let count: usize = replaced.values().sum();
    println!("{count} of {updates} updates were replacements: {replaced:?}");
    assert!(updates > 500, "the histories change too little to tell");
    // Nearly every random world has host endpoints whose rules ask about the near side.
    assert!(count * 3 < updates, "{count} of {updates}");
}
