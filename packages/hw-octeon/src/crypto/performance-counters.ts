import { undecodable } from './undecodable.ts'

/** What a CPT block has counted since it was reset: by whomever it was asked, drivers of the kernel, their selftests, DPDK. */
export interface CptCounters {
  /** Instructions that it was given. A look-aside driver gives one per packet of ESP and direction. */
  readonly requests: bigint
  /** Cycles from their acceptance to their end, of all together. */
  readonly requestLatency: bigint
  /** Reads of memory. */
  readonly reads: bigint
  /** Cycles of these, of all together. */
  readonly readLatency: bigint
  /** Reads of memory for microcode. */
  readonly microcodeReads: bigint
  /** Cycles in which an engine worked. */
  readonly activeCycles: bigint
  /** Cycles of its clock. */
  readonly clock: bigint
}

const LABELS: Readonly<Record<string, keyof CptCounters>> = {
  'CPT instruction requests': 'requests',
  'CPT instruction latency': 'requestLatency',
  'CPT NCB read requests': 'reads',
  'CPT NCB read latency': 'readLatency',
  'CPT read requests caused by UC fills': 'microcodeReads',
  'CPT active cycles pc': 'activeCycles',
  'CPT clock count pc': 'clock',
}

const U64_MAX = (1n << 64n) - 1n

/**
 * Reads the text of `cpt_pc`. Counters that are not known here are passed over: later kernels may have more.
 *
 * @param path - where it was read, for messages
 * @throws OffloadError UNDECODABLE that names the line
 */
export function parseCptCounters(text: string, path: string): CptCounters {
  const found = new Map<keyof CptCounters, bigint>()
  for (const [index, line] of text.split('\n').entries()) {
    if (line.trim() === '') continue
    const [, label = '', digits = ''] = /^(CPT [A-Za-z ]+?)\s+(\d+)\s*$/.exec(line) ?? []
    if (digits === '') throw undecodable(path, index, line, 'a label and a whole number')
    const value = BigInt(digits)
    if (value > U64_MAX) throw undecodable(path, index, line, 'a number of 64 bits')
    const name = LABELS[label]
    if (name === undefined) continue
    if (found.has(name)) throw undecodable(path, index, line, 'each counter once')
    found.set(name, value)
  }
  const counter = (name: keyof CptCounters): bigint => {
    const value = found.get(name)
    if (value === undefined) throw undecodable(path, undefined, labelOf(name), 'this counter')
    return value
  }
  return {
    requests: counter('requests'),
    requestLatency: counter('requestLatency'),
    reads: counter('reads'),
    readLatency: counter('readLatency'),
    microcodeReads: counter('microcodeReads'),
    activeCycles: counter('activeCycles'),
    clock: counter('clock'),
  }
}

const labelOf = (name: keyof CptCounters): string => Object.entries(LABELS).find(([, key]) => key === name)?.[0] ?? name

/** Mean cycles from an instruction's acceptance to its end, rounded; undefined before the first. */
export function meanLatency({ requests, requestLatency }: Pick<CptCounters, 'requests' | 'requestLatency'>): bigint | undefined {
  return requests === 0n ? undefined : (requestLatency + requests / 2n) / requests
}
