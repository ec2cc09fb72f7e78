//! Host endpoints with every stage: the program decides what the tables say, and every changed element
//! of their maps is found.

mod kernel;

use std::collections::BTreeMap;
use std::sync::Arc;

use kernel::{in_kernel, spoilt};
use ocicat_compile::{Compiler, Config, Failsafe, HostLink, HostStage};
use ocicat_flow::{Decider, Direction, Outcome, Verdict};
use ocicat_node::{
    Cells, Change, ClassId, EndpointId, HostEndpoint, HostInterfaces, NodeState, OutcomeId,
    Protocol, Row, RowId, StackId, Stage, StageStacks,
};
use ocicat_program::nft::{Data, Element, Ruleset, Text, Value};
use ocicat_verify::{Numbering, Report, Subject, Verification, host_links};

/// Where two classes of near addresses are, and one of far addresses, in each family.
const CLASSES: [(&str, u32); 8] = [
    ("0.0.0.0/0", 0),
    ("10.0.0.5/32", 1),
    ("10.0.0.6/32", 2),
    ("192.0.2.0/24", 3),
    ("::/0", 4),
    ("fd00::5/128", 5),
    ("fd00::6/128", 6),
    ("2001:db8::/32", 7),
];
const NEAR: [[u32; 2]; 2] = [[1, 5], [2, 6]];
const FAR: [u32; 2] = [3, 7];

struct World {
    ruleset: Ruleset,
    state: NodeState,
    config: Config,
    links: BTreeMap<String, EndpointId>,
}

/// Changes that make host endpoints of which no two stacks decide alike.
#[derive(Default)]
struct Made {
    changes: Vec<Change>,
    next: u32,
}

impl Made {
    fn outcome(&mut self, verdict: Verdict) -> OutcomeId {
        let id = OutcomeId(self.next);
        self.next += 1;
        let outcome = Outcome {
            verdict,
            decider: Decider::EndOfTier {
                tier: format!("tier-{}", id.0).into(),
            },
            passed: vec![],
            logged: vec![],
        };
        self.changes
            .push(Change::Outcome(id, Some(Arc::new(outcome))));
        id
    }

    fn row(&mut self, port: u16, (at_port, verdict): (Verdict, Verdict)) -> RowId {
        let exact = vec![(Protocol::TCP, port, self.outcome(at_port))];
        let default = self.outcome(verdict);
        let cells = Cells {
            exact,
            ..Cells::constant(default)
        };
        let id = RowId(self.next);
        let row = Row {
            cuts: vec![],
            cells,
        };
        self.changes.push(Change::Row(id, Some(Arc::new(row))));
        id
    }

    fn stack(&mut self, stage: Stage, direction: Direction) -> StackId {
        let otherwise = match stage {
            Stage::Untracked | Stage::PreDnat => Verdict::Next,
            Stage::Forward | Stage::Local => Verdict::Deny,
        };
        let default = self.row(80, (Verdict::Allow, otherwise));
        let id = StackId(self.next);
        self.changes.push(Change::Stack(id, direction, default));
        for far in FAR {
            let row = self.row(443, (Verdict::Deny, Verdict::Allow));
            self.changes
                .push(Change::StackRow(id, ClassId(far), Some(row)));
        }
        id
    }

    fn endpoint(&mut self, id: &str, interfaces: HostInterfaces, has_near: bool) {
        let ways = HostStage::ALL.map(|stage| (stage.stage(), stage.direction()));
        let stages = ways.map(|(stage, direction)| {
            let default = self.stack(stage, direction);
            let mut by_near = BTreeMap::new();
            for classes in NEAR.into_iter().filter(|_| has_near) {
                let stack = self.stack(stage, direction);
                by_near.extend(classes.map(|class| (ClassId(class), stack)));
            }
            ((stage, direction), StageStacks { default, by_near })
        });
        let endpoint = HostEndpoint {
            interfaces,
            stages: stages.into(),
        };
        self.changes
            .push(Change::HostEndpoint(id.into(), Some(Arc::new(endpoint))));
    }
}

/// One endpoint by name, one by address, one for the other interfaces. `has_near`: by which of them the
/// near side is asked for.
fn world(has_near: [bool; 3]) -> World {
    let mut made = Made::default();
    for (prefix, class) in CLASSES {
        let prefix = prefix.parse().expect("a prefix of this file");
        made.changes
            .push(Change::Class(prefix, Some(ClassId(class))));
    }
    let address = "192.168.0.2".parse().expect("an address of this file");
    let [named, by_address, all] = has_near;
    made.endpoint("hep/name", HostInterfaces::Named("eth0".into()), named);
    let interfaces = HostInterfaces::ByAddress(vec![address]);
    made.endpoint("hep/address", interfaces, by_address);
    made.endpoint("hep/rest", HostInterfaces::All, all);
    let mut state = NodeState::default();
    state.apply(&made.changes);
    let open = |protocol, port, net: Option<&str>| Failsafe {
        protocol,
        port,
        net: net.map(|net| net.parse().expect("a net of this file")),
    };
    let config = Config {
        failsafe_inbound: vec![
            open(Protocol::TCP, 22, None),
            open(Protocol::UDP, 68, None),
            open(Protocol::TCP, 6443, Some("10.0.0.0/8")),
        ],
        failsafe_outbound: vec![
            open(Protocol::UDP, 53, None),
            open(Protocol::TCP, 179, Some("fd00::/16")),
        ],
        ..Config::default()
    };
    let mut compiler = Compiler::new(config.clone());
    compiler.set_links(vec![HostLink {
        name: "eth1".to_owned(),
        addresses: vec![address],
    }]);
    let _ = compiler.update(&made.changes, &[]);
    World {
        ruleset: in_kernel(&compiler.install(None).ops),
        state,
        config,
        links: (compiler.host_links().0)
            .map(|(link, id)| (link.to_owned(), id.clone()))
            .collect(),
    }
}

impl World {
    fn subject<'a>(&'a self, ruleset: &'a Ruleset) -> Subject<'a> {
        Subject {
            ruleset,
            state: &self.state,
            config: &self.config,
            links: &self.links,
            numbering: Numbering::Same,
        }
    }

    /// Whether any step finds a difference.
    fn differs(&self, ruleset: &Ruleset) -> bool {
        let mut verification = Verification::new(self.subject(ruleset), Vec::new());
        (0..verification.steps()).any(|step| {
            verification.step(step);
            verification.report().differing > 0
        })
    }

    /// The maps of links, near classes and fail-safe ports.
    fn maps(&self) -> Vec<String> {
        let is_of_hosts = |name: &&String| {
            ["_links_a", "failsafe_"]
                .iter()
                .any(|part| name.contains(part))
                || name.starts_with("near")
        };
        let names = self.ruleset.sets.keys().filter(is_of_hosts);
        names.cloned().collect()
    }
}

const ALL_NEAR: [bool; 3] = [true; 3];
const ONE_NEAR: [bool; 3] = [true, false, false];

#[test]
fn every_stage_decides_what_its_tables_say() {
    for has_near in [[false; 3], ONE_NEAR, [false, true, true], ALL_NEAR] {
        let world = world(has_near);
        let subject = world.subject(&world.ruleset);
        let report: Report = Verification::new(subject, Vec::new()).complete();
        assert_eq!(report.differences, [""; 0], "{has_near:?}");
        assert!(report.stages >= 3 * 7 * 2, "{report:?}");
        assert_eq!(report.stacks, world.state.stacks.len(), "{has_near:?}");
    }
}

#[test]
fn links_are_read_from_the_kernel() {
    let world = world(ALL_NEAR);
    assert_eq!(world.links.len(), 2);
    let found = host_links(&world.ruleset, &world.state, &world.config);
    assert_eq!(found, world.links);
}

#[test]
fn every_changed_element_of_their_maps_is_found() {
    let world = world(ONE_NEAR);
    let mut tried = 0;
    for map in world.maps() {
        for place in 0..world.ruleset.sets[&map].elements.len() {
            for (what, spoilt) in spoilt(&world.ruleset, &map, place) {
                tried += 1;
                assert!(world.differs(&spoilt), "{what}");
            }
        }
    }
    // In seven stages three links and four near classes, with another value and without any; and ports.
    assert_eq!(tried, 7 * (3 + 4) * 2 + 3);
}

#[test]
fn an_element_too_many_is_found() {
    let world = world(ALL_NEAR);
    for map in world.maps() {
        let mut spoilt = world.ruleset.clone();
        let held = spoilt.sets.get_mut(&map).expect("it was just there");
        let data = held.elements[0].data.clone();
        let added: Vec<Element> = match &data {
            None => vec![Element::new([Value::InetProto(6), Value::InetService(7)])],
            Some(_) if map.starts_with("near") => {
                vec![Element::new(Value::ClassId(0x1000_0000))]
            }
            Some(_) => {
                let name = "eth9".parse().expect("a name of this file");
                vec![Element::new(Value::IfName(name))]
            }
        };
        let with = |element: Element| Element {
            data: data.clone(),
            ..element
        };
        held.elements.extend(added.into_iter().map(with));
        let is_of_rest = |data: &Option<Data>| {
            let rest = held
                .elements
                .iter()
                .find(|element| element.comment.as_ref().map(Text::as_str) == Some("hep/rest"));
            rest.is_some_and(|rest| rest.data == *data)
        };
        let differs = !map.contains("_links") || !is_of_rest(&data);
        assert_eq!(world.differs(&spoilt), differs, "{map}");
    }
}

/// A rule that goes missing from the chains of a stage, or from those that all stages share.
#[test]
fn a_rule_that_is_gone_is_found() {
    let world = world(ONE_NEAR);
    let shared = [
        "untracked_end_a",
        "pre_dnat_end_a",
        "allowed_early_a",
        "local_in_first_a",
        "local_out_first_a",
        "next_a",
    ];
    let of_stages = HostStage::ALL.map(|stage| format!("{}_a", stage.name()));
    let chains = shared.map(str::to_owned).into_iter().chain(of_stages);
    let mut unseen = Vec::new();
    for chain in chains {
        for place in 0..world.ruleset.chains[&chain].rules.len() {
            let mut spoilt = world.ruleset.clone();
            let rules = &mut spoilt.chains.get_mut(&chain).expect("it is there").rules;
            let gone = rules.remove(place);
            if !world.differs(&spoilt) {
                unseen.push(format!("{chain}: {}", gone.rule));
            }
        }
    }
    // The base chain accepts what comes to its end.
    assert_eq!(unseen.len(), 1, "{unseen:?}");
    assert!(unseen[0].starts_with("pre_dnat_end_a"), "{unseen:?}");
}
