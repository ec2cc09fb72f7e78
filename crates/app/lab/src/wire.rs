//! The wire that joins the hosts, and the hosts on it.
//!
//! ```text
//!   oci-LAB-wire   ┌──────────── bridge ────────────┐
//!                  p0             p1             p2 │
//!                  │              │              │
//!   oci-LAB-h-…   eth0           eth0           eth0     172.30.0.1/24, fd00:0c1c:a700::1/64, …
//! ```
//!
//! Nothing of it is in the machine's own namespace, so nothing stays there when the namespaces go.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use anyhow::Context;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use ocicat_kernel::netns::Namespace;
use ocicat_kernel::rtnl::{Address, Request, Rtnl, Veth, VethPeer, link};
use ocicat_kernel::sysctl;

use crate::probe::UNLIMITED_ICMP;
use crate::state::{Folder, Host};

/// The interface of a host on the wire.
pub const UPLINK: &str = "eth0";
/// The bridge in the wire's namespace.
const BRIDGE: &str = "wire";
/// The most hosts a lab can have: the wire is a /24.
pub const MOST_HOSTS: usize = 250;

/// How long a link may take to come up, and the pause between two looks.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(1);

/// Settings of a host before it has links. Duplicate address detection would hold IPv6 back for a
/// second or two; nobody else is on this wire.
const HOST_SETTINGS: [(&str, &str); 8] = [
    // Hosts are probed too.
    UNLIMITED_ICMP[0],
    UNLIMITED_ICMP[1],
    ("net/ipv6/conf/all/accept_dad", "0"),
    ("net/ipv6/conf/default/accept_dad", "0"),
    ("net/ipv6/conf/default/dad_transmits", "0"),
    ("net/ipv6/conf/default/accept_ra", "0"),
    ("net/ipv6/conf/default/router_solicitations", "0"),
    ("net/ipv4/conf/all/rp_filter", "0"),
];

/// The networks of a wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    v4: Ipv4Net,
    v6: Ipv6Net,
}

impl Range {
    /// The first range that overlaps none of `taken`. Networks that leave no room anywhere, such as
    /// 0.0.0.0/0, are disregarded.
    #[must_use]
    pub fn choose(taken: &[IpNet]) -> Self {
        let free_v4 = |net: &Ipv4Net| !overlaps(IpNet::V4(*net), taken);
        let free_v6 = |net: &Ipv6Net| !overlaps(IpNet::V6(*net), taken);
        let v4 = candidates_v4()
            .find(free_v4)
            .or_else(|| candidates_v4().next());
        let v6 = candidates_v6()
            .find(free_v6)
            .or_else(|| candidates_v6().next());
        Self {
            v4: v4.expect("the candidates are constants, more than none"),
            v6: v6.expect("the candidates are constants, more than none"),
        }
    }

    /// The addresses of the host numbered `index`, from 0 to [`MOST_HOSTS`] - 1.
    #[must_use]
    pub fn addresses(&self, index: usize) -> Vec<IpAddr> {
        let number = u32::try_from(index + 1).expect("hosts are at most MOST_HOSTS");
        let v4 = Ipv4Addr::from_bits(self.v4.network().to_bits() + number);
        let v6 = Ipv6Addr::from_bits(self.v6.network().to_bits() + u128::from(number));
        vec![v4.into(), v6.into()]
    }
}

fn candidates_v4() -> impl Iterator<Item = Ipv4Net> {
    let blocks = [(172, 30), (172, 31), (192, 168), (10, 255), (100, 127)];
    blocks.into_iter().flat_map(|(a, b)| {
        (0..=255)
            .map(move |c| Ipv4Net::new(Ipv4Addr::new(a, b, c, 0), 24).expect("24 is at most 32"))
    })
}

fn candidates_v6() -> impl Iterator<Item = Ipv6Net> {
    (0..=255).map(|n| {
        let address = Ipv6Addr::new(0xfd00, 0x0c1c, 0xa700, n, 0, 0, 0, 0);
        Ipv6Net::new(address, 64).expect("64 is at most 128")
    })
}

fn overlaps(net: IpNet, taken: &[IpNet]) -> bool {
    taken
        .iter()
        .filter(|other| other.prefix_len() > 4)
        .any(|other| other.contains(&net) || net.contains(other))
}

/// Makes the wire's namespace and a namespace for each host, with their links and addresses up.
///
/// # Errors
/// If the kernel refuses; what was made so far stays, and the lab's record names it.
pub fn build(folder: &Folder, hosts: &[Host]) -> anyhow::Result<()> {
    let wire = Namespace::create(&folder.wire_netns())?;
    // The wire itself takes no part in what it carries.
    sysctl::write_in(&wire, "net/ipv6/conf/default/disable_ipv6", "1")?;
    let mut rtnl = Rtnl::open_in(&wire)?;
    rtnl.apply_all(&[link::create_bridge(BRIDGE), link::up(BRIDGE)])?;
    let bridge = rtnl.link_index(BRIDGE)?;
    for (number, host) in hosts.iter().enumerate() {
        connect(&mut rtnl, bridge, number, host).with_context(|| format!("host {}", host.name))?;
    }
    // The kernel switches links on in its own time, and what is sent before is lost.
    wait("the bridge of the wire", || is_running(&mut rtnl, BRIDGE))?;
    for (number, host) in hosts.iter().enumerate() {
        wait(&host.name, || is_running(&mut rtnl, &format!("p{number}")))?;
        let namespace = Namespace::open_named(&host.netns)?;
        let mut inside = Rtnl::open_in(&namespace)?;
        wait(&host.name, || is_running(&mut inside, UPLINK))?;
        for address in &host.addresses {
            wait(&host.name, || Ok(namespace.run(|| can_be_found(*address))?))?;
        }
    }
    Ok(())
}

fn wait(what: &str, mut done: impl FnMut() -> anyhow::Result<bool>) -> anyhow::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while !done()? {
        anyhow::ensure!(
            Instant::now() < deadline,
            "the link of {what} does not come up"
        );
        std::thread::sleep(PAUSE);
    }
    Ok(())
}

fn is_running(rtnl: &mut Rtnl, name: &str) -> anyhow::Result<bool> {
    Ok(rtnl.link(name)?.is_some_and(|link| link.is_running))
}

/// Whether neighbours that look for `address` are heard: for IPv6, whether the namespace of this thread
/// has joined its solicited-node group (RFC 4291, section 2.7.1). Who asks too early asks again only
/// after a second.
fn can_be_found(address: IpAddr) -> bool {
    let IpAddr::V6(v6) = address else {
        return true;
    };
    let [.., a, b, c] = v6.octets();
    let group = format!("ff0200000000000000000001ff{a:02x}{b:02x}{c:02x}");
    let groups = std::fs::read_to_string("/proc/thread-self/net/igmp6").unwrap_or_default();
    groups
        .lines()
        .any(|line| line.contains(UPLINK) && line.contains(&group))
}

fn connect(wire: &mut Rtnl, bridge: u32, number: usize, host: &Host) -> anyhow::Result<()> {
    let namespace = Namespace::create(&host.netns)?;
    namespace.run(|| sysctl::write_all(HOST_SETTINGS))??;
    let port = format!("p{number}");
    let cable = Veth {
        name: port.clone(),
        mac: None,
        mtu: None,
        peer: VethPeer {
            name: UPLINK.to_owned(),
            mac: None,
            namespace: Some(namespace.clone()),
        },
    };
    wire.apply_all(&[
        cable.create(),
        link::join_bridge(&port, bridge),
        link::up(&port),
    ])?;
    let mut rtnl = Rtnl::open_in(&namespace)?;
    let uplink = rtnl.link_index(UPLINK)?;
    let mut requests = vec![link::up("lo"), link::up(UPLINK)];
    requests.extend(
        host.addresses
            .iter()
            .map(|address| on_wire(uplink, *address)),
    );
    rtnl.apply_all(&requests)?;
    Ok(())
}

fn on_wire(interface: u32, address: IpAddr) -> Request {
    let length = if address.is_ipv4() { 24 } else { 64 };
    let net = IpNet::new(address, length).expect("24 is at most 32, 64 at most 128");
    Address { interface, net }.replace()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_that_is_taken_is_not_chosen() {
        let free = Range::choose(&[]);
        assert_eq!(free.addresses(0)[0], Ipv4Addr::new(172, 30, 0, 1));
        let taken = ["172.16.0.0/12", "0.0.0.0/0", "fd00:0c1c:a700::17/128"];
        let taken = taken.map(|net| net.parse().unwrap());
        let other = Range::choose(&taken);
        assert_eq!(other.addresses(1)[0], Ipv4Addr::new(192, 168, 0, 2));
        assert_eq!(
            other.addresses(1)[1],
            "fd00:c1c:a700:1::2".parse::<IpAddr>().unwrap()
        );
    }

    #[test]
    fn with_everything_taken_there_is_a_range_all_the_same() {
        let taken = ["0.0.0.0/5", "128.0.0.0/5", "fd00::/8"].map(|net| net.parse().unwrap());
        assert_eq!(Range::choose(&taken).addresses(0).len(), 2);
    }
}
