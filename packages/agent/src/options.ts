import type { Clock, ConfiguredPlugin, Logger } from '@cni-offload/sdk'
import type { TlsFiles } from '@cni-offload/protocol'
import type { AgentLimits } from './limits.ts'
import type { KeptPorts } from './service/port-plan.ts'

/** Where the agent keeps its state unless told otherwise. */
export const DEFAULT_STATE_DIR: string = '/var/lib/cni-offload/agent'

/** Folder below the state folder in which the hardware backend keeps what is its own. */
export const HARDWARE_FOLDER: string = 'hardware'

/** One adapter for every network, or adapters by network name with `*` for all other names. */
export type AdapterChoice =
  | { readonly adapter: ConfiguredPlugin<'adapter'>; readonly adapters?: never }
  | { readonly adapter?: never; readonly adapters: Readonly<Record<string, ConfiguredPlugin<'adapter'>>> }

/** What an agent is made of. */
export type AgentOptions = AdapterChoice & {
  /** Node that the agent belongs to; only the host with this node in its certificate is served. */
  readonly node: string
  /** DPU half of the hardware backend. */
  readonly hardware: ConfiguredPlugin<'dpu-device'>
  /**
   * Ports that networks keep for themselves, by network name: their adapters need not move them with each pod, and no other
   * network uses them. @defaultValue none: all networks share all ports
   */
  readonly ports?: KeptPorts
  /**
   * Networks that are not served any more and whose attachments are to be forgotten, when they end, without an adapter being asked. What
   * their networks hold for them has to be freed by hand. @defaultValue none: such attachments keep their VFs
   */
  readonly forget?: readonly string[]
  /** Where `offload.v1` is served: `tcp://host:port` or `unix:/path`; port 0 takes a free one. */
  readonly listen: string
  /** Certificates; there is no mode without. */
  readonly tls: TlsFiles
  /** Folder for journal and plugin state. @defaultValue `/var/lib/cni-offload/agent` */
  readonly stateDir?: string
  /** Where `/metrics` and `/healthz` are served, `host:port`. @defaultValue nowhere */
  readonly metrics?: string
  /** Log. @defaultValue JSON on standard error, level info */
  readonly log?: Logger
  /** Time. @defaultValue the machine's */
  readonly clock?: Clock
  /** Deadlines and concurrency that differ from {@link DEFAULT_LIMITS}. */
  readonly limits?: Partial<AgentLimits>
}
