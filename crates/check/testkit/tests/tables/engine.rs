//! The engine, as these tests use it.

use ocicat_api::{Object, ObjectKey};
use ocicat_node::NodeState;
use ocicat_oracle::World;
use ocicat_policy::{Engine, Locality, Pending, Place, Staging};
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

/// The same, of what would be in force if staged policies were.
pub fn pending_from_scratch(world: &World, host: Host) -> NodeState {
    let mut shadow = Shadow::new(host);
    for object in world.objects.values().rev() {
        shadow.put(object);
    }
    shadow.engine.commit();
    shadow.engine.snapshot()
}

/// An engine of the pending world.
struct Shadow {
    host: Host,
    staging: Staging,
    engine: Engine,
}

impl Shadow {
    fn new(host: Host) -> Self {
        Self {
            host,
            staging: Staging::default(),
            engine: host.engine().pending(),
        }
    }

    fn put(&mut self, object: &Object) {
        for change in self.staging.upsert(object) {
            match change {
                Pending::Upsert(object) => self.host.put(&mut self.engine, object),
                Pending::Remove(key) => self.engine.remove(&key),
            }
        }
    }

    fn delete(&mut self, key: &ObjectKey) {
        for change in self.staging.remove(key) {
            match change {
                Pending::Upsert(object) => self.host.put(&mut self.engine, object),
                Pending::Remove(key) => self.engine.remove(&key),
            }
        }
    }
}

/// Engines that follow a history, and the states that their deltas add up to.
pub struct Incremental {
    host: Host,
    engine: Engine,
    state: NodeState,
    shadow: Shadow,
    pending: NodeState,
}

impl Incremental {
    /// Begins with all objects of a world.
    pub fn new(world: &World, host: Host) -> Self {
        let mut engine = host.engine();
        let mut shadow = Shadow::new(host);
        for object in world.objects.values() {
            host.put(&mut engine, object);
            shadow.put(object);
        }
        let (mut state, mut pending) = (NodeState::default(), NodeState::default());
        state.apply(&engine.commit().delta);
        pending.apply(&shadow.engine.commit().delta);
        Self {
            host,
            engine,
            state,
            shadow,
            pending,
        }
    }

    /// What the deltas add up to.
    pub fn state(&self) -> &NodeState {
        &self.state
    }

    /// What those of the pending world add up to.
    pub fn pending(&self) -> &NodeState {
        &self.pending
    }

    /// The engine, after its last commit.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Commits some changes at once. The sum of all deltas must be what the engine says it is.
    pub fn apply(&mut self, changes: &[Change]) -> Result<(), String> {
        for change in changes {
            match change {
                Change::Put(object) => {
                    self.host.put(&mut self.engine, object);
                    self.shadow.put(object);
                }
                Change::Delete(key) => {
                    self.engine.remove(key);
                    self.shadow.delete(key);
                }
            }
        }
        let commit = self.engine.commit();
        self.state.apply(&commit.delta);
        is_whole(&mut self.engine, &self.state)?;
        let commit = self.shadow.engine.commit();
        self.pending.apply(&commit.delta);
        is_whole(&mut self.shadow.engine, &self.pending)
            .map_err(|message| format!("pending: {message}"))
    }
}

fn is_whole(engine: &mut Engine, state: &NodeState) -> Result<(), String> {
    let full = engine.snapshot();
    if *state != full {
        return Err(format!(
            "the deltas add up to {state:#?}\nand not to {full:#?}"
        ));
    }
    match engine.commit().delta.as_slice() {
        [] => Ok(()),
        delta => Err(format!("a second commit changes {delta:?}")),
    }
}
