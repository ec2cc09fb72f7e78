//! Where labels are inherited from: namespaces, service accounts and profiles.

use std::collections::BTreeMap;
use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};

use crate::label::{LabelSets, Name, Names};
use crate::owner::Tests;
use crate::slab::LabelSetId;

/// The label that holds the name of a namespace or service account.
const NAME_LABEL: &str = "projectcalico.org/name";

/// Everything that is stored once and counted.
#[derive(Debug, Default)]
pub(crate) struct Interner {
    pub(crate) names: Names,
    pub(crate) labels: LabelSets,
    pub(crate) tests: Tests,
}

impl Interner {
    pub(crate) fn label_set(
        &mut self,
        labels: &BTreeMap<Arc<str>, Arc<str>>,
        prefix: &str,
    ) -> LabelSetId {
        let names = &mut self.names;
        let pairs = labels.iter().map(|(key, value)| {
            let key = match prefix {
                "" => names.acquire(key),
                _ => names.acquire(&format!("{prefix}{key}")),
            };
            (key, names.acquire(value))
        });
        let pairs = pairs.collect();
        self.labels.acquire(&mut self.names, pairs)
    }

    /// The set of `labels` with some set to other values. Takes over nothing.
    pub(crate) fn label_set_with(
        &mut self,
        labels: &BTreeMap<Arc<str>, Arc<str>>,
        fixed: &[(&str, &str)],
    ) -> LabelSetId {
        let names = &mut self.names;
        let own = labels
            .iter()
            .filter(|(key, _)| fixed.iter().all(|(f, _)| **f != ***key));
        let mut pairs: Vec<(Name, Name)> = own
            .map(|(key, value)| (names.acquire(key), names.acquire(value)))
            .collect();
        pairs.extend(
            fixed
                .iter()
                .map(|(key, value)| (names.acquire(key), names.acquire(value))),
        );
        self.labels.acquire(&mut self.names, pairs)
    }

    pub(crate) fn release_labels(&mut self, id: LabelSetId) {
        self.labels.release(&mut self.names, id);
    }
}

/// Something that identities take labels or rules from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Source {
    Namespace(Name),
    /// Namespace and name.
    Account(Name, Name),
    /// By the name of the profile, whatever stands behind it.
    Profile(Name),
}

/// What stands behind the name of a profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Allows everything.
    Namespace,
    /// Has no rules.
    Account,
    /// A Profile object.
    Object,
    Missing,
}

/// Labels of an object, and the labels that its profile gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Giver {
    view: LabelSetId,
    inherited: LabelSetId,
}

#[derive(Debug, Default)]
pub(crate) struct Sources {
    givers: FxHashMap<Source, Giver>,
    changed: FxHashSet<Source>,
}

impl Sources {
    pub(crate) fn put_namespace(
        &mut self,
        interner: &mut Interner,
        name: &str,
        labels: Option<&BTreeMap<Arc<str>, Arc<str>>>,
    ) {
        let source = Source::Namespace(interner.names.acquire(name));
        let giver = labels.map(|labels| Giver {
            view: interner.label_set_with(labels, &[(NAME_LABEL, name)]),
            inherited: interner.label_set(labels, "pcns."),
        });
        self.put(interner, source, giver, &format!("kns.{name}"));
    }

    pub(crate) fn put_account(
        &mut self,
        interner: &mut Interner,
        (namespace, name): (&str, &str),
        labels: Option<&BTreeMap<Arc<str>, Arc<str>>>,
    ) {
        let source = Source::Account(
            interner.names.acquire(namespace),
            interner.names.acquire(name),
        );
        let giver = labels.map(|labels| Giver {
            view: interner.label_set_with(labels, &[(NAME_LABEL, name)]),
            inherited: interner.label_set(labels, "pcsa."),
        });
        self.put(interner, source, giver, &format!("ksa.{namespace}.{name}"));
    }

    pub(crate) fn put_profile(
        &mut self,
        interner: &mut Interner,
        name: &str,
        labels: Option<&BTreeMap<Arc<str>, Arc<str>>>,
    ) {
        let source = Source::Profile(interner.names.acquire(name));
        let giver = labels.map(|labels| Giver {
            view: interner.label_set(labels, ""),
            inherited: interner.label_set(labels, ""),
        });
        self.put(interner, source, giver, name);
    }

    /// Takes over one hold on the names of `source`; releases it if there is nothing to store.
    fn put(
        &mut self,
        interner: &mut Interner,
        source: Source,
        giver: Option<Giver>,
        profile: &str,
    ) {
        let old = match giver {
            Some(giver) => self.givers.insert(source, giver),
            None => self.givers.remove(&source),
        };
        if old != giver {
            self.mark(interner, source, profile);
        }
        // A key that stays holds its names once; a key that goes gives its hold back.
        if old.is_some() || giver.is_none() {
            release_source(interner, source);
        }
        if let Some(old) = old {
            if giver.is_none() {
                release_source(interner, source);
            }
            interner.release_labels(old.view);
            interner.release_labels(old.inherited);
        }
    }

    /// Notes that what depends on the source or on the profile of that name must be looked at.
    /// The names are held until [`Sources::take_changed`].
    pub(crate) fn mark(&mut self, interner: &mut Interner, source: Source, profile: &str) {
        let profile = Source::Profile(interner.names.acquire(profile));
        for source in [source, profile] {
            if self.changed.insert(source) {
                retain_source(interner, source);
            }
        }
        release_source(interner, profile);
    }

    pub(crate) fn mark_profile(&mut self, interner: &mut Interner, profile: &str) {
        let source = Source::Profile(interner.names.acquire(profile));
        self.mark(interner, source, profile);
        release_source(interner, source);
    }

    /// What changed since the last call, sorted. The caller releases each when done.
    pub(crate) fn take_changed(&mut self) -> Vec<Source> {
        let changed = std::mem::take(&mut self.changed);
        let mut changed: Vec<Source> = changed.into_iter().collect();
        changed.sort_unstable();
        changed
    }

    /// The labels that selectors of namespaces and service accounts see.
    pub(crate) fn view(&self, interner: &mut Interner, source: Source) -> LabelSetId {
        if let Some(giver) = self.givers.get(&source) {
            return interner.labels.retain(giver.view);
        }
        let (Source::Namespace(name) | Source::Account(_, name) | Source::Profile(name)) = source;
        let pair = (
            interner.names.acquire(NAME_LABEL),
            interner.names.retain(name),
        );
        interner.labels.acquire(&mut interner.names, vec![pair])
    }

    pub(crate) fn standing(&self, names: &Names, profile: Name) -> Standing {
        self.behind(names, profile).0
    }

    /// The labels that the profile gives, if it exists.
    pub(crate) fn inherited(&self, names: &Names, profile: Name) -> Option<LabelSetId> {
        self.behind(names, profile).1
    }

    fn behind(&self, names: &Names, profile: Name) -> (Standing, Option<LabelSetId>) {
        let text = names.text(profile);
        let namespace = || Some(Source::Namespace(names.find(text.strip_prefix("kns.")?)?));
        let account = || {
            let (namespace, name) = text.strip_prefix("ksa.")?.split_once('.')?;
            Some(Source::Account(names.find(namespace)?, names.find(name)?))
        };
        let candidates = [
            (Standing::Namespace, namespace()),
            (Standing::Account, account()),
            (Standing::Object, Some(Source::Profile(profile))),
        ];
        for (standing, source) in candidates {
            if let Some(giver) = source.and_then(|source| self.givers.get(&source)) {
                return (standing, Some(giver.inherited));
            }
        }
        (Standing::Missing, None)
    }
}

pub(crate) fn retain_source(interner: &mut Interner, source: Source) {
    each_name(source, |name| {
        interner.names.retain(name);
    });
}

pub(crate) fn release_source(interner: &mut Interner, source: Source) {
    each_name(source, |name| interner.names.release(name));
}

fn each_name(source: Source, mut with: impl FnMut(Name)) {
    match source {
        Source::Namespace(name) | Source::Profile(name) => with(name),
        Source::Account(namespace, name) => {
            with(namespace);
            with(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_hold_and_give_back() {
        let mut interner = Interner::default();
        let mut sources = Sources::default();
        let labels = BTreeMap::from([("team".into(), "red".into())]);
        sources.put_namespace(&mut interner, "shop", Some(&labels));
        let profile = interner.names.acquire("kns.shop");
        assert_eq!(
            sources.standing(&interner.names, profile),
            Standing::Namespace
        );
        assert!(interner.names.find("pcns.team").is_some());
        let changed = sources.take_changed();
        assert_eq!(changed.len(), 2);
        changed
            .into_iter()
            .for_each(|source| release_source(&mut interner, source));
        sources.put_namespace(&mut interner, "shop", Some(&labels));
        assert!(sources.take_changed().is_empty());
        sources.put_namespace(&mut interner, "shop", None);
        assert_eq!(
            sources.standing(&interner.names, profile),
            Standing::Missing
        );
        let changed = sources.take_changed();
        changed
            .into_iter()
            .for_each(|source| release_source(&mut interner, source));
        interner.names.release(profile);
        for text in ["shop", "team", "pcns.team", "kns.shop", NAME_LABEL] {
            assert!(interner.names.find(text).is_none(), "{text}");
        }
    }
}
