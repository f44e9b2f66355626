import { z } from 'zod'

/** Largest pool of pod addresses per node and family: a /24 less network, broadcast and gateway. */
export const LARGEST_POOL = 253

/** Most networks that a lab can have, the first one included. */
export const LARGEST_NETWORKS = 10

/** Adapters that a lab can run. */
export const LAB_ADAPTERS: readonly LabAdapter[] = ['delegate', 'hello', 'cilium', 'cilium-splice', 'sriov']

/**
 * An adapter that a lab can run: `delegate` runs Debian's stock bridge plugin, `hello` is the native example, `cilium` drives a fake
 * cilium-agent on each DPU by its API, `cilium-splice` by a fake cilium-cni, `sriov` gives pods plain networks with VLANs over a wire of
 * their own between the DPUs.
 */
export type LabAdapter = 'delegate' | 'hello' | 'cilium' | 'cilium-splice' | 'sriov'

/** Whether an adapter needs a cilium-agent on each DPU. */
export function isCilium(adapter: string): boolean {
  return adapter === 'cilium' || adapter === 'cilium-splice'
}

/** Hardware backends that a lab can run. */
export const LAB_HARDWARE: readonly LabHardware[] = ['soft', 'octeon']

/** A hardware backend that a lab can run: `soft` is the software card, `octeon` drives a fake card of that family. */
export type LabHardware = 'soft' | 'octeon'

/** Top-level settings that replace what a lab writes into the files of its nodes. */
export interface LabExtra {
  /** For `host.yaml`. */
  readonly host?: Readonly<Record<string, unknown>>
  /** For `agent.yaml`. */
  readonly agent?: Readonly<Record<string, unknown>>
  /** For `netconf.json`. */
  readonly netconf?: Readonly<Record<string, unknown>>
}

/** A network of a lab. Each one has an adapter, address pools and a bridge of its own on every DPU. */
export interface LabNetwork {
  /** Name, `name` of its netconf. */
  readonly name: string
  /** Its adapter. */
  readonly adapter: LabAdapter
  /** Ports that it keeps for itself, as in `adapters[].ports` of `agent.yaml`. @defaultValue it shares those that nobody keeps */
  readonly ports?: readonly string[] | undefined
}

/** What a daemon's process is started with besides what every one is. */
export interface DaemonLaunch {
  /** Arguments of Node, such as `--import` with a module that injects faults. */
  readonly execArgv?: readonly string[]
  /** Variables. */
  readonly env?: Readonly<Record<string, string>>
}

/** What a lab is made of. */
export interface LabOptions {
  /** Folder for configuration, certificates, journals and logs; made if missing. */
  readonly dir: string
  /** Starts the name of everything that the lab makes on this machine, at most 6 characters. */
  readonly prefix: string
  /** Nodes, 1–9. @defaultValue 2 */
  readonly nodes?: number
  /** VFs per node, 1–250. @defaultValue 8 */
  readonly vfs?: number
  /** Addresses that pods of a node may get, 1–253. @defaultValue 253 */
  readonly pool?: number
  /** @defaultValue 'delegate' */
  readonly adapter?: LabAdapter
  /** Networks besides the first one, at most nine. @defaultValue none */
  readonly networks?: readonly LabNetwork[]
  /** @defaultValue 'soft' */
  readonly hardware?: LabHardware
  /** Domain and bus, such as `f000:00`, of PCI addresses that are made up for the VFs. @defaultValue VFs have none */
  readonly pciBus?: string
  /** Settings of the nodes that differ from the default; every node gets the same. */
  readonly extra?: LabExtra
  /**
   * Says how a daemon is started, each time that this object starts it. It is not kept in the lab's folder.
   *
   * @defaultValue as a user would
   */
  readonly launch?: (role: DaemonRole, node: number) => DaemonLaunch
  /** Told what happens, for people. */
  readonly progress?: (text: string) => void
}

/** One of the two daemons of a node. */
export type DaemonRole = 'host' | 'agent'

/** A process that a lab runs for a node: one of its daemons, or the fake cilium-agent of its DPU. */
export type LabRole = DaemonRole | 'cilium'

/** A process of a lab's node. */
export interface LabProcess {
  /** Its process; null while it does not run. */
  pid: number | null
  /** Its configuration file. */
  readonly config: string
  /** File that it logs to. */
  readonly log: string
}

/** The fake cilium-agent of a lab's node. */
export interface LabCilium extends LabProcess {
  /** Unix socket of its API. */
  readonly socket: string
}

/** The fake card of a lab's node; it is no daemon of the node, and goes with the lab. */
export interface LabCard extends LabProcess {
  /** Unix socket under which it is served. */
  readonly socket: string
}

/** A daemon of a lab's node. */
export interface LabDaemon extends LabProcess {
  /** Its journal, an SQLite database. */
  readonly journal: string
  /** URL of its metrics, reachable inside its own namespace. */
  readonly metrics: string
}

/** All that somebody outside needs to work with a node: what to run, with what, and where to look. */
export interface LabNode {
  /** Name. */
  readonly name: string
  /** Number, from 1. */
  readonly index: number
  /** Folder. */
  readonly dir: string
  /** The compiled CNI executable. */
  readonly shim: string
  /** Netconf to feed to it, of the first network. */
  readonly netconf: string
  /** Netconfs of all networks, by name. */
  readonly netconfs: Readonly<Record<string, string>>
  /** Variables that it needs besides the CNI ones. */
  readonly env: Record<string, string>
  /** Name of the host's namespace. */
  readonly hostNetns: string
  /** Name of the DPU's namespace. */
  readonly dpuNetns: string
  /** Unix socket of the host daemon. */
  readonly socket: string
  /** Address of the agent, reachable from the host's namespace. */
  readonly agentAddress: string
  /** The host daemon. */
  readonly host: LabDaemon
  /** The agent. */
  readonly agent: LabDaemon
  /** The fake cilium-agent of the DPU; absent unless the adapter is `cilium`. */
  readonly cilium?: LabCilium | undefined
  /** The fake card; absent of the software card, which is nothing but interfaces. */
  readonly card?: LabCard | undefined
}

const process = z.object({ pid: z.number().int().positive().nullable(), config: z.string(), log: z.string() })

const daemon: z.ZodType<LabDaemon> = process.extend({ journal: z.string(), metrics: z.string() })

const labNode: z.ZodType<LabNode> = z.object({
  name: z.string(),
  index: z.number().int(),
  dir: z.string(),
  shim: z.string(),
  netconf: z.string(),
  netconfs: z.record(z.string(), z.string()),
  env: z.record(z.string(), z.string()),
  hostNetns: z.string(),
  dpuNetns: z.string(),
  socket: z.string(),
  agentAddress: z.string(),
  host: daemon,
  agent: daemon,
  cilium: process.extend({ socket: z.string() }).optional(),
  card: process.extend({ socket: z.string() }).optional(),
})

/** Schema of a lab's `state.json`. */
export const labState: z.ZodType<LabState> = z.object({
  prefix: z.string(),
  adapter: z.enum(LAB_ADAPTERS),
  hardware: z.enum(LAB_HARDWARE),
  vfs: z.number().int(),
  network: z.string(),
  networks: z.array(z.object({ name: z.string(), adapter: z.enum(LAB_ADAPTERS), ports: z.array(z.string()).optional() })),
  device: z.string(),
  nodes: z.array(labNode),
})

/** What a lab is, as it is kept in `state.json`. */
export interface LabState {
  /** Starts the name of all its namespaces. */
  prefix: string
  /** Adapter of every agent. */
  adapter: LabAdapter
  /** Hardware backend of every node. */
  hardware: LabHardware
  /** VFs per node. */
  vfs: number
  /** Name of its first network. */
  network: string
  /** All its networks, the first one first. */
  networks: readonly LabNetwork[]
  /** Name of the device that holds the VFs. */
  device: string
  /** Its nodes. */
  nodes: LabNode[]
}
