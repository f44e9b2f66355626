import { setTimeout as sleep } from 'node:timers/promises'
import { type Sample, type Statement, stateNode, stateNodes } from '@cni-offload/adapter-cilium/ipsec'
import type { Subject } from './subject.ts'

/** What is said of some nodes, and of all of them together. */
export interface Survey {
  /** All together; the same as that of the node if it is one. */
  readonly all: Statement
  /** Each. */
  readonly nodes: readonly Statement[]
}

/** The samples of some nodes, in their order. */
export async function look(subjects: readonly Subject[], signal: AbortSignal): Promise<Sample[]> {
  return await Promise.all(subjects.map(({ read }) => read(signal)))
}

/** What is to be said of samples. @param before - of the same nodes, a while ago */
export function survey(subjects: readonly Subject[], now: readonly Sample[], before: readonly Sample[] = []): Survey {
  const nodes = subjects.flatMap(({ name }, index) => {
    const sample = now[index]
    return sample === undefined ? [] : [stateNode(name, sample, before[index])]
  })
  const [first, ...others] = nodes
  return { all: first === undefined || others.length > 0 ? stateNodes(nodes) : first, nodes }
}

/** How long a verification looks. */
export interface Watch {
  /** Makes traffic between nodes; nothing by default. */
  readonly traffic?: (signal: AbortSignal) => Promise<void>
  /** Longest that is waited for numbers to grow after that, milliseconds. */
  readonly withinMs: number
  /** Whether hardware has to do it. */
  readonly hardware: boolean
  /** Waits. @defaultValue a second between two looks */
  readonly pause?: (signal: AbortSignal) => Promise<void>
}

/** Looks, lets traffic happen, and looks again until what is wanted is shown or the time is over. */
export async function watch(
  subjects: readonly Subject[],
  { traffic, withinMs, hardware, pause = second }: Watch,
  signal: AbortSignal,
): Promise<Survey> {
  const before = await look(subjects, signal)
  await traffic?.(signal)
  const end = performance.now() + withinMs
  for (;;) {
    const found = survey(subjects, await look(subjects, signal), before)
    if (holds(found, hardware) || performance.now() >= end) return found
    await pause(signal)
  }
}

/** Whether everything is encrypted. @param hardware - and by hardware */
export function holds({ all }: Survey, hardware: boolean): boolean {
  return all.encrypted.answer === 'yes' && (!hardware || all.inHardware.answer === 'yes')
}

/** The kernel and the agents tell nobody when a counter grows. */
const second = async (signal: AbortSignal): Promise<void> => {
  await sleep(1000, undefined, { signal })
}
