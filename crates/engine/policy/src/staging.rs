//! The pending world: what would be in force if staged policies were.

use std::collections::BTreeMap;

use ocicat_api::policy::StagedAction;
use ocicat_api::{Kind, Object, ObjectKey};

/// Turns the objects of the enforced world into those of the pending one, one after the other.
///
/// A staged policy whose action is Set takes the place of its enforced twin: the policy of the same
/// namespace and name, of the kind that it is staged for. One whose action is Delete takes its twin
/// away. Learn and Ignore change nothing. All other objects pass as they are.
///
/// What it returns is for an engine that was made with [`Engine::pending`](crate::Engine::pending).
/// It keeps a copy of each policy that has a staged kind, because it may have to come back.
///
/// ```
/// use ocicat_policy::{Engine, Locality, Pending, Staging};
///
/// let (mut staging, mut pending) = (Staging::default(), Engine::new(Locality::Everything).pending());
/// # let objects: Vec<ocicat_api::Object> = Vec::new();
/// for object in &objects {
///     for change in staging.upsert(object) {
///         match change {
///             Pending::Upsert(object) => pending.upsert(object),
///             Pending::Remove(key) => pending.remove(&key),
///         }
///     }
/// }
/// assert!(!staging.differs());
/// ```
#[derive(Debug, Default)]
pub struct Staging {
    /// By the key of the enforced policy.
    places: BTreeMap<ObjectKey, Place>,
    /// Staged policies, whatever their action.
    staged: usize,
}

/// A change of the pending world.
#[derive(Debug, Clone, PartialEq)]
pub enum Pending<'a> {
    Upsert(&'a Object),
    Remove(ObjectKey),
}

#[derive(Debug, Default)]
struct Place {
    enforced: Option<Object>,
    staged: Option<Object>,
}

/// Which of the two is in the pending world.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shown {
    Nothing,
    Enforced,
    Staged,
}

impl Staging {
    /// Takes in an object of the enforced world.
    pub fn upsert<'a>(&'a mut self, object: &'a Object) -> Vec<Pending<'a>> {
        let key = object.key();
        let Some((twin, is_staged)) = twin(&key) else {
            return vec![Pending::Upsert(object)];
        };
        let place = self.places.entry(twin.clone()).or_default();
        let before = place.shown();
        let slot = if is_staged {
            self.staged += usize::from(place.staged.is_none());
            &mut place.staged
        } else {
            &mut place.enforced
        };
        *slot = Some(object.clone());
        self.changes(twin, before)
    }

    /// Takes in that an object of the enforced world is gone.
    pub fn remove(&mut self, key: &ObjectKey) -> Vec<Pending<'_>> {
        let Some((twin, is_staged)) = twin(key) else {
            return vec![Pending::Remove(key.clone())];
        };
        let Some(place) = self.places.get_mut(&twin) else {
            return Vec::new();
        };
        let before = place.shown();
        if is_staged {
            self.staged -= usize::from(place.staged.take().is_some());
        } else {
            place.enforced = None;
        }
        if place.enforced.is_none() && place.staged.is_none() {
            self.places.remove(&twin);
        }
        self.changes(twin, before)
    }

    /// Whether any staged policy exists, whatever its action: only then is there something to
    /// compare.
    #[must_use]
    pub fn differs(&self) -> bool {
        self.staged > 0
    }

    /// What there is now in the place of a policy, where `before` was.
    fn changes(&self, twin: ObjectKey, before: Shown) -> Vec<Pending<'_>> {
        let place = self.places.get(&twin);
        let now = place.map_or(Shown::Nothing, Place::shown);
        let mut changes = Vec::new();
        if before == Shown::Staged && now != Shown::Staged {
            changes.push(Pending::Remove(staged_of(&twin)));
        }
        if before == Shown::Enforced && now != Shown::Enforced {
            changes.push(Pending::Remove(twin));
        }
        let object = place.and_then(|place| match now {
            Shown::Nothing => None,
            Shown::Enforced => place.enforced.as_ref(),
            Shown::Staged => place.staged.as_ref(),
        });
        changes.extend(object.map(Pending::Upsert));
        changes
    }
}

impl Place {
    fn shown(&self) -> Shown {
        match self.staged.as_ref().and_then(action) {
            Some(StagedAction::Set) => Shown::Staged,
            Some(StagedAction::Delete) => Shown::Nothing,
            _ if self.enforced.is_some() => Shown::Enforced,
            _ => Shown::Nothing,
        }
    }
}

fn action(object: &Object) -> Option<StagedAction> {
    match object {
        Object::StagedNetworkPolicy(staged) | Object::StagedGlobalNetworkPolicy(staged) => {
            Some(staged.action)
        }
        Object::StagedKubernetesNetworkPolicy(staged) => Some(staged.action),
        _ => None,
    }
}

const TWINS: [(Kind, Kind); 3] = [
    (Kind::CalicoNetworkPolicy, Kind::StagedNetworkPolicy),
    (Kind::GlobalNetworkPolicy, Kind::StagedGlobalNetworkPolicy),
    (Kind::NetworkPolicy, Kind::StagedKubernetesNetworkPolicy),
];

/// The key of the enforced policy, and whether this one is staged; `None` for other kinds.
fn twin(key: &ObjectKey) -> Option<(ObjectKey, bool)> {
    let (enforced, staged) = TWINS
        .into_iter()
        .find(|(enforced, staged)| key.kind == *enforced || key.kind == *staged)?;
    let twin = ObjectKey {
        kind: enforced,
        ..key.clone()
    };
    Some((twin, key.kind == staged))
}

fn staged_of(twin: &ObjectKey) -> ObjectKey {
    let kinds = TWINS
        .into_iter()
        .find(|(enforced, _)| twin.kind == *enforced);
    ObjectKey {
        kind: kinds.map_or(twin.kind, |(_, staged)| staged),
        ..twin.clone()
    }
}
