import type { CryptoAlgorithm, SecurityAssociation } from '@cni-offload/linux/ipsec'
import type { CryptoCounters, CryptoEngine } from '@cni-offload/sdk'

/** A value, and where it was read. */
export interface Reading<T> {
  /** The value. */
  readonly value: T
  /** Command, request or file. */
  readonly from: string
}

/**
 * What a crypto engine counted. It is read before and after the associations: only what it counted meanwhile, or more, is sure to
 * include what they counted.
 */
export interface EngineReading {
  /** How it takes part. */
  readonly offload: CryptoEngine['offload']
  /** Read before the associations. */
  readonly first: CryptoCounters
  /** Read after them. */
  readonly last: CryptoCounters
}

/** What was read of one node at one time. What could not be read is missing. */
export interface Sample {
  /** Encryption mode, from each source that tells one. */
  readonly modes: readonly Reading<string>[]
  /** Different keys in the kernel. */
  readonly keysInUse?: Reading<number>
  /** Highest sequence number that was sent. */
  readonly sequence?: Reading<bigint>
  /** Errors of the kernel's IPsec. */
  readonly errors?: Reading<number>
  /** Security associations of Cilium. */
  readonly associations?: Reading<readonly SecurityAssociation[]>
  /** Drivers of the kernel. */
  readonly algorithms?: Reading<readonly CryptoAlgorithm[]>
  /** The hardware's engine. */
  readonly engine?: Reading<EngineReading>
  /** What could not be read, and why. */
  readonly missing: readonly Reading<string>[]
}

/** The mode; undefined if nobody tells one, or two tell different ones. */
export function modeOf({ modes }: Sample): string | undefined {
  const [mode, ...others] = new Set(modes.map(({ value }) => value))
  return others.length === 0 ? mode : undefined
}

/** Whether there is anything to encrypt with: keys, or associations. */
export function keysOf({ keysInUse, associations }: Sample): number | undefined {
  return keysInUse?.value ?? associations?.value.length
}

/** Highest sequence number, from whoever tells it. */
export function sequenceOf({ sequence, associations }: Sample): bigint | undefined {
  if (sequence !== undefined) return sequence.value
  return associations?.value.reduce((highest, { sent }) => (sent > highest ? sent : highest), 0n)
}

const identity = ({ source, destination, spi, addedAt }: SecurityAssociation): string => `${source} ${destination} ${spi} ${addedAt}`

/** Packets that went through the associations in between; undefined if it is not known, or if some were replaced. */
export function packetsBetween(before: Sample, now: Sample): bigint | undefined {
  if (before.associations === undefined || now.associations === undefined) return undefined
  const earlier = new Map(before.associations.value.map((one) => [identity(one), one.packets]))
  let packets = 0n
  for (const one of now.associations.value) {
    packets += one.packets - (earlier.get(identity(one)) ?? 0n)
    earlier.delete(identity(one))
  }
  return earlier.size === 0 ? packets : undefined
}
