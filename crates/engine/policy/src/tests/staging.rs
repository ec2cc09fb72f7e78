//! Staged policies: the pending world beside the enforced one.

use ocicat_api::policy::{Staged, StagedAction};
use ocicat_api::rule::Action;
use ocicat_api::{Kind, Object};

use super::world::*;
use crate::{Engine, Locality, Pending, Staging};

struct Worlds {
    enforced: Engine,
    staging: Staging,
    pending: Engine,
}

impl Worlds {
    fn new() -> Self {
        let mut worlds = Self {
            enforced: Engine::new(Locality::Everything),
            staging: Staging::default(),
            pending: Engine::new(Locality::Everything).pending(),
        };
        base().iter().for_each(|object| worlds.put(object));
        worlds
    }

    fn put(&mut self, object: &Object) {
        self.enforced.upsert(object);
        for change in self.staging.upsert(object) {
            match change {
                Pending::Upsert(object) => self.pending.upsert(object),
                Pending::Remove(key) => self.pending.remove(&key),
            }
        }
    }

    fn remove(&mut self, kind: Kind, name: &str) {
        let key = key(kind, name);
        self.enforced.remove(&key);
        for change in self.staging.remove(&key) {
            match change {
                Pending::Upsert(object) => self.pending.upsert(object),
                Pending::Remove(key) => self.pending.remove(&key),
            }
        }
    }

    /// Of both worlds.
    fn ask(&mut self) -> [String; 2] {
        self.enforced.commit();
        self.pending.commit();
        [&self.enforced, &self.pending].map(|engine| into(engine, "shop/db", "10.0.0.1", 1))
    }
}

fn staged(name: &str, action: StagedAction, rules: Action) -> Object {
    let policy = policy(name, "app == 'db'", vec![rule(rules)], vec![]);
    let namespaced = policy.metadata.namespace.is_some();
    let staged = Staged { action, policy };
    if namespaced {
        Object::StagedNetworkPolicy(staged)
    } else {
        Object::StagedGlobalNetworkPolicy(staged)
    }
}

const FREE: &str = "Allow by profile/kns.shop ingress[0]";

#[test]
fn set_adds_and_replaces_and_what_was_enforced_comes_back() {
    let mut worlds = Worlds::new();
    worlds.put(&staged("p", StagedAction::Set, Action::Deny));
    assert_eq!(worlds.ask(), [FREE, "Deny by sgnp/p ingress[0]"]);
    worlds.put(&calico(policy(
        "p",
        "app == 'db'",
        vec![rule(Action::Allow)],
        vec![],
    )));
    assert_eq!(
        worlds.ask(),
        ["Allow by gnp/p ingress[0]", "Deny by sgnp/p ingress[0]"]
    );
    assert!(worlds.staging.differs());
    worlds.remove(Kind::StagedGlobalNetworkPolicy, "p");
    assert_eq!(worlds.ask(), ["Allow by gnp/p ingress[0]"; 2]);
    assert!(!worlds.staging.differs());
    worlds.remove(Kind::GlobalNetworkPolicy, "p");
    assert_eq!(worlds.ask(), [FREE; 2]);
}

#[test]
fn delete_takes_away_and_others_change_nothing() {
    let mut worlds = Worlds::new();
    worlds.put(&calico(policy(
        "shop/p",
        "app == 'db'",
        vec![rule(Action::Deny)],
        vec![],
    )));
    worlds.put(&staged("shop/p", StagedAction::Delete, Action::Deny));
    let denied = "Deny by cnp/shop/p ingress[0]";
    assert_eq!(worlds.ask(), [denied, FREE]);
    worlds.put(&staged("shop/p", StagedAction::Learn, Action::Allow));
    assert_eq!(worlds.ask(), [denied; 2]);
    worlds.put(&staged("shop/p", StagedAction::Set, Action::Allow));
    assert_eq!(worlds.ask(), [denied, "Allow by snp/shop/p ingress[0]"]);
    worlds.put(&staged("shop/p", StagedAction::Ignore, Action::Allow));
    assert_eq!(worlds.ask(), [denied; 2]);
}

#[test]
fn a_staged_policy_of_kubernetes_stands_where_its_twin_does() {
    let mut worlds = Worlds::new();
    let policy = netpol("shop/np", "app == 'db'", vec![]);
    let action = StagedAction::Set;
    worlds.put(&Object::StagedKubernetesNetworkPolicy(Staged {
        action,
        policy,
    }));
    let mut after = policy_after();
    after.order = Some(1000.0);
    worlds.put(&calico(after));
    // Equal order and name: the twin's kind decides, and it comes after namespaced ones of Calico.
    assert_eq!(
        worlds.ask(),
        [
            "Deny by cnp/shop/np ingress[0]",
            "Deny by cnp/shop/np ingress[0]"
        ]
    );
    worlds.remove(Kind::CalicoNetworkPolicy, "shop/np");
    assert_eq!(worlds.ask(), [FREE, "Deny by end of tier default"]);
}

fn policy_after() -> ocicat_api::policy::CalicoPolicy {
    policy("shop/np", "app == 'db'", vec![rule(Action::Deny)], vec![])
}
