//! The merge keys of the served kinds, from the `patchStrategy` tags of `k8s.io/api`.

use super::Field::{Keyed, Object, Set};
use super::{Field, Shape};

impl Shape {
    /// How the field `name` is merged; `None` when lists are replaced and objects have no known type.
    pub(super) fn field(&self, name: &str) -> Option<Field> {
        self.0
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, field)| *field)
    }
}

/// No field with a rule of its own but metadata.
pub(crate) static PLAIN: Shape = Shape(&[("metadata", Object(&META))]);

/// `v1.Namespace`.
pub(crate) static NAMESPACE: Shape =
    Shape(&[("metadata", Object(&META)), ("status", Object(&CONDITIONS))]);

/// `v1.Node`.
pub(crate) static NODE: Shape = Shape(&[
    ("metadata", Object(&META)),
    ("spec", Object(&NODE_SPEC)),
    ("status", Object(&NODE_STATUS)),
]);

/// `v1.Pod`, and a pod template.
pub(crate) static POD: Shape = Shape(&[
    ("metadata", Object(&META)),
    ("spec", Object(&POD_SPEC)),
    ("status", Object(&POD_STATUS)),
]);

/// `v1.Service`.
pub(crate) static SERVICE: Shape = Shape(&[
    ("metadata", Object(&META)),
    ("spec", Object(&SERVICE_SPEC)),
    ("status", Object(&CONDITIONS)),
]);

/// `v1.ServiceAccount`.
pub(crate) static SERVICE_ACCOUNT: Shape = Shape(&[
    ("metadata", Object(&META)),
    ("secrets", Keyed("name", &BARE)),
    ("imagePullSecrets", Keyed("name", &BARE)),
]);

/// Deployment, `StatefulSet`, `DaemonSet`, `ReplicaSet` and Job: something with a pod template.
pub(crate) static WORKLOAD: Shape = Shape(&[
    ("metadata", Object(&META)),
    ("spec", Object(&WORKLOAD_SPEC)),
    ("status", Object(&CONDITIONS)),
]);

pub(super) static BARE: Shape = Shape(&[]);

static META: Shape = Shape(&[
    ("finalizers", Set),
    ("ownerReferences", Keyed("uid", &BARE)),
]);

static CONDITIONS: Shape = Shape(&[("conditions", Keyed("type", &BARE))]);

static NODE_SPEC: Shape = Shape(&[("podCIDRs", Set)]);

static NODE_STATUS: Shape = Shape(&[
    ("conditions", Keyed("type", &BARE)),
    ("addresses", Keyed("type", &BARE)),
]);

static WORKLOAD_SPEC: Shape = Shape(&[("template", Object(&POD))]);

static SERVICE_SPEC: Shape = Shape(&[("ports", Keyed("port", &BARE))]);

static POD_STATUS: Shape = Shape(&[
    ("conditions", Keyed("type", &BARE)),
    ("podIPs", Keyed("ip", &BARE)),
    ("hostIPs", Keyed("ip", &BARE)),
    ("resourceClaimStatuses", Keyed("name", &BARE)),
]);

static POD_SPEC: Shape = Shape(&[
    ("containers", Keyed("name", &CONTAINER)),
    ("initContainers", Keyed("name", &CONTAINER)),
    ("ephemeralContainers", Keyed("name", &CONTAINER)),
    ("volumes", Keyed("name", &BARE)),
    ("imagePullSecrets", Keyed("name", &BARE)),
    ("hostAliases", Keyed("ip", &BARE)),
    ("topologySpreadConstraints", Keyed("topologyKey", &BARE)),
    ("schedulingGates", Keyed("name", &BARE)),
    ("resourceClaims", Keyed("name", &BARE)),
]);

static CONTAINER: Shape = Shape(&[
    ("ports", Keyed("containerPort", &BARE)),
    ("env", Keyed("name", &BARE)),
    ("volumeMounts", Keyed("mountPath", &BARE)),
    ("volumeDevices", Keyed("devicePath", &BARE)),
]);
