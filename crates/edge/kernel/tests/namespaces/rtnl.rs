use std::net::IpAddr;

use ipnet::IpNet;
use ocicat_kernel::Mac;
use ocicat_kernel::rtnl::{
    Address, Neighbour, NeighbourKind, Request, Route, RouteFilter, RouteKind, Rtnl, Veth,
    VethPeer, link,
};

use super::{exec, scratch};

const PROTOCOL: u8 = 201;

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// A pair `a`–`b` within one namespace, both up.
fn pair(rtnl: &mut Rtnl) -> u32 {
    let veth = Veth {
        name: "a".to_owned(),
        mac: Some(Mac([2, 0, 0, 0, 0, 1])),
        mtu: Some(1400),
        peer: VethPeer {
            name: "b".to_owned(),
            mac: None,
            namespace: None,
        },
    };
    rtnl.apply_all(&[veth.create(), link::up("a"), link::up("b")])
        .unwrap();
    rtnl.link_index("a").unwrap()
}

#[test]
fn a_pair_across_namespaces() {
    let (Some(one), Some(two)) = (scratch(), scratch()) else {
        return;
    };
    let (mut near, mut far) = (Rtnl::open_in(&one).unwrap(), Rtnl::open_in(&two).unwrap());
    let mac = Mac([2, 0, 0, 0, 0, 9]);
    let veth = Veth {
        name: "wire0".to_owned(),
        mac: None,
        mtu: Some(1450),
        peer: VethPeer {
            name: "eth0".to_owned(),
            mac: Some(mac),
            namespace: Some((*two).clone()),
        },
    };
    near.apply(&veth.create()).unwrap();
    let wire = near.link("wire0").unwrap().unwrap();
    let eth = far.link("eth0").unwrap().unwrap();
    assert_eq!((wire.peer, eth.peer), (Some(eth.index), Some(wire.index)));
    assert_eq!((eth.mac, eth.mtu, wire.mtu), (Some(mac), 1450, 1450));
    assert_eq!(eth.kind.as_deref(), Some("veth"));
    assert!(!wire.is_up && !eth.is_up && !eth.is_running);
    assert!(near.link("eth0").unwrap().is_none());

    let error = near.apply(&veth.create()).unwrap_err();
    assert!(error.is_exists(), "{error}");
    assert!(
        error
            .to_string()
            .starts_with("veth wire0 with eth0: File exists (17)"),
        "{error}"
    );

    near.apply_all(&[link::delete("wire0"), link::delete("wire0")])
        .unwrap();
    assert!(far.link("eth0").unwrap().is_none());
    assert!(near.apply(&link::up("wire0")).unwrap_err().is_not_found());
}

#[test]
fn a_bridge_joins_and_links_move() {
    let (Some(one), Some(two)) = (scratch(), scratch()) else {
        return;
    };
    let mut rtnl = Rtnl::open_in(&one).unwrap();
    pair(&mut rtnl);
    rtnl.apply_all(&[link::create_bridge("br0"), link::up("br0")])
        .unwrap();
    let bridge = rtnl.link_index("br0").unwrap();
    rtnl.apply_all(&[
        link::join_bridge("a", bridge),
        link::set_mtu("b", 1300),
        link::set_mac("b", Mac([2, 0, 0, 0, 0, 7])),
        link::move_to("b", &two),
    ])
    .unwrap();
    assert_eq!(rtnl.link("a").unwrap().unwrap().controller, Some(bridge));
    assert_eq!(
        rtnl.link("br0").unwrap().unwrap().kind.as_deref(),
        Some("bridge")
    );
    let moved = Rtnl::open_in(&two).unwrap().link("b").unwrap().unwrap();
    assert_eq!(
        (moved.mtu, moved.mac, moved.is_up),
        (1300, Some(Mac([2, 0, 0, 0, 0, 7])), false)
    );
    rtnl.apply(&link::down("a")).unwrap();
    assert!(!rtnl.link("a").unwrap().unwrap().is_up);
}

#[test]
fn addresses_come_and_go() {
    let Some(namespace) = scratch() else { return };
    let mut rtnl = Rtnl::open_in(&namespace).unwrap();
    let interface = pair(&mut rtnl);
    for text in ["10.1.0.1/24", "fd01::1/64"] {
        let address = Address {
            interface,
            net: net(text),
        };
        rtnl.apply_all(&[address.replace(), address.replace()])
            .unwrap();
        assert!(rtnl.addresses().unwrap().contains(&address), "{text}");
        rtnl.apply_all(&[address.remove(), address.remove()])
            .unwrap();
        assert!(!rtnl.addresses().unwrap().contains(&address), "{text}");
    }
    let v6 = Address {
        interface,
        net: net("fd01::2/128"),
    };
    rtnl.apply(&v6.replace()).unwrap();
    assert!(
        !exec(&namespace, &["ip", "-6", "addr", "show", "dev", "a"])
            .contains("fd01::2/128 scope global tentative")
    );
}

#[test]
fn routes_of_every_shape_read_back_as_written() {
    let Some(namespace) = scratch() else { return };
    let mut rtnl = Rtnl::open_in(&namespace).unwrap();
    let interface = pair(&mut rtnl);
    let addresses = ["10.1.0.1/24", "fd01::1/64"].map(|text| {
        Address {
            interface,
            net: net(text),
        }
        .replace()
    });
    rtnl.apply_all(&addresses).unwrap();
    let mut routes = vec![
        Route::to_link(net("10.9.0.1/32"), interface),
        Route::to_link(net("fd09::1/128"), interface),
        Route::via_onlink(net("0.0.0.0/0"), ip("169.254.1.1"), interface),
        Route::via_onlink(net("::/0"), ip("fe80::1"), interface),
        Route::blackhole(net("10.9.0.0/26")),
        Route {
            metric: Some(77),
            ..Route::via_onlink(net("10.10.0.0/16"), ip("10.1.0.2"), interface)
        },
        Route {
            source: Some(ip("10.1.0.1")),
            ..Route::to_link(net("10.11.0.0/16"), interface)
        },
        Route {
            table: 1000,
            ..Route::to_link(net("10.12.0.0/16"), interface)
        },
        Route {
            kind: RouteKind::Unreachable,
            ..Route::blackhole(net("10.13.0.0/16"))
        },
    ]
    .into_iter()
    .map(|route| route.by(PROTOCOL))
    .collect::<Vec<_>>();
    routes.sort_unstable();
    let requests: Vec<Request> = routes.iter().map(Route::add).collect();
    rtnl.apply_all(&requests).unwrap();
    let again = rtnl.apply_each(&requests).unwrap();
    assert!(
        again
            .iter()
            .all(|fate| fate.as_ref().is_err_and(ocicat_kernel::Error::is_exists))
    );
    rtnl.apply_all(&routes.iter().map(Route::replace).collect::<Vec<_>>())
        .unwrap();

    let filter = RouteFilter::by_protocol(PROTOCOL);
    let mut seen = rtnl.routes(&filter).unwrap();
    // IPv6 does not keep the flag of a gateway that is on the link anyway.
    for route in &mut seen {
        route.onlink |= routes
            .iter()
            .any(|r| r.onlink && r.destination == route.destination);
    }
    assert_eq!(seen, routes);
    let of_table = RouteFilter {
        table: Some(1000),
        ..filter
    };
    assert_eq!(rtnl.routes(&of_table).unwrap().len(), 1);
    assert!(
        rtnl.routes(&RouteFilter::by_protocol(202))
            .unwrap()
            .is_empty()
    );

    let removals: Vec<_> = routes
        .iter()
        .flat_map(|route| [route.remove(), route.remove()])
        .collect();
    rtnl.apply_all(&removals).unwrap();
    assert!(rtnl.routes(&filter).unwrap().is_empty());
}

#[test]
fn blackholes_of_ipv6() {
    let Some(namespace) = scratch() else { return };
    let mut rtnl = Rtnl::open_in(&namespace).unwrap();
    let route = Route::blackhole(net("fd09::/122")).by(PROTOCOL);
    rtnl.apply_all(&[route.replace(), route.replace()]).unwrap();
    assert!(exec(&namespace, &["ip", "-6", "route"]).contains("blackhole fd09::/122"));
    let found = rtnl.routes(&RouteFilter::by_protocol(PROTOCOL)).unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(
        (found[0].destination, found[0].kind),
        (route.destination, RouteKind::Blackhole)
    );
    rtnl.apply(&found[0].remove()).unwrap();
    assert!(
        rtnl.routes(&RouteFilter::by_protocol(PROTOCOL))
            .unwrap()
            .is_empty()
    );
}

#[test]
fn ten_thousand_routes_in_one_go() {
    let Some(namespace) = scratch() else { return };
    let mut rtnl = Rtnl::open_in(&namespace).unwrap();
    let interface = pair(&mut rtnl);
    let routes: Vec<_> = (0..10_000_u32)
        .map(|n| {
            Route::to_link(
                IpAddr::from((0x0a80_0000 + n).to_be_bytes()).into(),
                interface,
            )
            .by(PROTOCOL)
        })
        .collect();
    let requests: Vec<_> = routes.iter().map(Route::replace).collect();
    let start = std::time::Instant::now();
    rtnl.apply_all(&requests).unwrap();
    println!("10,000 routes in {:?}", start.elapsed());
    assert_eq!(
        rtnl.routes(&RouteFilter::by_protocol(PROTOCOL)).unwrap(),
        routes
    );
}

#[test]
fn one_failure_does_not_stop_the_others() {
    let Some(namespace) = scratch() else { return };
    let mut rtnl = Rtnl::open_in(&namespace).unwrap();
    let interface = pair(&mut rtnl);
    let good = Route::to_link(net("10.9.0.1/32"), interface).by(PROTOCOL);
    let bad = Route::to_link(net("10.9.0.2/32"), 9999).by(PROTOCOL);
    let last = Route::to_link(net("10.9.0.3/32"), interface).by(PROTOCOL);
    let fates = rtnl
        .apply_each(&[good.add(), bad.add(), last.add()])
        .unwrap();
    assert!(fates[0].is_ok() && fates[2].is_ok());
    let error = fates[1].as_ref().unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("route 10.9.0.2/32: No such device (19)"),
        "{error}"
    );
    assert_eq!(
        rtnl.routes(&RouteFilter::by_protocol(PROTOCOL)).unwrap(),
        [good, last]
    );
}

#[test]
fn neighbours_and_proxies() {
    let Some(namespace) = scratch() else { return };
    let mut rtnl = Rtnl::open_in(&namespace).unwrap();
    let interface = pair(&mut rtnl);
    let mac = Mac([2, 0, 0, 0, 0, 5]);
    for address in ["10.1.0.5", "fd01::5"].map(ip) {
        let fixed = Neighbour {
            interface,
            address,
            kind: NeighbourKind::Permanent(mac),
        };
        let proxy = Neighbour {
            kind: NeighbourKind::Proxy,
            ..fixed
        };
        rtnl.apply_all(&[fixed.replace(), fixed.replace(), proxy.replace()])
            .unwrap();
        assert!(rtnl.neighbours().unwrap().contains(&fixed), "{address}");
        assert!(rtnl.proxies().unwrap().contains(&proxy), "{address}");
        rtnl.apply_all(&[
            fixed.remove(),
            fixed.remove(),
            proxy.remove(),
            proxy.remove(),
        ])
        .unwrap();
        assert!(!rtnl.neighbours().unwrap().contains(&fixed), "{address}");
        assert!(!rtnl.proxies().unwrap().contains(&proxy), "{address}");
    }
}
