//! Tests of one owner of an address: the conditions that selectors put together.

use std::sync::Arc;

use ocicat_selector::Selector;
use rustc_hash::FxHashMap;

use crate::expression::{Expression, Need, Place};
use crate::label::{Labels, Name, Names, value_of};
use crate::rule::Sense;

/// What a test sees of an owner.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Owner<'a> {
    pub(crate) labels: &'a Labels,
    pub(crate) namespace: Option<Name>,
    /// Empty for owners without namespace.
    pub(crate) namespace_labels: &'a Labels,
    pub(crate) account: Option<(Name, &'a Labels)>,
    /// An endpoint of orchestrator `k8s`.
    pub(crate) kube: bool,
}

/// One owner must satisfy all parts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct OwnerTest {
    /// The owner must be of this namespace.
    pub(crate) scope: Option<Name>,
    /// The owner must be an endpoint of orchestrator `k8s`.
    pub(crate) kube: bool,
    pub(crate) selector: Option<Expression>,
    pub(crate) namespace: Option<Expression>,
    pub(crate) accounts: Option<Accounts>,
    pub(crate) needs: Needs,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Accounts {
    /// Sorted by number; empty is any.
    pub(crate) names: Box<[Name]>,
    pub(crate) selector: Option<Expression>,
}

/// Necessary conditions, to index by.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Needs {
    labels: Need,
    namespace: Need,
}

impl Default for Needs {
    fn default() -> Self {
        Self {
            labels: Need::Nothing,
            namespace: Need::Nothing,
        }
    }
}

/// A key of the index of tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Facet {
    Any,
    Key(Name),
    Label(Name, Name),
    NamespaceKey(Name),
    NamespaceLabel(Name, Name),
}

impl OwnerTest {
    pub(crate) fn select(&mut self, selector: &Selector, names: &mut Names) {
        self.selector = Some(Expression::compile(selector, Place::Labels, names));
        self.needs.labels = Expression::need(selector, names);
    }

    pub(crate) fn select_namespace(&mut self, selector: &Selector, names: &mut Names) {
        self.namespace = Some(Expression::compile(selector, Place::Namespace, names));
        self.needs.namespace = Expression::need(selector, names);
    }

    pub(crate) fn select_account(
        &mut self,
        account_names: &[Arc<str>],
        selector: Option<&Selector>,
        names: &mut Names,
    ) {
        let mut listed: Vec<Name> = account_names
            .iter()
            .map(|name| names.acquire(name))
            .collect();
        listed.sort_unstable();
        let selector = selector.map(|s| Expression::compile(s, Place::Labels, names));
        self.accounts = Some(Accounts {
            names: listed.into(),
            selector,
        });
    }

    /// What an owner's labels must have.
    pub(crate) fn label_need(&self) -> &Need {
        &self.needs.labels
    }

    pub(crate) fn matches(&self, owner: &Owner<'_>, names: &Names) -> bool {
        let expression = |expression: &Option<Expression>, labels| {
            let namespaced = owner.namespace.is_some();
            expression
                .as_ref()
                .is_none_or(|e| e.matches(labels, namespaced, names))
        };
        if self.scope.is_some() && self.scope != owner.namespace || self.kube && !owner.kube {
            return false;
        }
        let account = || match (&self.accounts, owner.account) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(accounts), Some((name, labels))) => {
                let listed = accounts.names.is_empty() || accounts.names.contains(&name);
                listed && expression(&accounts.selector, labels)
            }
        };
        expression(&self.selector, owner.labels)
            && expression(&self.namespace, owner.namespace_labels)
            && account()
    }

    /// The keys to index the test by: an owner that satisfies it has at least one of them, and
    /// at most one of several.
    pub(crate) fn facets(&self) -> Vec<Facet> {
        let of = |need: &Need, key: fn(Name) -> Facet, pair: fn(Name, Name) -> Facet| match need {
            Need::Nothing => None,
            Need::Key(label) => Some(vec![key(*label)]),
            Need::OneOf(label, values) => Some(values.iter().map(|v| pair(*label, *v)).collect()),
        };
        let pairs = |need: &Need| matches!(need, Need::OneOf(..));
        let labels = || of(&self.needs.labels, Facet::Key, Facet::Label);
        let namespace = || {
            of(
                &self.needs.namespace,
                Facet::NamespaceKey,
                Facet::NamespaceLabel,
            )
        };
        let first = if pairs(&self.needs.labels) || !pairs(&self.needs.namespace) {
            labels().or_else(namespace)
        } else {
            namespace()
        };
        first.unwrap_or_else(|| vec![Facet::Any])
    }

    /// Whether owners that were found by the facet in the scope of the test satisfy the condition.
    fn is_given(&self, facet: Facet, place: Place, condition: &Expression) -> bool {
        match (condition, place, facet) {
            (Expression::Always, ..) => true,
            (Expression::Namespaced, ..) => self.scope.is_some(),
            (Expression::Has(known), Place::Labels, Facet::Key(key))
            | (Expression::Has(known), Place::Namespace, Facet::NamespaceKey(key)) => *known == key,
            (Expression::Equal(known, of), Place::Labels, Facet::Label(key, value))
            | (Expression::Equal(known, of), Place::Namespace, Facet::NamespaceLabel(key, value)) => {
                (*known, *of) == (key, value)
            }
            (Expression::In(known, of), Place::Labels, Facet::Label(key, value))
            | (Expression::In(known, of), Place::Namespace, Facet::NamespaceLabel(key, value)) => {
                *known == key && of.contains(&value)
            }
            _ => false,
        }
    }

    fn release(&self, names: &mut Names) {
        self.scope.iter().for_each(|name| names.release(*name));
        self.selector.iter().for_each(|e| e.release(names));
        self.namespace.iter().for_each(|e| e.release(names));
        if let Some(accounts) = &self.accounts {
            accounts.names.iter().for_each(|name| names.release(*name));
            accounts.selector.iter().for_each(|e| e.release(names));
        }
    }
}

/// Equal tests are stored once, and counted.
#[derive(Debug, Default)]
pub(crate) struct Tests {
    counts: FxHashMap<Arc<OwnerTest>, u32>,
}

impl Tests {
    /// Takes over the names that the test holds.
    pub(crate) fn acquire(&mut self, test: OwnerTest, names: &mut Names) -> Arc<OwnerTest> {
        if let Some((known, _)) = self.counts.get_key_value(&test) {
            let known = known.clone();
            test.release(names);
            self.retain(&known);
            return known;
        }
        let test = Arc::new(test);
        self.counts.insert(test.clone(), 1);
        test
    }

    pub(crate) fn retain(&mut self, test: &Arc<OwnerTest>) {
        *self.counts.entry(test.clone()).or_default() += 1;
    }

    pub(crate) fn release(&mut self, test: &Arc<OwnerTest>, names: &mut Names) {
        let Some(count) = self.counts.get_mut(test) else {
            return;
        };
        *count -= 1;
        if *count == 0 {
            self.counts.remove(test);
            test.release(names);
        }
    }
}

/// Finds the tests that an owner may satisfy, without asking the others.
#[derive(Debug, Default)]
pub(crate) struct TestIndex {
    buckets: FxHashMap<(Option<Name>, Facet), Vec<Candidate>>,
}

/// A test that owners with the facet of its bucket may satisfy. Tests are many and lie apart, so what
/// decides most often stands here.
#[derive(Debug)]
struct Candidate {
    number: u32,
    /// A label that the owner or its namespace must have too, or, if not that, must not have.
    label: Option<(Place, Name, Name, Sense)>,
    kube: bool,
    /// There is nothing else to ask.
    whole: bool,
    test: Arc<OwnerTest>,
}

impl Candidate {
    fn new(number: u32, test: &Arc<OwnerTest>, facet: Facet) -> Self {
        let mut rest: Vec<(Place, &Expression)> = Vec::new();
        let parts = [
            (Place::Labels, &test.selector),
            (Place::Namespace, &test.namespace),
        ];
        for (place, expression) in parts {
            let conditions = expression.iter().flat_map(Expression::conditions);
            rest.extend(conditions.map(|condition| (place, condition)));
        }
        rest.retain(|(place, condition)| !test.is_given(facet, *place, condition));
        let label = |(place, condition): &(Place, &Expression)| match condition {
            Expression::Equal(key, value) => Some((*place, *key, *value, Sense::Positive)),
            Expression::NotEqual(key, value) => Some((*place, *key, *value, Sense::Negative)),
            _ => None,
        };
        // Few owners have one label, and many do not have another one.
        let labels = || (0..rest.len()).filter_map(|at| Some((at, label(&rest[at])?)));
        let positive = labels().find(|(_, (.., sense))| *sense == Sense::Positive);
        let found = positive.or_else(|| labels().next());
        let label = found.map(|(at, label)| {
            rest.remove(at);
            label
        });
        let whole = rest.is_empty() && test.accounts.is_none();
        Self {
            number,
            label,
            kube: test.kube,
            whole,
            test: test.clone(),
        }
    }

    fn matches(&self, owner: &Owner<'_>, names: &Names) -> bool {
        let label = self.label.is_none_or(|(place, key, value, sense)| {
            let labels = match place {
                Place::Labels => owner.labels,
                Place::Namespace => owner.namespace_labels,
            };
            (value_of(labels, key) == Some(value)) == (sense == Sense::Positive)
        });
        let kube = !self.kube || owner.kube;
        label && kube && (self.whole || self.test.matches(owner, names))
    }
}

impl TestIndex {
    pub(crate) fn insert(&mut self, number: u32, test: &Arc<OwnerTest>) {
        for facet in test.facets() {
            self.buckets
                .entry((test.scope, facet))
                .or_default()
                .push(Candidate::new(number, test, facet));
        }
    }

    pub(crate) fn remove(&mut self, number: u32, test: &OwnerTest) {
        for facet in test.facets() {
            if let Some(bucket) = self.buckets.get_mut(&(test.scope, facet)) {
                bucket.retain(|candidate| candidate.number != number);
                if bucket.is_empty() {
                    self.buckets.remove(&(test.scope, facet));
                }
            }
        }
    }

    /// The numbers of the tests that the owner satisfies, sorted.
    pub(crate) fn satisfied(&self, owner: &Owner<'_>, names: &Names) -> Vec<u32> {
        let mut found = Vec::new();
        let mut ask = |facet: Facet| {
            let scopes = [None, owner.namespace];
            for scope in &scopes[..1 + usize::from(owner.namespace.is_some())] {
                for candidate in self.buckets.get(&(*scope, facet)).into_iter().flatten() {
                    if candidate.matches(owner, names) {
                        found.push(candidate.number);
                    }
                }
            }
        };
        ask(Facet::Any);
        for (key, value) in owner.labels {
            ask(Facet::Key(*key));
            ask(Facet::Label(*key, *value));
        }
        for (key, value) in owner.namespace_labels {
            ask(Facet::NamespaceKey(*key));
            ask(Facet::NamespaceLabel(*key, *value));
        }
        found.sort_unstable();
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_index_finds_what_asking_each_test_finds() {
        let mut names = Names::default();
        let mut tests = Tests::default();
        let mut index = TestIndex::default();
        let mut all = Vec::new();
        let texts = [
            "",
            "a == 'x'",
            "a in {'x','y'}",
            "has(a)",
            "a != 'x'",
            "b == 'x'",
            "a in {}",
        ];
        for (i, text) in texts.iter().enumerate() {
            for (j, scope) in [None, Some("n1"), Some("n2")].into_iter().enumerate() {
                for (k, namespace) in [None, Some("t == 'p'"), Some("all()")].iter().enumerate() {
                    let scope = scope.map(|n| names.acquire(n));
                    let mut test = OwnerTest {
                        scope,
                        ..OwnerTest::default()
                    };
                    test.select(&Selector::parse(text).unwrap(), &mut names);
                    if let Some(text) = namespace {
                        test.select_namespace(&Selector::parse(text).unwrap(), &mut names);
                    }
                    let number = u32::try_from(i * 100 + j * 10 + k).unwrap();
                    let test = tests.acquire(test, &mut names);
                    index.insert(number, &test);
                    all.push((number, test));
                }
            }
        }
        let mut pair = |k: &str, v: &str| (names.acquire(k), names.acquire(v));
        let label_sets = [
            vec![],
            vec![pair("a", "x")],
            vec![pair("a", "y"), pair("b", "x")],
        ];
        let namespaces = [vec![], vec![pair("t", "p")]];
        let n1 = names.find("n1");
        for labels in &label_sets {
            for namespace_labels in &namespaces {
                for namespace in [None, n1] {
                    let (account, kube) = (None, false);
                    let owner = Owner {
                        labels,
                        namespace,
                        namespace_labels,
                        account,
                        kube,
                    };
                    let mut expected: Vec<u32> = (all.iter())
                        .filter(|(_, test)| test.matches(&owner, &names))
                        .map(|(number, _)| *number)
                        .collect();
                    expected.sort_unstable();
                    assert_eq!(index.satisfied(&owner, &names), expected);
                }
            }
        }
        all.iter()
            .for_each(|(number, test)| index.remove(*number, test));
        assert!(index.buckets.is_empty());
    }

    #[test]
    fn accounts_need_an_account() {
        let mut names = Names::default();
        let mut test = OwnerTest::default();
        test.select_account(&[], None, &mut names);
        let sa = names.acquire("web");
        let mut owner = Owner {
            labels: &[],
            namespace: None,
            namespace_labels: &[],
            account: None,
            kube: false,
        };
        assert!(!test.matches(&owner, &names));
        owner.account = Some((sa, &[]));
        assert!(test.matches(&owner, &names));
        let mut other = OwnerTest::default();
        other.select_account(&["api".into()], None, &mut names);
        assert!(!other.matches(&owner, &names));
    }
}
