//! What tables say at the stages of host endpoints.

use std::net::IpAddr;

use ocicat_api::core::HostInterface;
use ocicat_node::{self as node, ClassId, HostInterfaces, NodeState, StackId};
use ocicat_oracle::{Census, Direction, HostEndpoint, Judgement, Packet, Stage};
use ocicat_testkit::Post;

use crate::compare::{far_and_near, judgement, service, to_direction};
use crate::engine::Host;

pub const DIRECTIONS: [Direction; 2] = [Direction::Ingress, Direction::Egress];

/// The host endpoints that are judged on the host.
pub fn here<'c>(census: &'c Census<'_>, host: Host) -> impl Iterator<Item = &'c HostEndpoint> {
    let world = census.world;
    census
        .hosts
        .iter()
        .filter(move |endpoint| host.has(world, &endpoint.key))
}

/// Every stage and direction.
pub fn posts(endpoint: &HostEndpoint) -> impl Iterator<Item = Post> {
    let host = endpoint.key.name.to_string();
    Stage::ALL.into_iter().flat_map(move |stage| {
        let host = host.clone();
        DIRECTIONS.into_iter().map(move |direction| Post {
            host: host.clone(),
            stage,
            direction,
        })
    })
}

/// Whether the tables are of the same host endpoints, with the same interfaces and stages.
pub fn same_hosts(census: &Census<'_>, host: Host, state: &NodeState) -> Result<(), String> {
    let of_oracle: Vec<(String, HostInterfaces, Vec<String>)> = here(census, host)
        .map(|endpoint| {
            let stands = |post: &Post| {
                census
                    .stage_standing(endpoint, post.stage, post.direction)
                    .is_some()
            };
            let name = |post: Post| format!("{:?} {}", post.stage, post.direction);
            let stages = posts(endpoint).filter(stands).map(name).collect();
            (id(&endpoint.key.name), interfaces(endpoint), stages)
        })
        .collect();
    let of_tables: Vec<_> = state
        .host_endpoints
        .iter()
        .map(|(id, endpoint)| {
            let name = |(stage, direction): &(node::Stage, ocicat_flow::Direction)| {
                format!("{stage:?} {direction}")
            };
            let stages = endpoint.stages.keys().map(name).collect();
            (id.to_string(), endpoint.interfaces.clone(), stages)
        })
        .collect();
    let sorted = |mut list: Vec<(String, HostInterfaces, Vec<String>)>| {
        list.iter_mut().for_each(|(.., stages)| stages.sort());
        list.sort();
        list
    };
    let (of_oracle, of_tables) = (sorted(of_oracle), sorted(of_tables));
    if of_oracle == of_tables {
        return Ok(());
    }
    Err(format!(
        "host endpoints of the oracle: {of_oracle:#?}\nhost endpoints of the tables: {of_tables:#?}"
    ))
}

fn interfaces(endpoint: &HostEndpoint) -> HostInterfaces {
    match &endpoint.interface {
        HostInterface::Named(name) => HostInterfaces::Named(name.clone()),
        HostInterface::All => HostInterfaces::All,
        HostInterface::ByAddress => {
            let mut addresses = endpoint.addresses.clone();
            addresses.sort_unstable();
            HostInterfaces::ByAddress(addresses)
        }
    }
}

/// What the tables say at a stage; `None` if nothing judges there.
pub fn judge_stage(
    state: &NodeState,
    post: &Post,
    packet: &Packet,
) -> Result<Option<Judgement>, String> {
    let (far, near) = far_and_near(packet, post.direction);
    let class = state
        .class_of(near)
        .ok_or_else(|| format!("no class of {near}"))?;
    let Some(stack) = stack(state, post, class)? else {
        return Ok(None);
    };
    let of_stack = state
        .stacks
        .get(&stack)
        .ok_or_else(|| format!("no {stack:?}"))?;
    if of_stack.direction != to_direction(post.direction) {
        return Err(format!("{stack:?} is of the other direction"));
    }
    let outcome = state
        .judge(stack, far, &service(packet))
        .ok_or_else(|| no_outcome(state, stack, far))?;
    judgement(outcome).map(Some)
}

pub fn no_outcome(state: &NodeState, stack: StackId, far: IpAddr) -> String {
    let class = state.class_of(far);
    format!("no outcome of {stack:?} for class {class:?}")
}

/// The stack for near addresses of a class.
pub fn stack(state: &NodeState, post: &Post, near: ClassId) -> Result<Option<StackId>, String> {
    let endpoint = state
        .host_endpoints
        .get(&*id(&post.host))
        .ok_or("no such host endpoint")?;
    let stage = match post.stage {
        Stage::Untracked => node::Stage::Untracked,
        Stage::PreDnat => node::Stage::PreDnat,
        Stage::Forward => node::Stage::Forward,
        Stage::Local => node::Stage::Local,
    };
    let stacks = endpoint.stages.get(&(stage, to_direction(post.direction)));
    Ok(stacks.map(|stacks| stacks.of(near)))
}

/// As `NodeState` names host endpoints.
pub fn id(name: &str) -> String {
    format!("hep/{name}")
}
