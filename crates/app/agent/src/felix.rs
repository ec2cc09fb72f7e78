//! The FelixConfiguration of this host: that of all hosts and its own, field by field.

use std::time::Duration;

use ocicat_api::Problem;
use ocicat_api::config::{
    DenyAction, EndpointToHost, Failsafe, FelixConfiguration, SourceSpoofing,
};
use ocicat_node::Protocol;

use crate::config::Config;

/// How often the kernel's state is compared with ours, where no configuration says otherwise.
pub const AUDIT_EVERY: Duration = Duration::from_secs(90);
/// The longest beginning of interface names that leaves room for one letter.
const PREFIX_MAX: usize = 14;

/// What the configurations say, with defaults for what they do not say.
#[derive(Debug, Clone, PartialEq)]
pub struct Effective {
    pub program: ocicat_compile::Config,
    /// `None` for never.
    pub audit_every: Option<Duration>,
    /// Workloads may ask to send from other sources than their addresses.
    pub spoofing: bool,
}

impl Effective {
    /// Where nothing is configured.
    pub fn of_flags(base: &Config) -> Self {
        Self {
            program: base.program.clone(),
            audit_every: Some(AUDIT_EVERY),
            spoofing: false,
        }
    }
}

/// The program's defaults, those that concern hosts included.
pub fn unconfigured() -> ocicat_compile::Config {
    ocicat_compile::Config {
        failsafe_inbound: failsafes(&Failsafe::default_inbound()),
        failsafe_outbound: failsafes(&Failsafe::default_outbound()),
        ..ocicat_compile::Config::default()
    }
}

/// Joins the configurations, those that go before first: that of this host, that of all hosts. With
/// each come the problems that it has here.
pub fn effective(
    base: &Config,
    configurations: &[&FelixConfiguration],
) -> (Effective, Vec<Vec<Problem>>) {
    let mut problems: Vec<Vec<Problem>> = vec![Vec::new(); configurations.len()];
    let mut out = Effective::of_flags(base);
    // What is said later wins.
    for (index, configuration) in configurations.iter().enumerate().rev() {
        problems[index] = apply(base, configuration, &mut out);
    }
    (out, problems)
}

fn apply(base: &Config, x: &FelixConfiguration, out: &mut Effective) -> Vec<Problem> {
    let mut problems = Vec::new();
    let overridden = |field: &str| {
        let message = "has no effect: the agent's flags or file say otherwise";
        Problem::warning(format!("spec.{field}"), message)
    };
    let program = &mut out.program;
    match x.default_endpoint_to_host {
        Some(_) if base.fixed.endpoint_to_host => {
            problems.push(overridden("defaultEndpointToHostAction"));
        }
        Some(EndpointToHost::Drop) => {
            program.endpoint_to_host = ocicat_compile::EndpointToHost::Drop;
        }
        // An accept of our table ends only our judgement: other tables go on to judge.
        Some(EndpointToHost::Accept | EndpointToHost::Return) => {
            program.endpoint_to_host = ocicat_compile::EndpointToHost::Accept;
        }
        None => {}
    }
    match x.mark_mask {
        Some(_) if base.fixed.mark_mask => problems.push(overridden("nftablesMarkMask")),
        Some(mask) if mask.count_ones() < 3 => {
            let message = format!("{mask:#x}: expected at least three bits; it is not used");
            problems.push(Problem::error("spec.nftablesMarkMask", message));
        }
        Some(mask) => program.mark_mask = mask,
        None => {}
    }
    match x.deny_action {
        Some(DenyAction::Drop) => program.deny_action = ocicat_compile::DenyAction::Drop,
        Some(DenyAction::Reject) => program.deny_action = ocicat_compile::DenyAction::Reject,
        None => {}
    }
    if let Some(list) = &x.failsafe_inbound {
        program.failsafe_inbound = failsafes(list);
    }
    if let Some(list) = &x.failsafe_outbound {
        program.failsafe_outbound = failsafes(list);
    }
    if let Some(prefix) = &x.log_prefix {
        program.log_prefix = prefix.to_string();
    }
    if let Some(prefixes) = &x.interface_prefixes {
        program.other_prefixes.clear();
        for prefix in prefixes {
            if prefix.is_empty() || prefix.len() > PREFIX_MAX {
                let message =
                    format!("{prefix:?}: expected 1 to {PREFIX_MAX} bytes; it is not used");
                problems.push(Problem::error("spec.interfacePrefix", message));
            } else if !prefix.starts_with(program.interface_prefix.as_str()) {
                program.other_prefixes.push(prefix.to_string());
            }
        }
    }
    if let Some(interval) = x.refresh_interval_ms {
        let interval = Duration::from_millis(interval);
        out.audit_every = (!interval.is_zero()).then(|| interval.max(Duration::from_secs(1)));
    }
    if let Some(spoofing) = x.source_spoofing {
        out.spoofing = spoofing == SourceSpoofing::Any;
    }
    problems
}

fn failsafes(list: &[Failsafe]) -> Vec<ocicat_compile::Failsafe> {
    let of = |x: &Failsafe| ocicat_compile::Failsafe {
        protocol: Protocol(x.protocol.0),
        port: x.port,
        net: x.net,
    };
    list.iter().map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Args;

    fn base() -> Config {
        let args = Args {
            node: Some("a".into()),
            ..Args::default()
        };
        args.complete().unwrap()
    }

    #[test]
    fn what_a_host_says_goes_before_what_all_say_field_by_field() {
        let all = FelixConfiguration {
            log_prefix: Some("all".into()),
            refresh_interval_ms: Some(0),
            failsafe_inbound: Some(vec![]),
            ..FelixConfiguration::default()
        };
        let own = FelixConfiguration {
            log_prefix: Some("own".into()),
            ..FelixConfiguration::default()
        };
        let (out, problems) = effective(&base(), &[&own, &all]);
        assert_eq!(out.program.log_prefix, "own");
        assert_eq!(out.audit_every, None);
        assert!(out.program.failsafe_inbound.is_empty());
        assert!(!out.program.failsafe_outbound.is_empty());
        assert!(problems.iter().all(Vec::is_empty));
        let (out, _) = effective(&base(), &[]);
        assert_eq!(out, Effective::of_flags(&base()));
    }

    #[test]
    fn values_out_of_range_are_reported_and_not_used() {
        let bad = FelixConfiguration {
            mark_mask: Some(3),
            interface_prefixes: Some(vec!["cali".into(), "".into()]),
            ..FelixConfiguration::default()
        };
        let (out, problems) = effective(&base(), &[&bad]);
        assert_eq!(out.program.mark_mask, base().program.mark_mask);
        assert_eq!(out.program.other_prefixes, ["cali"]);
        let fields: Vec<&str> = problems[0].iter().map(|x| x.field.as_str()).collect();
        assert_eq!(fields, ["spec.nftablesMarkMask", "spec.interfacePrefix"]);
    }
}
