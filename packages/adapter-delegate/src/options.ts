import { OWN_NETNS } from '@cni-offload/linux'
import { z } from 'zod'
import { type PluginList, type PluginListInput, pluginList, pluginType } from '@cni-offload/sdk/exec'

/** Options of the adapter after parsing. */
export interface DelegateOptions {
  /** The plugin list itself; either this or {@link conflistFile}. */
  readonly conflist?: PluginList | undefined
  /** Path of a `.conflist`, read again when it changes; it may appear later than the agent. */
  readonly conflistFile?: string | undefined
  /** Folders of the plugins. `/opt/cni/bin` and `/usr/lib/cni` by default. */
  readonly cniPath: readonly string[]
  /** Begin of the names of the proxy namespaces, 1–16 characters. `px` by default. */
  readonly proxyPrefix: string
  /** Folder of the adapter's database; its state folder by default. */
  readonly cacheDir?: string | undefined
  /** Longest that one plugin may take, in milliseconds, 100–600000. 60000 by default. */
  readonly execTimeoutMs: number
  /** How many plugins may run at a time, 1–64. 4 by default. */
  readonly concurrency: number
  /** Types of plugins that are not called with CHECK, for plugins whose CHECK is wrong. None by default. */
  readonly noCheck: readonly string[]
  /** Environment of the plugins besides CNI_* and PATH. */
  readonly pluginEnv: Readonly<Record<string, string>>
  /** Network namespace in which ports appear and plugins run; the agent's own by default. */
  readonly netns: string
}

/** Options as they are written: what is left out has a default. */
export type DelegateOptionsInput = { readonly [K in keyof Omit<DelegateOptions, 'conflist'>]?: DelegateOptions[K] | undefined } & {
  readonly conflist?: PluginListInput | undefined
}

const absolutePath = z.string().regex(/^\//, 'an absolute path')

/** Schema of the options. */
export const delegateOptions: z.ZodType<DelegateOptions, DelegateOptionsInput> = z
  .strictObject({
    conflist: pluginList.optional(),
    conflistFile: absolutePath.optional(),
    cniPath: z.array(absolutePath).min(1).default(['/opt/cni/bin', '/usr/lib/cni']),
    proxyPrefix: z
      .string()
      .regex(/^[A-Za-z0-9][A-Za-z0-9_.-]{0,15}$/, '1–16 letters, digits, "_", "." or "-"')
      .default('px'),
    cacheDir: absolutePath.optional(),
    execTimeoutMs: z.number().int().min(100).max(600_000).default(60_000),
    concurrency: z.number().int().min(1).max(64).default(4),
    noCheck: z.array(pluginType).default([]),
    pluginEnv: z.record(z.string().regex(/^(?!CNI_)[A-Za-z_][A-Za-z0-9_]*$/, 'the name of a variable, not CNI_*'), z.string()).default({}),
    netns: absolutePath.default(OWN_NETNS),
  })
  .refine(({ conflist, conflistFile }) => (conflist === undefined) !== (conflistFile === undefined), 'either conflist or conflistFile')
