//! Names of kinds and objects in URLs.

use std::fmt::{self, Write as _};
use std::sync::Arc;

use ocicat_api::{Kind, KindInfo, ObjectKey, Scope};
use serde_json::Value;

/// A kind as the API serves it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Resource {
    /// Empty for the core group.
    pub group: &'static str,
    pub version: &'static str,
    pub plural: &'static str,
    pub kind: &'static str,
    pub namespaced: bool,
}

/// Names an object among those of its kind.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name {
    /// `None` for cluster-scoped kinds.
    pub namespace: Option<Arc<str>>,
    pub name: Arc<str>,
}

impl Resource {
    /// How policies fare: our own kind.
    pub const POLICY_STATUS: Self = Self {
        group: "ocicat.io",
        version: "v1alpha1",
        plural: "policystatuses",
        kind: "PolicyStatus",
        namespaced: false,
    };

    /// The resource of an object, by its `apiVersion` and `kind`; `None` for kinds not in
    /// [`Kind`].
    #[must_use]
    pub fn of(object: &Value) -> Option<Self> {
        let version = object.get("apiVersion")?.as_str()?;
        let kind = object.get("kind")?.as_str()?;
        let known = Kind::table().iter().map(|info| Self::from(info.kind));
        known
            .chain([Self::POLICY_STATUS])
            .find(|x| x.kind == kind && x.api_version() == version)
    }

    /// `v1`, `networking.k8s.io/v1`.
    #[must_use]
    pub fn api_version(&self) -> String {
        match self.group {
            "" => self.version.to_owned(),
            group => format!("{group}/{}", self.version),
        }
    }

    /// The name that kubectl prints: `networkpolicy.networking.k8s.io`, `pod`.
    #[must_use]
    pub fn singular(&self) -> String {
        match self.group {
            "" => self.kind.to_lowercase(),
            group => format!("{}.{group}", self.kind.to_lowercase()),
        }
    }

    /// Path of the collection, in one namespace or in all.
    pub(crate) fn collection(&self, namespace: Option<&str>) -> String {
        let root = if self.group.is_empty() {
            "/api"
        } else {
            "/apis"
        };
        let mut path = format!("{root}/{}", self.api_version());
        if let (true, Some(namespace)) = (self.namespaced, namespace) {
            path.push_str("/namespaces/");
            path.push_str(&encode(namespace));
        }
        path.push('/');
        path.push_str(self.plural);
        path
    }

    /// Path of one object.
    pub(crate) fn path(&self, name: &Name) -> String {
        let namespace = name.namespace.as_deref().or(Some("default"));
        format!("{}/{}", self.collection(namespace), encode(&name.name))
    }

    /// `pods shop/web-1`, for messages.
    pub(crate) fn describe(&self, name: &Name) -> String {
        format!("{} {name}", self.plural)
    }
}

impl Name {
    #[must_use]
    pub fn namespaced(namespace: impl Into<Arc<str>>, name: impl Into<Arc<str>>) -> Self {
        Self {
            namespace: Some(namespace.into()),
            name: name.into(),
        }
    }

    #[must_use]
    pub fn cluster(name: impl Into<Arc<str>>) -> Self {
        Self {
            namespace: None,
            name: name.into(),
        }
    }

    #[must_use]
    pub fn key(&self, kind: Kind) -> ObjectKey {
        ObjectKey {
            kind,
            namespace: self.namespace.clone(),
            name: self.name.clone(),
        }
    }

    /// The name of an object, `metadata.namespace` and `metadata.name`.
    #[must_use]
    pub fn of(object: &Value) -> Option<Self> {
        let metadata = object.get("metadata")?;
        let field = |name| {
            metadata
                .get(name)
                .and_then(Value::as_str)
                .filter(|x| !x.is_empty())
        };
        Some(Self {
            namespace: field("namespace").map(Arc::from),
            name: field("name")?.into(),
        })
    }
}

impl From<&Name> for Name {
    fn from(name: &Name) -> Self {
        name.clone()
    }
}

impl From<&ObjectKey> for Name {
    fn from(key: &ObjectKey) -> Self {
        Self {
            namespace: key.namespace.clone(),
            name: key.name.clone(),
        }
    }
}

/// `namespace/name`, or `name`.
impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{namespace}/{}", self.name),
            None => write!(f, "{}", self.name),
        }
    }
}

/// Everything but unreserved characters (RFC 3986, section 2.3) as `%XX`.
pub(crate) fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(char::from(byte));
            }
            // Writing to a String cannot fail.
            _ => drop(write!(out, "%{byte:02X}")),
        }
    }
    out
}

impl From<Kind> for Resource {
    fn from(kind: Kind) -> Self {
        let KindInfo {
            group,
            version,
            name,
            plural,
            scope,
            ..
        } = *kind.info();
        Self {
            group,
            version,
            plural,
            kind: name,
            namespaced: scope == Scope::Namespaced,
        }
    }
}

impl From<&Resource> for Resource {
    fn from(resource: &Resource) -> Self {
        *resource
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_follow_the_api_conventions() {
        let web = Name::namespaced("shop", "web");
        let path = |kind: Kind, name: &Name| Resource::from(kind).path(name);
        assert_eq!(path(Kind::Pod, &web), "/api/v1/namespaces/shop/pods/web");
        let policy = "/apis/projectcalico.org/v3/namespaces/shop/networkpolicies/web";
        assert_eq!(path(Kind::CalicoNetworkPolicy, &web), policy);
        assert_eq!(
            path(Kind::Node, &Name::cluster("n 1")),
            "/api/v1/nodes/n%201"
        );
        assert_eq!(Resource::from(Kind::Pod).collection(None), "/api/v1/pods");
    }

    #[test]
    fn an_object_tells_its_resource() {
        for info in Kind::table() {
            let resource = Resource::from(info.kind);
            let object = serde_json::json!({
                "apiVersion": resource.api_version(), "kind": resource.kind
            });
            assert_eq!(Resource::of(&object), Some(resource));
        }
        assert_eq!(Resource::of(&serde_json::json!({"kind": "Pod"})), None);
    }
}
