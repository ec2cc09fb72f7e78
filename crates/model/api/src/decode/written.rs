//! What people write is checked more closely than what servers send.
//!
//! Kinds of Kubernetes hold much that is not our concern, and what a cluster has stored is read as far as
//! it is understood. But a misspelt field in a manifest means something else than its author thinks: a
//! pod without the labels by which policy selects it. So down to the levels that we read, the names of
//! fields are compared with those that Kubernetes has (API reference of 1.32, and what later versions
//! added).

use std::net::IpAddr;

use serde_json::Value;

use super::node::{Node, Path, Problems};
use super::{Decoded, decode, meta, names};
use crate::core::Pod;
use crate::{Kind, Problem};

/// What is wrong with an object as it was written, beside what [`decode`] says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Written {
    /// Fields that the kind does not have.
    pub unknown_fields: Vec<Problem>,
    /// Values that Kubernetes refuses, or that nothing can be made of.
    pub problems: Vec<Problem>,
}

/// Reads one object that a person wrote.
#[must_use]
pub fn decode_written(value: &Value) -> Decoded {
    let mut decoded = decode(value);
    let Written {
        unknown_fields,
        problems,
    } = written(value);
    decoded.problems.extend(unknown_fields);
    decoded.problems.extend(problems);
    decoded
}

/// Checks an object that a person wrote.
#[must_use]
pub fn written(value: &Value) -> Written {
    let text = |name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default();
    let mut check = Check::default();
    if let Some(kind) = Kind::of(text("apiVersion"), text("kind")) {
        check.object(kind, &Node::root(value));
    }
    Written {
        unknown_fields: check.unknown.0,
        problems: check.wrong.0,
    }
}

#[derive(Default)]
struct Check {
    unknown: Problems,
    wrong: Problems,
}

impl Check {
    fn object(&mut self, kind: Kind, root: &Node<'_>) {
        let (top, spec): (&[&str], &[&str]) = match kind {
            Kind::Namespace => (TOP, &["finalizers"]),
            Kind::ServiceAccount => (SERVICE_ACCOUNT, &[]),
            Kind::Service => (TOP, SERVICE_SPEC),
            Kind::Pod => (TOP, POD_SPEC),
            Kind::Deployment => (TOP, DEPLOYMENT_SPEC),
            Kind::StatefulSet => (TOP, STATEFUL_SET_SPEC),
            Kind::DaemonSet => (TOP, DAEMON_SET_SPEC),
            Kind::ReplicaSet => (TOP, REPLICA_SET_SPEC),
            Kind::Job => (TOP, JOB_SPEC),
            _ => return,
        };
        root.has_unknown(top, &mut self.unknown);
        if let Some(metadata) = root.field("metadata") {
            self.metadata(&metadata);
        }
        let Some(fields) = root.field("spec") else {
            return;
        };
        match kind {
            Kind::Pod => self.pod_spec(&fields),
            Kind::Service => {
                fields.has_unknown(spec, &mut self.unknown);
                each(&fields, "ports", |port| self.service_port(port));
            }
            Kind::Namespace => {
                fields.has_unknown(spec, &mut self.unknown);
            }
            _ => self.controller_spec(&fields, spec),
        }
    }

    fn metadata(&mut self, node: &Node<'_>) {
        node.has_unknown(meta::KNOWN, &mut self.unknown);
        let Some(annotations) = node.field("annotations") else {
            return;
        };
        if let Some(wanted) = annotations.field(Pod::WANTED_ADDRESSES)
            && let Some(text) = wanted.value.as_str()
            && serde_json::from_str::<Vec<IpAddr>>(text).is_err()
        {
            wanted.expected("a JSON list of IP addresses", &mut self.wrong);
        }
    }

    fn controller_spec(&mut self, spec: &Node<'_>, known: &[&str]) {
        spec.has_unknown(known, &mut self.unknown);
        if let Some(selector) = spec.field("selector") {
            selector.has_unknown(&["matchLabels", "matchExpressions"], &mut self.unknown);
            each(&selector, "matchExpressions", |expression| {
                expression.has_unknown(&["key", "operator", "values"], &mut self.unknown);
            });
        }
        let Some(template) = spec.field("template") else {
            return;
        };
        template.has_unknown(&["metadata", "spec"], &mut self.unknown);
        if let Some(metadata) = template.field("metadata") {
            self.metadata(&metadata);
        }
        if let Some(spec) = template.field("spec") {
            self.pod_spec(&spec);
        }
    }

    fn pod_spec(&mut self, spec: &Node<'_>) {
        spec.has_unknown(POD_SPEC, &mut self.unknown);
        for list in ["initContainers", "containers", "ephemeralContainers"] {
            each(spec, list, |container| {
                container.has_unknown(CONTAINER, &mut self.unknown);
                each(container, "ports", |port| self.container_port(port));
            });
        }
        if let Some(node) = spec.field("nodeName")
            && let Some(text) = node.value.as_str()
            && !text.is_empty()
            && !names::is_rfc1123_subdomain(text)
        {
            node.expected(names::RFC1123_SUBDOMAIN, &mut self.wrong);
        }
    }

    fn container_port(&mut self, port: &Node<'_>) {
        let known = ["name", "hostPort", "containerPort", "protocol", "hostIP"];
        port.has_unknown(&known, &mut self.unknown);
        self.name(port, names::is_kube_port_name, PORT_NAME);
    }

    fn service_port(&mut self, port: &Node<'_>) {
        port.has_unknown(SERVICE_PORT, &mut self.unknown);
        self.name(port, names::is_rfc1123_label, names::RFC1123_LABEL);
    }

    /// A name that may be left out.
    fn name(&mut self, port: &Node<'_>, is_right: fn(&str) -> bool, expected: &str) {
        if let Some(name) = port.field("name")
            && let Some(text) = name.value.as_str()
            && !text.is_empty()
            && !is_right(text)
        {
            name.expected(expected, &mut self.wrong);
        }
    }
}

/// The items of a list that is a field; what is no list, [`decode`] tells.
fn each(node: &Node<'_>, name: &str, mut check: impl FnMut(&Node<'_>)) {
    let path = Path::Key(&node.path, name);
    let items = node.value.get(name).and_then(Value::as_array);
    for (index, value) in items.into_iter().flatten().enumerate() {
        let path = Path::Item(&path, index);
        check(&Node { value, path });
    }
}

/// RFC 6335, section 5.1: `IANA_SVC_NAME`.
const PORT_NAME: &str = "at most 15 lower-case letters, digits and single '-', at least one of them a \
     letter, beginning and ending with a letter or digit (RFC 6335 service name)";

const TOP: &[&str] = &["apiVersion", "kind", "metadata", "spec", "status"];

const SERVICE_ACCOUNT: &[&str] = &[
    "apiVersion",
    "kind",
    "metadata",
    "secrets",
    "imagePullSecrets",
    "automountServiceAccountToken",
];

const SERVICE_SPEC: &[&str] = &[
    "allocateLoadBalancerNodePorts",
    "clusterIP",
    "clusterIPs",
    "externalIPs",
    "externalName",
    "externalTrafficPolicy",
    "healthCheckNodePort",
    "internalTrafficPolicy",
    "ipFamilies",
    "ipFamilyPolicy",
    "loadBalancerClass",
    "loadBalancerIP",
    "loadBalancerSourceRanges",
    "ports",
    "publishNotReadyAddresses",
    "selector",
    "sessionAffinity",
    "sessionAffinityConfig",
    "trafficDistribution",
    "type",
];

const SERVICE_PORT: &[&str] = &[
    "appProtocol",
    "name",
    "nodePort",
    "port",
    "protocol",
    "targetPort",
];

const DEPLOYMENT_SPEC: &[&str] = &[
    "minReadySeconds",
    "paused",
    "progressDeadlineSeconds",
    "replicas",
    "revisionHistoryLimit",
    "selector",
    "strategy",
    "template",
];

const STATEFUL_SET_SPEC: &[&str] = &[
    "minReadySeconds",
    "ordinals",
    "persistentVolumeClaimRetentionPolicy",
    "podManagementPolicy",
    "replicas",
    "revisionHistoryLimit",
    "selector",
    "serviceName",
    "template",
    "updateStrategy",
    "volumeClaimTemplates",
];

const DAEMON_SET_SPEC: &[&str] = &[
    "minReadySeconds",
    "revisionHistoryLimit",
    "selector",
    "template",
    "updateStrategy",
];

const REPLICA_SET_SPEC: &[&str] = &["minReadySeconds", "replicas", "selector", "template"];

const JOB_SPEC: &[&str] = &[
    "activeDeadlineSeconds",
    "backoffLimit",
    "backoffLimitPerIndex",
    "completionMode",
    "completions",
    "managedBy",
    "manualSelector",
    "maxFailedIndexes",
    "parallelism",
    "podFailurePolicy",
    "podReplacementPolicy",
    "selector",
    "successPolicy",
    "suspend",
    "template",
    "ttlSecondsAfterFinished",
];

const POD_SPEC: &[&str] = &[
    "activeDeadlineSeconds",
    "affinity",
    "automountServiceAccountToken",
    "containers",
    "dnsConfig",
    "dnsPolicy",
    "enableServiceLinks",
    "ephemeralContainers",
    "hostAliases",
    "hostIPC",
    "hostNetwork",
    "hostPID",
    "hostUsers",
    "hostname",
    "hostnameOverride",
    "imagePullSecrets",
    "initContainers",
    "nodeName",
    "nodeSelector",
    "os",
    "overhead",
    "preemptionPolicy",
    "priority",
    "priorityClassName",
    "readinessGates",
    "resourceClaims",
    "resources",
    "restartPolicy",
    "runtimeClassName",
    "schedulerName",
    "schedulingGates",
    "securityContext",
    "serviceAccount",
    "serviceAccountName",
    "setHostnameAsFQDN",
    "shareProcessNamespace",
    "subdomain",
    "terminationGracePeriodSeconds",
    "tolerations",
    "topologySpreadConstraints",
    "volumes",
    "workloadRef",
];

/// Of all containers; `targetContainerName` is for ephemeral ones.
const CONTAINER: &[&str] = &[
    "args",
    "command",
    "env",
    "envFrom",
    "image",
    "imagePullPolicy",
    "lifecycle",
    "livenessProbe",
    "name",
    "ports",
    "readinessProbe",
    "resizePolicy",
    "resources",
    "restartPolicy",
    "restartPolicyRules",
    "securityContext",
    "startupProbe",
    "stdin",
    "stdinOnce",
    "targetContainerName",
    "terminationMessagePath",
    "terminationMessagePolicy",
    "tty",
    "volumeDevices",
    "volumeMounts",
    "workingDir",
];

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn said(value: &Value) -> Vec<String> {
        let decoded = decode_written(value);
        decoded.problems.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn misspelt_fields_are_told_at_every_level_that_is_read() {
        let deployment = json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "spce": {},
            "metadata": {"name": "web", "lables": {"app": "web"}},
            "spec": {
                "replica": 2,
                "selector": {"matchLabel": {"app": "web"}, "matchExpressions": [{"ky": "a"}]},
                "template": {
                    "metadta": {},
                    "metadata": {"label": {}},
                    "spec": {
                        "nodename": "a",
                        "containers": [{
                            "name": "web", "imagee": "web",
                            "ports": [{"containerPort": 80, "protcol": "UDP"}],
                        }],
                    },
                },
            },
        });
        let expected = [
            "spce: unknown field \"spce\": did you mean \"spec\"?",
            "metadata.lables: unknown field \"lables\": did you mean \"labels\"?",
            "spec.replica: unknown field \"replica\": did you mean \"replicas\"?",
            "spec.selector.matchLabel: unknown field \"matchLabel\": did you mean \"matchLabels\"?",
            "spec.selector.matchExpressions[0].ky: unknown field \"ky\": did you mean \"key\"?",
            "spec.template.metadta: unknown field \"metadta\": did you mean \"metadata\"?",
            "spec.template.metadata.label: unknown field \"label\": did you mean \"labels\"?",
            "spec.template.spec.nodename: unknown field \"nodename\": did you mean \"nodeName\"?",
            "spec.template.spec.containers[0].imagee: unknown field \"imagee\": did you mean \
             \"image\"?",
            "spec.template.spec.containers[0].ports[0].protcol: unknown field \"protcol\": did you \
             mean \"protocol\"?",
        ];
        assert_eq!(said(&deployment), expected);
        // What a server sends is read as far as it is understood.
        assert!(decode(&deployment).problems.is_empty());
    }

    #[test]
    fn each_kind_has_its_fields() {
        for (version, kind, at) in [
            ("v1", "Pod", "spec"),
            ("v1", "Namespace", "spec"),
            ("v1", "Service", "spec"),
            ("apps/v1", "StatefulSet", "spec"),
            ("apps/v1", "DaemonSet", "spec"),
            ("apps/v1", "ReplicaSet", "spec"),
            ("batch/v1", "Job", "spec"),
            ("v1", "ServiceAccount", ""),
        ] {
            let mut value = json!({
                "apiVersion": version, "kind": kind, "metadata": {"name": "a"},
                "spec": {"template": {}},
            });
            if matches!(kind, "Pod" | "Namespace" | "Service") {
                value["spec"] = json!({});
            }
            if at.is_empty() {
                value.as_object_mut().unwrap().remove("spec");
                value["frobnicate"] = json!(1);
            } else {
                value[at]["frobnicate"] = json!(1);
            }
            let said = said(&value);
            assert_eq!(said.len(), 1, "{kind}: {said:?}");
            assert!(
                said[0].contains("unknown field \"frobnicate\""),
                "{kind}: {said:?}"
            );
        }
    }

    #[test]
    fn names_of_ports_and_nodes_are_checked() {
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {
                "name": "a",
                "annotations": {"cni.projectcalico.org/ipAddrs": "not json"},
            },
            "spec": {
                "nodeName": "worker_2",
                "containers": [{"name": "a", "ports": [
                    {"containerPort": 1, "name": "prometheus-metrics"},
                    {"containerPort": 2, "name": "80"},
                    {"containerPort": 3, "name": "http"},
                ]}],
            },
        });
        let said_of_pod = said(&pod);
        let begins = [
            "metadata.annotations[cni.projectcalico.org/ipAddrs]: \"not json\": expected a JSON list",
            "spec.containers[0].ports[0].name: \"prometheus-metrics\": expected at most 15",
            "spec.containers[0].ports[1].name: \"80\": expected at most 15",
            "spec.nodeName: \"worker_2\": expected at most 253",
        ];
        assert_eq!(said_of_pod.len(), begins.len(), "{said_of_pod:?}");
        for (said, begin) in said_of_pod.iter().zip(begins) {
            assert!(said.starts_with(begin), "{said}");
        }
        // Kubernetes lets ports of services have longer names.
        let service = json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"},
            "spec": {"ports": [
                {"port": 1, "name": "prometheus-metrics"}, {"port": 2, "name": "Http"},
            ]},
        });
        let said_of_service = said(&service);
        assert_eq!(said_of_service.len(), 1, "{said_of_service:?}");
        assert!(
            said_of_service[0].starts_with("spec.ports[1].name: \"Http\": expected at most 63")
        );
    }
}
