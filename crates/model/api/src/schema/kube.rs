//! Policies of Kubernetes: NetworkPolicy, and ClusterNetworkPolicy of `policy.networking.k8s.io`.
//!
//! Where lists have no limit, an API server lets no condition between fields be asked of their items:
//! it could take too long. What peers, ports and label selectors need beside each other is left to the
//! decoder.

use super::build::{Schema, integer, integer_or_text, list, object, text, texts};
use super::{NET_WITH_LENGTH, PORT_NAME};
use crate::limits::{
    CLUSTER_ENTRIES, CLUSTER_PRIORITY, CLUSTER_RULE_NAME_CHARS, KUBE_PORT_NAME_BYTES, NAME_BYTES,
};

pub(super) fn network_policy() -> Schema {
    object("What the policy says.")
        .field(
            "podSelector",
            label_selector("The pods of the namespace that it selects; empty is all."),
        )
        .field(
            "policyTypes",
            list(
                "The directions that it governs.",
                text("A direction.").one_of(&["Ingress", "Egress"]),
            )
            .least_items(1)
            .most_items(2)
            .set(),
        )
        .field("ingress", rules("What the pods accept.", "from"))
        .field("egress", rules("What the pods may send.", "to"))
}

fn rules(about: &str, peers: &str) -> Schema {
    let rule = object("Peers and ports that are allowed together.")
        .field(peers, list("Who; absent or empty is everybody.", peer()))
        .field(
            "ports",
            list("What; absent or empty is everything.", port()),
        );
    list(about, rule)
}

fn peer() -> Schema {
    let block = object("Addresses.")
        .required("cidr", text("A CIDR.").pattern(NET_WITH_LENGTH))
        .field(
            "except",
            list(
                "Parts of it that are not meant.",
                text("A CIDR.").pattern(NET_WITH_LENGTH),
            ),
        );
    object("Addresses, or pods.")
        .field("ipBlock", block)
        .field(
            "namespaceSelector",
            label_selector("Namespaces; absent is that of the policy."),
        )
        .field(
            "podSelector",
            label_selector("Pods; absent is all of the namespaces."),
        )
        .least_fields(1)
}

fn port() -> Schema {
    object("A protocol, and its ports.")
        .field(
            "protocol",
            text("The protocol.")
                .one_of(&["TCP", "UDP", "SCTP"])
                .default("TCP"),
        )
        .field(
            "port",
            integer_or_text(
                "A number, or the name of a port; absent is all.",
                1,
                65_535,
                PORT_NAME,
            )
            .most_chars(KUBE_PORT_NAME_BYTES),
        )
        .field(
            "endPort",
            integer("The last port of a range that begins at port.", 1, 65_535),
        )
}

pub(super) fn label_selector(about: &str) -> Schema {
    let expression = object("A condition for a label.")
        .required("key", text("The label.").pattern("^[A-Za-z0-9./_-]+$"))
        .required(
            "operator",
            text("The condition.").one_of(&["In", "NotIn", "Exists", "DoesNotExist"]),
        )
        .field(
            "values",
            list("Values, for In and NotIn.", text("A value.")),
        );
    object(about)
        .field(
            "matchLabels",
            texts("Labels that must be there with these values."),
        )
        .field(
            "matchExpressions",
            list("Conditions that must hold.", expression),
        )
}

pub(super) fn cluster_network_policy() -> Schema {
    let rules = |about, peers: &str, peer| {
        list(about, cluster_rule(peers, peer)).most_items(CLUSTER_ENTRIES)
    };
    let subject = object("The pods that it selects: exactly one of the fields.")
        .field(
            "namespaces",
            label_selector("All pods of these namespaces."),
        )
        .field("pods", namespaced_pods("Pods of namespaces."))
        .one_field();
    object("What the policy says.")
        .required(
            "tier",
            text("Admin is judged before NetworkPolicy, Baseline after it.")
                .one_of(&["Admin", "Baseline"]),
        )
        .required(
            "priority",
            integer(
                "Place in the tier: lower is earlier.",
                0,
                i64::from(CLUSTER_PRIORITY),
            ),
        )
        .required("subject", subject)
        .field(
            "ingress",
            rules(
                "Rules for traffic to the pods, in order.",
                "from",
                ingress_peer(),
            ),
        )
        .field(
            "egress",
            rules(
                "Rules for traffic from the pods, in order.",
                "to",
                egress_peer(),
            ),
        )
}

fn cluster_rule(peers: &str, peer: Schema) -> Schema {
    let rule = object("What happens to the packets of these peers and protocols.")
        .field(
            "name",
            text("What people call the rule.").most_chars(CLUSTER_RULE_NAME_CHARS),
        )
        .required(
            "action",
            text("Accept and Deny decide, Pass leaves the tier for the next one.")
                .one_of(&["Accept", "Deny", "Pass"]),
        )
        .required(
            peers,
            list("The other side.", peer)
                .least_items(1)
                .most_items(CLUSTER_ENTRIES),
        )
        .field(
            "protocols",
            list("Protocols and ports; absent is all.", protocol())
                .least_items(1)
                .most_items(CLUSTER_ENTRIES),
        );
    if peers == "from" {
        return rule;
    }
    rule.check(
        "self.action == 'Accept' || !self.to.exists(peer, has(peer.domainNames))",
        "expected domainNames only in a rule with action Accept",
    )
    .check(
        "!has(self.protocols) || !self.protocols.exists(p, has(p.destinationNamedPort)) || \
         !self.to.exists(peer, has(peer.networks) || has(peer.nodes) || has(peer.domainNames))",
        "expected no destinationNamedPort beside networks, nodes or domainNames, which have no ports by \
         name",
    )
}

fn ingress_peer() -> Schema {
    peers().one_field()
}

fn egress_peer() -> Schema {
    let entries = |about, item| list(about, item).least_items(1).most_items(CLUSTER_ENTRIES);
    peers()
        .field("nodes", label_selector("Addresses of these hosts."))
        .field(
            "networks",
            entries("Addresses in these CIDRs.", text("A CIDR.").most_chars(43).pattern(NET_WITH_LENGTH)),
        )
        .field(
            "domainNames",
            entries(
                "Addresses of these names; only in rules with action Accept. Nothing enforces it yet: the \
                 names match nothing until an observer of names does.",
                text("A name, or *.name for all below it.").most_chars(NAME_BYTES).pattern(
                    "^(\\*\\.)?([A-Za-z0-9]([-A-Za-z0-9_]*[A-Za-z0-9])?\\.)+\
                     [A-Za-z0-9]([-A-Za-z0-9_]*[A-Za-z0-9])?\\.?$",
                ),
            ),
        )
        .one_field()
}

fn peers() -> Schema {
    object("A peer: exactly one of the fields.")
        .field(
            "namespaces",
            label_selector("All pods of these namespaces."),
        )
        .field("pods", namespaced_pods("Pods of namespaces."))
}

fn namespaced_pods(about: &str) -> Schema {
    object(about)
        .field(
            "namespaceSelector",
            label_selector("The namespaces; absent or empty is all."),
        )
        .required("podSelector", label_selector("The pods; empty is all."))
}

fn protocol() -> Schema {
    let number = || integer("A port.", 1, 65_535);
    let range = object("From start to end, both included.")
        .required("start", integer("The first port.", 1, 65_535))
        .required("end", integer("The last port.", 1, 65_535))
        .check("self.start < self.end", "expected end after start");
    let port = object("A port or a range: exactly one of the fields.")
        .field("number", number())
        .field("range", range)
        .one_field();
    let of = |about| {
        object(about)
            .field("destinationPort", port.clone())
            .one_field()
    };
    object("A protocol: exactly one of the fields.")
        .field("tcp", of("TCP."))
        .field("udp", of("UDP."))
        .field("sctp", of("SCTP."))
        .field(
            "destinationNamedPort",
            text("The port of this name of the destination pod.")
                .most_chars(KUBE_PORT_NAME_BYTES)
                .pattern(PORT_NAME),
        )
        .one_field()
}
