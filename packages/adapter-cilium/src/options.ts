import { OWN_NETNS } from '@cni-offload/linux'
import { z } from 'zod'
import type { Family } from './agent-api/agent-info.ts'

/** Options of the adapter after parsing. */
export interface CiliumOptions {
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
  /** Network namespace of cilium-agent, in which ports appear; the adapter's own by default. */
  readonly netns: string
}

/** Options as they are written: what is left out has a default. */
export type CiliumOptionsInput = { readonly [K in keyof CiliumOptions]?: CiliumOptions[K] | undefined }

const absolutePath = z.string().regex(/^\//, 'an absolute path')

/** Schema of the options. */
export const ciliumOptions: z.ZodType<CiliumOptions, CiliumOptionsInput> = z.strictObject({
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
})
