import { CRYPTO_ENGINE_METRIC } from '@cni-offload/agent'
import { type CryptoCounters, type CryptoEngine, OffloadError, parseWith } from '@cni-offload/sdk'
import { z } from 'zod'

const TIMEOUT_MS = 5_000

interface EngineSample extends CryptoCounters {
  readonly offload: CryptoEngine['offload']
}

const counter = z
  .string()
  .regex(/^\d+$/, 'a whole number')
  .transform((digits) => BigInt(digits))

const engineSample: z.ZodType<EngineSample> = z
  .object({
    offload: z.enum(['inline', 'lookaside', 'none']),
    packets: counter.optional(),
    requests: counter.optional(),
    bytes: counter.optional(),
    errors: counter,
  })
  .transform(({ packets, requests, bytes, ...others }) => ({
    ...others,
    ...(packets === undefined ? {} : { packets }),
    ...(requests === undefined ? {} : { requests }),
    ...(bytes === undefined ? {} : { bytes }),
  }))

/**
 * The crypto engine of the hardware that the agent of cni-offload drives, by the agent's metrics.
 *
 * @param url - of the metrics, `http://127.0.0.1:9401/metrics`
 * @throws OffloadError NOT_FOUND if the agent tells of no engine, AGENT_UNREACHABLE if it does not answer
 */
export async function agentEngine(url: string, signal: AbortSignal): Promise<CryptoEngine> {
  let { offload } = await readEngine(url, signal)
  return {
    get offload() {
      return offload
    },
    async counters() {
      const { offload: now, ...counters } = await readEngine(url, signal)
      offload = now
      return counters
    },
  }
}

async function readEngine(url: string, signal: AbortSignal): Promise<EngineSample> {
  const found = engineSamples(await fetchText(url, signal))
  if (found['offload'] === undefined)
    throw new OffloadError('NOT_FOUND', `${url}: the agent tells of no crypto engine`, {
      hint: 'Its hardware backend has none, or cannot read it at the moment.',
    })
  return parseWith(engineSample, found, url, 'UNDECODABLE')
}

async function fetchText(url: string, signal: AbortSignal): Promise<string> {
  try {
    const response = await fetch(url, { signal: AbortSignal.any([signal, AbortSignal.timeout(TIMEOUT_MS)]) })
    if (!response.ok) throw new Error(`HTTP status ${response.status}`)
    return await response.text()
  } catch (error) {
    signal.throwIfAborted()
    throw new OffloadError('AGENT_UNREACHABLE', `${url}: ${error instanceof Error ? error.message : String(error)}`, {
      cause: error,
      hint: 'Does the agent run, and is this its "metrics.listen"?',
    })
  }
}

/** Samples by what they count, and the label that all of them have. */
function engineSamples(text: string): Readonly<Record<string, string>> {
  const found: Record<string, string> = {}
  for (const [, labels = '', value = ''] of text.matchAll(new RegExp(`^${CRYPTO_ENGINE_METRIC}\\{([^}]*)\\} (\\S+)$`, 'gm'))) {
    const { offload, counted } = Object.fromEntries([...labels.matchAll(/(\w+)="([^"]*)"/g)].map(([, name, word]) => [name, word]))
    if (offload === undefined || counted === undefined) continue
    found['offload'] = offload
    found[counted] = value
  }
  return found
}
