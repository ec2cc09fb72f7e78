//! The part of an agent that is tested: from a world to the program in the kernel.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use anyhow::Context;
use ocicat_api::config;
use ocicat_compile::{
    Compiler, Config, EndpointToHost, Failsafe, HostLink, Named, TABLE, outcome_of,
};
use ocicat_nft::object::{ElementKey, Key, Op, TableId, Transaction, Value};
use ocicat_node::{Attachment, EndpointId, Protocol};
use ocicat_oracle::{self as oracle, Judgement, World};
use ocicat_policy::{Engine, Locality};
use ocicat_testkit::{Change, Link, host_of};
use ocicat_verify::{Attached, Numbering, Subject, Verification};

use crate::field::{Field, LINKS, LinkId, UPLINKS};
use crate::surroundings;
use crate::words::judgement;

/// Which endpoints are of the host, and whether connections are tracked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mode {
    pub(crate) home: Home,
    pub(crate) tracking: Tracking,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Home {
    /// All endpoints. Host endpoints, of which a host has its own only, are left out of the world.
    Everybody,
    /// Those of one node.
    One,
}

/// The host's name in random worlds.
const NODE: &str = "node-1";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tracking {
    Tracked,
    /// A rule of another table keeps all packets out of connection tracking.
    Untracked,
}

impl Mode {
    /// Each combination for every fourth seed.
    pub(crate) fn of_seed(seed: u64) -> Self {
        Self {
            home: [Home::Everybody, Home::One][usize::from(seed % 4 >= 2)],
            tracking: [Tracking::Tracked, Tracking::Untracked][usize::from(seed % 2 == 1)],
        }
    }
}

/// A world in force in the kernel of a field.
pub(crate) struct Host {
    engine: Engine,
    compiler: Compiler,
    /// Where each local endpoint is attached. Endpoints beyond the number of links are not.
    places: BTreeMap<EndpointId, (LinkId, Vec<IpAddr>)>,
    /// The same host as the oracle knows it.
    site: oracle::Host,
}

impl Host {
    /// Puts a world into force at a host, in place of whatever was.
    pub(crate) fn install(
        field: &mut Field,
        world: &World,
        mode: Mode,
        site: oracle::Host,
    ) -> anyhow::Result<Self> {
        let mut engine = Engine::new(match mode.home {
            Home::Everybody => Locality::Everything,
            Home::One => Locality::Node(site.node.as_str().into()),
        });
        for object in world.objects.values() {
            engine.upsert(object);
        }
        let delta = engine.commit().delta;
        let mut host = Self {
            engine,
            compiler: Compiler::new(config(&site)),
            places: BTreeMap::new(),
            site,
        };
        host.compiler.set_links(links(&host.site));
        let attachments = host.attach(field);
        let _ = host.compiler.update(&delta, &attachments);
        for table in field.nft.tables()? {
            let ops = vec![Op::DelTable];
            field.nft.commit(&Transaction { table, ops })?;
        }
        let around = surroundings::table(mode.tracking, field.swallowed);
        field.nft.commit(&around)?;
        let transaction = host.compiler.install(None);
        field
            .nft
            .commit(&transaction)
            .context("installing the program")?;
        field.settle(&host.site.interfaces)?;
        field.route(host.routes())?;
        Ok(host)
    }

    /// Follows a change of the world as an agent does: in steps, with a grace period before what went
    /// out of use is removed. `site` is the host after the change.
    pub(crate) fn follow(
        &mut self,
        field: &mut Field,
        change: &Change,
        site: &oracle::Host,
    ) -> anyhow::Result<()> {
        match change {
            Change::Put(object) => self.engine.upsert(object),
            Change::Delete(key) => self.engine.remove(key),
        }
        self.bring_into_force(field, site)
    }

    /// Makes the host another one of the same name.
    pub(crate) fn become_site(
        &mut self,
        field: &mut Field,
        site: &oracle::Host,
    ) -> anyhow::Result<()> {
        if self.site == *site {
            return Ok(());
        }
        self.bring_into_force(field, site)
    }

    fn bring_into_force(&mut self, field: &mut Field, site: &oracle::Host) -> anyhow::Result<()> {
        self.site = site.clone();
        let is_other = self.compiler.configure(config(site));
        self.compiler.set_links(links(site));
        let delta = self.engine.commit().delta;
        let attachments = self.attach(field);
        let update = self.compiler.update(&delta, &attachments);
        if update.replace || is_other {
            let table = TableId::inet(TABLE);
            let found = field.nft.dump_table(&table)?;
            let transaction = self.compiler.install(found.as_ref());
            field.nft.commit(&transaction).context("replacing")?;
            let found = field.nft.dump_table(&table)?.context("no table")?;
            let sweep = self.compiler.sweep(&found);
            field.nft.commit(&sweep).context("sweeping")?;
        } else {
            for transaction in update.transactions() {
                field.nft.commit(&transaction).context("changing")?;
            }
        }
        if self.compiler.has_garbage() {
            ocicat_kernel::grace::wait();
            let ops = self.compiler.collect();
            let table = TableId::inet(TABLE);
            field
                .nft
                .commit(&Transaction { table, ops })
                .context("collecting")?;
        }
        field.settle(&self.site.interfaces)?;
        field.route(self.routes())
    }

    /// What of the kernel's program is not as it was written, and what it decides otherwise than the tables.
    pub(crate) fn differences(&self, field: &mut Field) -> anyhow::Result<Vec<String>> {
        let found = field.nft.dump_table(&TableId::inet(TABLE))?;
        let found = found.context("the table is gone")?;
        let mut differences = self.compiler.differences(&found);
        let attached = self
            .compiler
            .endpoints()
            .map(|(endpoint, attachment, _)| Attached {
                endpoint: endpoint.clone(),
                attachment: attachment.clone(),
            });
        let state = self.engine.snapshot();
        let (links, _) = self.compiler.host_links();
        let links = links
            .map(|(link, endpoint)| (link.to_owned(), endpoint.clone()))
            .collect();
        let subject = Subject {
            ruleset: &found,
            state: &state,
            config: self.compiler.config(),
            links: &links,
            numbering: Numbering::Same,
        };
        let report = Verification::new(subject, attached.collect()).complete();
        differences.extend(report.differences);
        Ok(differences)
    }

    /// The endpoints attached to links, by name.
    pub(crate) fn at_link(&self, link: LinkId) -> Option<&EndpointId> {
        let mut places = self.places.iter();
        places.find(|(_, place)| place.0 == link).map(|(id, _)| id)
    }

    /// The links of all endpoints that have an address.
    pub(crate) fn links_of(&self, address: IpAddr) -> Vec<LinkId> {
        let has = self
            .places
            .values()
            .filter(|(_, addresses)| addresses.contains(&address));
        has.map(|(link, _)| *link).collect()
    }

    /// The judgement of an outcome by its number in the kernel.
    pub(crate) fn judgement(&self, number: u32) -> Option<Judgement> {
        judgement(self.compiler.outcome(outcome_of(number)?)?)
    }

    /// The same host as the oracle knows it.
    pub(crate) fn site(&self) -> &oracle::Host {
        &self.site
    }

    /// The link of an endpoint.
    pub(crate) fn link_of(&self, endpoint: &str) -> Option<LinkId> {
        self.places.get(endpoint).map(|(link, _)| *link)
    }

    /// Packets counted so far, by judgement.
    pub(crate) fn counted(&self, field: &mut Field) -> anyhow::Result<BTreeMap<Judgement, u64>> {
        let mut counted = BTreeMap::new();
        for named in [Named::Allow, Named::Deny] {
            let set = self.compiler.set(named);
            for (key, counter) in field.nft.counters(&TableId::inet(TABLE), &set)? {
                let ElementKey::Exact(Key(values)) = key else {
                    continue;
                };
                let [Value::ClassId(number)] = values[..] else {
                    continue;
                };
                let judgement = self
                    .judgement(number)
                    .with_context(|| format!("the kernel counts {number:#x}, which is nothing"))?;
                *counted.entry(judgement).or_default() += counter.packets;
            }
        }
        Ok(counted)
    }

    /// Gives endpoints links, and says what that changes.
    fn attach(&mut self, field: &Field) -> Vec<(EndpointId, Option<Attachment>)> {
        let mut wanted: BTreeMap<EndpointId, Vec<IpAddr>> = BTreeMap::new();
        for (id, policy) in self.engine.local_endpoints() {
            let addresses = policy.addresses.iter().map(|local| local.address);
            wanted.insert(id.clone(), addresses.collect());
        }
        let gone = self.places.keys().filter(|id| !wanted.contains_key(*id));
        let gone: Vec<EndpointId> = gone.cloned().collect();
        for id in &gone {
            self.places.remove(id);
        }
        let mut changes: Vec<_> = gone.into_iter().map(|id| (id, None)).collect();
        let taken: BTreeSet<LinkId> = self.places.values().map(|(link, _)| *link).collect();
        let mut free = (0..LINKS).map(LinkId).filter(|link| !taken.contains(link));
        for (id, addresses) in wanted {
            let place = match self.places.get(&id) {
                Some((_, before)) if *before == addresses => continue,
                Some((link, _)) => *link,
                None => match free.next() {
                    Some(link) => link,
                    None => continue,
                },
            };
            let attachment = Attachment {
                interface: field.name(place).to_owned(),
                mac: field.macs(place).0.0,
                addresses: addresses.clone(),
            };
            self.places.insert(id.clone(), (place, addresses));
            changes.push((id, Some(attachment)));
        }
        changes
    }

    /// Of two endpoints with one address the first has the route.
    pub(crate) fn routes(&self) -> BTreeMap<IpAddr, LinkId> {
        let mut routes = BTreeMap::new();
        for (link, addresses) in self.places.values() {
            for address in addresses {
                routes.entry(*address).or_insert(*link);
            }
        }
        routes
    }
}

/// The host of a random world, which has addresses that host endpoints there expect.
pub(crate) fn random_site(world: &World) -> oracle::Host {
    host_of(world, &random_links(), NODE)
}

pub(crate) fn random_links() -> Vec<Link> {
    let links = [
        (UPLINKS[0], ["192.168.0.1", "2001:db8::1"]),
        (UPLINKS[1], ["192.168.0.2", "2001:db8::2"]),
    ];
    let link = |(interface, texts): (&str, [&str; 2])| Link {
        node: NODE.to_owned(),
        interface: interface.to_owned(),
        addresses: texts
            .map(|text| text.parse().expect("an address of this file"))
            .into(),
    };
    links.map(link).into()
}

/// A host without addresses of its own: all packets are forwarded.
pub(crate) fn router(world: &World) -> oracle::Host {
    let bare = |link: Link| Link {
        addresses: Vec::new(),
        ..link
    };
    let links: Vec<Link> = random_links().into_iter().map(bare).collect();
    host_of(world, &links, NODE)
}

/// As an agent would have it of that host.
fn config(site: &oracle::Host) -> Config {
    let open = |list: &[config::Failsafe]| {
        let open = |failsafe: &config::Failsafe| Failsafe {
            protocol: Protocol(failsafe.protocol.0),
            port: failsafe.port,
            net: failsafe.net,
        };
        list.iter().map(open).collect()
    };
    Config {
        endpoint_to_host: match site.endpoint_to_host {
            config::EndpointToHost::Drop => EndpointToHost::Drop,
            config::EndpointToHost::Return | config::EndpointToHost::Accept => {
                EndpointToHost::Accept
            }
        },
        failsafe_inbound: open(&site.failsafe_inbound),
        failsafe_outbound: open(&site.failsafe_outbound),
        ..Config::default()
    }
}

fn links(site: &oracle::Host) -> Vec<HostLink> {
    let link = |interface: &oracle::Interface| HostLink {
        name: interface.name.clone(),
        addresses: interface.addresses.clone(),
    };
    site.interfaces.iter().map(link).collect()
}
