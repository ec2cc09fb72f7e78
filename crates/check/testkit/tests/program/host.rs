//! A host: what is calculated, compiled and in the kernel.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;
use ocicat_compile::{Compiler, Config, HostLink};
use ocicat_node::{self as node, Attachment, EndpointId, HostInterfaces, NodeState};
use ocicat_oracle::World;
use ocicat_policy::{Engine, Locality};
use ocicat_testkit::{Change, Random, random_change, random_world};

use crate::kernel::Table;

/// Interfaces that are no workload's; host endpoints name the first two.
pub const LINKS: [&str; 3] = ["eth0", "eth1", "eth2"];

pub struct Host {
    world: World,
    engine: Engine,
    pub compiler: Compiler,
    table: Table,
    /// Of every endpoint that there ever was.
    interfaces: BTreeMap<EndpointId, String>,
    attached: BTreeSet<EndpointId>,
}

/// A commit of the engine on its way into the kernel.
pub struct Changed {
    /// In words.
    pub what: String,
    pub is_empty: bool,
    pub is_replaced: bool,
    pub worlds: [World; 2],
    pub states: [NodeState; 2],
    /// The tables before, between and after the commits to the kernel.
    pub tables: Vec<Table>,
    /// Prefixes that changed class.
    pub prefixes: Vec<IpNet>,
}

impl Host {
    pub fn new(random: &mut Random) -> Result<Self, String> {
        let world = random_world(random);
        let mut engine = Engine::new(Locality::Everything);
        world.objects.values().for_each(|o| engine.upsert(o));
        let delta = engine.commit().delta;
        let mut host = Self {
            world,
            engine,
            compiler: Compiler::new(Config::default()),
            table: Table::default(),
            interfaces: BTreeMap::new(),
            attached: BTreeSet::new(),
        };
        host.plug(random);
        let attachments = host.attachments();
        let _ = host.compiler.update(&delta, &attachments);
        host.install()?;
        Ok(host)
    }

    /// The interface of an endpoint.
    pub fn interface(&self, id: &EndpointId) -> &str {
        &self.interfaces[id]
    }

    /// Gives the host's interfaces some of the addresses that host endpoints ask for.
    fn plug(&mut self, random: &mut Random) {
        let wanted: Vec<IpAddr> = (self.engine.host_endpoints())
            .filter_map(|(_, endpoint)| match &endpoint.interfaces {
                HostInterfaces::ByAddress(addresses) => addresses.first().copied(),
                _ => None,
            })
            .collect();
        let link = |name: &str| HostLink {
            name: name.to_owned(),
            addresses: match wanted.is_empty() {
                true => Vec::new(),
                false => random
                    .maybe(60, |random| random.pick(&wanted))
                    .into_iter()
                    .collect(),
            },
        };
        self.compiler
            .set_links(LINKS.into_iter().map(link).collect());
    }

    /// Every endpoint on an interface of its own, which it keeps; those that are gone on none.
    fn attachments(&mut self) -> Vec<(EndpointId, Option<Attachment>)> {
        let mut attachments = Vec::new();
        let mut attached = BTreeSet::new();
        for (id, policy) in self.engine.local_endpoints() {
            let number = self.interfaces.len();
            let interface = self.interfaces.entry(id.clone());
            let attachment = Attachment {
                interface: interface.or_insert_with(|| format!("ocw{number}")).clone(),
                mac: [2; 6],
                addresses: policy.addresses.iter().map(|local| local.address).collect(),
            };
            attached.insert(id.clone());
            attachments.push((id.clone(), Some(attachment)));
        }
        let gone = self.attached.difference(&attached);
        attachments.extend(gone.map(|id| (id.clone(), None)));
        self.attached = attached;
        attachments
    }

    fn install(&mut self) -> Result<(), String> {
        let install = self.compiler.install(Some(&self.table.ruleset()));
        self.table = self.table.commit(&install.ops)?;
        let sweep = self.compiler.sweep(&self.table.ruleset());
        self.table = self.table.commit(&sweep.ops)?;
        Ok(())
    }

    /// Something happens in the world, and comes into force.
    pub fn change(&mut self, random: &mut Random) -> Result<Changed, String> {
        let world = self.world.clone();
        let state = self.engine.snapshot();
        let mut what = Vec::new();
        // What comes together is calculated together.
        for _ in 0..random.weighted(&[(80, 1), (12, 2), (8, 4)]) {
            let change = random_change(random, &self.world);
            match &change {
                Change::Put(object) => self.engine.upsert(object),
                Change::Delete(key) => self.engine.remove(key),
            }
            let word = match &change {
                Change::Put(object) => format!("put {}", object.kind()),
                Change::Delete(key) => format!("delete {}", key.kind),
            };
            what.push(word);
            change.apply(&mut self.world);
        }
        let what = match &what[..] {
            [one] => one.clone(),
            several => format!("{} changes", several.len()),
        };
        let delta = self.engine.commit().delta;
        let mut tables = vec![self.table.clone()];
        let mut commit = |table: &mut Table, ops: &[_]| -> Result<(), String> {
            *table = table.commit(ops)?;
            tables.push(table.clone());
            Ok(())
        };
        // What the last commits took out of use may lie about for a while.
        if random.chance(70) && self.compiler.has_garbage() {
            commit(&mut self.table, &self.compiler.collect())?;
        }
        if random.chance(5) {
            self.plug(random);
        }
        let attachments = self.attachments();
        let update = self.compiler.update(&delta, &attachments);
        let is_replaced = update.replace;
        if is_replaced {
            self.install()?;
            tables = vec![self.table.clone()];
        } else {
            for transaction in update.transactions() {
                commit(&mut self.table, &transaction.ops)?;
            }
        }
        let prefix = |change: &node::Change| match change {
            node::Change::Class(prefix, _) => Some(*prefix),
            _ => None,
        };
        Ok(Changed {
            what,
            is_empty: delta.is_empty(),
            is_replaced,
            worlds: [world, self.world.clone()],
            states: [state, self.engine.snapshot()],
            tables,
            prefixes: delta.iter().filter_map(prefix).collect(),
        })
    }
}
