//! How policies fare on this host.

use std::sync::Arc;

use ocicat_api::{ObjectKey, Problem};
use ocicat_flow::PolicyRef;

use crate::host::NEAR_GROUPS;
use crate::slab::PolicyId;
use crate::stack::Ending;
use crate::{Budget, Engine};

/// How one policy fares on this host.
#[derive(Debug, Clone, PartialEq)]
pub struct PolicyReport {
    pub key: ObjectKey,
    pub policy: Arc<PolicyRef>,
    /// How many local endpoints it selects.
    pub endpoints: usize,
    /// What is wrong with it: parts that cannot be read, a tier that does not exist, tables that
    /// exceed their budget.
    pub problems: Vec<Problem>,
}

impl Engine {
    /// How the policy fares as of the last commit; `None` if there is no such policy.
    #[must_use]
    pub fn report(&self, key: &ObjectKey) -> Option<PolicyReport> {
        Some(self.report_of(self.policies.find(key)?))
    }

    /// Reports of all policies, sorted by their keys.
    #[must_use]
    pub fn reports(&self) -> Vec<PolicyReport> {
        let mut all: Vec<PolicyReport> = self
            .policies
            .items
            .iter()
            .map(|(id, _)| self.report_of(id))
            .collect();
        all.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        all
    }

    /// Of policies that may fare differently since the last commit.
    pub(crate) fn take_reports(&mut self) -> (Vec<PolicyReport>, Vec<ObjectKey>) {
        let mut which = std::mem::take(&mut self.reported);
        which.extend(self.hosts.take_turned());
        for identity in std::mem::take(&mut self.locals.recounted) {
            which.extend(self.locals.policies(identity));
        }
        let (mut reports, mut removed) = (Vec::new(), Vec::new());
        for id in which {
            if self.policies.exists(id) {
                reports.push(self.report_of(id));
            } else if let Some(policy) = self.policies.items.get(id)
                && self.policies.find(&policy.key).is_none()
            {
                removed.push(policy.key.clone());
            }
        }
        (reports, removed)
    }

    fn report_of(&self, id: PolicyId) -> PolicyReport {
        let policy = &self.policies.items[id];
        let mut problems = policy.problems.to_vec();
        let tier = self.policies.tier(policy.tier);
        if !tier.exists {
            problems.push(Problem::warning(
                "spec.tier",
                format!(
                    "tier {:?} does not exist: it counts as last, with Deny at its end",
                    tier.name
                ),
            ));
        }
        let over_budget = policy.blocks.iter().flatten().any(|block| {
            let mut stacks = self.blocks.items[*block]
                .stacks
                .iter()
                .map(|(stack, _)| stack);
            stacks.any(|stack| {
                let stack = &self.stacks.items[*stack];
                stack.table.over_budget || stack.key.ending == Ending::Closed
            })
        });
        if over_budget {
            let Budget {
                rows,
                cells,
                source_ranges,
            } = self.budget;
            problems.push(Problem::error(
                "spec",
                format!(
                    "the table of an endpoint that it selects exceeds {rows} rows, {cells} cells \
                     or {source_ranges} source port ranges, or a stage of a host endpoint tells \
                     more than {NEAR_GROUPS} kinds of near addresses apart: the endpoint is closed \
                     in that direction"
                ),
            ));
        }
        let endpoints = if policy.selected == 0 {
            0
        } else {
            self.locals.selected_by(id) + self.hosts.selected_by(id)
        };
        PolicyReport {
            key: policy.key.clone(),
            policy: policy.reference.clone(),
            endpoints,
            problems,
        }
    }
}
