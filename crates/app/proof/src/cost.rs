//! What the first packet of a flow costs, by the number of rules, beside a bare link and a linear chain.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use anyhow::Context;
use ocicat_api::decode::decode_json;
use ocicat_kernel::Mac;
use ocicat_nft::object::{
    Chain, ChainKind, Hook, Op, Policy, Rule, TableId, Transaction, Value, Verdict, build, priority,
};
use ocicat_oracle::{Packet, World};
use ocicat_testkit::Random;

use crate::field::{Field, LinkId};
use crate::frame::{Shape, frames};
use crate::host::{Home, Host, Mode, Tracking, router};

/// Flows of one measurement, and of one that takes long for each.
const FLOWS: usize = 20_000;
const FEW_FLOWS: usize = 500;
/// Rules of a linear chain from which on each flow takes long.
const LONG: usize = 20_000;
/// Measurements of each kind, of which the median counts.
const ROUNDS: usize = 7;
/// Rules of one policy; policies hold at most 1,024.
const AT_ONCE: usize = 1_000;
/// Ports of one source address: so many rules differ in nothing else.
const PORTS: usize = 100;
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const HOME: LinkId = LinkId(0);

/// What one kind of path costs.
#[derive(Debug, Clone)]
pub struct Cost {
    pub path: String,
    /// Medians for one packet: by the clock, and on the processor.
    pub clock: Duration,
    pub processor: Duration,
    /// How long it took to put the rules into the kernel.
    pub install: Duration,
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let each_second = 1.0 / self.clock.as_secs_f64();
        write!(
            f,
            "{:<34} {:>7.2} µs clock {:>7.2} µs processor {:>9.0} flows/s   installed in {:.1?}",
            self.path,
            self.clock.as_secs_f64() * 1e6,
            self.processor.as_secs_f64() * 1e6,
            each_second,
            self.install,
        )
    }
}

/// Measures all paths, one after the other, and hands each to `each` when it is done.
///
/// # Errors
/// Without root, or if the kernel refuses.
pub fn costs(rules: &[usize], mut each: impl FnMut(&Cost)) -> anyhow::Result<()> {
    let mut field = Field::create()?;
    let mode = Mode {
        home: Home::Everybody,
        tracking: Tracking::Tracked,
    };
    let first = world(1)?;
    Host::install(&mut field, &first, mode, router(&first))?;
    let none = Duration::ZERO;
    clear(&mut field)?;
    let nobody = Mac([2, 0, 0, 0, 9, 9]);
    each(&measure(
        &mut field,
        "a veth pair, nothing behind it",
        1,
        Some(nobody),
        none,
    )?);
    each(&measure(&mut field, "routed, no rules", 1, None, none)?);
    let accept = Rule::new("forward")
        .with(build::ct_state(build::CT_STATE_NEW))
        .with(build::verdict(Verdict::Accept));
    let install = commit(&mut field, vec![accept])?;
    each(&measure(
        &mut field,
        "routed, connections tracked",
        1,
        None,
        install,
    )?);
    for count in rules {
        clear(&mut field)?;
        let world = world(*count)?;
        let begin = Instant::now();
        let _host = Host::install(&mut field, &world, mode, router(&world))?;
        let path = format!("{count} rules, tables");
        let install = begin.elapsed();
        each(&measure(&mut field, &path, *count, None, install)?);
        clear(&mut field)?;
        let install = commit(&mut field, linear(*count))?;
        let path = format!("{count} rules, a linear chain");
        each(&measure(&mut field, &path, *count, None, install)?);
    }
    Ok(())
}

fn measure(
    field: &mut Field,
    path: &str,
    rules: usize,
    to: Option<Mac>,
    install: Duration,
) -> anyhow::Result<Cost> {
    let mut random = Random::new(7);
    let flows = match path.ends_with("chain") && rules > LONG {
        true => FEW_FLOWS,
        false => FLOWS,
    };
    let uplink = field.uplink(0);
    let (router, near) = field.macs(uplink);
    let (mut clock, mut processor) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let sent: Vec<(LinkId, Vec<u8>)> = (0..flows)
            .map(|flow| {
                let (source, port) = rule(random.below(rules));
                let from = u16::try_from(10_000 + flow).expect("ports are enough");
                let packet = Packet::with_ports(source, SERVER.into(), 17, from, port);
                let frames = frames(&packet, Shape::default(), 0, router, to.unwrap_or(near));
                (uplink, frames.into_iter().next().unwrap_or_default())
            })
            .collect();
        field.forget()?;
        let (begin, before) = (Instant::now(), on_processor()?);
        field.send(&sent)?;
        clock.push(begin.elapsed());
        processor.push(on_processor()? - before);
    }
    let median = |mut all: Vec<Duration>| {
        all.sort();
        all[ROUNDS / 2] / u32::try_from(flows).expect("flows are few")
    };
    Ok(Cost {
        path: path.to_owned(),
        clock: median(clock),
        processor: median(processor),
        install,
    })
}

/// How long this thread has run, the kernel's work for it included.
fn on_processor() -> anyhow::Result<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    let nanos = text.split(' ').next().context("schedstat")?.parse()?;
    Ok(Duration::from_nanos(nanos))
}

/// The source and port that a rule admits.
fn rule(number: usize) -> (IpAddr, u16) {
    let source =
        u32::from(Ipv4Addr::new(198, 18, 0, 0)) + u32::try_from(number / PORTS).unwrap_or(0);
    let port = 1_000 + u16::try_from(number % PORTS).expect("less than 100");
    (Ipv4Addr::from(source).into(), port)
}

/// One pod, and rules in policies for it.
fn world(rules: usize) -> anyhow::Result<World> {
    let mut world = World::default();
    let mut put = |text: String| -> anyhow::Result<()> {
        let object = decode_json(text.as_bytes()).object;
        world.put(object.context("an object of this file")?);
        Ok(())
    };
    put(r#"{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"shop"}}"#.to_owned())?;
    put(format!(
        r#"{{"apiVersion":"v1","kind":"Pod","metadata":{{"name":"server","namespace":"shop"}},
        "spec":{{"containers":[{{"name":"main"}}]}},
        "status":{{"phase":"Running","podIPs":[{{"ip":"{SERVER}"}}]}}}}"#
    ))?;
    let numbers: Vec<usize> = (0..rules).collect();
    for (place, chunk) in numbers.chunks(AT_ONCE).enumerate() {
        let rules: Vec<String> = chunk
            .iter()
            .map(|number| {
                let (source, port) = rule(*number);
                format!(
                    r#"{{"action":"Allow","protocol":"UDP","source":{{"nets":["{source}/32"]}},
                    "destination":{{"ports":[{port}]}}}}"#
                )
            })
            .collect();
        put(format!(
            r#"{{"apiVersion":"projectcalico.org/v3","kind":"GlobalNetworkPolicy",
            "metadata":{{"name":"p-{place}"}},
            "spec":{{"selector":"all()","order":{place},"types":["Ingress"],"ingress":[{}]}}}}"#,
            rules.join(",")
        ))?;
    }
    Ok(world)
}

/// The same rules as `nft` would chain them.
fn linear(rules: usize) -> Vec<Rule> {
    let mut out = vec![
        Rule::new("forward")
            .with(build::ct_state(build::CT_STATE_ESTABLISHED))
            .with(build::verdict(Verdict::Accept)),
    ];
    out.extend((0..rules).map(|number| {
        let (source, port) = rule(number);
        let IpAddr::V4(source) = source else {
            unreachable!("sources here are IPv4");
        };
        Rule::new("forward")
            .with(build::ipv4())
            .with(build::ipv4_prefix(build::IP_SADDR, source, 32))
            .with(build::l4proto(17))
            .with(build::eq(build::TH_DPORT, &Value::InetService(port)))
            .with(build::verdict(Verdict::Accept))
    }));
    out
}

fn commit(field: &mut Field, rules: Vec<Rule>) -> anyhow::Result<Duration> {
    let chain = Chain::base(
        "forward",
        ChainKind::Filter,
        Hook::Forward,
        priority::FILTER,
        Policy::Drop,
    );
    let mut ops = vec![Op::AddTable { comment: None }, Op::AddChain(chain)];
    ops.extend(rules.into_iter().map(Op::AddRule));
    let table = TableId::inet("linear");
    let begin = Instant::now();
    field.nft.commit(&Transaction { table, ops })?;
    Ok(begin.elapsed())
}

fn clear(field: &mut Field) -> anyhow::Result<()> {
    for table in field.nft.tables()? {
        let ops = vec![Op::DelTable];
        field.nft.commit(&Transaction { table, ops })?;
    }
    field.route([(IpAddr::from(SERVER), HOME)].into())
}
