import type { CniOutcome } from '@cni-offload/cli'
import { ERROR_CODES, OffloadError } from '@cni-offload/sdk'
import { type CniResult, decodeResult } from '@cni-offload/sdk/cni'

/** Version of the specification that the workers speak. */
export const CNI_VERSION = '1.1.0'

/** Codes that say "try again later": all that is to be expected of a node whose daemons are killed. */
const LATER: ReadonlySet<number> = new Set([
  ERROR_CODES.AGENT_UNREACHABLE.cni,
  ERROR_CODES.NOT_READY.cni,
  ERROR_CODES.LIMITED_CONNECTIVITY.cni,
])

/** Stands for the code of an answer that has none. */
const NO_CODE = -1

const KNOWN: ReadonlySet<number> = new Set(Object.values(ERROR_CODES).map(({ cni }) => cni))

/** What an answer says, and what is wrong with it: nothing if a runtime understands it and a killed daemon explains it. */
export function parseAnswer(
  verb: string,
  outcome: Pick<CniOutcome, 'exitCode' | 'stdout' | 'stderr' | 'json'>,
): ({ readonly code: number } | { readonly result: CniResult | undefined }) & { readonly problem?: string } {
  const seen = `exit status ${outcome.exitCode}, ${JSON.stringify(outcome.stdout.slice(0, 500))} ${outcome.stderr.slice(0, 500)}`
  if (outcome.exitCode !== 0) {
    const code = outcome.json?.['code']
    if (typeof code !== 'number' || !KNOWN.has(code)) return { code: NO_CODE, problem: `neither result nor error: ${seen}` }
    return LATER.has(code) ? { code } : { code, problem: `nothing explains this error: ${seen}` }
  }
  if (verb !== 'ADD') return { result: undefined, ...(outcome.stdout.trim() === '' ? {} : { problem: `success with an output: ${seen}` }) }
  try {
    const result = decodeResult(outcome.json, CNI_VERSION)
    if (result.ips.length > 0 && result.interfaces.length > 0) return { result }
    return { code: NO_CODE, problem: `success without address or interface: ${seen}` }
  } catch (error) {
    return { code: NO_CODE, problem: `success without a result: ${OffloadError.from(error).message}: ${seen}` }
  }
}
