//! Endpoints, addresses and configuration of `projectcalico.org/v3`, and our own PolicyStatus.

use super::build::{
    Schema, any, boolean, integer, integer_or_text, list, map_of, number, object, open, text, texts,
};
use super::rule::selector;
use super::{ADDRESS, DURATION, NET, NET_WITH_LENGTH, SUBDOMAIN};
use crate::decode::ignored;
use crate::limits::{INTERFACE_BYTES, LOG_PREFIX_BYTES, NAME_BYTES};

/// TCP, UDP or SCTP, by name or number.
fn port_protocol(about: &str) -> Schema {
    with_ports(integer_or_text(
        about,
        6,
        132,
        "^(?i:tcp|udp|sctp|6|17|132)$",
    ))
}

fn with_ports(protocol: Schema) -> Schema {
    protocol.check(
        "type(self) != int || self in [6, 17, 132]",
        "expected TCP, UDP or SCTP",
    )
}

fn named_ports() -> Schema {
    let port = object("A port with a name.")
        .required(
            "name",
            text("What rules call it.").pattern("^[A-Za-z0-9_.-]{1,128}$"),
        )
        .required("port", integer("The port.", 1, 65_535))
        .required("protocol", port_protocol("TCP, UDP or SCTP."));
    list("Ports that rules may name.", port)
}

pub(super) fn host_endpoint() -> Schema {
    object("What the endpoint is.")
        .required("node", text("The host.").most_chars(NAME_BYTES).pattern(SUBDOMAIN))
        .field(
            "interfaceName",
            text("The interface, or * for all that are not of workloads; absent is the one that has one \
                  of expectedIPs.")
                .most_chars(INTERFACE_BYTES)
                .pattern("^(\\*|[A-Za-z0-9_.-]*)$"),
        )
        .field(
            "expectedIPs",
            list("Addresses by which rules of others know the endpoint.", text("An address.").pattern(ADDRESS)),
        )
        .field("profiles", list("Its profiles, in order.", text("A name.")))
        .field("ports", named_ports())
        .check(
            "(has(self.interfaceName) && size(self.interfaceName) > 0) || \
             (has(self.expectedIPs) && size(self.expectedIPs) > 0)",
            "expected interfaceName, or expectedIPs, or both",
        )
}

/// Written by programs, so fields that we do not know may be there.
pub(super) fn workload_endpoint() -> Schema {
    let port = open("A port with a name.");
    open("What the endpoint is.")
        .described()
        .required("node", text("The host.").least_chars(1))
        .required(
            "orchestrator",
            text("Who made the workload, such as k8s.").least_chars(1),
        )
        .field("pod", text("The pod, if it is one."))
        .field("workload", text("The workload, if it is not a pod."))
        .field("endpoint", text("The interface inside the workload."))
        .field("containerID", text("The container."))
        .field("interfaceName", text("The interface on the host."))
        .field(
            "mac",
            text("The MAC address.").pattern("^([0-9A-Fa-f]{2}[:-]){5}[0-9A-Fa-f]{2}$"),
        )
        .field(
            "ipNetworks",
            list("The addresses.", text("One address.").pattern(NET)),
        )
        .field(
            "allowSpoofedSourcePrefixes",
            list(
                "What it may send from besides its addresses, where workloadSourceSpoofing is Any.",
                text("A CIDR.").pattern(NET),
            ),
        )
        .field("profiles", list("Its profiles, in order.", text("A name.")))
        .field("serviceAccountName", text("The service account."))
        .field(
            "ports",
            list(
                "Ports that rules may name.",
                port.described()
                    .field("name", text("What rules call it."))
                    .required("port", integer("The port.", 1, 65_535))
                    .required("protocol", port_protocol("TCP, UDP or SCTP.")),
            ),
        )
}

pub(super) fn ip_pool() -> Schema {
    let mode = |about| text(about).one_of(&["Never", "Always", "CrossSubnet"]);
    object("What the pool is.")
        .required("cidr", text("The prefix.").pattern(NET))
        .field(
            "blockSize",
            integer("Prefix length of the blocks that hosts take.", 0, 128),
        )
        .field(
            "disabled",
            boolean("Whether no new addresses are taken from it."),
        )
        .field(
            "natOutgoing",
            boolean("Whether traffic that leaves the pools is masqueraded."),
        )
        .field("nodeSelector", selector("The hosts that may use the pool."))
        .field(
            "namespaceSelector",
            selector("The namespaces that may use the pool."),
        )
        .field(
            "ipipMode",
            mode("When traffic between hosts is put into IPIP."),
        )
        .field(
            "vxlanMode",
            mode("When traffic between hosts is put into VXLAN."),
        )
        .field(
            "allowedUses",
            list(
                "What its addresses are for.",
                text("A use.").one_of(&["Workload", "Tunnel", "LoadBalancer"]),
            ),
        )
        .field(
            "assignmentMode",
            text("Whether addresses are taken without being asked for.")
                .one_of(&["Automatic", "Manual"]),
        )
        .field("disableBGPExport", any("Whether BGP does not tell of it."))
}

/// Written by programs, so fields that we do not know may be there.
pub(super) fn ipam_block() -> Schema {
    open("What the block is.")
        .described()
        .required("cidr", text("The prefix.").pattern(NET))
        .field(
            "affinity",
            text("The host that the block belongs to: host:NAME."),
        )
        .field(
            "allocations",
            list(
                "For each address, which of the attributes is its owner's; null where it is free.",
                integer("An index.", 0, i64::from(u32::MAX)).nullable(),
            ),
        )
        .field(
            "attributes",
            list(
                "The owners.",
                open("An owner.")
                    .described()
                    .field("handle_id", text("Who it is.")),
            ),
        )
}

pub(super) fn felix_configuration() -> Schema {
    let failsafe = |about| {
        let port = object("A port that no policy closes.")
            .field("protocol", port_protocol_or_nothing())
            .required("port", integer("The port.", 0, 65_535))
            .field(
                "net",
                text("The far addresses that it is open for; absent is all.")
                    .pattern(&or_nothing(NET)),
            );
        list(about, port)
    };
    let words = |about, words: &str| text(about).pattern(&format!("^(?i:{words})?$"));
    let mut spec = object("What the hosts do.")
        .field(
            "defaultEndpointToHostAction",
            words(
                "What happens to packets of a workload to its own host that its policy allowed.",
                "Drop|Return|Accept",
            ),
        )
        .field(
            "failsafeInboundHostPorts",
            failsafe("Ports of hosts that no policy closes."),
        )
        .field(
            "failsafeOutboundHostPorts",
            failsafe("Ports that hosts reach whatever policy says."),
        )
        .field(
            "workloadSourceSpoofing",
            words(
                "Whether workloads may ask to send from other addresses.",
                "Disabled|Any",
            ),
        )
        .field(
            "logPrefix",
            text("Start of the lines that rules with action Log write.")
                .most_chars(LOG_PREFIX_BYTES)
                .pattern("^[ -~]*$"),
        )
        .field(
            "interfacePrefix",
            text("Prefixes of the names of workloads' interfaces, separated by commas.")
                .pattern("^( *[A-Za-z0-9_.-]{1,15} *(, *[A-Za-z0-9_.-]{1,15} *)*)?$"),
        );
    for dataplane in ["nftables", "iptables"] {
        let mask = "Bits of packets' marks that may be used.";
        spec = spec
            .field(
                &format!("{dataplane}FilterDenyAction"),
                words("What happens to packets that policy denies.", "Drop|Reject"),
            )
            .field(
                &format!("{dataplane}RefreshInterval"),
                text("How often the kernel's tables are compared with what they should be; 0 is never.")
                    .pattern(DURATION),
            )
            .field(&format!("{dataplane}MarkMask"), integer(mask, 0, i64::from(u32::MAX)));
    }
    for name in ignored::FELIX {
        spec = spec.field(name, any(NO_EFFECT));
    }
    spec
}

/// What is told about fields that Calico has.
const NO_EFFECT: &str = "Known to Calico; has no effect in Ocicat.";

fn or_nothing(pattern: &str) -> String {
    format!("^$|{pattern}")
}

fn port_protocol_or_nothing() -> Schema {
    with_ports(integer_or_text(
        "TCP (default), UDP or SCTP.",
        6,
        132,
        "^(?i:tcp|udp|sctp|6|17|132)?$",
    ))
}

pub(super) fn kube_controllers_configuration() -> Schema {
    let switch = |about| text(about).one_of(&["", "Enabled", "Disabled"]);
    let template = object("Host endpoints to make.")
        .required(
            "generateName",
            text("The middle of their names: NODE-NAME-auto-hep.")
                .most_chars(NAME_BYTES)
                .pattern(SUBDOMAIN),
        )
        .field(
            "interfaceCIDRs",
            list(
                "Addresses of a host in these are its expectedIPs.",
                text("A CIDR.").pattern(NET_WITH_LENGTH),
            ),
        )
        .field(
            "interfacePattern",
            text("A regular expression of interface names; one endpoint for each."),
        )
        .field("labels", texts("Labels of the endpoints."))
        .field("annotations", texts("Annotations of the endpoints."))
        .field("nodeSelector", selector("The hosts; absent is all."));
    let host_endpoint = object("Host endpoints that are made by themselves.")
        .field(
            "autoCreate",
            switch("Whether any are made. Disabled if absent."),
        )
        .field(
            "createDefaultHostEndpoint",
            switch("Whether each host gets one for all its interfaces. Enabled if absent."),
        )
        .field(
            "templates",
            list("More of them.", template).keyed("generateName"),
        );
    let node = with_ignored(object("Of hosts."), ignored::KUBE_CONTROLLERS_NODE)
        .field("hostEndpoint", host_endpoint);
    let controllers = with_ignored(object("What is watched over."), ignored::KUBE_CONTROLLERS)
        .field("node", node);
    with_ignored(
        object("What watches over the whole cluster."),
        ignored::KUBE_CONTROLLERS_SPEC,
    )
    .required("controllers", controllers)
}

fn with_ignored(schema: Schema, names: &[&str]) -> Schema {
    names
        .iter()
        .fold(schema, |schema, name| schema.field(name, any(NO_EFFECT)))
}

pub(super) fn policy_status() -> (Schema, Schema) {
    let policy = object("The policy.")
        .required("kind", text("Its kind, in short."))
        .field(
            "namespace",
            text("Its namespace, if its kind has one.").nullable(),
        )
        .required("name", text("Its name."))
        .field("tier", text("Its tier."));
    let problem = object("What is wrong with the policy, or worth saying.")
        .field(
            "severity",
            text("Error or Warning.").one_of(&["Error", "Warning"]),
        )
        .field("field", text("The path of the field."))
        .field("message", text("What was found, and what was expected."));
    let node = object("How the policy fares on one host.")
        .required(
            "state",
            text("InForce or Failed.").one_of(&["InForce", "Failed"]),
        )
        .field(
            "resourceVersion",
            text("The version of the policy that is in force.").nullable(),
        )
        .field(
            "endpoints",
            number("How many endpoints of the host it selects."),
        )
        .field("problems", list("What is wrong.", problem));
    (
        object("Which policy it is about.").required("policy", policy),
        object("Where the policy is in force.")
            .field("nodes", map_of("By the name of the host.", node)),
    )
}
