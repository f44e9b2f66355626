import { cniName } from '@cni-offload/sdk'
import { limitsSchema, type PluginReference } from '@cni-offload/sdk/runtime'
import { z } from 'zod'
import { type AgentLimits, DEFAULT_LIMITS } from '../limits.ts'
import { LOG_LEVELS, type LogLevel } from '../log.ts'
import { DEFAULT_STATE_DIR } from '../options.ts'
import { ANY_NETWORK } from '../service/networks.ts'
import type { PortRange } from '../service/port-plan.ts'

/** `agent.yaml`, parsed. */
export interface AgentConfig {
  /** Node that the agent belongs to. */
  readonly node: string
  /** Where `offload.v1` is served. */
  readonly listen: string
  /** PEM files; relative paths are relative to the configuration file. */
  readonly tls: { readonly ca: string; readonly cert: string; readonly key: string }
  /** Folder for journal and plugin state. */
  readonly stateDir: string
  /** DPU half of the hardware backend. */
  readonly hardware: PluginReference
  /** Adapters with the network that each one serves, and the ports that it keeps for it. */
  readonly adapters: readonly (PluginReference & { readonly network: string; readonly ports?: readonly PortRange[] | undefined })[]
  /** Networks whose attachments are forgotten without an adapter being asked. */
  readonly forget: readonly string[]
  /** Where metrics are served. */
  readonly metrics?: { readonly listen: string } | undefined
  /** Deadlines, pauses and concurrency that differ from the defaults. */
  readonly limits?: Partial<AgentLimits> | undefined
  /** Log. */
  readonly log: { readonly level: LogLevel }
}

const reference = z.strictObject({
  plugin: z.string('a package name or the path of a module').min(1),
  export: z.string().min(1).optional(),
  options: z.record(z.string(), z.unknown()).optional(),
})

const path = z.string('a path').min(1)

const networkName = z.union([z.literal(ANY_NETWORK), cniName], `a network name, or "${ANY_NETWORK}" for all other networks`)

const RANGE = /^(?<device>.+)\/(?<first>\d{1,9})(-(?<last>\d{1,9}))?$/

/** `soft0/3` or `soft0/0-3`. */
const portRange = z
  .string()
  .regex(RANGE, 'device/index or device/first-last')
  .transform((text): PortRange => {
    const { device = '', first = '', last } = RANGE.exec(text)?.groups ?? {}
    return { device, first: Number(first), last: Number(last ?? first) }
  })
  .refine(({ first, last }) => first <= last, 'the first index must not be greater than the last')

const adapters = z
  .array(reference.extend({ network: networkName, ports: z.array(portRange).min(1).optional() }), 'a list of adapters')
  .min(1, 'at least one adapter')
  .superRefine((entries, ctx) => {
    entries.forEach(({ network }, at) => {
      if (entries.findIndex((entry) => entry.network === network) !== at)
        ctx.addIssue({ code: 'custom', path: [at, 'network'], message: 'each network only once' })
    })
  })

/** Schema of {@link AgentConfig}. Unknown keys are refused: a misspelt one would be a setting that silently does not hold. */
export const agentConfig: z.ZodType<AgentConfig> = z.strictObject({
  node: z.string('the name of the node').min(1).max(253),
  listen: z.string().regex(/^(tcp:\/\/.+:\d{1,5}|unix:\/.+)$/, 'tcp://host:port or unix:/path'),
  tls: z.strictObject({ ca: path, cert: path, key: path }, 'paths of the PEM files ca, cert and key'),
  stateDir: path.default(DEFAULT_STATE_DIR),
  hardware: reference,
  adapters,
  forget: z.array(cniName, 'a list of network names').default([]),
  metrics: z.strictObject({ listen: z.string('host:port').min(1) }).optional(),
  limits: limitsSchema(DEFAULT_LIMITS, ['reconcileMs']).optional(),
  log: z.strictObject({ level: z.enum(LOG_LEVELS).default('info') }).default({ level: 'info' }),
})
