use std::time::Duration;

use serde_json::json;

use super::world::{
    SETTLED, Seen, becomes, host_endpoint, host_policy, nft, serve, settle, tcp, wait_for_endpoints,
};
use crate::support::api::policy;
use crate::support::cluster::{Choice, Cluster};
use crate::support::within;

const PORT: u16 = 7000;

/// Agents that reach their API server over TCP, at a port that no fail-safe list names.
fn over_the_wire() -> Option<Cluster> {
    let choice = Choice {
        api_on_the_wire: true,
        ..Choice::default()
    };
    let cluster = Cluster::start(choice)?;
    serve(&cluster.hosts[0].namespace, PORT);
    Some(cluster)
}

/// Whether the status names all of these words.
fn status_says(cluster: &Cluster, words: &[&str]) {
    let mut last = String::new();
    let said = within(SETTLED, || {
        last = cluster.status(&[]).1;
        words.iter().all(|word| last.contains(word))
    });
    assert!(said, "{words:?} in\n{last}\n{}", cluster.hosts[0].log());
}

/// The agent hears of a change, and says so.
fn still_hears(cluster: &Cluster, name: &str) {
    let object = policy(
        "shop",
        name,
        json!({ "selector": "all()", "types": ["Ingress"] }),
    );
    cluster.api.create(&object);
    let mut last = String::new();
    let heard = within(SETTLED, || {
        last = cluster.status(&[]).1;
        let mut lines = last.lines();
        lines.any(|line| line.contains(name) && line.contains("in force"))
    });
    assert!(heard, "{last}\n{}", cluster.hosts[0].log());
}

#[test]
fn a_policy_that_would_cut_the_agent_off_is_not_enforced_and_said() {
    let Some(cluster) = over_the_wire() else {
        return;
    };
    let (a, b) = (&cluster.hosts[0], &cluster.hosts[1]);
    let allow = json!({ "action": "Allow" });
    let fine = json!({
        "order": 20, "types": ["Ingress", "Egress"], "egress": [allow],
        "ingress": [{ "action": "Deny", "protocol": "TCP", "destination": { "ports": [PORT] } }, allow],
    });
    cluster.api.create(&host_policy("fine", fine));
    cluster.api.create(&host_endpoint(&cluster, 0));
    wait_for_endpoints(&cluster, 0, 1);
    still_hears(&cluster, "one");
    becomes("denied", Seen::Silence, || {
        tcp(&b.namespace, a.addresses[0], PORT)
    });
    let deny = json!({ "action": "Deny", "protocol": "TCP", "destination": { "ports": [7443] } });
    let bad = host_policy(
        "bad",
        json!({ "order": 10, "types": ["Egress"], "egress": [deny] }),
    );
    cluster.api.create(&bad);
    status_says(
        &cluster,
        &[
            "gnp/bad",
            "failed on a",
            "cut this host off",
            "gnp/bad egress[0]",
        ],
    );
    still_hears(&cluster, "two");
    // The rest of the host's policy is enforced.
    assert_eq!(tcp(&b.namespace, a.addresses[0], PORT), Seen::Silence);
    // Once it is mended it is in force.
    let deny = json!({ "action": "Deny", "protocol": "TCP", "destination": { "ports": [9] } });
    cluster
        .api
        .merge(&bad, &json!({ "spec": { "egress": [deny] } }));
    let mended = within(SETTLED, || !cluster.status(&[]).1.contains("failed"));
    assert!(mended, "{}", cluster.status(&[]).1);
    // Untracked policy is no other matter.
    let deny = json!({ "action": "Deny", "protocol": "TCP", "source": { "ports": [7443] } });
    let spec = json!({
        "doNotTrack": true, "applyOnForward": true, "types": ["Ingress"], "ingress": [deny],
    });
    cluster.api.create(&host_policy("worse", spec));
    status_says(&cluster, &["gnp/worse", "failed on a", "untracked"]);
    still_hears(&cluster, "three");
}

#[test]
fn an_endpoint_that_would_cut_the_agent_off_is_not_enforced_and_said() {
    let Some(cluster) = over_the_wire() else {
        return;
    };
    let (a, b) = (&cluster.hosts[0], &cluster.hosts[1]);
    cluster.api.create(&host_endpoint(&cluster, 0));
    status_says(&cluster, &["failed hep/a-eth0 on a", "end of profiles"]);
    still_hears(&cluster, "one");
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(tcp(&b.namespace, a.addresses[0], PORT), Seen::Answered);
    assert_eq!(cluster.status(&[]).0, Some(1));
    // What it lacks may come later than it.
    let spec = json!({ "types": ["Egress"], "egress": [{ "action": "Allow" }] });
    cluster.api.create(&host_policy("out", spec));
    wait_for_endpoints(&cluster, 0, 1);
    settle(&cluster);
    becomes("denied", Seen::Silence, || {
        tcp(&b.namespace, a.addresses[0], PORT)
    });
    // And go again.
    cluster.api.delete(&host_policy("out", json!({})));
    status_says(&cluster, &["failed hep/a-eth0 on a", "end of profiles"]);
    becomes("not enforced", Seen::Answered, || {
        tcp(&b.namespace, a.addresses[0], PORT)
    });
}

#[test]
fn a_change_after_which_the_server_falls_silent_is_taken_back() {
    let Some(cluster) = over_the_wire() else {
        return;
    };
    let a = &cluster.hosts[0];
    let spec = json!({ "types": ["Egress"], "egress": [{ "action": "Allow" }] });
    let policy = host_policy("out", spec);
    cluster.api.create(&policy);
    cluster.api.create(&host_endpoint(&cluster, 0));
    wait_for_endpoints(&cluster, 0, 1);
    // Tables of ours let it through, and somebody else's do not.
    nft(
        &a.namespace,
        &["-f", "-"],
        "table inet others {
            chain out {
                type filter hook output priority 10
                tcp dport 7443 drop
            }
        }",
    );
    let silent = Duration::from_secs(40);
    let taken_back = || {
        a.log()
            .contains("the API server did not answer for 10 seconds")
    };
    assert!(within(silent, taken_back), "{}", a.log());
    nft(&a.namespace, &["-f", "-"], "delete table inet others\n");
    status_says(&cluster, &["failed hep/a-eth0 on a", "did not answer"]);
}
