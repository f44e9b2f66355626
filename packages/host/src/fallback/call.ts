import type { ListCall } from '@cni-offload/sdk/exec'
import { z } from 'zod'
import type { FallbackCall, FallbackRow } from './types.ts'

const withCni = z.object({ cni: z.record(z.string(), z.unknown()) })

/** `args.cni` of a configuration, for the plugins of a list. Arguments of another shape are for somebody else. */
export function cniArguments(args: unknown): Pick<FallbackCall, 'cni'> {
  const parsed = withCni.safeParse(args)
  return parsed.success ? { cni: parsed.data.cni } : {}
}

/** The list's call for an attachment. @param netns - empty where the namespace is gone */
export function listCall({ key, call }: FallbackRow, netns: string): ListCall {
  const { binDirs: _where, ...rest } = call
  return { ...rest, containerId: key.containerId, netns, ifName: key.ifName }
}
