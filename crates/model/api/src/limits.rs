//! The limits of what may be written, as Calico's and Kubernetes' API servers state them.

/// Rules of one direction of a policy.
pub const RULES: usize = 1024;
/// Entries of one `nets` or `notNets`.
pub const NETS: usize = 256;
/// Entries of one `ports` or `notPorts`.
pub const PORTS: usize = 50;
/// Methods, and paths, of one `http`.
pub const HTTP_MATCHES: usize = 20;
/// Length of one path of an `http`, in characters.
pub const HTTP_PATH_CHARS: usize = 1024;
/// Entries of one `domains`.
pub const DOMAINS: usize = 256;
/// Rules of one direction of a ClusterNetworkPolicy, peers and protocols of one such rule, and networks
/// and domain names of one such peer.
pub const CLUSTER_ENTRIES: usize = 25;
/// Highest priority number of a ClusterNetworkPolicy.
pub const CLUSTER_PRIORITY: u16 = 1000;
/// Length of the name of a rule of a ClusterNetworkPolicy, in characters.
pub const CLUSTER_RULE_NAME_CHARS: usize = 100;
/// Length of an interface's name, in bytes (`IFNAMSIZ` of Linux, without its end).
pub const INTERFACE_BYTES: usize = 15;
/// Length of `logPrefix`, in bytes.
pub const LOG_PREFIX_BYTES: usize = 127;
/// Length of a selector, in characters.
pub const SELECTOR_CHARS: usize = 1024;
/// Length of an object's name (RFC 1123 subdomain), in bytes.
pub const NAME_BYTES: usize = 253;
/// Length of a namespace's name (RFC 1123 label) and of a label's value, in bytes.
pub const LABEL_BYTES: usize = 63;
/// Length of a named port of Kubernetes (RFC 6335 section 5.1), in bytes.
pub const KUBE_PORT_NAME_BYTES: usize = 15;
/// Length of a named port in a Calico rule, in bytes.
pub const CALICO_PORT_NAME_BYTES: usize = 128;
/// Keys and values of all annotations of one object together, in bytes.
pub const ANNOTATION_BYTES: usize = 256 * 1024;
/// Pods of one controller.
pub const REPLICAS: u32 = 100_000;
/// Nesting of a document.
pub const DOCUMENT_DEPTH: usize = 100;
/// Values that all aliases of one text may stand for together.
pub const ALIASED_VALUES: usize = 100_000;
/// Problems of one object that are reported one by one.
pub const REPORTED_PROBLEMS: usize = 1_000;
