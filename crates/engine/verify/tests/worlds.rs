//! The program of random worlds, interpreted, decides what the tables say; and one changed element is
//! found, whatever map it is in.

mod kernel;

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;
use kernel::{in_kernel, spoilt};
use ocicat_compile::{Compiler, Config, Failsafe, HostLink, kernel_outcome};
use ocicat_node::{Attachment, EndpointId, NodeState, Protocol, ServiceMatch};
use ocicat_policy::{Engine, Locality};
use ocicat_program::nft::{Data, Element, ElementKey, Key, Ruleset, Value, Verdict};
use ocicat_testkit::{Random, random_change, random_world};
use ocicat_verify::{Attached, Numbering, Report, Subject, Verification, attached};

const WORLDS: u64 = 40;

/// A world in force, as the kernel would tell it.
struct Host {
    ruleset: Ruleset,
    state: NodeState,
    attached: Vec<Attached>,
    links: BTreeMap<String, EndpointId>,
    config: Config,
}

impl Host {
    fn of_seed(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let mut world = random_world(&mut random);
        let mut engine = Engine::new(Locality::Everything);
        for _ in 0..3 {
            random_change(&mut random, &world).apply(&mut world);
        }
        for object in world.objects.values() {
            engine.upsert(object);
        }
        let delta = engine.commit().delta;
        let attached: Vec<Attached> = (engine.local_endpoints().enumerate())
            .map(|(number, (id, policy))| Attached {
                endpoint: id.clone(),
                attachment: Attachment {
                    interface: format!("ocw{number}"),
                    mac: [2, 0, 0, 0, 0, u8::try_from(number).unwrap()],
                    addresses: policy.addresses.iter().map(|local| local.address).collect(),
                },
            })
            .collect();
        let attachments: Vec<_> = (attached.iter())
            .map(|one| (one.endpoint.clone(), Some(one.attachment.clone())))
            .collect();
        let config = config(&mut random);
        let mut compiler = Compiler::new(config.clone());
        compiler.set_links(links());
        let _ = compiler.update(&delta, &attachments);
        Self {
            ruleset: in_kernel(&compiler.install(None).ops),
            state: engine.snapshot(),
            attached,
            links: (compiler.host_links().0)
                .map(|(link, id)| (link.to_owned(), id.clone()))
                .collect(),
            config,
        }
    }

    fn verify(&self, ruleset: &Ruleset) -> Report {
        let subject = Subject {
            ruleset,
            state: &self.state,
            config: &self.config,
            links: &self.links,
            numbering: Numbering::Same,
        };
        Verification::new(subject, self.attached.clone()).complete()
    }
}

/// Interfaces of a host. Host endpoints of random worlds expect some of the addresses.
fn links() -> Vec<HostLink> {
    let links = [
        ("eth0", ["192.168.0.1", "2001:db8::1"]),
        ("eth1", ["192.168.0.2", "2001:db8::2"]),
    ];
    let link = |(name, addresses): (&str, [&str; 2])| HostLink {
        name: name.to_owned(),
        addresses: addresses
            .map(|text| text.parse().expect("an address of this file"))
            .into(),
    };
    links.map(link).into()
}

/// With fail-safe ports for everybody, and for some only.
fn config(random: &mut Random) -> Config {
    let mut list = || {
        let nets = [None, Some("10.0.0.0/9"), Some("fd00::/15")];
        let one = |random: &mut Random| Failsafe {
            protocol: random.pick(&[Protocol::TCP, Protocol::UDP]),
            port: random.pick(&[22, 53, 80, 8080]),
            net: random
                .pick(&nets)
                .map(|net| net.parse().expect("a net of this file")),
        };
        random.several(0, 4, one)
    };
    Config {
        failsafe_inbound: list(),
        failsafe_outbound: list(),
        ..Config::default()
    }
}

#[test]
fn programs_of_random_worlds_decide_what_their_tables_say() {
    let mut sum = Report::default();
    for seed in 0..WORLDS {
        let host = Host::of_seed(seed);
        let report = host.verify(&host.ruleset);
        assert_eq!(report.differences, [""; 0], "seed {seed}");
        sum.directions += report.directions;
        sum.cells += report.cells;
        sum.pairs += report.pairs;
        sum.stages += report.stages;
    }
    println!(
        "{} directions, {} cells, {} pairs",
        sum.directions, sum.cells, sum.pairs
    );
    assert!(sum.cells > 10_000 && sum.pairs > 1_000 && sum.directions > 500);
    assert!(sum.stages > 500);
}

#[test]
fn endpoints_are_read_from_the_kernel() {
    let host = Host::of_seed(1);
    let by_name = |all: &[Attached]| -> BTreeMap<_, _> {
        let one = |one: &Attached| {
            let addresses: BTreeSet<_> = one.attachment.addresses.iter().copied().collect();
            (
                one.endpoint.clone(),
                (one.attachment.interface.clone(), addresses),
            )
        };
        all.iter().map(one).collect()
    };
    assert_eq!(by_name(&attached(&host.ruleset)), by_name(&host.attached));
}

/// Outcomes of some packets of endpoints.
fn asked_outcomes(host: &Host) -> BTreeSet<u32> {
    let service = |protocol, port| ServiceMatch {
        protocol,
        source_port: 0,
        port,
    };
    let services = [
        service(Protocol(200), 0),
        service(Protocol::TCP, 80),
        service(Protocol::UDP, 53),
    ];
    let mut asked = BTreeSet::new();
    let state = &host.state;
    // A host endpoint is asked first of what comes in.
    let is_first = state.host_endpoints.is_empty();
    for local in state
        .endpoints
        .values()
        .flat_map(|policy| &policy.addresses)
    {
        let is_alike = |prefix: &&IpNet| prefix.addr().is_ipv4() == local.address.is_ipv4();
        for prefix in state.classes.keys().filter(is_alike) {
            let stacks = [Some(local.egress), is_first.then_some(local.ingress)];
            for stack in stacks.into_iter().flatten() {
                let class = state
                    .class_of(prefix.network())
                    .expect("every address has one");
                let row = state.row(stack, class).expect("the tables are whole");
                asked.extend(
                    services
                        .iter()
                        .map(|service| kernel_outcome(row.outcome(service))),
                );
            }
        }
    }
    asked
}

/// Whether an element is about what packets of endpoints meet.
fn is_asked(
    ruleset: &Ruleset,
    name: &str,
    (kind, element): (&str, &Element),
    outcomes: &BTreeSet<u32>,
) -> bool {
    match kind.trim_end_matches("_a") {
        "allow" | "deny" | "deny_mark" => match &element.key {
            ElementKey::Exact(Key(values)) => {
                matches!(values[..], [Value::ClassId(number)] if outcomes.contains(&number))
            }
            _ => false,
        },
        // Of several endpoints for one interface one is in force.
        "near" => {
            let chain = name.replace("near", "h");
            let leads = Some(Data::Verdict(Verdict::Goto(chain)));
            let links = ruleset.sets.iter();
            let mut links = links.filter(|(name, _)| name.ends_with("_links_a"));
            links.any(|(_, links)| links.elements.iter().any(|link| link.data == leads))
        }
        // Few of these worlds have other stages than the local ones; the tests of hosts have all.
        links if links.ends_with("_links") => links.starts_with("local_"),
        _ => true,
    }
}

/// Maps that only host endpoints use. Not every world has them.
const OF_HOSTS: [&str; 5] = [
    "near_a",
    "failsafe_in_a",
    "failsafe_out_a",
    "local_in_links_a",
    "local_out_links_a",
];

/// One element in each map of each of some worlds. Some changes change no decision, and need not be found:
/// a class whose rows are those of the class around it, a row that is decided like the default row.
#[test]
fn a_changed_element_of_any_map_is_found() {
    let mut found: BTreeMap<String, [usize; 2]> = BTreeMap::new();
    let mut random = Random::new(5);
    for seed in 0..14 {
        let host = Host::of_seed(seed);
        let outcomes = asked_outcomes(&host);
        for (name, installed) in &host.ruleset.sets {
            let kind = name.trim_start_matches("rows_");
            let kind: String = kind.chars().filter(|c| !c.is_ascii_digit()).collect();
            let elements = installed.elements.iter().enumerate();
            let asked: Vec<usize> = elements
                .filter(|(_, element)| is_asked(&host.ruleset, name, (&kind, element), &outcomes))
                .map(|(place, _)| place)
                .collect();
            if asked.is_empty() || seed >= 6 && !OF_HOSTS.contains(&&*kind) {
                continue;
            }
            for (what, spoilt) in spoilt(&host.ruleset, name, random.pick(&asked)) {
                let differing = host.verify(&spoilt).differing;
                let is_found = usize::from(differing > 0);
                let counts = found.entry(kind.clone()).or_default();
                counts[0] += is_found;
                counts[1] += 1;
                if is_found == 0 {
                    println!("seed {seed}: no decision differs where {what}");
                }
            }
        }
    }
    println!("{found:?}");
    for kind in OF_HOSTS {
        assert!(
            found.contains_key(kind),
            "{kind} is in none of these worlds"
        );
    }
    for (kind, [found, tried]) in &found {
        let always = ["allow", "deny", "deny_mark", "source", "source_mac"];
        let least = match always.contains(&kind.trim_end_matches("_a")) {
            true => *tried,
            false => 1,
        };
        assert!(*found >= least, "{kind}: {found} of {tried}");
    }
}
