//! Objects of each kind, by their `spec`.

use crate::Kind;

/// With all fields.
pub(super) const GOOD: &[(Kind, &str)] = &[
    (Kind::CalicoNetworkPolicy, POLICY),
    (Kind::StagedNetworkPolicy, "{stagedAction: Delete, order: 5, types: [Egress], selector: has(a)}"),
    (
        Kind::GlobalNetworkPolicy,
        "{applyOnForward: true, doNotTrack: true, namespaceSelector: all(), order: 1.5,
          egress: [{action: Deny, protocol: 17, destination: {services: {name: dns, namespace: kube-system}}}]}",
    ),
    (Kind::StagedGlobalNetworkPolicy, "{applyOnForward: true, preDNAT: true, types: [Ingress]}"),
    (
        Kind::StagedKubernetesNetworkPolicy,
        "{podSelector: {matchLabels: {a: b}, matchExpressions: [{key: c, operator: In, values: [d]},
            {key: e, operator: Exists}]}, policyTypes: [Ingress, Egress], stagedAction: Set,
          ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/8, except: [10.1.0.0/16]}},
            {namespaceSelector: {}, podSelector: {}}],
            ports: [{port: 80, endPort: 90}, {port: http, protocol: UDP}]}],
          egress: [{to: [{podSelector: {}}]}]}",
    ),
    (
        Kind::ClusterNetworkPolicy,
        "{tier: Baseline, priority: 10, subject: {pods: {namespaceSelector: {}, podSelector: {}}},
          ingress: [{name: x, action: Accept, from: [{namespaces: {}}, {pods: {podSelector: {}}}],
            protocols: [{tcp: {destinationPort: {number: 1}}}, {udp: {destinationPort: {range:
              {start: 1, end: 2}}}}, {destinationNamedPort: http}]}],
          egress: [{action: Pass, to: [{nodes: {}}, {networks: [10.0.0.0/8]}]},
            {action: Accept, to: [{domainNames: ['*.a.b']}]}]}",
    ),
    (Kind::Tier, "{order: 10, defaultAction: Pass}"),
    (Kind::NetworkSet, "{nets: [10.0.0.0/8, 'fd00::1'], allowedEgressDomains: ['*.a.b', c]}"),
    (Kind::GlobalNetworkSet, "{nets: [10.0.0.0/8]}"),
    (
        Kind::Profile,
        "{labelsToApply: {a: b}, ingress: [{action: Allow}], egress: [{action: Log}]}",
    ),
    (
        Kind::WorkloadEndpoint,
        "{node: n, orchestrator: k8s, pod: p, interfaceName: i, mac: '02:00:00:00:00:01',
          ipNetworks: [10.0.0.1/32], profiles: [p], serviceAccountName: s,
          ports: [{name: a, port: 1, protocol: TCP}]}",
    ),
    (
        Kind::HostEndpoint,
        "{node: n1, interfaceName: eth0, expectedIPs: [10.0.0.1, 'fd00::1'], profiles: [p],
          ports: [{name: ssh, port: 22, protocol: tcp}, {name: dns, port: 53, protocol: 17}]}",
    ),
    (
        Kind::IpPool,
        "{cidr: 10.0.0.0/16, blockSize: 26, disabled: false, natOutgoing: true, nodeSelector: all(),
          ipipMode: Never, vxlanMode: Always, allowedUses: [Workload], assignmentMode: Manual,
          namespaceSelector: has(a), disableBGPExport: true}",
    ),
    (
        Kind::IpamBlock,
        "{cidr: 10.0.0.0/26, affinity: 'host:n', allocations: [null, 0], attributes: [{handle_id: a}]}",
    ),
    (
        Kind::FelixConfiguration,
        "{defaultEndpointToHostAction: RETURN, nftablesFilterDenyAction: Reject, logPrefix: 'a b',
          failsafeInboundHostPorts: [{port: 22, protocol: tcp, net: 10.0.0.0/8}, {port: 1}],
          failsafeOutboundHostPorts: [], workloadSourceSpoofing: Any, interfacePrefix: 'a, b',
          nftablesRefreshInterval: 1m30.5s, iptablesRefreshInterval: '0', nftablesMarkMask: 4294901760,
          iptablesMarkMask: 0, iptablesFilterDenyAction: drop, vxlanVNI: 5}",
    ),
    (
        Kind::KubeControllersConfiguration,
        "{healthChecks: Enabled, controllers: {namespace: {}, node: {syncLabels: Enabled, hostEndpoint: {
          autoCreate: Enabled, createDefaultHostEndpoint: Disabled, templates: [{generateName: a,
            interfaceCIDRs: [10.0.0.0/8], interfacePattern: e.*, labels: {a: b}, annotations: {c: d},
            nodeSelector: all()}, {generateName: b, interfacePattern: x}]}}}}",
    ),
];

const POLICY: &str = "
tier: security
order: 10
selector: app == 'web'
serviceAccountSelector: has(a)
types: [Ingress, Egress]
performanceHints: [AssumeNeededOnEveryNode]
ingress:
- action: Deny
  ipVersion: 4
  protocol: tcp
  notProtocol: 17
  notICMP: {type: 8, code: 0}
  metadata: {annotations: {a: b}}
  source: {nets: [10.0.0.0/8], notNets: [10.1.0.0/16], selector: has(a), notSelector: has(b),
    namespaceSelector: global(), serviceAccounts: {names: [x], selector: has(c)}}
  destination: {ports: [80, '81', '90:99', http], notPorts: [1]}
- {action: Allow, protocol: ICMP, icmp: {type: 8}}
- {action: Allow, source: {services: {name: web, namespace: shop}, nets: []}}
- {action: Allow, protocol: 6, http: {methods: [GET], paths: [{exact: /a}, {prefix: /b}]}}
egress:
- {action: Allow, destination: {domains: ['*.a.b']}}
- {action: Pass, destination: {services: {name: web}}}
";

/// One mistake each, so that each condition between fields is seen to work.
pub(super) const BAD: &[(Kind, &str)] = &[
    (Kind::CalicoNetworkPolicy, "{ingress: [{action: Allow, icmp: {type: 1}}]}"),
    (Kind::CalicoNetworkPolicy, "{ingress: [{action: Allow, protocol: ICMP, icmp: {code: 1}}]}"),
    (Kind::CalicoNetworkPolicy, "{ingress: [{action: Allow, protocol: 1, destination: {ports: [1]}}]}"),
    (Kind::CalicoNetworkPolicy, "{ingress: [{action: Deny, http: {}}]}"),
    (Kind::CalicoNetworkPolicy, "{ingress: [{action: Allow, protocol: udp, http: {}}]}"),
    (Kind::CalicoNetworkPolicy, "{ingress: [{action: Allow, http: {paths: [{}]}}]}"),
    (Kind::CalicoNetworkPolicy, "{ingress: [{action: Allow, http: {paths: [{exact: /, prefix: /}]}}]}"),
    (Kind::CalicoNetworkPolicy, "{egress: [{action: Allow, http: {}}]}"),
    (Kind::CalicoNetworkPolicy, "{egress: [{action: Allow, source: {services: {name: a}}}]}"),
    (Kind::CalicoNetworkPolicy, "{ingress: [{action: Allow, destination: {services: {name: a}}}]}"),
    (Kind::CalicoNetworkPolicy, "{ingress: [{action: Allow, source: {services: {name: a}, selector: has(a)}}]}"),
    (Kind::CalicoNetworkPolicy, "{ingress: [{action: Allow, destination: {domains: [a]}}]}"),
    (Kind::CalicoNetworkPolicy, "{egress: [{action: Allow, source: {domains: [a]}}]}"),
    (Kind::CalicoNetworkPolicy, "{egress: [{action: Deny, destination: {domains: [a]}}]}"),
    (Kind::GlobalNetworkPolicy, "{egress: [{action: Allow, destination: {services: {name: a}}}]}"),
    (Kind::GlobalNetworkPolicy, "{doNotTrack: true}"),
    (Kind::GlobalNetworkPolicy, "{preDNAT: true, applyOnForward: false}"),
    (Kind::GlobalNetworkPolicy, "{preDNAT: true, doNotTrack: true, applyOnForward: true}"),
    (Kind::GlobalNetworkPolicy, "{preDNAT: true, applyOnForward: true, types: [Egress]}"),
    (Kind::GlobalNetworkPolicy, "{preDNAT: true, applyOnForward: true, egress: [{action: Deny}]}"),
    (Kind::Profile, "{ingress: [{action: Allow, source: {services: {name: a}}}]}"),
    (Kind::HostEndpoint, "{node: n}"),
    (Kind::HostEndpoint, "{node: n, interfaceName: '', expectedIPs: []}"),
    (Kind::HostEndpoint, "{interfaceName: eth0}"),
    (Kind::HostEndpoint, "{node: n, interfaceName: a, ports: [{name: a, port: 1, protocol: 47}]}"),
    (Kind::StagedKubernetesNetworkPolicy, "{ingress: [{from: [{}]}]}"),
    (
        Kind::StagedKubernetesNetworkPolicy,
        "{ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/8}, podSelector: {}}]}]}",
    ),
    (Kind::StagedKubernetesNetworkPolicy, "{ingress: [{ports: [{endPort: 1}]}]}"),
    (Kind::StagedKubernetesNetworkPolicy, "{ingress: [{ports: [{port: http, endPort: 1}]}]}"),
    (Kind::StagedKubernetesNetworkPolicy, "{ingress: [{ports: [{port: 2, endPort: 1}]}]}"),
    (
        Kind::StagedKubernetesNetworkPolicy,
        "{podSelector: {matchExpressions: [{key: a, operator: In}]}}",
    ),
    (
        Kind::StagedKubernetesNetworkPolicy,
        "{podSelector: {matchExpressions: [{key: a, operator: Exists, values: [b]}]}}",
    ),
    (
        Kind::ClusterNetworkPolicy,
        "{tier: Admin, priority: 1, subject: {namespaces: {}}, egress: [{action: Deny, to: [
          {domainNames: [a.b]}]}]}",
    ),
    (
        Kind::ClusterNetworkPolicy,
        "{tier: Admin, priority: 1, subject: {namespaces: {}}, egress: [{action: Deny, to: [{nodes: {}}],
          protocols: [{destinationNamedPort: a}]}]}",
    ),
    (
        Kind::ClusterNetworkPolicy,
        "{tier: Admin, priority: 1, subject: {namespaces: {}}, ingress: [{action: Deny, from: [{pods: {
          podSelector: {}}}], protocols: [{tcp: {destinationPort: {range: {start: 2, end: 2}}}}]}]}",
    ),
    (
        Kind::KubeControllersConfiguration,
        "{controllers: {node: {hostEndpoint: {templates: [{generateName: a}, {generateName: a}]}}}}",
    ),
    (Kind::FelixConfiguration, "{failsafeInboundHostPorts: [{port: 1, protocol: 47}]}"),
];
