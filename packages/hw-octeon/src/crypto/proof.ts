import type { SecurityAssociation } from '@cni-offload/linux/ipsec'
import { sumOfCounters } from './blocks.ts'
import { ESP_GCM, selectionOf } from './drivers.ts'
import { describeFaults, faultyRegisters } from './fault-registers.ts'
import type { CptSnapshot } from './snapshot.ts'
import { grownErrors } from './xfrm-stat.ts'

/** Something that a proof looks at. */
export interface ProofEvidence {
  /** What. */
  readonly what: string
  /** What was seen. */
  readonly seen: string
  /** Whether it speaks for CPT; undefined if it speaks neither for nor against it. */
  readonly holds: boolean | undefined
}

/** Whether CPT encrypted what went through the associations between two snapshots. */
export interface CptProof {
  /** `yes` only if nothing speaks against it, `no` only if some of it surely was done elsewhere. */
  readonly verdict: 'yes' | 'no' | 'unknown'
  /** Why. */
  readonly because: string
  /** Packets that went through the associations, both directions; undefined if associations were replaced. */
  readonly packets: bigint | undefined
  /** Requests to CPT, by whomever. */
  readonly requests: bigint
  /** All that was looked at. */
  readonly evidence: readonly ProofEvidence[]
}

/** What a proof is made of. */
export interface ProofInput {
  /** Before the traffic. */
  readonly before: CptSnapshot
  /** After it. */
  readonly after: CptSnapshot
  /** How many packets the traffic had at least: less through the associations shows that it went another way. */
  readonly sent?: bigint
  /** A time without that traffic: what CPT is asked then is others' doing. */
  readonly idle?: { readonly before: CptSnapshot; readonly after: CptSnapshot }
  /** ESP packets that were seen on the wire (IP protocol 50). */
  readonly seenOnWire?: bigint
}

const identity = ({ source, destination, spi, addedAt }: SecurityAssociation): string => `${source} ${destination} ${spi} ${addedAt}`

/** Compares two snapshots. Pure. */
export function proveCpt(input: ProofInput): CptProof {
  const { before, after, sent = 1n, seenOnWire } = input
  const packets = packetsBetween(before, after)
  const requests = requestsBetween(before, after)
  const others = othersMeanwhile(input)
  const drivers = driversOf(after)
  const faults = describeFaults(after.last.flatMap((block) => faultyRegisters(block.faults ?? [])))
  const errors = before.errors && after.errors && [...grownErrors(before.errors, after.errors)]
  const grown = (errors ?? []).map(([name, more]) => `${name} +${more}`).join(', ')
  const evidence: readonly ProofEvidence[] = [
    evidenceOf('packets through the associations', packets?.toString() ?? 'associations were replaced', packets && packets >= sent),
    evidenceOf('requests to CPT', String(requests), packets === undefined ? undefined : requests >= packets),
    evidenceOf('requests of others, from a time without that traffic', others?.toString() ?? 'not measured', undefined),
    evidenceOf('drivers of the associations', drivers.seen, drivers.onlyCpt),
    evidenceOf('registers with faults', faults === '' ? 'none' : faults, faults === ''),
    evidenceOf('errors of IPsec', errors === undefined ? 'not counted' : grown === '' ? 'none' : grown, errors && grown === ''),
    evidenceOf('ESP packets on the wire', seenOnWire?.toString() ?? 'not looked at', seenOnWire && seenOnWire > 0n),
  ]
  const [verdict, because] = judge({ packets, requests, others, drivers, faults, grown, sent, seenOnWire })
  return { verdict, because, packets, requests, evidence }
}

interface Judged {
  readonly packets: bigint | undefined
  readonly requests: bigint
  readonly others: bigint | undefined
  readonly drivers: DriverEvidence
  readonly faults: string
  readonly grown: string
  readonly sent: bigint
  readonly seenOnWire: bigint | undefined
}

function judge({ packets, requests, others, drivers, faults, grown, sent, seenOnWire }: Judged): readonly [CptProof['verdict'], string] {
  if (requests < 0n) return ['unknown', 'the counters of CPT were reset in between: try again']
  if (packets === undefined) return ['unknown', 'associations were replaced in between, with what they had counted: try again']
  if (packets < sent)
    return ['unknown', `${packets} packets went through the associations, ${sent} were sent: the others were not encrypted`]
  if (packets === 0n) return ['unknown', 'no packet went through the associations']
  if (seenOnWire === 0n) return ['unknown', 'no ESP packet was seen on the wire']
  const asked = `CPT was asked ${requests} times for ${packets} packets`
  if (requests < packets) return ['no', `${asked}: ${packets - requests} of them were encrypted elsewhere`]
  if (drivers.onlyCpt === false) return ['no', `${asked}, but ${drivers.seen}`]
  if (faults !== '') return ['unknown', `${asked}, but it shows faults: ${faults}`]
  if (grown !== '') return ['unknown', `${asked}, but IPsec dropped packets meanwhile: ${grown}`]
  if (drivers.onlyCpt === true) return ['yes', `${asked}, and all associations use it`]
  if (others === undefined) return ['unknown', `${asked}, but by whom is not known: measure a time without traffic, too`]
  return requests - others >= packets
    ? ['yes', `${asked}, about ${others} of them by others, as a time without traffic shows`]
    : ['unknown', `${asked}, but about ${others} times by others, as a time without traffic shows`]
}

function packetsBetween(before: CptSnapshot, after: CptSnapshot): bigint | undefined {
  const earlier = new Map(before.associations.map((one) => [identity(one), one.packets]))
  let packets = 0n
  for (const one of after.associations) {
    packets += one.packets - (earlier.get(identity(one)) ?? 0n)
    earlier.delete(identity(one))
  }
  return earlier.size === 0 ? packets : undefined
}

const requestsBetween = (before: CptSnapshot, after: CptSnapshot): bigint =>
  sumOfCounters(after.last).requests - sumOfCounters(before.first).requests

/** What others asked meanwhile, if they went on as in the time without traffic; rounded up. */
function othersMeanwhile({ before, after, idle }: ProofInput): bigint | undefined {
  if (idle === undefined) return undefined
  const [requests, packets] = [requestsBetween(idle.before, idle.after), packetsBetween(idle.before, idle.after)]
  const [time, idleTime] = [Math.ceil(after.at - before.at), Math.floor(idle.after.at - idle.before.at)]
  if (requests < 0n || packets === undefined || idleTime <= 0 || time < 0) return undefined
  const others = requests > packets ? requests - packets : 0n
  return (others * BigInt(time) + BigInt(idleTime) - 1n) / BigInt(idleTime)
}

interface DriverEvidence {
  readonly seen: string
  /** Whether all associations use CPT; false if some surely do not; undefined if the kernel's entries do not show it. */
  readonly onlyCpt: boolean | undefined
}

function driversOf({ algorithms, associations }: CptSnapshot): DriverEvidence {
  const names = associations.length === 0 ? [ESP_GCM] : [...new Set(associations.map(({ algorithm }) => algorithm))]
  const each = names.map((algorithm) => {
    const own = associations.filter((one) => one.algorithm === algorithm && one.offload === 'none').length
    return { own, ...selectionOf(algorithms, algorithm) }
  })
  const seen = each.map(({ algorithm, own, users }) => `${users} of ${own} associations with ${algorithm} use CPT`).join(', ')
  if (each.every(({ users, own }) => own > 0 && users >= own)) return { seen, onlyCpt: true }
  // An entry that serves none while its algorithm's associations exist: all of these have another driver.
  return { seen, onlyCpt: each.some(({ users, own }) => own > 0 && users === 0) ? false : undefined }
}

const evidenceOf = (what: string, seen: string, holds: boolean | bigint | undefined): ProofEvidence => ({
  what,
  seen,
  holds: holds === undefined ? undefined : Boolean(holds),
})
