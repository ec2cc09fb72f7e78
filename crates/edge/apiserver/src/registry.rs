//! The one table of what is served.

use crate::patch::strategic::{self, Shape};

/// The core group's only version, and the group and version pairs in the order of discovery: where two
/// groups have a resource of one name, clients that give no group get the first.
pub(crate) const GROUPS: [(&str, &str); 8] = [
    ("", "v1"),
    ("apps", "v1"),
    ("batch", "v1"),
    ("networking.k8s.io", "v1"),
    ("projectcalico.org", "v3"),
    ("ocicat.io", "v1alpha1"),
    ("discovery.k8s.io", "v1"),
    ("policy.networking.k8s.io", "v1alpha2"),
];

/// One served kind.
#[derive(Debug)]
pub(crate) struct Resource {
    /// API group; empty for the core group.
    pub(crate) group: &'static str,
    /// API version.
    pub(crate) version: &'static str,
    /// The kind of its objects.
    pub(crate) kind: &'static str,
    /// Its name in paths.
    pub(crate) plural: &'static str,
    /// Its name for one object.
    pub(crate) singular: &'static str,
    /// Abbreviations that clients accept.
    pub(crate) short_names: &'static [&'static str],
    /// Whether its objects live in namespaces.
    pub(crate) namespaced: bool,
    /// Whether `status` is written through a path of its own.
    pub(crate) status: bool,
    /// How strategic merge patches treat its lists; `None` where Kubernetes has no such patches.
    pub(crate) shape: Option<&'static Shape>,
}

impl Resource {
    /// `plural.group`, or `plural` in the core group: how messages name it.
    pub(crate) fn qualified(&self) -> String {
        match self.group {
            "" => self.plural.to_owned(),
            group => format!("{}.{group}", self.plural),
        }
    }

    /// `group/version`, or `version` in the core group.
    pub(crate) fn api_version(&self) -> String {
        api_version(self.group, self.version)
    }

    /// The key of an object, or with an empty name the prefix of all objects of a namespace, or with both
    /// empty of all.
    pub(crate) fn key(&self, namespace: &str, name: &str) -> String {
        let group = if self.group.is_empty() {
            "core"
        } else {
            self.group
        };
        match (self.namespaced, namespace) {
            (true, "") => format!("/registry/{group}/{}/", self.plural),
            (true, namespace) => format!("/registry/{group}/{}/{namespace}/{name}", self.plural),
            (false, _) => format!("/registry/{group}/{}/{name}", self.plural),
        }
    }
}

/// `group/version`, or `version` in the core group.
pub(crate) fn api_version(group: &str, version: &str) -> String {
    if group.is_empty() {
        version.to_owned()
    } else {
        format!("{group}/{version}")
    }
}

/// The resource under a group, version and plural name.
pub(crate) fn find(group: &str, version: &str, plural: &str) -> Option<&'static Resource> {
    RESOURCES
        .iter()
        .find(|r| r.group == group && r.version == version && r.plural == plural)
}

/// The resources of one group and version.
pub(crate) fn of_version(group: &str, version: &str) -> impl Iterator<Item = &'static Resource> {
    RESOURCES
        .iter()
        .filter(move |r| r.group == group && r.version == version)
}

/// The namespaces themselves.
pub(crate) fn namespaces() -> &'static Resource {
    &RESOURCES[0]
}

/// A row with the usual lower-case names of a kind.
const fn row(
    (group, version): (&'static str, &'static str),
    kind: &'static str,
    (plural, singular): (&'static str, &'static str),
    short_names: &'static [&'static str],
) -> Resource {
    Resource {
        group,
        version,
        kind,
        plural,
        singular,
        short_names,
        namespaced: true,
        status: false,
        shape: None,
    }
}

impl Resource {
    const fn cluster(mut self) -> Self {
        self.namespaced = false;
        self
    }

    const fn with_status(mut self) -> Self {
        self.status = true;
        self
    }

    const fn shaped(mut self, shape: &'static Shape) -> Self {
        self.shape = Some(shape);
        self
    }
}

const CORE: (&str, &str) = GROUPS[0];
const APPS: (&str, &str) = GROUPS[1];
const BATCH: (&str, &str) = GROUPS[2];
const NETWORKING: (&str, &str) = GROUPS[3];
const CALICO: (&str, &str) = GROUPS[4];
const OCICAT: (&str, &str) = GROUPS[5];
const DISCOVERY: (&str, &str) = GROUPS[6];
const CLUSTER_POLICY: (&str, &str) = GROUPS[7];

/// Everything that is served. Names, scopes and status paths are those of Kubernetes and of Calico's
/// custom resource definitions; the first row is `namespaces`.
pub(crate) static RESOURCES: [Resource; 30] = [
    row(CORE, "Namespace", ("namespaces", "namespace"), &["ns"])
        .cluster()
        .with_status()
        .shaped(&strategic::NAMESPACE),
    row(CORE, "Node", ("nodes", "node"), &["no"])
        .cluster()
        .with_status()
        .shaped(&strategic::NODE),
    row(CORE, "Pod", ("pods", "pod"), &["po"])
        .with_status()
        .shaped(&strategic::POD),
    row(CORE, "Service", ("services", "service"), &["svc"])
        .with_status()
        .shaped(&strategic::SERVICE),
    row(
        CORE,
        "ServiceAccount",
        ("serviceaccounts", "serviceaccount"),
        &["sa"],
    )
    .shaped(&strategic::SERVICE_ACCOUNT),
    row(CORE, "ConfigMap", ("configmaps", "configmap"), &["cm"]).shaped(&strategic::PLAIN),
    row(
        APPS,
        "Deployment",
        ("deployments", "deployment"),
        &["deploy"],
    )
    .with_status()
    .shaped(&strategic::WORKLOAD),
    row(
        APPS,
        "StatefulSet",
        ("statefulsets", "statefulset"),
        &["sts"],
    )
    .with_status()
    .shaped(&strategic::WORKLOAD),
    row(APPS, "DaemonSet", ("daemonsets", "daemonset"), &["ds"])
        .with_status()
        .shaped(&strategic::WORKLOAD),
    row(APPS, "ReplicaSet", ("replicasets", "replicaset"), &["rs"])
        .with_status()
        .shaped(&strategic::WORKLOAD),
    row(BATCH, "Job", ("jobs", "job"), &[])
        .with_status()
        .shaped(&strategic::WORKLOAD),
    row(
        NETWORKING,
        "NetworkPolicy",
        ("networkpolicies", "networkpolicy"),
        &["netpol"],
    )
    .shaped(&strategic::PLAIN),
    row(
        CALICO,
        "NetworkPolicy",
        ("networkpolicies", "networkpolicy"),
        &["cnp", "caliconetworkpolicy"],
    ),
    row(
        CALICO,
        "GlobalNetworkPolicy",
        ("globalnetworkpolicies", "globalnetworkpolicy"),
        &["gnp", "cgnp"],
    )
    .cluster(),
    row(CALICO, "Tier", ("tiers", "tier"), &[])
        .cluster()
        .with_status(),
    row(CALICO, "NetworkSet", ("networksets", "networkset"), &[]),
    row(
        CALICO,
        "GlobalNetworkSet",
        ("globalnetworksets", "globalnetworkset"),
        &["gns"],
    )
    .cluster(),
    row(CALICO, "Profile", ("profiles", "profile"), &[]).cluster(),
    row(CALICO, "IPPool", ("ippools", "ippool"), &[])
        .cluster()
        .with_status(),
    row(CALICO, "IPAMBlock", ("ipamblocks", "ipamblock"), &[]).cluster(),
    row(
        CALICO,
        "WorkloadEndpoint",
        ("workloadendpoints", "workloadendpoint"),
        &["wep", "weps"],
    ),
    row(
        CALICO,
        "StagedNetworkPolicy",
        ("stagednetworkpolicies", "stagednetworkpolicy"),
        &["snp", "scnp"],
    ),
    row(
        CALICO,
        "StagedGlobalNetworkPolicy",
        ("stagedglobalnetworkpolicies", "stagedglobalnetworkpolicy"),
        &["sgnp"],
    )
    .cluster(),
    row(
        CALICO,
        "StagedKubernetesNetworkPolicy",
        (
            "stagedkubernetesnetworkpolicies",
            "stagedkubernetesnetworkpolicy",
        ),
        &["sknp"],
    ),
    row(
        CALICO,
        "HostEndpoint",
        ("hostendpoints", "hostendpoint"),
        &["hep", "heps"],
    )
    .cluster(),
    row(
        CALICO,
        "FelixConfiguration",
        ("felixconfigurations", "felixconfiguration"),
        &["felixconfig", "felixconfigs"],
    )
    .cluster(),
    row(
        CALICO,
        "KubeControllersConfiguration",
        (
            "kubecontrollersconfigurations",
            "kubecontrollersconfiguration",
        ),
        &["kcc", "kccs"],
    )
    .cluster()
    .with_status(),
    row(
        DISCOVERY,
        "EndpointSlice",
        ("endpointslices", "endpointslice"),
        &[],
    )
    .shaped(&strategic::PLAIN),
    row(
        CLUSTER_POLICY,
        "ClusterNetworkPolicy",
        ("clusternetworkpolicies", "clusternetworkpolicy"),
        &["clusternp"],
    )
    .cluster()
    .with_status(),
    row(
        OCICAT,
        "PolicyStatus",
        ("policystatuses", "policystatus"),
        &[],
    )
    .cluster(),
];

#[cfg(test)]
mod tests {
    use ocicat_api::{Kind, Scope};

    use super::*;

    #[test]
    fn kinds_are_called_as_the_model_calls_them() {
        for info in Kind::table() {
            let served = find(info.group, info.version, info.plural).expect(info.name);
            assert_eq!(served.kind, info.name);
            assert_eq!(served.short_names, info.short_names, "{}", info.name);
            assert_eq!(
                served.namespaced,
                info.scope == Scope::Namespaced,
                "{}",
                info.name
            );
        }
    }

    #[test]
    fn namespaces_come_first() {
        assert_eq!(namespaces().kind, "Namespace");
    }
}
