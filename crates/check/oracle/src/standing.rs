//! What judges an endpoint, before any packet is looked at.

use crate::census::{Census, Endpoint, find_profile};
use crate::hosts::{HostEndpoint, Stage};
use crate::order::{self, Default, Judge};
use crate::{Direction, PolicyName, Verdict};

/// The tiers and profiles that judge an endpoint in one direction, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    pub tiers: Vec<TierStanding>,
    pub profiles: Vec<ProfileStanding>,
}

/// A tier that takes part. [15]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TierStanding {
    pub name: String,
    /// What its end says; `None` if it passes.
    pub end: Option<Verdict>,
    /// Its policies that select the endpoint, in order. [7]
    pub policies: Vec<PolicyName>,
}

/// A profile that the endpoint names. [2]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProfileStanding {
    pub name: String,
    pub exists: bool,
}

impl Census<'_> {
    /// What judges the endpoint in this direction.
    #[must_use]
    pub fn standing(&self, endpoint: &Endpoint, direction: Direction) -> Standing {
        self.standing_of(Judge::Workload(endpoint), direction)
    }

    /// What judges at a stage of a host endpoint; `None` if nothing does. [18]
    #[must_use]
    pub fn stage_standing(
        &self,
        host: &HostEndpoint,
        stage: Stage,
        direction: Direction,
    ) -> Option<Standing> {
        let mut standing = self.standing_of(Judge::Host(host, stage), direction);
        if stage.is_open() {
            standing.tiers.iter_mut().for_each(|tier| tier.end = None);
        }
        (stage == Stage::Local || !standing.tiers.is_empty()).then_some(standing)
    }

    fn standing_of(&self, judge: Judge<'_>, direction: Direction) -> Standing {
        let tiers = order::walk(self, judge, direction).into_iter();
        let tiers = tiers.map(|(tier, policies)| TierStanding {
            name: tier.name,
            end: (tier.default == Default::Deny).then_some(Verdict::Deny),
            policies: policies.into_iter().map(|policy| policy.name).collect(),
        });
        let profiles = judge.profiles().iter().map(|name| ProfileStanding {
            name: name.clone(),
            exists: find_profile(self.world, name).is_some(),
        });
        Standing {
            tiers: tiers.collect(),
            profiles: profiles.collect(),
        }
    }
}
