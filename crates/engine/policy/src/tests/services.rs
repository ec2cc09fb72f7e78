//! Rules that ask for services.

use ocicat_api::core::{EndpointSlice, SlicePort};
use ocicat_api::rule::{Action, EntityRule, Rule, ServiceMatch};
use ocicat_api::{Kind, Object, Protocol};
use ocicat_flow::Direction::{Egress, Ingress};
use ocicat_node::Change;

use super::world::*;
use crate::Engine;

fn slice(name: &str, service: &str, address_text: &str, ports: &str) -> Object {
    let port = |text: &str| {
        let (protocol, port) = text.split_once('/').unwrap();
        let protocol = match protocol {
            "tcp" => Protocol::TCP,
            _ => Protocol::UDP,
        };
        let port = port.parse().ok();
        SlicePort { protocol, port }
    };
    Object::EndpointSlice(EndpointSlice {
        metadata: metadata(name, ""),
        service: Some(service.into()),
        addresses: addresses(address_text),
        ports: ports.split_whitespace().map(port).collect(),
    })
}

fn of_service(service: &str) -> EntityRule {
    let (namespace, name) = service.split_once('/').unwrap();
    EntityRule {
        service: Some(ServiceMatch {
            namespace: namespace.into(),
            name: name.into(),
        }),
        ..EntityRule::default()
    }
}

fn to(mut rule: Rule, destination: EntityRule) -> Rule {
    rule.destination = destination;
    rule
}

fn out(engine: &Engine, far: &str, port: u16) -> String {
    ask(engine, "shop/db", Egress, far, on_tcp(port))
}

const ALLOW: &str = "Allow by gnp/p egress[0]";
const END: &str = "Deny by end of tier default";

#[test]
fn egress_asks_for_addresses_and_ports_of_one_slice() {
    let rules = vec![to(rule(Action::Allow), of_service("shop/web"))];
    let mut engine = with([
        calico(policy("p", "app == 'db'", vec![], rules)),
        slice(
            "shop/web-1",
            "web",
            "10.0.0.1 198.51.100.1",
            "tcp/80 udp/53",
        ),
        slice("shop/web-2", "web", "10.0.0.1 10.0.9.9", "tcp/443"),
        slice("bank/web-1", "web", "198.51.100.2", "tcp/80"),
        slice("shop/any", "any", "198.51.100.3", "tcp/all"),
    ]);
    assert_eq!(out(&engine, "10.0.0.1", 80), ALLOW);
    assert_eq!(out(&engine, "10.0.0.1", 443), ALLOW);
    assert_eq!(out(&engine, "10.0.0.1", 53), END);
    assert_eq!(out(&engine, "198.51.100.1", 80), ALLOW);
    assert_eq!(out(&engine, "198.51.100.1", 443), END);
    assert_eq!(out(&engine, "198.51.100.2", 80), END);
    // Nobody is known to have it, but it is in a slice.
    assert_eq!(out(&engine, "10.0.9.9", 443), ALLOW);
    assert_eq!(out(&engine, "10.0.9.9", 80), END);
    assert_eq!(out(&engine, "198.51.100.3", 7), END);
    let rules = vec![to(tcp(Action::Allow, ""), of_service("shop/any"))];
    engine.upsert(&calico(policy("p", "app == 'db'", vec![], rules)));
    engine.commit();
    assert_eq!(out(&engine, "198.51.100.3", 7), ALLOW);
    assert_eq!(out(&engine, "10.0.0.1", 80), END);
}

#[test]
fn a_denied_service_closes_unclaimed_addresses() {
    let rules = vec![
        to(rule(Action::Deny), of_service("shop/web")),
        rule(Action::Allow),
    ];
    let engine = with([
        calico(policy("p", "app == 'db'", vec![], rules)),
        slice("shop/web-1", "web", "10.0.0.1", "tcp/80"),
    ]);
    assert_eq!(out(&engine, "10.0.0.1", 80), "Deny by gnp/p egress[0]");
    assert_eq!(out(&engine, "10.0.0.1", 81), "Allow by gnp/p egress[1]");
    assert_eq!(
        out(&engine, "10.0.9.9", 80),
        "Deny by gnp/p egress[0] (undetermined)"
    );
    assert_eq!(out(&engine, "198.51.100.1", 80), "Allow by gnp/p egress[1]");
}

#[test]
fn ingress_asks_for_addresses_alone() {
    let rules = vec![from(tcp(Action::Allow, "5432"), of_service("shop/web"))];
    let engine = with([
        calico(policy("p", "app == 'db'", rules, vec![])),
        slice("shop/web-1", "web", "10.0.0.1", "tcp/80"),
    ]);
    let db = |far, port| ask(&engine, "shop/db", Ingress, far, on_tcp(port));
    assert_eq!(db("10.0.0.1", 5432), "Allow by gnp/p ingress[0]");
    assert_eq!(db("10.0.0.1", 80), END);
    assert_eq!(db("10.0.0.3", 5432), END);
}

#[test]
fn a_slice_costs_what_is_different_in_it() {
    let rules = vec![to(rule(Action::Allow), of_service("shop/web"))];
    let all = |n: u8| {
        (1..=n)
            .map(|n| format!("198.51.100.{n} "))
            .collect::<String>()
    };
    let mut engine = with([
        calico(policy("p", "app == 'db'", vec![], rules)),
        slice("shop/web-1", "web", &all(100), "tcp/80"),
        slice("shop/other", "other", &all(100), "tcp/80"),
    ]);
    engine.upsert(&slice("shop/web-1", "web", &all(101), "tcp/80"));
    let delta = engine.commit().delta;
    assert!(
        matches!(delta[..], [Change::Class(_, Some(_))]),
        "{delta:?}"
    );
    assert_eq!(out(&engine, "198.51.100.101", 80), ALLOW);
    engine.upsert(&slice("shop/other", "other", &all(150), "tcp/81"));
    assert!(engine.commit().delta.is_empty());
    engine.upsert(&slice("shop/web-1", "web", &all(101), "tcp/81"));
    let delta = engine.commit().delta;
    let moved = delta
        .iter()
        .filter(|change| matches!(change, Change::Class(..)));
    assert_eq!(moved.count(), 101);
    assert_eq!(out(&engine, "198.51.100.101", 81), ALLOW);
    engine.remove(&key(Kind::EndpointSlice, "shop/web-1"));
    engine.commit();
    assert_eq!(out(&engine, "198.51.100.101", 81), END);
}
