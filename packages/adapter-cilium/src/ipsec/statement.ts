import { encryptedVerdict, type Encrypted, type Verdict } from './encrypted.ts'
import { type Evidence, evidenceOf } from './evidence.ts'
import { inHardwareVerdict, type InHardware } from './in-hardware.ts'
import type { Sample } from './sample.ts'
import type { ClusterStatus } from './status.ts'

/** What is encrypted, and where: never more than the evidence shows. */
export interface Statement {
  /** What it is about: a node, or all. */
  readonly subject: string
  /** Whether traffic to other nodes is encrypted. */
  readonly encrypted: Verdict<Encrypted>
  /** Whether hardware does it. */
  readonly inHardware: Verdict<InHardware>
  /** What it rests on. */
  readonly evidence: readonly Evidence[]
  /** What is not in order, although the answers may hold. */
  readonly warnings: readonly string[]
}

/** The statement about a node. @param before - of the same node, a while ago: then only what happened in between counts */
export function stateNode(subject: string, now: Sample, before?: Sample): Statement {
  const encrypted = encryptedVerdict(now, before)
  return {
    subject,
    encrypted,
    inHardware: inHardwareVerdict(encrypted.answer, now, before),
    evidence: evidenceOf(now, before),
    warnings: warningsOf(now, before),
  }
}

/** The statement about several nodes, from the ones about each. */
export function stateNodes(statements: readonly Statement[]): Statement {
  const encrypted = joined(
    statements.map((one) => ({ subject: one.subject, answer: one.encrypted.answer })),
    'partly',
  )
  const inHardware = joined(
    statements.map((one) => ({ subject: one.subject, answer: one.inHardware.answer })),
    'unknown',
  )
  return { subject: 'all nodes', encrypted, inHardware, evidence: [], warnings: [] }
}

/** The statement about a cluster of which only the sum is known. */
export function stateCluster({ nodes, modes, keysInUse, sequence, errors }: ClusterStatus, from: string): Statement {
  const ipsec = modes['IPsec'] ?? 0
  const without = (modes['Disabled'] ?? 0) + keysInUse.reduce((sum, one) => sum + (one.keys === 0 ? one.nodes : 0), 0)
  const keyed = keysInUse.reduce((sum, one) => sum + (one.keys > 0 ? one.nodes : 0), 0)
  const verdict = (answer: Encrypted, because: string): Verdict<Encrypted> => ({ answer, because })
  const encrypted =
    nodes > 0 && without >= nodes
      ? verdict('no', 'no node has keys in use')
      : without > 0 && keyed > 0
        ? verdict('partly', `${without} of ${nodes} nodes do not encrypt`)
        : ipsec === nodes && keyed === nodes && nodes > 0
          ? verdict('unknown', 'all nodes have keys, but what each has sent with them is not told: look at each node')
          : verdict('unknown', 'not all nodes are told of')
  const hardware: Verdict<InHardware> =
    encrypted.answer === 'no' ? { answer: 'no', because: 'nothing is encrypted' } : { answer: 'unknown', because: 'no source tells of it' }
  const evidence: Evidence[] = [
    {
      what: 'encryption mode',
      value: Object.entries(modes)
        .map(([mode, count]) => `${mode} on ${count} of ${nodes} nodes`)
        .join(', '),
      from,
    },
    { what: 'keys in use', value: keysInUse.map((one) => `${one.keys} on ${one.nodes} nodes`).join(', ') || 'not told', from },
    ...(sequence === undefined ? [] : [{ what: 'highest sequence number', value: String(sequence), from }]),
    ...(errors === undefined ? [] : [{ what: 'errors of IPsec', value: String(errors), from }]),
  ]
  return { subject: 'all nodes', encrypted, inHardware: hardware, evidence, warnings: [] }
}

/** All the same, or the answer for a mixture; `unknown` as soon as one is unknown and the others do not show a mixture already. */
function joined<A extends string>(
  answers: readonly { readonly subject: string; readonly answer: A | 'yes' | 'no' | 'unknown' }[],
  mixed: A,
) {
  const of = (wanted: string): string[] => answers.filter(({ answer }) => answer === wanted).map(({ subject }) => subject)
  const [yes, no, some, open] = [of('yes'), of('no'), of(mixed), of('unknown')]
  type Joined = Verdict<A | 'yes' | 'no' | 'unknown'>
  const verdict = (answer: Joined['answer'], because: string): Joined => ({ answer, because })
  if (answers.length === 0) return verdict('unknown', 'no node was looked at')
  if (some.length > 0 && mixed !== 'unknown') return verdict(mixed, `on ${some.join(', ')} only partly`)
  if (yes.length > 0 && no.length > 0) return verdict(mixed, `not on ${no.join(', ')}`)
  if (open.length > 0) return verdict('unknown', `not known of ${open.join(', ')}`)
  return yes.length > 0 ? verdict('yes', 'so on each node') : verdict('no', 'on no node')
}

function warningsOf(now: Sample, before?: Sample): string[] {
  const [errors, earlier] = [now.errors?.value, before?.errors?.value]
  const found: string[] = []
  if (errors !== undefined && earlier !== undefined && errors > earlier)
    found.push(`IPsec dropped packets in between: ${errors - earlier} errors, see /proc/net/xfrm_stat`)
  const failed = (now.engine?.value.last.errors ?? 0n) - (before?.engine?.value.first.errors ?? now.engine?.value.last.errors ?? 0n)
  if (failed > 0n) found.push(`the crypto engine counted ${failed} errors in between`)
  return found
}
