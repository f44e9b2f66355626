import { OffloadError } from '@cni-offload/sdk'
import type { OcteonCheck, OcteonFinding } from '../../src/doctor/index.ts'

/** What checks find, by id; whatever they come after. What one throws is a failure with the error's hint, as `offload doctor` has it. */
export async function diagnose(checks: readonly OcteonCheck[]): Promise<Readonly<Record<string, OcteonFinding>>> {
  const signal = AbortSignal.timeout(60_000)
  const found = checks.map(async (check): Promise<readonly [string, OcteonFinding]> => {
    try {
      return [check.id, await check.run(signal)]
    } catch (error) {
      const { message, hint = '' } = OffloadError.from(error)
      return [check.id, { state: 'fail', seen: '', why: message, remedy: hint }]
    }
  })
  return Object.fromEntries(await Promise.all(found))
}

/** Those that are not in order. */
export function wrong(findings: Readonly<Record<string, OcteonFinding>>): Readonly<Record<string, OcteonFinding>> {
  return Object.fromEntries(Object.entries(findings).filter(([, { state }]) => state !== 'ok'))
}
