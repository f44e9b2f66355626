import { type PluginList, type PluginListInput, pluginList, pluginType } from '@cni-offload/sdk/exec'
import { z } from 'zod'
import { binDirs, DEFAULT_BIN_DIRS } from '../plugins/per-folders.ts'

/**
 * What makes a pod's network come from the host.
 *
 * - `annotation`: the pod asks for it by {@link NETWORK_ANNOTATION}.
 * - `dpu-down`: the agent cannot be used, for whatever reason, within `limits.agentMs`.
 * - `no-free-vf`: no VF is free.
 */
export type FallbackTrigger = 'annotation' | 'dpu-down' | 'no-free-vf'

/** All triggers. */
export const FALLBACK_TRIGGERS: readonly FallbackTrigger[] = ['annotation', 'dpu-down', 'no-free-vf']

/** The network that pods get on the host instead of a VF, as it is written. */
export interface FallbackOptions {
  /** CNI plugin list that makes it. */
  readonly conflist: PluginListInput
  /** Folders of its plugins, also their CNI_PATH. @defaultValue `/opt/cni/bin` and `/usr/lib/cni` */
  readonly binDirs?: readonly string[] | undefined
  /** When pods get it. @defaultValue `annotation` only */
  readonly when?: readonly FallbackTrigger[] | undefined
  /** Types of plugins that are not called with CHECK, because theirs is wrong. @defaultValue none */
  readonly noCheck?: readonly string[] | undefined
}

/** {@link FallbackOptions} after parsing. */
export interface FallbackConfig {
  /** CNI plugin list that makes it. */
  readonly conflist: PluginList
  /** Folders of its plugins. */
  readonly binDirs: readonly string[]
  /** When pods get it. */
  readonly when: readonly FallbackTrigger[]
  /** Types of plugins that are not called with CHECK. */
  readonly noCheck: readonly string[]
}

/** When pods get the network of the host unless the configuration says otherwise. */
export const DEFAULT_TRIGGERS: readonly FallbackTrigger[] = ['annotation']

/** Schema of {@link FallbackConfig.when}. */
export const triggers: z.ZodType<FallbackTrigger[], readonly FallbackTrigger[]> = z.array(z.enum(FALLBACK_TRIGGERS)) as z.ZodType<
  FallbackTrigger[],
  readonly FallbackTrigger[]
>

/** Schema of {@link FallbackConfig}. */
export const fallbackConfig: z.ZodType<FallbackConfig, FallbackOptions> = z.strictObject({
  conflist: pluginList,
  binDirs: binDirs.default([...DEFAULT_BIN_DIRS]),
  when: triggers.readonly().default([...DEFAULT_TRIGGERS]),
  noCheck: z.array(pluginType).readonly().default([]),
})
