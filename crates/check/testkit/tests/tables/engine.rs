//! The engine, as these tests use it.

use ocicat_api::{Object, ObjectKey};
use ocicat_node::NodeState;
use ocicat_oracle::World;
use ocicat_policy::{Commit, Engine, Locality, Place};
use ocicat_testkit::Change;

/// For which endpoints the engine calculates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Host {
    /// All of them.
    Every,
    /// Those of `node-1`, because the engine is told its name.
    One,
    /// Those of `node-1`, because the engine is told of each.
    Chosen,
}

impl Host {
    /// Each of them for every third seed.
    pub fn of_seed(seed: u64) -> Self {
        [Self::Every, Self::One, Self::Chosen][usize::try_from(seed % 3).expect("less than 3")]
    }

    /// Whether the endpoint of that key is judged here.
    pub fn has(self, world: &World, key: &ObjectKey) -> bool {
        world
            .objects
            .get(key)
            .is_some_and(|object| self.is_home_of(object))
    }

    fn is_home_of(self, object: &Object) -> bool {
        match (self, object) {
            (Self::Every, _) => true,
            (_, Object::Pod(pod)) => pod.node.as_deref() == Some("node-1"),
            (_, Object::WorkloadEndpoint(wep)) => &*wep.node == "node-1",
            (_, Object::HostEndpoint(endpoint)) => &*endpoint.node == "node-1",
            _ => false,
        }
    }

    fn engine(self) -> Engine {
        Engine::new(match self {
            Self::Every => Locality::Everything,
            Self::One => Locality::Node("node-1".into()),
            Self::Chosen => Locality::Nothing,
        })
    }

    fn put(self, engine: &mut Engine, object: &Object) {
        if self == Self::Chosen && self.is_home_of(object) {
            engine.set_local(&object.key(), Place::Local);
        } else if self == Self::Chosen {
            engine.set_local(&object.key(), Place::ByNode);
        }
        engine.upsert(object);
    }
}

/// The tables of a world that is given at once, the last object first.
pub fn from_scratch(world: &World, host: Host) -> NodeState {
    let mut engine = host.engine();
    for object in world.objects.values().rev() {
        host.put(&mut engine, object);
    }
    engine.commit();
    engine.snapshot()
}

/// An engine that follows a history, and the state that its deltas add up to.
pub struct Incremental {
    host: Host,
    engine: Engine,
    state: NodeState,
}

impl Incremental {
    /// Begins with all objects of a world.
    pub fn new(world: &World, host: Host) -> Self {
        let mut engine = host.engine();
        for object in world.objects.values() {
            host.put(&mut engine, object);
        }
        let mut state = NodeState::default();
        state.apply(&engine.commit().delta);
        Self {
            host,
            engine,
            state,
        }
    }

    /// What the deltas add up to.
    pub fn state(&self) -> &NodeState {
        &self.state
    }

    /// The engine, after its last commit.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Commits some changes at once: the states on the way to the next one, which is the last of
    /// them. The sum of all deltas must be what the engine says it is.
    pub fn apply(&mut self, changes: &[Change]) -> Result<Vec<NodeState>, String> {
        for change in changes {
            match change {
                Change::Put(object) => self.host.put(&mut self.engine, object),
                Change::Delete(key) => self.engine.remove(key),
            }
        }
        let commit = self.engine.commit();
        let mut states = Vec::new();
        for step in commit.steps() {
            self.state.apply(step);
            states.push(self.state.clone());
        }
        self.is_whole(&commit)?;
        Ok(states)
    }

    fn is_whole(&mut self, commit: &Commit) -> Result<(), String> {
        let parts: usize = commit.steps().iter().map(|step| step.len()).sum();
        if parts != commit.delta.len() {
            return Err(format!(
                "{parts} changes in steps, {} in all",
                commit.delta.len()
            ));
        }
        let full = self.engine.snapshot();
        if self.state != full {
            return Err(format!(
                "the deltas add up to {:#?}\nand not to {full:#?}",
                self.state
            ));
        }
        match self.engine.commit().delta.as_slice() {
            [] => Ok(()),
            delta => Err(format!("a second commit changes {delta:?}")),
        }
    }
}
