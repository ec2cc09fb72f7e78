//! The answer to "why".

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use ocicat_flow::{Decider, Direction, Outcome, PolicyRef, RuleRef, Verdict};
use serde::Serialize;

/// Why traffic passes or not.
///
/// As JSON: `source`, `destination`, `service`, `verdict`, then `egress` and `ingress` of the case
/// that [`Explanation::decisive`] names, with `hosts` between them, and last all `cases`. Names are camelCase.
#[derive(Debug, Clone, PartialEq)]
pub struct Explanation {
    pub source: Party,
    pub destination: Party,
    pub service: Service,
    pub verdict: Answer,
    /// Pairs of addresses that are judged alike for the same reasons; at least one. More than one
    /// if the verdict or its reason depends on the family, or on an address that is not known yet.
    pub cases: Vec<Case>,
}

/// The verdict over all addresses that the traffic can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
pub enum Answer {
    Allow,
    Deny,
    /// Some pairs of addresses are allowed and some are denied.
    Depends,
}

/// One end of the traffic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Party {
    /// `pod/shop/web-1`; absent for an address that no endpoint has.
    pub endpoint: Option<Arc<str>>,
    /// A pod in its host's network, which policy of workloads does not judge.
    pub host_network: bool,
    /// The addresses asked about. For an endpoint without address: one address of each region.
    pub places: Vec<Place>,
}

/// An address, or any free address of a region.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Place {
    pub address: IpAddr,
    /// Present if the endpoint has no address yet: `address` then stands for every free address
    /// of this CIDR that no narrower CIDR of a rule, set or pool covers.
    pub any_of: Option<IpNet>,
}

/// Protocol and ports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Service {
    /// `TCP`, or the number of a protocol without a name.
    pub protocol: String,
    /// Destination port, for protocols with ports.
    pub port: Option<u16>,
    /// ICMP type and code, for ICMP and ICMPv6.
    pub icmp: Option<(u8, u8)>,
}

/// Pairs of addresses that are judged alike.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Case {
    pub verdict: Verdict,
    pub pairs: Vec<Pair>,
    /// Absent if the source is no endpoint, or traffic does not leave the workload.
    pub egress: Option<Side>,
    /// Absent if the destination is no endpoint, or traffic does not leave the workload.
    pub ingress: Option<Side>,
    /// What hosts on the way say, in the order in which a packet meets them: after `egress` and
    /// before `ingress`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<HostStep>,
    /// Source and destination are the same endpoint: nothing judges its own traffic.
    pub within_endpoint: bool,
}

/// What a host says to traffic that it sends, receives or forwards.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HostStep {
    /// The name of the host.
    pub node: Arc<str>,
    pub direction: Direction,
    /// `hep/router`; absent for what is no matter of a host endpoint.
    pub endpoint: Option<Arc<str>>,
    /// `untracked`, `pre-DNAT`, `forwarded` or `local`; absent where no stage judges.
    pub stage: Option<&'static str>,
    /// `Next`: does not decide here.
    pub verdict: Verdict,
    /// What decides, or why nothing does.
    pub reason: String,
    /// The story of the stage, where its policy was asked.
    pub judged: Option<Side>,
}

/// Who sends to whom.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Pair {
    pub source: Place,
    pub destination: Place,
}

/// What one endpoint says to the traffic in one direction.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Side {
    pub endpoint: Arc<str>,
    pub direction: Direction,
    pub verdict: Verdict,
    /// Where the decision fell; absent outside tiers.
    pub tier: Option<Arc<str>>,
    /// `netpol/shop/web`; absent if no policy decided.
    pub policy: Option<String>,
    /// Index of the rule in its direction; absent if no rule decided.
    pub rule: Option<u32>,
    /// `netpol/shop/web ingress[0]`, `end of tier default`, `missing profile x`, …
    pub reason: String,
    /// Where the rule or policy that decided stands: `shop.yaml:12`.
    pub at: Option<String>,
    /// Tiers that have a policy for this endpoint and direction, in order.
    pub tiers: Vec<TierStep>,
    /// Asked after the tiers, in order.
    pub profiles: Vec<PolicyStep>,
    #[serde(skip)]
    pub outcome: Arc<Outcome>,
}

/// What a tier did.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TierStep {
    pub tier: Arc<str>,
    /// Absent is last.
    pub order: Option<f64>,
    pub default_action: DefaultAction,
    /// Those that select the endpoint in this direction, in order.
    pub policies: Vec<PolicyStep>,
    pub end: TierEnd,
}

/// What a tier does with traffic that none of its rules decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
pub enum DefaultAction {
    Deny,
    Pass,
}

/// How a tier was left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
pub enum TierEnd {
    /// One of its policies decided.
    Decided,
    /// A Pass rule left it.
    Passed,
    /// No rule decided: its default action was taken.
    Default,
    /// Decided before.
    NotReached,
}

/// What a policy or profile did.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicyStep {
    /// `netpol/shop/web`, `profile/kns.shop`.
    pub policy: String,
    /// Absent is last.
    pub order: Option<f64>,
    pub end: PolicyEnd,
    /// The rule that decided or passed.
    pub rule: Option<Rule>,
    /// Log rules that matched.
    pub logged: Vec<Rule>,
    /// Where the policy stands: `shop.yaml:3`.
    pub at: Option<String>,
    #[serde(skip)]
    pub reference: Arc<PolicyRef>,
}

/// How a policy was left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
pub enum PolicyEnd {
    Allow,
    Deny,
    Pass,
    /// No rule matched.
    NoMatch,
    /// A Deny or Pass rule could not be known to match or not; it denies.
    Undetermined,
    /// Its selector cannot be read; it denies.
    Unreadable,
    /// A profile that does not exist; it denies.
    Missing,
    /// Decided before.
    NotReached,
}

/// A rule and where it stands.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Rule {
    pub direction: Direction,
    /// From 0, as the resource lists them.
    pub index: u32,
    /// `shop.yaml:12`.
    pub at: Option<String>,
    #[serde(skip)]
    pub reference: RuleRef,
}

/// Something that has a place in a manifest.
#[derive(Debug, Clone, Copy)]
pub enum Origin<'a> {
    Policy(&'a PolicyRef),
    Rule(&'a RuleRef),
}

impl Explanation {
    /// The first case that denies, else the first.
    ///
    /// # Panics
    /// If there is no case; [`Analysis::explain`](crate::Analysis::explain) gives at least one.
    #[must_use]
    pub fn decisive(&self) -> &Case {
        let denies = |case: &&Case| case.verdict == Verdict::Deny;
        self.cases.iter().find(denies).unwrap_or(&self.cases[0])
    }

    /// Fills in where policies and rules stand.
    pub fn locate(&mut self, place: impl Fn(Origin) -> Option<String>) {
        for case in &mut self.cases {
            let hosts = case
                .hosts
                .iter_mut()
                .filter_map(|step| step.judged.as_mut());
            let ends = [&mut case.egress, &mut case.ingress];
            for side in ends.into_iter().flatten().chain(hosts) {
                side.locate(&place);
            }
        }
    }
}

impl Serialize for Explanation {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Document<'a> {
            source: &'a Party,
            destination: &'a Party,
            service: &'a Service,
            verdict: Answer,
            egress: Option<&'a Side>,
            #[serde(skip_serializing_if = "<[HostStep]>::is_empty")]
            hosts: &'a [HostStep],
            ingress: Option<&'a Side>,
            cases: &'a [Case],
        }
        let case = self.cases.first().map(|_| self.decisive());
        Document {
            source: &self.source,
            destination: &self.destination,
            service: &self.service,
            verdict: self.verdict,
            egress: case.and_then(|case| case.egress.as_ref()),
            hosts: case.map_or(&[], |case| &case.hosts),
            ingress: case.and_then(|case| case.ingress.as_ref()),
            cases: &self.cases,
        }
        .serialize(serializer)
    }
}

impl Side {
    fn locate(&mut self, place: &impl Fn(Origin) -> Option<String>) {
        let steps = self.tiers.iter_mut().flat_map(|tier| &mut tier.policies);
        for step in steps.chain(&mut self.profiles) {
            step.at = place(Origin::Policy(&step.reference));
            for rule in step.rule.iter_mut().chain(&mut step.logged) {
                rule.at = place(Origin::Rule(&rule.reference));
            }
        }
        self.at = match &self.outcome.decider {
            Decider::Rule(rule) | Decider::Undetermined(rule) => place(Origin::Rule(rule)),
            Decider::Unreadable(policy) => place(Origin::Policy(policy)),
            _ => None,
        };
    }
}

impl Rule {
    pub(crate) fn of(rule: &RuleRef) -> Self {
        Self {
            direction: rule.direction,
            index: rule.index,
            at: None,
            reference: rule.clone(),
        }
    }
}

impl From<Verdict> for Answer {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            // A stage that does not decide lets the packet go on.
            Verdict::Allow | Verdict::Next => Self::Allow,
            Verdict::Deny => Self::Deny,
        }
    }
}

impl Answer {
    /// The answer where both may happen.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        if self == other { self } else { Self::Depends }
    }
}

/// `Allow`, `Deny` or `Depends`.
impl std::fmt::Display for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Allow => "Allow",
            Self::Deny => "Deny",
            Self::Depends => "Depends",
        })
    }
}

/// The address, or `any of CIDR`.
impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.any_of {
            Some(cidr) => write!(f, "any of {cidr}"),
            None => write!(f, "{}", self.address),
        }
    }
}

/// `TCP 80`, `ICMP type 8 code 0`, `47`.
impl std::fmt::Display for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.protocol)?;
        match (self.port, self.icmp) {
            (Some(port), _) => write!(f, " {port}"),
            (None, Some((kind, code))) => write!(f, " type {kind} code {code}"),
            (None, None) => Ok(()),
        }
    }
}
