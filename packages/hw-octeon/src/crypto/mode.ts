import type { Machine } from '@cni-offload/linux/machine'
import { z } from 'zod'

const shown = z.object({
  param: z.record(z.string(), z.array(z.object({ name: z.string(), values: z.array(z.object({ value: z.unknown() })) }))),
})

/**
 * Whether a CPT is switched to the mode of early CN10KA by devlink. Where devlink is not installed, or knows no such parameter, it is not:
 * only newer drivers have it, and it is off until somebody sets it.
 *
 * @throws the signal's reason
 */
export async function readT106Mode(machine: Machine, pf: string, signal: AbortSignal): Promise<boolean> {
  const handle = `pci/${pf}`
  const outcome = await machine.run(['devlink', '-j', 'dev', 'param', 'show', handle, 'name', 't106_mode'], signal).catch(() => undefined)
  signal.throwIfAborted()
  if (outcome?.exitCode !== 0) return false
  const parsed = shown.safeParse(jsonOf(outcome.stdout))
  const values = parsed.success ? parsed.data.param[handle]?.find(({ name }) => name === 't106_mode')?.values : undefined
  return values?.some(({ value }) => String(value) === '1') ?? false
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text) as unknown
  } catch {
    return undefined
  }
}
