import { attachRequest, type AttachRequest } from '@cni-offload/sdk'
import { type PluginReference, pluginReference } from '@cni-offload/sdk/runtime'
import { z } from 'zod'

/** What the program of a crash case is told to do, on its standard input. */
export interface CrashOrder {
  /** How it makes the adapter. */
  readonly plugin: PluginReference
  /** Folder of the adapter's state. */
  readonly stateDir: string
  /** A request for each port. The first one is made. */
  readonly requests: readonly AttachRequest[]
  /** What it does, one after the other; it waits to be told before the last one. */
  readonly calls: readonly ('attach' | 'detach')[]
}

/** Schema of {@link CrashOrder}. */
export const crashOrder: z.ZodType<CrashOrder> = z.strictObject({
  plugin: pluginReference,
  stateDir: z.string(),
  requests: z.array(attachRequest).min(1),
  calls: z.array(z.enum(['attach', 'detach'])).min(1),
})
