import { OWN_NETNS } from '@cni-offload/linux'
import { type PluginList, type PluginListInput, pluginList, pluginType } from '@cni-offload/sdk/exec'
import { z } from 'zod'
import type { Family } from './agent-api/agent-info.ts'

/** Options of both modes after parsing. */
export interface CommonCiliumOptions {
  /** Path of cilium-agent's unix socket. `/var/run/cilium/cilium.sock` by default. */
  readonly socket: string
  /** Node that the agent has to believe to be on: the host's, not the DPU's. Not looked at by default. */
  readonly nodeName?: string | undefined
  /** Families that the agent has to have enabled, no more and no less. Not looked at by default. */
  readonly families?: readonly Family[] | undefined
  /** Longest that one request to the agent may take, milliseconds, 100–600000. 90000 by default, as cilium-cni. */
  readonly requestTimeoutMs: number
  /** How long an attach bears with an agent that is not there, milliseconds, 0–120000. 5000 by default. */
  readonly connectTimeoutMs: number
  /** Begin of the names of the proxy namespaces, 1–16 characters. `px` by default. */
  readonly proxyPrefix: string
  /** Network namespace of cilium-agent, in which ports appear and plugins run; the adapter's own by default. */
  readonly netns: string
}

/** Options of mode `splice` after parsing. */
export interface SpliceOptions extends CommonCiliumOptions {
  /** Pods get what the stock cilium-cni makes of them. */
  readonly mode: 'splice'
  /** The plugin list itself; it begins with `cilium-cni`. */
  readonly conflist?: PluginList | undefined
  /** Path of the list, read again when it changes. That which cilium-agent writes by default, `/etc/cni/net.d/05-cilium.conflist`. */
  readonly conflistFile: string
  /** Folders of the plugins. `/opt/cni/bin` by default. */
  readonly cniPath: readonly string[]
  /** Longest that one plugin may take, in milliseconds, 100–600000. 100000 by default: longer than a request of cilium-cni. */
  readonly execTimeoutMs: number
  /** Types of plugins that are not called with CHECK. None by default. */
  readonly noCheck: readonly string[]
  /** Environment of the plugins besides CNI_*, CILIUM_SOCK and PATH. */
  readonly pluginEnv: Readonly<Record<string, string>>
}

/** What the endpoints of mode `agent-api` are made over. */
export type DeviceKind = 'veth' | 'port'

/** Options of mode `agent-api` after parsing. */
export interface AgentApiOptions extends CommonCiliumOptions {
  /** Pods get what the agent's API makes of them; no plugin is run. */
  readonly mode: 'agent-api'
  /**
   * What endpoints are made over: `veth`, a pair of their own that is spliced to the port, or `port`, the port itself, which agents up to 1.19
   * without BPF host routing can do. `veth` by default.
   */
  readonly device: DeviceKind
}

/** Options of the adapter after parsing. */
export type CiliumOptions = SpliceOptions | AgentApiOptions

type Written<Options> = { readonly [K in keyof Options]?: Options[K] | undefined }

/** Options as they are written: what is left out has a default, mode `splice` for one. */
export type CiliumOptionsInput =
  | (Written<Omit<SpliceOptions, 'conflist'>> & { readonly conflist?: PluginListInput | undefined })
  | (Written<AgentApiOptions> & { readonly mode: 'agent-api' })

const absolutePath = z.string().regex(/^\//, 'an absolute path')

const common = {
  socket: absolutePath.default('/var/run/cilium/cilium.sock'),
  nodeName: z.string().min(1).optional(),
  families: z
    .array(z.enum(['ipv4', 'ipv6']))
    .min(1)
    .optional(),
  requestTimeoutMs: z.number().int().min(100).max(600_000).default(90_000),
  connectTimeoutMs: z.number().int().min(0).max(120_000).default(5_000),
  proxyPrefix: z
    .string()
    .regex(/^[A-Za-z0-9][A-Za-z0-9_.-]{0,15}$/, '1–16 letters, digits, "_", "." or "-"')
    .default('px'),
  netns: absolutePath.default(OWN_NETNS),
}

/** Schema of the options. */
export const ciliumOptions: z.ZodType<CiliumOptions, CiliumOptionsInput> = z.discriminatedUnion('mode', [
  z.strictObject({
    ...common,
    mode: z.literal('splice').default('splice'),
    conflist: pluginList.optional(),
    conflistFile: absolutePath.default('/etc/cni/net.d/05-cilium.conflist'),
    cniPath: z.array(absolutePath).min(1).default(['/opt/cni/bin']),
    execTimeoutMs: z.number().int().min(100).max(600_000).default(100_000),
    noCheck: z.array(pluginType).default([]),
    pluginEnv: z
      .record(
        z.string().regex(/^(?!CNI_|CILIUM_SOCK$)[A-Za-z_][A-Za-z0-9_]*$/, 'the name of a variable, not CNI_* or CILIUM_SOCK'),
        z.string(),
      )
      .default({}),
  }),
  z.strictObject({ ...common, mode: z.literal('agent-api'), device: z.enum(['veth', 'port']).default('veth') }),
])
