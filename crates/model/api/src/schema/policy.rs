//! Policies, tiers, sets and profiles of `projectcalico.org/v3`.

use super::build::{Schema, boolean, list, number, object, text, texts};
use super::rule::{Scope, both, selector};
use super::{DOMAIN, NET, SUBDOMAIN_OR_NOTHING, kube};
use crate::limits::NAME_BYTES;

pub(super) fn network_policy() -> Schema {
    both(policy("What the policy says."), Scope::Namespaced)
}

pub(super) fn global_network_policy() -> Schema {
    let spec = policy("What the policy says.")
        .field(
            "namespaceSelector",
            selector("The policy selects endpoints of namespaces with matching labels."),
        )
        .field(
            "applyOnForward",
            boolean("Whether it judges traffic that a host forwards through a host endpoint, too."),
        )
        .field(
            "doNotTrack",
            boolean("Whether it judges host endpoints before connection tracking, and nothing else."),
        )
        .field(
            "preDNAT",
            boolean(
                "Whether it judges host endpoints before destinations are translated, and nothing else.",
            ),
        );
    let flag = |name: &str| format!("(has(self.{name}) && self.{name})");
    let (untracked, pre_dnat) = (flag("doNotTrack"), flag("preDNAT"));
    let forward = flag("applyOnForward");
    both(spec, Scope::Global)
        .check(
            format!("!{untracked} || {forward}"),
            "doNotTrack without applyOnForward: expected applyOnForward: true",
        )
        .check(
            format!("!{pre_dnat} || {forward}"),
            "preDNAT without applyOnForward: expected applyOnForward: true",
        )
        .check(
            format!("!({untracked} && {pre_dnat})"),
            "expected one of doNotTrack and preDNAT, not both",
        )
        .check(
            format!(
                "!{pre_dnat} || ((!has(self.egress) || size(self.egress) == 0) && \
                 (!has(self.types) || !('Egress' in self.types)))"
            ),
            "expected no egress in a preDNAT policy",
        )
}

/// The same with `stagedAction`.
pub(super) fn staged(twin: Schema) -> Schema {
    twin.field(
        "stagedAction",
        text(
            "What the preview makes of the enforced policy of this name: Set adds or replaces it, Delete \
             removes it, Learn and Ignore change nothing.",
        )
        .one_of(&["Set", "Delete", "Learn", "Ignore"])
        .default("Set"),
    )
}

pub(super) fn staged_kubernetes_network_policy() -> Schema {
    staged(kube::network_policy())
}

fn policy(about: &str) -> Schema {
    object(about)
        .field(
            "tier",
            text("The tier of the policy.")
                .most_chars(NAME_BYTES)
                .pattern(SUBDOMAIN_OR_NOTHING)
                .default("default"),
        )
        .field(
            "order",
            number("Place in the tier: lower is earlier, absent is last."),
        )
        .field(
            "selector",
            selector("The endpoints that the policy selects; absent selects all."),
        )
        .field(
            "serviceAccountSelector",
            selector("The policy selects endpoints whose service account has matching labels."),
        )
        .field(
            "types",
            list(
                "The directions that it governs.",
                text("A direction.").one_of(&["Ingress", "Egress"]),
            )
            .least_items(1)
            .most_items(2)
            .set(),
        )
        .field(
            "performanceHints",
            list(
                "They change no verdict.",
                text("A hint.").one_of(&["AssumeNeededOnEveryNode"]),
            ),
        )
}

pub(super) fn tier() -> Schema {
    object("What the tier is.")
        .field(
            "order",
            number("Place among the tiers: lower is earlier, absent is last."),
        )
        .field(
            "defaultAction",
            text(
                "What happens where the policies of the tier select an endpoint and do not decide.",
            )
            .one_of(&["Deny", "Pass"])
            .default("Deny"),
        )
}

pub(super) fn network_set() -> Schema {
    object("What is in the set.")
        .field("nets", list("CIDRs and addresses, of both families.", text("A CIDR.").pattern(NET)))
        .field(
            "allowedEgressDomains",
            list(
                "Names whose addresses belong to the set. They add none until an observer of names does.",
                text("A name, or *.name for all below it.")
                    .most_chars(NAME_BYTES)
                    .pattern(DOMAIN),
            ),
        )
}

pub(super) fn profile() -> Schema {
    let spec = object("What the endpoints take on that name the profile.")
        .field("labelsToApply", texts("Labels that the endpoints inherit."));
    both(spec, Scope::Global)
}
