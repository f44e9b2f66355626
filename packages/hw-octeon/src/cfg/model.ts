import type { AgentChip } from './chips.ts'

/** What the control agent tells the host of a function before the host sets anything. */
export interface AgentInterface {
  /** MAC address: six bytes in lower-case hexadecimal, with colons; unicast. */
  readonly mac: string
  /** Link up from the start; the host's driver sets it when its interface goes up. */
  readonly linkUp: boolean
  /** Reception on from the start; as above. */
  readonly rxUp: boolean
  /** Auto-negotiation: bit 0 supported, bit 1 advertised. */
  readonly autoneg: number
  /** Pause frames: bit 0 supported, bit 1 advertised. */
  readonly pauseMode: number
  /** What ethtool shows as the speed, in Mb/s; no limit of anything. */
  readonly speedMbps: number
  /** Link modes that it has, a bitmap of {@link LINK_MODES} bits. */
  readonly supportedModes: number
  /** Link modes that it offers, likewise. */
  readonly advertisedModes: number
  /** Kind of parsing that packets get, 0 to 255. */
  readonly pkind: number
}

/** How the host learns that the agent lives. */
export interface AgentHeartbeat {
  /** Time between two beats, 1,000 to 15,000 ms. The agent takes the least of all its functions. */
  readonly intervalMs: number
  /** How many may be missing before the host takes the card's interfaces down, 1 to 65,535. */
  readonly missCount: number
}

/** A physical function, as the host sees it; its place in the list is its index. */
export interface AgentPf extends AgentInterface {
  /** Heartbeats to the host that has it. */
  readonly heartbeat: AgentHeartbeat
  /** Its virtual functions, in the order of their indices. */
  readonly vfs: readonly AgentInterface[]
}

/** What the control agent is to know of the card: of each PCI link (PEM) the physical functions. Places in lists are the indices. */
export interface AgentConfig {
  /** PCI links. */
  readonly pems: readonly { readonly pfs: readonly AgentPf[] }[]
}

/** A choice of what {@link generateAgentConfig} makes. */
export interface AgentConfigChoice {
  /** The node that the card is in: part of every MAC address, so that those of different nodes never collide. */
  readonly node: string
  /** Name of the device, as in the names of its functions. Cards of one node must have different ones. @defaultValue `octeon0` */
  readonly device?: string
  /** Chip. @defaultValue `CN106xx` */
  readonly chip?: AgentChip
  /** Virtual functions, 1 to 64; more than the firmware gives to the host do no harm. @defaultValue 64 */
  readonly vfs?: number
  /** Heartbeats. @defaultValue each 1,000 ms, 20 may be missing */
  readonly heartbeat?: Partial<AgentHeartbeat>
  /** What ethtool shows as the speed, in Mb/s. @defaultValue 10,000 */
  readonly speedMbps?: number
}

/** Least and most of what may stand in a configuration: what the agent holds, or says itself that it supports. */
export const LIMITS = {
  /** Number of PCI links. */
  pems: 8,
  /** Physical functions of one. */
  pfs: 128,
  /** Virtual functions of one of those. */
  vfs: 64,
  intervalMs: [1000, 15_000],
  missCount: [1, 65_535],
  speedMbps: [0, 2_147_483_647],
  pkind: [0, 255],
} as const

/** How many link modes the agent knows. */
export const LINK_MODES = 24

/** What the host waits without a heartbeat before it takes the card's interfaces down, in milliseconds. */
export function heartbeatWindowMs({ intervalMs, missCount }: AgentHeartbeat): number {
  return intervalMs * missCount
}

/** The shortest window of all functions of a configuration; undefined of one without any. */
export function shortestWindowMs(config: AgentConfig): number | undefined {
  const windows = config.pems.flatMap(({ pfs }) => pfs.map(({ heartbeat }) => heartbeatWindowMs(heartbeat)))
  return windows.length === 0 ? undefined : Math.min(...windows)
}
