//! What happens while policies stand: each is asked of before, in between and after.

use super::describe::{Peer, Pick, Policy, Port, Rule, Spaces};
use super::story::Story;
use crate::Scenario;

pub fn cases() -> Vec<Scenario> {
    vec![
        policy_comes_and_goes(),
        policy_changes(),
        namespace_comes_and_goes(),
        namespace_labels_change(),
        pod_comes_and_goes(),
        pod_labels_change(),
        target_labels_change(),
    ]
}

/// In: port 80 from b and c of x and y. Out: ports 80 and, of UDP, 81 to a and b of y and z.
fn base() -> Policy {
    let peer = |spaces: &'static [&'static str], pods: &'static [&'static str]| Peer::Pods {
        spaces: Spaces::Of(Pick::In("ns", spaces)),
        pods: Pick::In("pod", pods),
    };
    Policy {
        ingress: Some(vec![Rule {
            ports: vec![Port::number(80)],
            peers: vec![peer(&["x", "y"], &["b", "c"])],
        }]),
        egress: Some(vec![
            Rule {
                ports: vec![Port::number(80)],
                peers: vec![peer(&["y", "z"], &["a", "b"])],
            },
            Rule {
                ports: vec![Port::udp("serve-81-udp")],
                peers: vec![],
            },
        ]),
        ..Policy::new("x", "base", Pick::Is("pod", "a"))
    }
}

fn from(spaces: Spaces, pods: Pick) -> Policy {
    let rule = Rule {
        ports: vec![],
        peers: vec![Peer::Pods { spaces, pods }],
    };
    Policy {
        ingress: Some(vec![rule]),
        ..Policy::new("x", "from", Pick::Is("pod", "a"))
    }
}

fn policy_comes_and_goes() -> Scenario {
    let mut story = Story::new("actions, a policy comes and goes");
    story.ask();
    story.put_policy(base());
    story.ask();
    story.delete_policy("x", "base");
    story.ask();
    story.done()
}

fn policy_changes() -> Scenario {
    let mut story = Story::new("actions, a policy changes");
    story.put_policy(base());
    story.ask();
    let mut changed = base();
    changed.ingress = Some(vec![Rule {
        ports: vec![Port::udp("serve-81-udp")],
        peers: vec![],
    }]);
    story.put_policy(changed.clone());
    story.ask();
    changed.egress = None;
    story.put_policy(changed);
    story.ask();
    story.done()
}

fn namespace_comes_and_goes() -> Scenario {
    let mut story = Story::new("actions, a namespace comes and goes");
    story.put_policy(base());
    story.ask();
    story.put_namespace("y-2", &[("ns", "y")]);
    story.put_pod("y-2", "a", &[("pod", "a")]);
    story.put_pod("y-2", "b", &[("pod", "b")]);
    story.ask();
    story.delete_namespace("y-2");
    story.ask();
    story.done()
}

fn namespace_labels_change() -> Scenario {
    let mut story = Story::new("actions, labels of a namespace change");
    story.put_policy(from(Spaces::Of(Pick::Is("new", "yes")), Pick::All));
    story.ask();
    story.put_namespace("y", &[("ns", "y"), ("new", "yes")]);
    story.ask();
    story.put_namespace("y", &[("ns", "y")]);
    story.ask();
    story.done()
}

fn pod_comes_and_goes() -> Scenario {
    let mut story = Story::new("actions, a pod comes and goes");
    story.put_policy(base());
    story.ask();
    story.put_pod("x", "d", &[("pod", "c")]);
    story.put_pod("z", "d", &[("pod", "a")]);
    story.ask();
    story.delete_pod("x", "d");
    story.delete_pod("z", "d");
    story.ask();
    story.done()
}

fn pod_labels_change() -> Scenario {
    let mut story = Story::new("actions, labels of a peer change");
    let spaces = Spaces::Of(Pick::In("ns", &["y", "z"]));
    story.put_policy(from(spaces, Pick::Is("new", "yes")));
    story.ask();
    story.put_pod("y", "b", &[("pod", "b"), ("new", "yes")]);
    story.ask();
    story.put_pod("y", "b", &[("pod", "b")]);
    story.ask();
    story.done()
}

fn target_labels_change() -> Scenario {
    let mut story = Story::new("actions, labels of a target change");
    story.put_policy(base());
    story.put_pod("x", "b", &[("pod", "a")]);
    story.ask();
    story.put_pod("x", "a", &[("pod", "b")]);
    story.ask();
    story.done()
}
