//! A cluster of namespaces: an API server, hosts on one wire with an agent each, and workloads.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{
    IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket,
};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::MutexGuard;
use std::time::Duration;

use ocicat_kernel::Mac;
use ocicat_kernel::attach::{HOST_MAC, workload_mac};
use ocicat_kernel::netns::{DIRECTORY, Namespace, ScratchNamespace};
use ocicat_kernel::rtnl::{Address, Rtnl, Veth, VethPeer, link};
use ocicat_kernel::sysctl;
use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::api::{Api, object};
use super::frame::{Frame, Transport};
use super::process::{Process, ocicat};
use super::{may_run, turn, within};

/// How long a process may take to be ready on a machine that has other work too.
const PATIENCE: Duration = Duration::from_secs(60);
/// The interface of a host on the wire.
pub const UPLINK: &str = "eth0";
/// The interface of a workload.
pub const INTERFACE: &str = "eth0";
/// Names of Kubernetes namespaces that every cluster has.
pub const NAMESPACES: [&str; 3] = ["shop", "bank", "crowd"];

/// What of a cluster can be chosen.
#[derive(Debug, Clone, Copy, Default)]
pub struct Choice {
    /// The API server stores policies that nobody can read.
    pub stores_anything: bool,
    /// What policy lets a workload send to its own host gets there.
    pub endpoint_to_host: bool,
    /// The agents reach the API server over the wire, and not by its socket.
    pub api_on_the_wire: bool,
}

/// Where the API server is on the wire: a port that no fail-safe list names.
pub const API_ON_THE_WIRE: &str = "172.29.0.200:7443";

/// Fields go in this order: processes first, then namespaces, files, and the turn.
pub struct Cluster {
    pub hosts: Vec<Host>,
    pub api: Api,
    _server: Process,
    _wire: ScratchNamespace,
    _directory: TempDir,
    _turn: MutexGuard<'static, ()>,
}

/// A host: a namespace with an agent.
pub struct Host {
    pub name: &'static str,
    agent: Option<Process>,
    arguments: Vec<String>,
    directory: PathBuf,
    pub namespace: ScratchNamespace,
    /// On the wire: one of IPv4, one of IPv6.
    pub addresses: [IpAddr; 2],
}

/// A pod: its object in the API and its namespace.
pub struct Workload {
    /// The Kubernetes namespace and the name.
    pub key: (String, String),
    /// The index of its host.
    pub host: usize,
    pub namespace: ScratchNamespace,
    /// IPv4, then IPv6; empty until attached, unless chosen before.
    pub addresses: Vec<IpAddr>,
}

impl Cluster {
    /// A cluster of hosts `a`, `b` with policy in force and no workloads. `None` without root, said
    /// aloud.
    pub fn start(choice: Choice) -> Option<Self> {
        if !may_run() {
            return None;
        }
        let turn = turn();
        let directory = tempfile::Builder::new()
            .prefix("ocig-")
            .tempdir_in("/run")
            .unwrap();
        let wire = ScratchNamespace::create("ocig-wire").unwrap();
        let mut rtnl = Rtnl::open_in(&wire).unwrap();
        rtnl.apply_all(&[link::create_bridge("wire"), link::up("wire")])
            .unwrap();
        let socket = directory.path().join("api.sock");
        let mut arguments = vec!["apiserver", "--data", "memory", "--listen"];
        let listen = format!("unix:{}", socket.display());
        arguments.push(&listen);
        if choice.api_on_the_wire {
            let interface = rtnl.link_index("wire").unwrap();
            let net = "172.29.0.200/24".parse().unwrap();
            rtnl.apply(&Address { interface, net }.replace()).unwrap();
            relay(&wire, API_ON_THE_WIRE.parse().unwrap(), &socket);
        }
        if choice.stores_anything {
            arguments.push("--no-validation");
        }
        let log = directory.path().join("api.log");
        let server = Process::start(ocicat(&arguments), &wire, &log);
        let ready = within(PATIENCE, || UnixStream::connect(&socket).is_ok());
        assert!(ready, "the API server does not listen:\n{}", server.log());
        let api = Api::new(&socket);
        create_basics(&api);
        let mut hosts: Vec<Host> = ["a", "b"]
            .iter()
            .zip(1..)
            .map(|(name, number)| {
                let host = Host::new(name, number, directory.path(), &api, choice);
                host.connect(&mut rtnl);
                host
            })
            .collect();
        hosts.iter_mut().for_each(Host::start);
        let cluster = Self {
            hosts,
            api,
            _server: server,
            _wire: wire,
            _directory: directory,
            _turn: turn,
        };
        cluster.hosts.iter().for_each(Host::wait_until_ready);
        Some(cluster)
    }

    /// A pod with an address of the pools, attached, and known everywhere.
    pub fn workload(
        &self,
        host: usize,
        namespace: &str,
        name: &str,
        labels: &[(&str, &str)],
    ) -> Workload {
        let mut workload = self.declare(host, namespace, name, labels, &[]);
        self.attach(&mut workload);
        self.wait_until_known(&workload);
        workload
    }

    /// A pod in the API and an empty namespace, not attached. It asks for `addresses` if there are
    /// any.
    pub fn declare(
        &self,
        host: usize,
        namespace: &str,
        name: &str,
        labels: &[(&str, &str)],
        addresses: &[IpAddr],
    ) -> Workload {
        let labels: BTreeMap<_, _> = labels.iter().copied().collect();
        let spec = json!({
            "nodeName": self.hosts[host].name,
            "containers": [{ "name": "main", "image": "none" }],
        });
        let mut pod = object("v1", "Pod", Some(namespace), name, spec);
        pod["metadata"]["labels"] = json!(labels);
        if !addresses.is_empty() {
            let wanted = json!(addresses).to_string();
            pod["metadata"]["annotations"] = json!({ "cni.projectcalico.org/ipAddrs": wanted });
        }
        self.api.create(&pod);
        Workload {
            key: (namespace.to_owned(), name.to_owned()),
            host,
            namespace: ScratchNamespace::create("ocig-w").unwrap(),
            addresses: addresses.to_vec(),
        }
    }

    /// Runs CNI ADD, and notes the addresses.
    pub fn attach(&self, workload: &mut Workload) {
        workload.addresses = self.add(workload);
    }

    /// Runs CNI ADD and returns the addresses, IPv4 first.
    pub fn add(&self, workload: &Workload) -> Vec<IpAddr> {
        let answer = self.hosts[workload.host].cni("ADD", workload);
        let ips = answer["ips"].as_array().cloned().unwrap_or_default();
        let address = |ip: &Value| ip["address"].as_str()?.split('/').next()?.parse().ok();
        let mut addresses: Vec<IpAddr> = ips.iter().filter_map(address).collect();
        addresses.sort_by_key(IpAddr::is_ipv6);
        assert_eq!(addresses.len(), 2, "{answer}");
        addresses
    }

    /// Runs CNI DEL and deletes the pod.
    pub fn remove(&self, workload: Workload) {
        self.hosts[workload.host].cni("DEL", &workload);
        self.api.delete(&workload.pod());
    }

    pub fn wait_until_known(&self, workload: &Workload) {
        let question = json!({ "op": "unknown", "addresses": workload.addresses });
        for host in &self.hosts {
            let known = || host.ask(&question)["unknown"] == json!([]);
            assert!(
                within(PATIENCE, known),
                "{} does not learn {:?}",
                host.name,
                workload.key
            );
        }
    }

    /// Runs `ocicat status` and returns its exit code and what it printed.
    pub fn status(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let mut command = ocicat(&["status", "--api", &self.api.endpoint()]);
        let output = command.args(arguments).output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (
            output.status.code(),
            String::from_utf8_lossy(&text).into_owned(),
        )
    }
}

/// Hands connections to `place` on to a unix socket, until the test ends: the API server itself listens
/// to no other machine.
fn relay(namespace: &Namespace, place: SocketAddr, socket: &Path) {
    let listener = namespace.run(|| TcpListener::bind(place)).unwrap().unwrap();
    let socket = socket.to_owned();
    std::thread::spawn(move || {
        for near in listener.incoming().flatten() {
            let Ok(far) = UnixStream::connect(&socket) else {
                continue;
            };
            let (Ok(near_too), Ok(far_too)) = (near.try_clone(), far.try_clone()) else {
                continue;
            };
            std::thread::spawn(move || {
                let _ = ask_for_loopback(&near_too, &far_too, place);
                let _ = far_too.shutdown(Shutdown::Write);
            });
            std::thread::spawn(move || {
                let _ = std::io::copy(&mut &far, &mut &near);
                let _ = near.shutdown(Shutdown::Write);
            });
        }
    });
}

/// Copies requests to `place`, which the API server is to take for requests to this machine. The head of a
/// request comes in one piece.
fn ask_for_loopback(
    mut from: &TcpStream,
    mut to: &UnixStream,
    place: SocketAddr,
) -> std::io::Result<()> {
    let (outside, inside) = (format!("host: {place}"), "host: 127.0.0.1");
    let mut buffer = [0; 64 * 1024];
    loop {
        let length = from.read(&mut buffer)?;
        if length == 0 {
            return Ok(());
        }
        let text = String::from_utf8_lossy(&buffer[..length]);
        to.write_all(text.replace(&outside, inside).as_bytes())?;
    }
}

/// Namespaces and pools; the agents register their nodes.
fn create_basics(api: &Api) {
    for name in NAMESPACES {
        api.create(&object("v1", "Namespace", None, name, json!({})));
    }
    for (name, cidr, size) in [("v4", "10.244.0.0/16", 26), ("v6", "fd00:10:244::/48", 122)] {
        let spec = json!({ "cidr": cidr, "blockSize": size, "natOutgoing": false });
        api.create(&object("projectcalico.org/v3", "IPPool", None, name, spec));
    }
}

impl Host {
    fn new(name: &'static str, number: u8, directory: &Path, api: &Api, choice: Choice) -> Self {
        let directory = directory.join(name);
        std::fs::create_dir_all(&directory).unwrap();
        let addresses: [IpAddr; 2] = [
            Ipv4Addr::new(172, 29, 0, number).into(),
            Ipv6Addr::new(0xfd00, 0x29, 0, 0, 0, 0, 0, number.into()).into(),
        ];
        let text = |path: PathBuf| path.display().to_string();
        let mut arguments = vec![
            "--log-level".to_owned(),
            "info".to_owned(),
            "agent".to_owned(),
            format!("--node={name}"),
            format!("--node-ip={}", addresses[0]),
            format!("--node-ip={}", addresses[1]),
            match choice.api_on_the_wire {
                true => format!("--api=http://{API_ON_THE_WIRE}"),
                false => format!("--api={}", api.endpoint()),
            },
            format!("--run-dir={}", text(directory.join("run"))),
            format!("--state-dir={}", text(directory.join("state"))),
        ];
        // A flag would win over what a test configures.
        if choice.endpoint_to_host {
            arguments.push("--endpoint-to-host=Accept".to_owned());
        }
        Self {
            name,
            agent: None,
            arguments,
            directory,
            namespace: ScratchNamespace::create("ocig-h").unwrap(),
            addresses,
        }
    }

    /// Joins the host to the wire.
    fn connect(&self, wire: &mut Rtnl) {
        let settings = [
            ("net/ipv6/conf/all/accept_dad", "0"),
            ("net/ipv6/conf/default/accept_dad", "0"),
            ("net/ipv6/conf/default/accept_ra", "0"),
        ];
        self.namespace
            .run(|| sysctl::write_all(settings))
            .unwrap()
            .unwrap();
        let port = format!("p-{}", self.name);
        let cable = Veth {
            name: port.clone(),
            mac: None,
            mtu: None,
            peer: VethPeer {
                name: UPLINK.to_owned(),
                mac: None,
                namespace: Some((*self.namespace).clone()),
            },
        };
        let bridge = wire.link_index("wire").unwrap();
        let requests = [
            cable.create(),
            link::join_bridge(&port, bridge),
            link::up(&port),
        ];
        wire.apply_all(&requests).unwrap();
        let mut rtnl = Rtnl::open_in(&self.namespace).unwrap();
        let interface = rtnl.link_index(UPLINK).unwrap();
        let nets = [
            format!("{}/24", self.addresses[0]),
            format!("{}/64", self.addresses[1]),
        ];
        let addresses = nets.map(|net| {
            Address {
                interface,
                net: net.parse().unwrap(),
            }
            .replace()
        });
        rtnl.apply(&link::up(UPLINK)).unwrap();
        rtnl.apply_all(&addresses).unwrap();
        let running = || {
            rtnl.link(UPLINK)
                .unwrap()
                .is_some_and(|link| link.is_running)
        };
        assert!(
            within(PATIENCE, running),
            "{} is not on the wire",
            self.name
        );
    }

    /// Starts the agent, for the first time or again.
    pub fn start(&mut self) {
        let arguments: Vec<&str> = self.arguments.iter().map(String::as_str).collect();
        let log = self.directory.join("agent.log");
        self.agent = Some(Process::start(ocicat(&arguments), &self.namespace, &log));
    }

    /// Ends the agent by `signal`.
    pub fn stop(&mut self, signal: Signal) {
        self.agent.take().expect("the agent runs").end(signal);
    }

    pub fn signal(&self, signal: Signal) {
        self.agent.as_ref().expect("the agent runs").signal(signal);
    }

    pub fn wait_until_ready(&self) {
        let ready = || {
            UnixStream::connect(self.socket()).is_ok()
                && self.ask(&json!({ "op": "status" }))["ready"] == json!(true)
        };
        assert!(
            within(PATIENCE, ready),
            "agent {} is not ready:\n{}",
            self.name,
            self.log()
        );
    }

    /// What all agents of this host have logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.directory.join("agent.log")).unwrap_or_default()
    }

    /// One question to the agent. Null if it does not answer.
    pub fn ask(&self, question: &Value) -> Value {
        let exchange = || -> std::io::Result<Value> {
            let mut stream = UnixStream::connect(self.socket())?;
            stream.set_read_timeout(Some(PATIENCE))?;
            writeln!(stream, "{question}")?;
            let mut line = String::new();
            BufReader::new(stream).read_line(&mut line)?;
            Ok(serde_json::from_str(&line)?)
        };
        exchange().unwrap_or_default()["result"].take()
    }

    fn socket(&self) -> PathBuf {
        self.directory.join("run/agent.sock")
    }

    /// Runs the CNI plugin as a container runtime does.
    fn cni(&self, operation: &str, workload: &Workload) -> Value {
        let (namespace, name) = &workload.key;
        let (ok, answer) = self.cni_with(operation, workload, &json!({}));
        assert!(ok, "{operation} {namespace}/{name}: {answer}{}", self.log());
        answer
    }

    /// The same with more in the network configuration. Returns whether it succeeded, and what it said.
    pub fn cni_with(&self, operation: &str, workload: &Workload, more: &Value) -> (bool, Value) {
        let (namespace, name) = &workload.key;
        let mut command = ocicat(&[]);
        command
            .arg0("ocicat-cni")
            .env("CNI_COMMAND", operation)
            .env("CNI_CONTAINERID", workload.container())
            .env(
                "CNI_NETNS",
                Path::new(DIRECTORY).join(workload.namespace.name()),
            )
            .env("CNI_IFNAME", INTERFACE)
            .env(
                "CNI_ARGS",
                format!("K8S_POD_NAMESPACE={namespace};K8S_POD_NAME={name}"),
            )
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut config = json!({
            "cniVersion": "1.1.0", "name": "ocicat", "type": "ocicat-cni",
            "agentSocket": self.socket(),
        });
        for (field, value) in more.as_object().into_iter().flatten() {
            config[field] = value.clone();
        }
        let mut child = self.namespace.run(|| command.spawn()).unwrap().unwrap();
        let mut stdin = child.stdin.take().expect("it is piped");
        stdin.write_all(config.to_string().as_bytes()).unwrap();
        drop(stdin);
        let output = child.wait_with_output().unwrap();
        let answer = serde_json::from_slice(&output.stdout).unwrap_or_default();
        (output.status.success(), answer)
    }
}

impl Workload {
    /// What the CNI plugin knows it by.
    pub fn container(&self) -> String {
        format!("{}.{}", self.key.0, self.key.1)
    }

    /// The Ethernet address of its interface.
    pub fn mac(&self) -> Mac {
        workload_mac(&self.container(), INTERFACE)
    }

    /// A frame that it may send, from its address number `family` (0 is IPv4, 1 is IPv6).
    pub fn frame<'a>(
        &self,
        family: usize,
        to: IpAddr,
        transport: Transport,
        payload: &'a [u8],
    ) -> Frame<'a> {
        Frame {
            from_mac: self.mac(),
            to_mac: HOST_MAC,
            vlan: None,
            from: self.addresses[family],
            to,
            transport,
            payload,
        }
    }

    /// As much of its object as names it.
    pub fn pod(&self) -> Value {
        object("v1", "Pod", Some(&self.key.0), &self.key.1, json!({}))
    }
}

/// A UDP socket at `place` that does not block.
pub fn udp(namespace: &Namespace, place: SocketAddr) -> UdpSocket {
    let socket = namespace.run(|| UdpSocket::bind(place)).unwrap();
    let socket = socket.unwrap_or_else(|error| panic!("{place}: {error}"));
    socket.set_nonblocking(true).unwrap();
    socket
}

/// Every address of the family of `address`, any port.
pub fn any(address: IpAddr) -> SocketAddr {
    match address {
        IpAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        IpAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    }
}
