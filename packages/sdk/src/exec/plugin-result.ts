import { z } from 'zod'
import type { CniResult, CniVersion } from '../cni/model.ts'
import { decodeResult } from '../cni/result-decode.ts'
import { isCniVersion } from '../cni/version.ts'
import { OffloadError } from '../errors/offload-error.ts'

/** A plugin's result as it printed it: the next plugin must see exactly that. */
export type RawResult = Readonly<Record<string, unknown>>

const rawResult = z.record(z.string(), z.unknown())

/**
 * Decodes a raw result, in the version that it says it has. @param of - the version that counts where it names none
 *
 * @throws OffloadError ADAPTER_FAILED
 */
export function decodeRaw(raw: RawResult, of: { readonly cniVersion: CniVersion }): CniResult {
  return decodeResult(raw, resultVersion(raw, of.cniVersion))
}

function resultVersion(raw: RawResult, fallback: CniVersion): CniVersion {
  const own = raw['cniVersion']
  if (own === undefined || own === '') return fallback
  if (!isCniVersion(own)) throw new OffloadError('ADAPTER_FAILED', `result has cniVersion ${JSON.stringify(own)}, which is unknown`)
  return own
}

/** What a plugin printed on ADD. @throws OffloadError ADAPTER_FAILED when it is no valid result */
export function parseResult(output: string, type: string, version: CniVersion): RawResult {
  try {
    const raw = rawResult.parse(JSON.parse(output))
    decodeResult(raw, resultVersion(raw, version))
    return raw
  } catch (error) {
    const printed = output.trim() === '' ? 'nothing' : JSON.stringify(output.trim().slice(0, 256))
    throw new OffloadError('ADAPTER_FAILED', `plugin "${type}", ADD: it succeeded but printed no valid result: ${printed}`, {
      cause: error,
    })
  }
}
