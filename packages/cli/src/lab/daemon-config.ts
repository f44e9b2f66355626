import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { TlsFiles } from '@cni-offload/protocol'
import { stringify } from 'yaml'
import { ADDRESSES, networkPrefixes, type PodSubnet, podSubnets } from './addresses.ts'
import { ciliumPlugins } from './cilium.ts'
import { type DaemonRole, isCilium, type LabAdapter, type LabExtra, type LabNetwork } from './model.ts'
import { WIRE } from './topology.ts'
import { type OcteonCard, octeonPlugins, type PluginEntry } from './octeon/card.ts'

/** What a node's configuration files are made from. */
export interface NodeConfigInput {
  /** Folder of the node. */
  readonly dir: string
  /** Name of the node. */
  readonly name: string
  /** Number of the node, from 1. */
  readonly index: number
  /** Networks that the agent serves, the first one first. */
  readonly networks: readonly LabNetwork[]
  /** Domain and bus of made-up PCI addresses. */
  readonly pciBus: string | undefined
  /** Device that holds the VFs. */
  readonly device: string
  /** VFs of the device. */
  readonly vfs: number
  /** What the card's MAC addresses are derived from. */
  readonly seed: string
  /** Addresses that pods may get. */
  readonly pool: number
  /** Path of the DPU's namespace. */
  readonly dpuNetns: string
  /** Starts the names of proxy namespaces. */
  readonly proxyPrefix: string
  /** Certificates of the two daemons. */
  readonly tls: Readonly<Record<DaemonRole, TlsFiles>>
  /** What stands for the file system of the host. */
  readonly hostRoot: string
  /** Unix socket of the DPU's cilium-agent, if it has one. */
  readonly ciliumSocket: string | undefined
  /** The fake OCTEON, unless the card is a software card. */
  readonly card: OcteonCard | undefined
  /** Settings laid over what is written by default. */
  readonly extra: LabExtra
}

/** Paths of what {@link writeNodeConfig} wrote. */
export interface NodeConfigPaths {
  /** `host.yaml`. */
  readonly host: string
  /** `agent.yaml`. */
  readonly agent: string
  /** Netconf that a runtime feeds to the shim, of the first network. */
  readonly netconf: string
  /** Netconfs of all networks, by name. */
  readonly netconfs: Readonly<Record<string, string>>
  /** Unix socket of the host daemon. */
  readonly socket: string
  /** State folder of the host daemon. */
  readonly hostState: string
  /** State folder of the agent. */
  readonly agentState: string
}

/** What a runtime may ask of the lab's network; the netconf declares it, so that a runtime does. */
const CAPABILITIES: Readonly<Record<LabAdapter, readonly string[]>> = {
  delegate: ['mac', 'ips', 'portMappings', 'bandwidth'],
  hello: ['mac', 'ips'],
  cilium: ['mac'],
  'cilium-splice': [],
  sriov: ['mac', 'ips'],
}

/** Writes `host.yaml`, `agent.yaml` and a netconf for each network of a node. */
export async function writeNodeConfig(input: NodeConfigInput): Promise<NodeConfigPaths> {
  const paths = {
    host: join(input.dir, 'host.yaml'),
    agent: join(input.dir, 'agent.yaml'),
    netconf: join(input.dir, 'netconf.json'),
    netconfs: Object.fromEntries(
      input.networks.map(({ name }, number) => [name, join(input.dir, number === 0 ? 'netconf.json' : `netconf-${name}.json`)]),
    ),
    socket: join(input.dir, 'host.sock'),
    hostState: join(input.dir, 'host'),
    agentState: join(input.dir, 'agent'),
  }
  await mkdir(paths.hostState, { recursive: true, mode: 0o700 })
  await mkdir(paths.agentState, { recursive: true, mode: 0o700 })
  const address = `tcp://${ADDRESSES.pf.agent}:${ADDRESSES.agentPort}`
  const hardware = input.card === undefined ? softCard(input) : octeonPlugins(input.card, input)
  await writeFile(
    paths.host,
    stringify({
      node: input.name,
      socket: paths.socket,
      stateDir: paths.hostState,
      agent: { address, tls: input.tls.host },
      hardware: hardware.host,
      deviceInfo: { dir: join(input.dir, 'devinfo') },
      metrics: { listen: ADDRESSES.metrics.host },
      root: input.hostRoot,
      log: { level: 'info' },
      ...input.extra.host,
    }),
  )
  await writeFile(
    paths.agent,
    stringify({
      node: input.name,
      listen: address,
      stateDir: paths.agentState,
      tls: input.tls.agent,
      hardware: hardware.agent,
      adapters: input.networks.map((network, number) => ({
        network: network.name,
        ports: network.ports,
        ...adapterConfig(input, network, number),
      })),
      metrics: { listen: ADDRESSES.metrics.agent },
      log: { level: 'info' },
      ...input.extra.agent,
    }),
  )
  for (const [number, { name, adapter }] of input.networks.entries()) {
    const own = adapter === 'sriov' ? { ipam: sriovPool(input, number) } : {}
    const capabilities = Object.fromEntries(CAPABILITIES[adapter].map((capability) => [capability, true]))
    const netconf = { cniVersion: '1.0.0', name, type: 'offload-cni', capabilities, ...own, ...input.extra.netconf }
    await writeFile(paths.netconfs[name] ?? paths.netconf, `${JSON.stringify(netconf, null, 2)}\n`)
  }
  return paths
}

/** The lab's daemons take the plugins that belong to this command, wherever their configuration lies. */
function moduleOf(name: string): string {
  return fileURLToPath(import.meta.resolve(name))
}

function softCard({ device, vfs, seed: node, dpuNetns, pciBus }: NodeConfigInput): Record<DaemonRole, PluginEntry> {
  const plugin = moduleOf('@cni-offload/hw-soft')
  return {
    host: { plugin, export: 'softHost', options: { device, vfs, node, dpuNetns, pciBus } },
    agent: { plugin, export: 'softDpu', options: { device, vfs, node } },
  }
}

function adapterConfig(input: NodeConfigInput, { name, adapter }: LabNetwork, number: number): PluginEntry {
  const pods = podSubnets(input.index, input.pool, number)
  const helloPool = ({ subnet, gateway }: PodSubnet): object => ({ subnet, gateway, size: input.pool })
  if (isCilium(adapter)) {
    const { name: nodeName, ciliumSocket: socket, proxyPrefix } = input
    const agent = { socket, nodeName, families: ['ipv4', 'ipv6'], proxyPrefix }
    const conflist = { cniVersion: '1.0.0', name: 'cilium', plugins: [{ type: 'cilium-cni' }] }
    return {
      plugin: moduleOf('@cni-offload/adapter-cilium'),
      export: 'cilium',
      options: adapter === 'cilium' ? { mode: 'agent-api', ...agent } : { ...agent, conflist, cniPath: [ciliumPlugins(input.dir)] },
    }
  }
  if (adapter === 'sriov')
    // All networks are on one wire; who shares none of the others' VLANs does not see them.
    return { plugin: moduleOf('@cni-offload/adapter-sriov'), export: 'sriov', options: { uplink: WIRE } }
  if (adapter === 'hello')
    return {
      plugin: moduleOf('@cni-offload/example-hello-adapter'),
      export: 'hello',
      options: {
        bridge: `hello${number}`,
        ...(number === 0 ? {} : { routes: podRoutes(number, pods) }),
        pools: { ipv4: helloPool(pods.ipv4), ipv6: helloPool(pods.ipv6) },
      },
    }
  return {
    plugin: moduleOf('@cni-offload/adapter-delegate'),
    export: 'delegate',
    options: {
      proxyPrefix: input.proxyPrefix,
      // Those of Debian fail their own CHECK: portmap with two families, bandwidth without a limit.
      noCheck: ['portmap', 'bandwidth'],
      conflist: {
        cniVersion: '1.0.0',
        name,
        plugins: [
          {
            type: 'bridge',
            bridge: `cni${number}`,
            isGateway: true,
            capabilities: { mac: true, ips: true },
            ipam: {
              type: 'host-local',
              dataDir: join(input.dir, 'ipam'),
              ranges: [[pods.ipv4], [pods.ipv6]],
              routes: podRoutes(number, pods),
            },
          },
          { type: 'tuning', sysctl: { 'net.ipv4.tcp_keepalive_time': '600' } },
          { type: 'portmap', snat: true, capabilities: { portMappings: true } },
          { type: 'bandwidth', capabilities: { bandwidth: true } },
        ],
      },
    },
  }
}

/** The pods of all nodes are in one network: each node has a part of it. */
function sriovPool({ index, pool }: NodeConfigInput, number: number): object {
  const { ipv4 } = podSubnets(index, pool, number)
  const six = (host: number): string => `fd00:${244 + number}::${index.toString(16)}:${host.toString(16)}`
  return {
    type: 'pool',
    ranges: [
      { subnet: networkPrefixes(number).ipv4, rangeStart: ipv4.rangeStart, rangeEnd: ipv4.rangeEnd },
      { subnet: `fd00:${244 + number}::/64`, rangeStart: six(2), rangeEnd: six(pool + 1) },
    ],
  }
}

/** One network of a pod has the default routes; the others lead to their own prefixes on all nodes. */
function podRoutes(
  number: number,
  { ipv4, ipv6 }: { readonly ipv4: PodSubnet; readonly ipv6: PodSubnet },
): readonly { readonly dst: string; readonly gw: string }[] {
  const prefixes = number === 0 ? { ipv4: '0.0.0.0/0', ipv6: '::/0' } : networkPrefixes(number)
  return [
    { dst: prefixes.ipv4, gw: ipv4.gateway },
    { dst: prefixes.ipv6, gw: ipv6.gateway },
  ]
}
