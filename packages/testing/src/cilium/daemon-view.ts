import type { NodeAddressing } from './api-model.ts'
import type { CiliumVersion, VersionTraits } from './version.ts'

/** How a fake agent is configured, as far as its API tells. */
export interface FakeAgentConfig {
  /** What the endpoints' devices are. */
  readonly datapathMode: 'veth' | 'netkit' | 'netkit-l2'
  /** Where addresses come from. */
  readonly ipamMode: string
  /** MTU of the endpoints' devices, bytes. */
  readonly deviceMtu: number
  /** MTU of the endpoints' default routes, bytes; 0 for none. */
  readonly routeMtu: number
  /** Ports that pods must not use of their own accord, empty for none. */
  readonly ipLocalReservedPorts: string
  /** How pods look for the MTU of a path, as `tcp_mtu_probing` has it, empty for the kernel's way; 1.19 and newer. */
  readonly packetizationLayerPMTUDMode: '0' | '1' | '2' | ''
  /** Whether BBR is for the node and not for pods; 1.18 and newer. */
  readonly bbrHostNamespaceOnly: boolean
  /** Chaining mode, `none` for none. */
  readonly chainingMode: string
  /** How packets get from device to device: by eBPF or by the kernel. */
  readonly hostRouting: 'BPF' | 'Legacy'
  /** Encryption of traffic between nodes. */
  readonly encryption: 'Disabled' | 'IPsec' | 'Wireguard'
  /** Whether it takes the place of kube-proxy. */
  readonly kubeProxyReplacement: boolean
  /** Whose sockets are connected to a service's backends, instead of packets being translated. */
  readonly socketLb: 'none' | 'host' | 'all'
}

/** What a stock agent has, tunnelled, with a small MTU. */
export const DEFAULT_CONFIG: FakeAgentConfig = {
  datapathMode: 'veth',
  ipamMode: 'cluster-pool',
  deviceMtu: 1500,
  routeMtu: 1450,
  ipLocalReservedPorts: '',
  packetizationLayerPMTUDMode: '1',
  bbrHostNamespaceOnly: false,
  chainingMode: 'none',
  hostRouting: 'BPF',
  encryption: 'Disabled',
  kubeProxyReplacement: false,
  socketLb: 'none',
}

/** Body of `GET /config`. */
export function configView(config: FakeAgentConfig, traits: VersionTraits, addressing: NodeAddressing): Record<string, unknown> {
  return {
    spec: {},
    status: {
      addressing,
      datapathMode: config.datapathMode,
      ...(traits.tellsConfiguredDatapath ? { configuredDatapathMode: config.datapathMode } : {}),
      deviceMTU: config.deviceMtu,
      routeMTU: config.routeMtu,
      ...(config.ipLocalReservedPorts === '' ? {} : { ipLocalReservedPorts: config.ipLocalReservedPorts }),
      ...(traits.probesMtu && config.packetizationLayerPMTUDMode !== ''
        ? { packetizationLayerPMTUDMode: config.packetizationLayerPMTUDMode }
        : {}),
      ...(traits.limitsBbr && config.bbrHostNamespaceOnly ? { enableBBRHostNamespaceOnly: true } : {}),
      'ipam-mode': config.ipamMode,
      masquerade: true,
    },
  }
}

/** What a status says besides the configuration. */
export interface AgentStatus {
  /** Release. */
  readonly version: CiliumVersion
  /** Name of the node that the agent believes to be on. */
  readonly nodeName: string
  /** State of the agent, with the reason where it is not `Ok`. */
  readonly cilium: { readonly state: 'Ok' | 'Warning' | 'Failure'; readonly msg?: string }
  /** Who holds which address. */
  readonly allocations: Readonly<Record<string, string>>
}

/** Body of `GET /healthz`. @param brief - only whether the agent is in order; the rest is left out, the node's name too */
export function statusView(config: FakeAgentConfig, status: AgentStatus, brief: boolean): Record<string, unknown> {
  const { version, nodeName, cilium, allocations } = status
  const own = { state: cilium.state, msg: cilium.msg ?? `${version} (v${version}-0fa4e000)` }
  if (brief) return { cilium: own, cluster: { nodes: null } }
  return {
    cilium: own,
    kubernetes: { state: 'Ok', msg: '1.34 (v1.34.0) [linux/arm64]' },
    'cni-chaining': { mode: config.chainingMode },
    cluster: { self: `default/${nodeName}`, nodes: null },
    routing: { 'inter-host-routing-mode': 'Tunnel', 'intra-host-routing-mode': config.hostRouting, 'tunnel-protocol': 'vxlan' },
    encryption: { mode: config.encryption },
    'datapath-mode': config.datapathMode,
    'kube-proxy-replacement': {
      mode: config.kubeProxyReplacement ? 'True' : 'False',
      features: { socketLB: { enabled: config.socketLb !== 'none' }, bpfSocketLBHostnsOnly: config.socketLb === 'host' },
    },
    ipam: {
      ipv4: orNull(Object.keys(allocations).filter((ip) => !ip.includes(':'))),
      ipv6: orNull(Object.keys(allocations).filter((ip) => ip.includes(':'))),
      allocations,
      status: `IPv4: ${Object.keys(allocations).length} allocated`,
    },
  }
}

/** A list to which nothing was added does not exist in Go. */
const orNull = (list: readonly string[]): readonly string[] | null => (list.length === 0 ? null : list)
