//! Policies, profiles and tiers as they were last given, in one shape.

use std::cmp::Ordering;
use std::sync::Arc;

use ocicat_api::policy::{
    CalicoPolicy, ClusterNetworkPolicy, ClusterRule, ClusterSubject, ClusterTier, NetworkPolicy,
    PolicyStage, Profile, Subject as ApiSubject, Types,
};
use ocicat_api::rule::Action;
use ocicat_api::{Kind, Metadata, ObjectKey, Problem};
use ocicat_flow::{Direction, PolicyKind, PolicyRef};
use rustc_hash::{FxHashMap, FxHashSet};

use crate::label::Name;
use crate::owner::OwnerTest;
use crate::rule::Rule;
use crate::slab::{BlockId, PolicyId, Slab};
use crate::source::Interner;

/// The tier of Kubernetes policies and of Calico policies that name none.
const DEFAULT_TIER: &str = "default";
/// The order of Kubernetes policies.
const KUBERNETES_ORDER: f64 = 1000.0;
/// Tiers that exist always: name, order, default action.
const FIXED_TIERS: [(&str, f64, Action); 3] = [
    ("kube-admin", 1_000.0, Action::Pass),
    (DEFAULT_TIER, 1_000_000.0, Action::Deny),
    ("kube-baseline", 10_000_000.0, Action::Pass),
];

pub(crate) const DIRECTIONS: [Direction; 2] = [Direction::Ingress, Direction::Egress];

/// 0 for ingress, 1 for egress.
pub(crate) fn side(direction: Direction) -> usize {
    match direction {
        Direction::Ingress => 0,
        Direction::Egress => 1,
    }
}

/// An order whose natural comparison puts an absent one last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Order(u64);

impl Order {
    fn new(order: Option<f64>) -> Self {
        let Some(order) = order else {
            return Self(u64::MAX);
        };
        // Adding zero turns -0 into 0. The rest is the usual map of floats to integers.
        let bits = (order + 0.0).to_bits();
        let sign = 1u64 << 63;
        Self(if bits & sign == 0 { bits | sign } else { !bits })
    }
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    /// No workload.
    Nobody,
    Owners(Arc<OwnerTest>),
    /// The selector cannot be read: it counts as selecting its namespace, which it closes.
    Closed(Arc<OwnerTest>),
}

/// Rules of one direction, or none if the policy does not govern it.
pub(crate) type Rules = Option<Arc<[Rule]>>;

#[derive(Debug)]
pub(crate) struct Policy {
    pub(crate) key: ObjectKey,
    pub(crate) reference: Arc<PolicyRef>,
    /// Never used twice for different references.
    pub(crate) token: u32,
    pub(crate) tier: Name,
    order: Order,
    pub(crate) subject: Subject,
    /// Which host endpoints it selects; `None` for none.
    pub(crate) hosts: Option<Arc<OwnerTest>>,
    pub(crate) stage: PolicyStage,
    pub(crate) rules: [Rules; 2],
    pub(crate) problems: Arc<[Problem]>,
    /// Blocks of the directions, while the policy selects a local endpoint.
    pub(crate) blocks: [Option<BlockId>; 2],
    /// How many local identities and host endpoints it selects.
    pub(crate) selected: u32,
    /// The test by which the index of subjects knows it.
    pub(crate) indexed: Option<Arc<OwnerTest>>,
}

#[derive(Debug)]
pub(crate) struct Tier {
    pub(crate) name: Arc<str>,
    /// Never used twice for different names.
    pub(crate) token: u32,
    count: u32,
    order: Order,
    pub(crate) default_action: Action,
    /// The object exists, or the tier exists always.
    pub(crate) exists: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Policies {
    numbers: FxHashMap<ObjectKey, PolicyId>,
    pub(crate) items: Slab<PolicyId, Policy>,
    tiers: FxHashMap<Name, Tier>,
    profiles: FxHashMap<Name, ProfileRules>,
    /// Policies that are new or different since the last commit.
    dirty: Vec<PolicyId>,
    /// Those of which more than the content of rules is different.
    reframed: Vec<PolicyId>,
    dirty_tiers: FxHashSet<Name>,
    /// What was replaced: given back at the end of the commit.
    old: Vec<Policy>,
    old_profiles: Vec<ProfileRules>,
    old_tiers: Vec<Name>,
    tokens: u32,
}

#[derive(Debug, Clone)]
pub(crate) struct ProfileRules {
    pub(crate) rules: [Arc<[Rule]>; 2],
}

impl Policy {
    /// Whether nothing but the content of the rules of each direction, and what is reported of it,
    /// is different.
    fn has_frame_of(&self, other: &Self) -> bool {
        let governed = |policy: &Self| policy.rules.each_ref().map(Option::is_some);
        (self.token, self.tier, self.order, self.stage)
            == (other.token, other.tier, other.order, other.stage)
            && self.subject == other.subject
            && self.hosts == other.hosts
            && governed(self) == governed(other)
    }
}

/// A policy, before it has a place.
struct Draft {
    kind: PolicyKind,
    key: ObjectKey,
    tier: Arc<str>,
    order: Option<f64>,
    subject: Subject,
    hosts: Option<Arc<OwnerTest>>,
    stage: PolicyStage,
    rules: [Rules; 2],
    problems: Vec<Problem>,
}

impl Policies {
    pub(crate) fn put_calico(
        &mut self,
        interner: &mut Interner,
        kind: Kind,
        policy: &CalicoPolicy,
    ) {
        let (kind_name, namespaced) = match kind {
            Kind::CalicoNetworkPolicy => (PolicyKind::CalicoNetworkPolicy, true),
            Kind::StagedNetworkPolicy => (PolicyKind::StagedNetworkPolicy, true),
            Kind::StagedGlobalNetworkPolicy => (PolicyKind::StagedGlobalNetworkPolicy, false),
            _ => (PolicyKind::GlobalNetworkPolicy, false),
        };
        let key = key_of(kind, &policy.metadata, namespaced);
        let namespace = key.namespace.clone();
        let mut problems = Vec::new();
        let subject = calico_subject(policy, namespace.as_deref(), interner, &mut problems);
        let hosts = match namespace {
            Some(_) => None,
            None => host_test(policy, interner),
        };
        let mut rules = |direction, rules: &[ocicat_api::rule::Rule], governed: bool| {
            problems.extend(
                rules
                    .iter()
                    .flat_map(|rule| rule.unreadable.iter().cloned()),
            );
            let scope = namespace.as_deref();
            let compile = |rule| Rule::from_calico(rule, direction, scope, interner);
            governed.then(|| rules.iter().map(compile).collect::<Arc<[Rule]>>())
        };
        let rules = [
            rules(Direction::Ingress, &policy.ingress, policy.types.ingress),
            rules(Direction::Egress, &policy.egress, policy.types.egress),
        ];
        let (tier, order) = (policy.tier.clone(), policy.order);
        self.put(
            interner,
            Draft {
                kind: kind_name,
                key,
                tier,
                order,
                subject,
                hosts,
                stage: policy.stage,
                rules,
                problems,
            },
        );
    }

    pub(crate) fn put_kube(&mut self, interner: &mut Interner, kind: Kind, policy: &NetworkPolicy) {
        let key = key_of(kind, &policy.metadata, true);
        let namespace: Arc<str> = key.namespace.clone().unwrap_or_default();
        let mut problems = Vec::new();
        let names = &mut interner.names;
        let mut test = OwnerTest {
            scope: Some(names.acquire(&namespace)),
            ..OwnerTest::default()
        };
        let subject = match &policy.pod_selector {
            Some(selector) => {
                test.kube = true;
                test.select(selector, names);
                Subject::Owners(interner.tests.acquire(test, names))
            }
            None => {
                problems.push(closed_problem("spec.podSelector"));
                Subject::Closed(interner.tests.acquire(test, names))
            }
        };
        let Types { ingress, egress } = policy.types;
        let mut rules = |rules: &[ocicat_api::policy::KubeRule], governed: bool| {
            problems.extend(
                rules
                    .iter()
                    .flat_map(|rule| rule.unreadable.iter().cloned()),
            );
            let compile = |rule| Rule::from_kube(rule, &namespace, interner);
            governed.then(|| rules.iter().map(compile).collect::<Arc<[Rule]>>())
        };
        let rules = [
            rules(&policy.ingress, ingress),
            rules(&policy.egress, egress),
        ];
        let kind = match kind {
            Kind::StagedKubernetesNetworkPolicy => PolicyKind::StagedKubernetesNetworkPolicy,
            _ => PolicyKind::NetworkPolicy,
        };
        let (tier, order) = (DEFAULT_TIER.into(), Some(KUBERNETES_ORDER));
        self.put(
            interner,
            Draft {
                kind,
                key,
                tier,
                order,
                subject,
                hosts: None,
                stage: PolicyStage::Normal,
                rules,
                problems,
            },
        );
    }

    pub(crate) fn put_cluster(&mut self, interner: &mut Interner, policy: &ClusterNetworkPolicy) {
        let key = key_of(Kind::ClusterNetworkPolicy, &policy.metadata, false);
        let mut problems = Vec::new();
        let subject = cluster_subject(&policy.subject, interner, &mut problems);
        let mut rules = |rules: &[ClusterRule]| -> Rules {
            let unreadable = rules.iter().flat_map(|rule| &rule.unreadable);
            problems.extend(unreadable.cloned());
            let compile = |rule| Rule::from_cluster(rule, interner);
            (!rules.is_empty()).then(|| rules.iter().map(compile).collect())
        };
        let rules = [rules(&policy.ingress), rules(&policy.egress)];
        let tier = match policy.tier {
            ClusterTier::Admin => "kube-admin",
            ClusterTier::Baseline => "kube-baseline",
        };
        self.put(
            interner,
            Draft {
                kind: PolicyKind::ClusterNetworkPolicy,
                key,
                tier: tier.into(),
                order: Some(f64::from(policy.priority)),
                subject,
                hosts: None,
                stage: PolicyStage::Normal,
                rules,
                problems,
            },
        );
    }

    fn put(&mut self, interner: &mut Interner, draft: Draft) {
        let reference = PolicyRef {
            kind: draft.kind,
            namespace: draft.key.namespace.clone(),
            name: draft.key.name.clone(),
            tier: draft.tier.clone(),
        };
        let mut policy = Policy {
            reference: Arc::new(reference),
            token: self.tokens,
            tier: self.acquire_tier(interner, &draft.tier),
            key: draft.key,
            order: Order::new(draft.order),
            subject: draft.subject,
            hosts: draft.hosts,
            stage: draft.stage,
            rules: draft.rules,
            problems: draft.problems.into(),
            blocks: [None, None],
            selected: 0,
            indexed: None,
        };
        let id = match self.numbers.get(&policy.key) {
            Some(&id) => {
                let old = &mut self.items[id];
                if old.reference == policy.reference {
                    policy.reference = old.reference.clone();
                    policy.token = old.token;
                }
                policy.blocks = old.blocks;
                policy.selected = old.selected;
                policy.indexed = old.indexed.take();
                if !old.has_frame_of(&policy) {
                    self.reframed.push(id);
                }
                self.old.push(std::mem::replace(old, policy));
                id
            }
            None => {
                let key = policy.key.clone();
                let id = self.items.insert(policy);
                self.numbers.insert(key, id);
                self.reframed.push(id);
                id
            }
        };
        self.tokens += 1;
        self.dirty.push(id);
    }

    /// The policy stays as one that selects nobody until the commit is done.
    pub(crate) fn remove(&mut self, key: &ObjectKey) -> Option<PolicyId> {
        let id = self.numbers.remove(key)?;
        self.dirty.push(id);
        self.reframed.push(id);
        Some(id)
    }

    /// Something outside the policy decides anew whom it selects.
    pub(crate) fn touch(&mut self, key: &ObjectKey) {
        let id = self.find(key);
        self.dirty.extend(id);
        self.reframed.extend(id);
    }

    pub(crate) fn put_profile(
        &mut self,
        interner: &mut Interner,
        name: Name,
        profile: Option<&Profile>,
    ) {
        let new = profile.map(|profile| {
            let mut compile = |direction, rules: &[ocicat_api::rule::Rule]| {
                let compile = |rule| Rule::from_calico(rule, direction, None, interner);
                rules.iter().map(compile).collect::<Arc<[Rule]>>()
            };
            let ingress = compile(Direction::Ingress, &profile.ingress);
            ProfileRules {
                rules: [ingress, compile(Direction::Egress, &profile.egress)],
            }
        });
        // The key holds the name while there is an entry.
        let old = match new {
            Some(new) => self.profiles.insert(interner.names.retain(name), new),
            None => self.profiles.remove(&name),
        };
        if old.is_some() {
            interner.names.release(name);
        }
        self.old_profiles.extend(old);
    }

    pub(crate) fn profile(&self, name: Name) -> Option<&ProfileRules> {
        self.profiles.get(&name)
    }

    /// `None`: the object is gone.
    pub(crate) fn put_tier(
        &mut self,
        interner: &mut Interner,
        name: &str,
        object: Option<(Option<f64>, Action)>,
    ) {
        if FIXED_TIERS.iter().any(|(fixed, ..)| *fixed == name) {
            return;
        }
        let key = self.acquire_tier(interner, name);
        let tier = self.tiers.get_mut(&key).expect("acquired above");
        let was = tier.exists;
        let before = (tier.order, tier.default_action);
        let (order, action) = object.unwrap_or((None, Action::Deny));
        tier.order = Order::new(order);
        tier.default_action = action;
        tier.exists = object.is_some();
        if before != (tier.order, tier.default_action) || was != tier.exists {
            self.dirty_tiers.insert(key);
        }
        // An object holds its tier once.
        if was || !tier.exists {
            self.old_tiers.push(key);
        }
        if was && object.is_none() {
            self.old_tiers.push(key);
        }
    }

    pub(crate) fn tier(&self, name: Name) -> &Tier {
        &self.tiers[&name]
    }

    pub(crate) fn find(&self, key: &ObjectKey) -> Option<PolicyId> {
        self.numbers.get(key).copied()
    }

    /// Whether the object exists; a policy that was removed stays for the rest of the commit.
    pub(crate) fn exists(&self, id: PolicyId) -> bool {
        self.items
            .get(id)
            .is_some_and(|policy| self.numbers.get(&policy.key) == Some(&id))
    }

    /// How policies that select one endpoint come one after the other: by tier, then in the tier.
    pub(crate) fn compare(&self, a: PolicyId, b: PolicyId) -> Ordering {
        let rank = |id: PolicyId| {
            let policy = &self.items[id];
            let tier = &self.tiers[&policy.tier];
            let kind = match policy.reference.kind {
                PolicyKind::GlobalNetworkPolicy | PolicyKind::StagedGlobalNetworkPolicy => 0,
                PolicyKind::CalicoNetworkPolicy | PolicyKind::StagedNetworkPolicy => 1,
                PolicyKind::NetworkPolicy
                | PolicyKind::StagedKubernetesNetworkPolicy
                | PolicyKind::Profile => 2,
                PolicyKind::ClusterNetworkPolicy => 3,
            };
            let of_tier = (tier.order, &tier.name);
            (
                of_tier,
                policy.order,
                &policy.key.name,
                &policy.key.namespace,
                kind,
            )
        };
        rank(a).cmp(&rank(b))
    }

    /// Policies that are different, and those of them that may select others, or come in another
    /// order, or in other directions. Both sorted.
    pub(crate) fn take_dirty(&mut self) -> (Vec<PolicyId>, Vec<PolicyId>) {
        let sorted = |ids: &mut Vec<PolicyId>| {
            let mut ids = std::mem::take(ids);
            ids.sort_unstable();
            ids.dedup();
            ids
        };
        (sorted(&mut self.dirty), sorted(&mut self.reframed))
    }

    pub(crate) fn take_dirty_tiers(&mut self) -> FxHashSet<Name> {
        std::mem::take(&mut self.dirty_tiers)
    }

    pub(crate) fn forget(&mut self, id: PolicyId) {
        self.old.extend(self.items.remove(id));
    }

    /// Gives back what replaced and removed objects held.
    pub(crate) fn collect(&mut self, interner: &mut Interner) {
        for policy in std::mem::take(&mut self.old) {
            policy
                .rules
                .iter()
                .flatten()
                .flat_map(|r| r.iter())
                .for_each(|r| r.release(interner));
            if let Subject::Owners(test) | Subject::Closed(test) = &policy.subject {
                interner.tests.release(test, &mut interner.names);
            }
            if let Some(test) = &policy.hosts {
                interner.tests.release(test, &mut interner.names);
            }
            self.old_tiers.push(policy.tier);
        }
        for profile in std::mem::take(&mut self.old_profiles) {
            profile
                .rules
                .iter()
                .flat_map(|rules| rules.iter())
                .for_each(|r| r.release(interner));
        }
        for name in std::mem::take(&mut self.old_tiers) {
            let tier = self.tiers.get_mut(&name).expect("held until here");
            tier.count -= 1;
            if tier.count == 0 {
                self.tiers.remove(&name);
            }
            interner.names.release(name);
        }
        self.items.end_rest();
    }

    pub(crate) fn next_token(&mut self) -> u32 {
        self.tokens += 1;
        self.tokens - 1
    }

    /// Each hold counts once for the tier and once for its name.
    fn acquire_tier(&mut self, interner: &mut Interner, name: &str) -> Name {
        let key = interner.names.acquire(name);
        if let Some(tier) = self.tiers.get_mut(&key) {
            tier.count += 1;
            return key;
        }
        let fixed = FIXED_TIERS.iter().find(|(fixed, ..)| *fixed == name);
        let (order, default_action) = match fixed {
            Some((_, order, action)) => (Some(*order), *action),
            None => (None, Action::Deny),
        };
        let tier = Tier {
            name: interner.names.text(key).clone(),
            token: self.next_token(),
            count: 1,
            order: Order::new(order),
            default_action,
            exists: fixed.is_some(),
        };
        self.tiers.insert(key, tier);
        key
    }
}

fn calico_subject(
    policy: &CalicoPolicy,
    namespace: Option<&str>,
    interner: &mut Interner,
    problems: &mut Vec<Problem>,
) -> Subject {
    let names = &mut interner.names;
    match (&policy.subject, namespace) {
        (ApiSubject::Unreadable, None) => {
            problems.push(nowhere_problem());
            Subject::Nobody
        }
        (ApiSubject::Unreadable, Some(namespace)) => {
            problems.push(closed_problem("spec"));
            let scope = Some(names.acquire(namespace));
            let test = OwnerTest {
                scope,
                ..OwnerTest::default()
            };
            Subject::Closed(interner.tests.acquire(test, names))
        }
        _ if policy.is_host_only() => Subject::Nobody,
        (
            ApiSubject::Selectors {
                selector,
                namespace_selector,
                service_account_selector,
            },
            _,
        ) => {
            let scope = namespace.map(|namespace| names.acquire(namespace));
            let mut test = OwnerTest {
                scope,
                ..OwnerTest::default()
            };
            test.select(selector, names);
            if let Some(selector) = namespace_selector {
                test.select_namespace(selector, names);
            }
            if let Some(selector) = service_account_selector {
                test.select_account(&[], Some(selector), names);
            }
            Subject::Owners(interner.tests.acquire(test, names))
        }
    }
}

fn cluster_subject(
    subject: &ClusterSubject,
    interner: &mut Interner,
    problems: &mut Vec<Problem>,
) -> Subject {
    let names = &mut interner.names;
    let mut test = OwnerTest {
        kube: true,
        ..OwnerTest::default()
    };
    match subject {
        ClusterSubject::Unreadable => {
            problems.push(nowhere_problem());
            return Subject::Nobody;
        }
        ClusterSubject::Namespaces(selector) => test.select_namespace(selector, names),
        ClusterSubject::Pods {
            namespace_selector,
            pod_selector,
        } => {
            test.select_namespace(namespace_selector, names);
            test.select(pod_selector, names);
        }
    }
    Subject::Owners(interner.tests.acquire(test, names))
}

fn nowhere_problem() -> Problem {
    Problem::error(
        "spec",
        "whom the policy selects cannot be read: it is enforced nowhere",
    )
}

/// Host endpoints have neither namespace nor service account.
fn host_test(policy: &CalicoPolicy, interner: &mut Interner) -> Option<Arc<OwnerTest>> {
    let ApiSubject::Selectors {
        selector,
        namespace_selector: None,
        service_account_selector: None,
    } = &policy.subject
    else {
        return None;
    };
    let names = &mut interner.names;
    let mut test = OwnerTest::default();
    test.select(selector, names);
    Some(interner.tests.acquire(test, names))
}

fn closed_problem(field: &str) -> Problem {
    Problem::error(
        field,
        "whom the policy selects cannot be read: it closes its namespace",
    )
}

fn key_of(kind: Kind, metadata: &Metadata, namespaced: bool) -> ObjectKey {
    let namespace = namespaced.then(|| {
        metadata
            .namespace
            .clone()
            .unwrap_or_else(|| "default".into())
    });
    ObjectKey {
        kind,
        namespace,
        name: metadata.name.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_compare_as_numbers_with_absent_last() {
        let orders = [
            f64::NEG_INFINITY,
            -2.5,
            -1.0,
            0.0,
            0.5,
            1.0,
            1e300,
            f64::INFINITY,
        ];
        for pair in orders.windows(2) {
            assert!(Order::new(Some(pair[0])) < Order::new(Some(pair[1])));
        }
        assert_eq!(Order::new(Some(-0.0)), Order::new(Some(0.0)));
        assert!(Order::new(Some(f64::INFINITY)) < Order::new(None));
    }

    #[test]
    fn tiers_go_with_their_last_holder() {
        let mut interner = Interner::default();
        let mut policies = Policies::default();
        policies.put_tier(&mut interner, "a", Some((Some(1.0), Action::Pass)));
        policies.put_tier(&mut interner, "a", Some((Some(2.0), Action::Pass)));
        policies.collect(&mut interner);
        assert!(interner.names.find("a").is_some());
        policies.put_tier(&mut interner, "a", None);
        policies.put_tier(&mut interner, "a", None);
        policies.collect(&mut interner);
        assert!(interner.names.find("a").is_none() && policies.tiers.is_empty());
    }
}
