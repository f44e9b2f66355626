import { octeonDpuChecks, octeonHostChecks } from '@cni-offload/hw-octeon'
import { connectFakeOcteonMachine } from '@cni-offload/testing/octeon'
import type { CheckResult } from '../../doctor/check.ts'
import { runChecks } from '../../doctor/run.ts'
import { connectDpu } from '../../lab/octeon/connect-dpu.ts'
import type { LabCard, LabNode } from '../../lab/model.ts'
import type { DemoCheck } from '../report.ts'
import { recordOf } from './control-agent.ts'

/** What the doctor finds on both sides of a card; on the host's only while nothing on the DPU answers. */
export async function examine(node: LabNode, card: LabCard, both: boolean = true): Promise<readonly CheckResult[]> {
  await using host = await connectFakeOcteonMachine(card.socket, 'host')
  await using dpu = await connectDpu(card.socket, node.dir)
  const sides = [octeonHostChecks(host, {}), ...(both ? [octeonDpuChecks(dpu, { agentRecord: recordOf(node) })] : [])]
  return (await Promise.all(sides.map((checks) => runChecks(checks, { signal: AbortSignal.timeout(60_000) })))).flat()
}

/** What the doctor has to say. */
export interface Diagnosis {
  /** Ids of what is not in order, or will not stay so: of these and of no others. */
  readonly named: readonly string[]
  /** What has to be told by a check, whatever it thinks of it. */
  readonly told?: { readonly id: string; readonly text: RegExp }
}

/** Whether the doctor says exactly that. @param usual - what it says of this node anyway */
export function diagnosed(
  name: string,
  found: readonly CheckResult[],
  { named, told }: Diagnosis,
  usual: ReadonlySet<string> = new Set(),
): DemoCheck {
  const all = found.filter(({ state, id }) => state === 'fail' || (state === 'warn' && !usual.has(id)))
  const exact = all.length === named.length && all.every(({ id }) => named.includes(id))
  const teller = found.find(({ id }) => id === told?.id)
  const ok = exact && (told === undefined || (teller !== undefined && told.text.test(sayingOf(teller))))
  const lines = [...all, ...(teller === undefined || all.includes(teller) ? [] : [teller])].map((one) => `${one.id}: ${sayingOf(one)}`)
  return { name, ok, seen: lines.length === 0 ? 'all is in order' : lines.join('; ') }
}

/** Ids of what is not for ever as it should be, on a node that nothing has happened to. */
export function warnings(found: readonly CheckResult[]): ReadonlySet<string> {
  return new Set(found.filter(({ state }) => state === 'warn').map(({ id }) => id))
}

const sayingOf = ({ seen, why }: CheckResult): string => [seen, why].filter((part) => part !== '').join(': ')
