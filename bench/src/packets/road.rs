//! A client, a host and a server, each a namespace, and a cable between client and server besides.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use ipnet::{IpNet, Ipv4Net};
use ocicat_kernel::Mac;
use ocicat_kernel::conntrack::Conntrack;
use ocicat_kernel::netns::{Namespace, ScratchNamespace};
use ocicat_kernel::rtnl::{Address, Neighbour, NeighbourKind, Route, Rtnl, Veth, VethPeer, link};
use ocicat_kernel::sysctl;
use ocicat_nft::Connection;
use ocicat_nft::object::{Op, Transaction};
use ocicat_testkit::Random;
use rustix::net::sockopt::{self, Timeout};
use rustix::net::{AddressFamily, SocketType, bind, connect, socket};

use super::Took;
use super::rules::{Admitted, FIRST_PORT, PORTS, admitted};
use crate::kernel::{interface, mac};
use crate::meter::cpu_time;

/// The workload behind the host, and the same server at the other cable.
pub(super) const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const BARE_SERVER: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 1);
const BARE_CLIENT: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 2);
const CLIENT: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const HOST: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
const GATEWAY: Ipv4Addr = Ipv4Addr::new(169, 254, 1, 1);
/// The client has all of these addresses.
const SOURCES: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(198, 18, 0, 0), 16);
const HOST_MAC: Mac = Mac([2, 0, 0, 0, 9, 1]);
const PAYLOAD: [u8; 64] = [7; 64];
/// A packet that is dropped is not waited for longer.
const PATIENCE: Duration = Duration::from_millis(500);

/// How the client reaches the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// By their own cable.
    Bare,
    /// Through the host.
    Routed,
}

pub(super) struct Road {
    client: ScratchNamespace,
    host: ScratchNamespace,
    _server: ScratchNamespace,
    pub(super) nft: Connection,
    conntrack: Conntrack,
    listeners: Vec<TcpListener>,
    sockets: Vec<UdpSocket>,
    random: Random,
}

impl Road {
    /// Makes the namespaces, which go when this is dropped.
    pub(super) fn create() -> anyhow::Result<Self> {
        let new = || ScratchNamespace::create("ocicat-road").context("a network namespace");
        let (client, host, server) = (new()?, new()?, new()?);
        host.run(|| {
            sysctl::write_all([("net/ipv4/conf/all/rp_filter", "0")])?;
            sysctl::enable_forwarding()
        })??;
        let (mut of_client, mut of_host) = (Rtnl::open_in(&client)?, Rtnl::open_in(&host)?);
        let mut of_server = Rtnl::open_in(&server)?;
        let workload = interface(0);
        let server_mac = Mac(mac(0));
        cable(&mut of_client, ("up", None), (&host, "eth0", None))?;
        cable(&mut of_client, ("bare", None), (&server, "bare", None))?;
        cable(
            &mut of_host,
            (&workload, Some(HOST_MAC)),
            (&server, "eth0", Some(server_mac)),
        )?;
        of_host.apply(&link::up("eth0"))?;
        of_server.apply_all(&[link::up("eth0"), link::up("bare")])?;
        give(&mut of_client, "lo", SOURCES)?;
        give(&mut of_client, "up", Ipv4Net::new(CLIENT, 30)?)?;
        give(&mut of_client, "bare", Ipv4Net::new(BARE_CLIENT, 30)?)?;
        give(&mut of_host, "eth0", Ipv4Net::new(HOST, 30)?)?;
        give(&mut of_server, "eth0", SERVER.into())?;
        give(&mut of_server, "bare", Ipv4Net::new(BARE_SERVER, 30)?)?;
        of_client.apply(&Route::via(net(SERVER), HOST.into()).replace())?;
        let to_workload = of_host.link_index(&workload)?;
        of_host.apply_all(&[
            Route::via(SOURCES.into(), CLIENT.into()).replace(),
            Route::to_link(net(SERVER), to_workload).replace(),
            known(to_workload, SERVER, server_mac).replace(),
        ])?;
        let to_host = of_server.link_index("eth0")?;
        let everywhere = Ipv4Net::default().into();
        of_server.apply_all(&[
            known(to_host, GATEWAY, HOST_MAC).replace(),
            Route::via_onlink(everywhere, GATEWAY.into(), to_host).replace(),
        ])?;
        let any = |port| SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port);
        let ports = (FIRST_PORT..).take(PORTS);
        let (listeners, sockets) = server.run(|| {
            let listeners = ports.clone().map(|port| TcpListener::bind(any(port)));
            let sockets = ports.map(|port| UdpSocket::bind(any(port)));
            anyhow::Ok((
                listeners.collect::<std::io::Result<Vec<_>>>()?,
                sockets.collect::<std::io::Result<Vec<_>>>()?,
            ))
        })??;
        Ok(Self {
            nft: Connection::open_in(std::os::fd::AsFd::as_fd(&*host))?,
            conntrack: Conntrack::open_in(&host)?,
            client,
            host,
            _server: server,
            listeners,
            sockets,
            random: Random::new(7),
        })
    }

    /// Where policy is.
    pub(super) fn host(&self) -> &Namespace {
        &self.host
    }

    /// Removes every table of the host.
    pub(super) fn clear(&mut self) -> anyhow::Result<()> {
        for table in self.nft.tables()? {
            let ops = vec![Op::DelTable];
            self.nft.commit(&Transaction { table, ops })?;
        }
        Ok(())
    }

    /// Makes TCP connections, each of which another rule admits, and resets them.
    pub(super) fn connect(&mut self, way: Way, rules: usize, count: usize) -> anyhow::Result<Took> {
        let even = |number: usize| number - number % 2;
        let wanted: Vec<Admitted> = (0..count)
            .map(|_| admitted(even(self.random.below(rules))))
            .collect();
        self.conntrack.clear()?;
        let listeners = &self.listeners;
        self.client.run(|| {
            took(|| {
                for admitted in &wanted {
                    let (from, to) = way.ends(admitted);
                    let stream = stream(from, to)?;
                    let listener = &listeners[usize::from(admitted.port - FIRST_PORT)];
                    let (_accepted, peer) = listener.accept()?;
                    debug_assert_eq!(peer.ip(), IpAddr::V4(from));
                    // It ends at once, and leaves nothing that waits.
                    drop(stream);
                }
                Ok(())
            })
        })?
    }

    /// Sends packets of one UDP flow that both sides have answered in.
    pub(super) fn send(&mut self, way: Way, rules: usize, count: usize) -> anyhow::Result<Took> {
        ensure!(rules > 1, "one rule is for TCP");
        let odd = |number: usize| number - number % 2 + 1;
        let admitted = admitted(odd(self.random.below(rules - 1)));
        self.conntrack.clear()?;
        let server = &self.sockets[usize::from(admitted.port - FIRST_PORT)];
        // What came before fills its buffer.
        server.set_nonblocking(true)?;
        while server.recv(&mut [0; 64]).is_ok() {}
        server.set_nonblocking(false)?;
        server.set_read_timeout(Some(PATIENCE))?;
        self.client.run(|| {
            let (from, to) = way.ends(&admitted);
            let client = UdpSocket::bind(SocketAddrV4::new(from, 0))?;
            client.set_read_timeout(Some(PATIENCE))?;
            client.connect(to)?;
            client.send(b"hello")?;
            let mut buffer = [0; 64];
            let (_, client_address) = server.recv_from(&mut buffer).context("nothing came")?;
            server.send_to(b"hello", client_address)?;
            client.recv(&mut buffer).context("no answer came")?;
            took(|| {
                for _ in 0..count {
                    client.send(&PAYLOAD)?;
                }
                Ok(())
            })
        })?
    }
}

impl Way {
    /// Whom the client says it is, and where it finds the server.
    fn ends(self, admitted: &Admitted) -> (Ipv4Addr, SocketAddr) {
        let (from, to) = match self {
            Self::Bare => (BARE_CLIENT, BARE_SERVER),
            Self::Routed => (admitted.source, SERVER),
        };
        (from, SocketAddrV4::new(to, admitted.port).into())
    }
}

fn took(work: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<Took> {
    let (begin, before) = (Instant::now(), cpu_time());
    work()?;
    Ok(Took {
        processor: cpu_time().saturating_sub(before),
        clock: begin.elapsed(),
    })
}

/// A connection from this address, which is reset when it is dropped.
fn stream(from: Ipv4Addr, to: SocketAddr) -> anyhow::Result<TcpStream> {
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None)?;
    sockopt::set_socket_linger(&socket, Some(Duration::ZERO))?;
    sockopt::set_socket_timeout(&socket, Timeout::Send, Some(PATIENCE))?;
    bind(&socket, &SocketAddrV4::new(from, 0))?;
    connect(&socket, &to).with_context(|| format!("from {from} to {to}"))?;
    Ok(socket.into())
}

fn cable(
    near: &mut Rtnl,
    (name, mac): (&str, Option<Mac>),
    (namespace, far, far_mac): (&Namespace, &str, Option<Mac>),
) -> anyhow::Result<()> {
    let veth = Veth {
        name: name.to_owned(),
        mac,
        mtu: None,
        peer: VethPeer {
            name: far.to_owned(),
            mac: far_mac,
            namespace: Some(namespace.clone()),
        },
    };
    Ok(near.apply_all(&[veth.create(), link::up(name)])?)
}

fn give(rtnl: &mut Rtnl, name: &str, net: Ipv4Net) -> anyhow::Result<()> {
    let interface = rtnl.link_index(name)?;
    let net = IpNet::V4(net);
    Ok(rtnl.apply(&Address { interface, net }.replace())?)
}

fn known(interface: u32, address: Ipv4Addr, mac: Mac) -> Neighbour {
    Neighbour {
        interface,
        address: address.into(),
        kind: NeighbourKind::Permanent(mac),
    }
}

fn net(address: Ipv4Addr) -> IpNet {
    IpAddr::V4(address).into()
}
