use ocicat_api::Object;
use ocicat_api::decode::decode;
use ocicat_api::document;
use ocicat_api::policy::NetworkPolicy;
use ocicat_api::rule::Rule;

use super::*;
use crate::policy::problem;
use crate::{Random, random_configuration, random_world};

/// What printing does not keep, made equal.
fn normal(mut object: Object) -> Object {
    let rules = |rules: &mut Vec<Rule>| {
        for rule in rules.iter_mut().filter(|rule| !rule.unreadable.is_empty()) {
            rule.unreadable = vec![problem()];
        }
    };
    let kube = |policy: &mut NetworkPolicy| {
        for rule in policy.ingress.iter_mut().chain(&mut policy.egress) {
            rule.unreadable.clear();
        }
    };
    match &mut object {
        Object::CalicoNetworkPolicy(policy) | Object::GlobalNetworkPolicy(policy) => {
            rules(&mut policy.ingress);
            rules(&mut policy.egress);
        }
        Object::StagedNetworkPolicy(staged) | Object::StagedGlobalNetworkPolicy(staged) => {
            rules(&mut staged.policy.ingress);
            rules(&mut staged.policy.egress);
        }
        Object::StagedKubernetesNetworkPolicy(staged) => kube(&mut staged.policy),
        Object::ClusterNetworkPolicy(policy) => {
            for rule in policy.ingress.iter_mut().chain(&mut policy.egress) {
                if !rule.unreadable.is_empty() {
                    rule.unreadable = vec![problem()];
                }
            }
        }
        Object::Profile(profile) => {
            rules(&mut profile.ingress);
            rules(&mut profile.egress);
        }
        Object::NetworkPolicy(policy) => kube(policy),
        _ => {}
    }
    object
}

#[test]
fn objects_of_random_worlds_decode_to_themselves() {
    let mut random = Random::new(9);
    let mut clean = 0;
    for _ in 0..60 {
        let configuration = random_configuration(&mut random);
        let objects = random_world(&mut random).objects.into_values();
        for object in objects.chain([configuration]) {
            let text = print_object(&object);
            let documents = document::parse(&text);
            let documents = documents.unwrap_or_else(|error| panic!("{error:?}\n{text}"));
            assert_eq!(documents.len(), 1, "{text}");
            let decoded = decode(&documents[0].value);
            let read = decoded
                .object
                .unwrap_or_else(|| panic!("{:?}\n{text}", decoded.problems));
            assert_eq!(
                normal(read),
                normal(object),
                "{text}\n{:?}",
                decoded.problems
            );
            clean += usize::from(decoded.problems.is_empty());
        }
    }
    assert!(clean > 1000, "{clean} objects without problems");
}

#[test]
fn worlds_are_several_documents() {
    let world = random_world(&mut Random::new(1));
    let documents = document::parse(&print_world(&world)).expect("YAML");
    assert_eq!(documents.len(), world.objects.len());
}
