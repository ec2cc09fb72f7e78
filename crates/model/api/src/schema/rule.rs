//! Rules of the `projectcalico.org/v3` policy kinds.

use super::build::{Schema, integer, integer_or_text, list, object, text, texts};
use super::{DOMAIN, NET, SUBDOMAIN};
use crate::limits::{
    DOMAINS, HTTP_MATCHES, HTTP_PATH_CHARS, NAME_BYTES, NETS, PORTS, RULES, SELECTOR_CHARS,
};

/// What the policy of a rule is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    Namespaced,
    /// Without a namespace of its own.
    Global,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    Ingress,
    Egress,
}

const PROTOCOL: &str =
    "^(?i:tcp|udp|icmp|icmpv6|sctp|udplite|([1-9]|[1-9][0-9]|1[0-9]{2}|2[0-4][0-9]|25[0-5]))$";

/// CEL: the rule has a protocol, and it is not one of others than these. Equality is all that an API
/// server affords to ask of a field that may be a number or a text of any length, so other spellings are
/// left to the decoder.
fn protocol_is(numbers: &str, others: &[&str]) -> String {
    let spelt = others
        .iter()
        .flat_map(|name| [(*name).to_owned(), name.to_lowercase()]);
    let spelt: Vec<String> = spelt.map(|name| format!("'{name}'")).collect();
    format!(
        "(has(self.protocol) && (type(self.protocol) != int || self.protocol in [{numbers}]) && \
         !(self.protocol in [{}]))",
        spelt.join(", ")
    )
}

/// The fields `ingress` and `egress`.
pub(super) fn both(spec: Schema, scope: Scope) -> Schema {
    let rules = |direction, about| list(about, rule(scope, direction)).most_items(RULES);
    spec.field(
        "ingress",
        rules(
            Direction::Ingress,
            "Rules for traffic to the endpoints, in order.",
        ),
    )
    .field(
        "egress",
        rules(
            Direction::Egress,
            "Rules for traffic from the endpoints, in order.",
        ),
    )
}

fn rule(scope: Scope, direction: Direction) -> Schema {
    let rule = object("What happens to the packets that all present fields match.")
        .required(
            "action",
            text("Allow and Deny decide, Pass leaves the tier for the next one, Log goes on.")
                .one_of(&["Allow", "Deny", "Log", "Pass"]),
        )
        .field(
            "ipVersion",
            integer("4 or 6; absent is both.", 4, 6).values(&[4, 6]),
        )
        .field("protocol", protocol("The protocol, by name or number."))
        .field("notProtocol", protocol("Any protocol but this one."))
        .field("icmp", icmp("The type and code of ICMP messages."))
        .field("notICMP", icmp("Any ICMP message but these."))
        .field("source", entity("Where the packets come from.", scope))
        .field("destination", entity("Where the packets go.", scope))
        .field("http", http())
        .field(
            "metadata",
            object("What people note about the rule.").field(
                "annotations",
                texts("Notes, by name. They change no verdict."),
            ),
        )
        .check(
            protocol_is("1, 58", &["TCP", "UDP", "SCTP", "UDPLite"]) + " || !has(self.icmp)",
            "expected protocol ICMP or ICMPv6 in a rule with icmp",
        )
        .check(
            protocol_is("6, 17, 132", &["ICMP", "ICMPv6", "UDPLite"])
                + " || !("
                + &asks_ports()
                + ")",
            "expected protocol TCP, UDP or SCTP in a rule with ports",
        );
    match direction {
        Direction::Ingress => rule
            .check(
                "!has(self.http) || self.action == 'Allow'",
                "expected http only in a rule with action Allow",
            )
            .check(
                "!has(self.http) || !has(self.protocol) || ".to_owned()
                    + &protocol_is("6", &["UDP", "SCTP", "ICMP", "ICMPv6", "UDPLite"]),
                "expected protocol TCP in a rule with http",
            )
            .check(
                "!has(self.destination) || !has(self.destination.services)",
                "expected services only in the source of an ingress rule",
            )
            .check(
                "!".to_owned() + &has_domains("source") + " && !" + &has_domains("destination"),
                "expected domains only in the destination of an egress rule",
            ),
        Direction::Egress => rule
            .check("!has(self.http)", "expected http only in ingress rules")
            .check(
                "!has(self.source) || !has(self.source.services)",
                "expected services only in the destination of an egress rule",
            )
            .check(
                "!".to_owned() + &has_domains("source"),
                "expected domains only in the destination of an egress rule",
            )
            .check(
                "self.action == 'Allow' || !".to_owned() + &has_domains("destination"),
                "expected domains only in a rule with action Allow",
            ),
    }
}

/// CEL: a side of the rule asks for domains.
fn has_domains(side: &str) -> String {
    format!(
        "(has(self.{side}) && {})",
        filled(&format!("self.{side}.domains"))
    )
}

/// CEL: a list is there and has something in it.
fn filled(list: &str) -> String {
    format!("(has({list}) && size({list}) > 0)")
}

/// CEL: the rule asks for ports.
fn asks_ports() -> String {
    let side = |side: &str| {
        let ports = filled(&format!("self.{side}.ports"));
        let others = filled(&format!("self.{side}.notPorts"));
        format!("(has(self.{side}) && ({ports} || {others}))")
    };
    format!("{} || {}", side("source"), side("destination"))
}

fn protocol(about: &str) -> Schema {
    let about = format!("{about} TCP, UDP, ICMP, ICMPv6, SCTP, UDPLite or 1-255.");
    integer_or_text(&about, 1, 255, PROTOCOL)
}

fn icmp(about: &str) -> Schema {
    object(about)
        .field(
            "type",
            integer("The type; alone it means any code.", 0, 254),
        )
        .field(
            "code",
            integer("The code; only together with a type.", 0, 255),
        )
        .check(
            "!has(self.code) || has(self.type)",
            "code without type: expected both, or type alone",
        )
}

fn entity(about: &str, scope: Scope) -> Schema {
    let nets = |about| list(about, text("A CIDR or an address.").pattern(NET)).most_items(NETS);
    let ports = |about| list(about, port()).most_items(PORTS);
    let entity = object(about)
        .field("nets", nets("Addresses in one of these CIDRs, all of one family."))
        .field("notNets", nets("Addresses in none of these CIDRs."))
        .field("selector", selector("Endpoints and network sets with matching labels."))
        .field("notSelector", selector("Anything but what has matching labels."))
        .field(
            "namespaceSelector",
            selector("In namespaces with matching labels; global() is what has no namespace."),
        )
        .field(
            "serviceAccounts",
            object("Pods of these service accounts.")
                .field("names", list("The account has one of these names.", text("A name.")))
                .field("selector", selector("The account has matching labels.")),
        )
        .field("ports", ports("One of these ports."))
        .field("notPorts", ports("None of these ports."))
        .field("services", services(scope))
        .field(
            "domains",
            list(
                "Only in the destination of egress rules with action Allow: addresses of these names. \
                 Nothing enforces it yet: the rule matches nothing until an observer of names does.",
                text("A name, or *.name for all below it.")
                    .most_chars(NAME_BYTES)
                    .pattern(DOMAIN),
            )
            .most_items(DOMAINS),
        );
    let asks = [
        "has(self.serviceAccounts)".to_owned(),
        filled("self.selector"),
        filled("self.notSelector"),
        filled("self.namespaceSelector"),
        filled("self.nets"),
        filled("self.notNets"),
        filled("self.ports"),
        filled("self.notPorts"),
        filled("self.domains"),
    ];
    entity.check(
        format!("!has(self.services) || !({})", asks.join(" || ")),
        "expected services without selectors, serviceAccounts, nets, ports and domains",
    )
}

pub(super) fn selector(about: &str) -> Schema {
    text(&format!(
        "{about} An expression such as app == 'web' && !has(canary)."
    ))
    .most_chars(SELECTOR_CHARS)
}

fn port() -> Schema {
    integer_or_text(
        "A number, a range such as 8000:8080, or the name of a port.",
        0,
        65_535,
        "^([0-9]+:[0-9]+|[A-Za-z0-9_.-]{1,128})$",
    )
}

fn services(scope: Scope) -> Schema {
    let about = "The endpoints of a service: in the destination of an egress rule with their ports, in \
                 the source of an ingress rule their addresses.";
    let name = text("The service.")
        .most_chars(NAME_BYTES)
        .pattern(SUBDOMAIN);
    let services = object(about).required("name", name);
    match scope {
        Scope::Namespaced => services.field(
            "namespace",
            text("Its namespace; that of the policy if absent.")
                .most_chars(63)
                .pattern("^([a-z0-9]([-a-z0-9]*[a-z0-9])?)?$"),
        ),
        Scope::Global => services.required(
            "namespace",
            text("Its namespace.")
                .most_chars(63)
                .pattern("^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"),
        ),
    }
}

fn http() -> Schema {
    let path = |about| text(about).most_chars(HTTP_PATH_CHARS).pattern("^/[^?#]*$");
    let paths = object("A path.")
        .field("exact", path("The whole path."))
        .field("prefix", path("The start of the path."))
        .check(
            "has(self.exact) != has(self.prefix)",
            "expected one of exact and prefix",
        );
    object(
        "Only in ingress rules with action Allow for TCP: HTTP requests. Nothing enforces it yet: the \
         rule matches nothing until a layer-7 proxy does.",
    )
    .field(
        "methods",
        list("One of these methods.", text("A method.").pattern("^[A-Za-z0-9!#$%&'*+.^_`|~-]+$"))
            .most_items(HTTP_MATCHES),
    )
    .field("paths", list("One of these paths.", paths).most_items(HTTP_MATCHES))
}
