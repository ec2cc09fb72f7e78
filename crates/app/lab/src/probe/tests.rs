//! Real packets between two hosts of a wire, which stand in for workloads.

use std::net::IpAddr;
use std::sync::atomic::AtomicU32;

use ocicat_kernel::netns;
use ocicat_kernel::rtnl::{Neighbour, NeighbourKind, Rtnl};
use ocicat_kernel::{Mac, sysctl};

use super::*;
use crate::state::{Folder, Host, WorkloadKind};
use crate::{responder, wire};

/// A wire with two hosts, gone when dropped.
struct Scene {
    folder: Folder,
    workloads: Vec<Workload>,
}

impl Scene {
    fn build() -> Option<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: network namespaces need root");
            return None;
        }
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("probe{}-{count}", std::process::id());
        let folder = Folder::of(&name.parse().unwrap());
        let range = wire::Range::choose(&[]);
        let hosts: Vec<Host> = ["a", "b"]
            .into_iter()
            .enumerate()
            .map(|(index, name)| Host {
                name: name.to_owned(),
                netns: folder.host_netns(name),
                addresses: range.addresses(index),
                outside: false,
                ports: Vec::new(),
            })
            .collect();
        let workload = |host: &Host| Workload {
            kind: WorkloadKind::Pod,
            namespace: "shop".to_owned(),
            name: host.name.clone(),
            owner: None,
            host: host.name.clone(),
            netns: host.netns.clone(),
            container_id: host.name.clone(),
            addresses: host.addresses.clone(),
            ports: vec![8080],
        };
        let scene = Self {
            workloads: hosts.iter().map(workload).collect(),
            folder,
        };
        wire::build(&scene.folder, &hosts).unwrap();
        for host in &hosts {
            let namespace = Namespace::open_named(&host.netns).unwrap();
            namespace
                .run(|| sysctl::write_all(UNLIMITED_ICMP))
                .unwrap()
                .unwrap();
        }
        Some(scene)
    }

    /// Makes `address` a place from which nothing comes back.
    fn make_hole(&self, address: IpAddr) {
        let namespace = Namespace::open_named(&self.workloads[0].netns).unwrap();
        let mut rtnl = Rtnl::open_in(&namespace).unwrap();
        let interface = rtnl.link_index("eth0").unwrap();
        let kind = NeighbourKind::Permanent(Mac([2, 0, 0, 0, 0, 99]));
        rtnl.apply(
            &Neighbour {
                interface,
                address,
                kind,
            }
            .replace(),
        )
        .unwrap();
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        for name in self.folder.namespaces().unwrap() {
            netns::delete(&name).unwrap();
        }
    }
}

async fn send(scene: &Scene, probes: &[Probe], expected: Expectation) -> Vec<Observation> {
    let step = Step::begin("packets", probes.len());
    let expected = vec![expected; probes.len()];
    send_all(&scene.workloads, probes, &expected, &step)
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_a_refusal_and_silence_are_told_apart() {
    let Some(scene) = Scene::build() else {
        return;
    };
    responder::serve(&scene.workloads[1]).unwrap();
    let ports = BTreeSet::from([8080, 9999]);
    let filter = Filter {
        from: BTreeSet::from([0]),
        ..Filter::default()
    };
    let probes = plan(&scene.workloads, &ports, &filter, 7);
    assert_eq!(probes.len(), 8);
    let seen = send(&scene, &probes, Expectation::Deny).await;
    for (probe, seen) in probes.iter().zip(seen) {
        let expected = match probe.port {
            8080 => Observation::Answered("shop/b".to_owned()),
            _ => Observation::Reached,
        };
        assert_eq!(seen, expected, "{probe:?}");
    }
    let hole: [IpAddr; 2] = [
        "172.30.0.99".parse().unwrap(),
        "fd00:c1c:a700::99".parse().unwrap(),
    ];
    let probes: Vec<Probe> = probes
        .iter()
        .map(|probe| Probe {
            address: hole[usize::from(probe.address.is_ipv6())],
            ..*probe
        })
        .collect();
    for address in hole {
        scene.make_hole(address);
    }
    let seen = send(&scene, &probes, Expectation::Deny).await;
    assert!(
        seen.iter().all(|seen| *seen == Observation::Silent),
        "{seen:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn many_refusals_are_not_held_back() {
    let Some(scene) = Scene::build() else {
        return;
    };
    let ports: BTreeSet<u16> = (2000..3000).collect();
    let probes = plan(&scene.workloads, &ports, &Filter::default(), 0);
    assert_eq!(probes.len(), 8000);
    let seen = send(&scene, &probes, Expectation::Deny).await;
    let lost = seen
        .iter()
        .filter(|seen| **seen != Observation::Reached)
        .count();
    assert_eq!(lost, 0, "of {}", probes.len());
}
