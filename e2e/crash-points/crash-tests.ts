import { expect, test } from 'vitest'
import type { CrashLab, PodCall } from './crash-lab.ts'
import { isOfAdd } from './steps.ts'

/** What the tests of one lab are made for. */
export interface CrashTests {
  /** The lab, once it is up. */
  readonly lab: () => CrashLab
  /** The steps. */
  readonly steps: readonly string[]
  /** What a pod has to ask for to come to a step. @defaultValue nothing */
  readonly callFor?: (step: string) => PodCall
  /** Which half of the ADDs is followed by an ADD, and which DELs by a new ADD; the other adapter's tests take the other half. */
  readonly again: 'even' | 'odd'
}

/** Steps after which an attachment is there. */
const COMPLETE: ReadonlySet<string> = new Set(['host.add.wired', 'host.fallback-add.finished'])

/** One test for each step: the daemon dies there, and what the runtime does next puts everything right. */
export function crashTests({ lab: current, steps, callFor = () => ({}), again }: CrashTests): void {
  const addsAgain = (step: string): boolean => steps.indexOf(step) % 2 === (again === 'even' ? 0 : 1)
  const sequence = (step: string): readonly ('ADD' | 'DEL' | 'refused ADD')[] => {
    // Complete, but the runtime was not told: by the specification an ADD of what is there is refused, and it begins with DEL.
    if (COMPLETE.has(step)) return ['refused ADD', 'DEL']
    if (isOfAdd(step)) return addsAgain(step) ? ['ADD', 'DEL'] : ['DEL']
    return addsAgain(step) ? ['DEL', 'ADD', 'DEL'] : ['DEL']
  }

  test.each(steps.map((step) => [step, sequence(step).join(', ')] as const))('%s, then %s', async (step) => {
    const lab = current()
    const options = callFor(step)
    const pod = await lab.pod()
    if (!isOfAdd(step)) await lab.succeed('ADD', pod, options)
    // Only what the agent does not answer is left to the queue.
    if (step === 'host.undo.quarantined') await lab.e2e.lab.kill(lab.node, 'agent')
    await lab.crash(step, () => lab.call(isOfAdd(step) ? 'ADD' : 'DEL', pod, options))
    await lab.e2e.lab.start(lab.node, 'agent')
    for (const verb of sequence(step))
      if (verb === 'refused ADD') expect(await lab.call('ADD', pod, options)).toMatchObject({ exitCode: 1, json: { code: 100 } })
      else {
        await lab.succeed(verb, pod, options)
        if (verb === 'ADD' && options.conf === undefined) await lab.reachesRunning(pod)
      }
    await lab.e2e.lab.deletePod(pod)
    await lab.settled()
  })

  test('every one of them was hit, and the running pods lost nothing', async () => {
    expect([...current().hit].filter((step) => steps.includes(step)).toSorted()).toEqual([...steps].toSorted())
    const { sent, lost } = await current().traffic()
    expect(sent).toBeGreaterThan(0)
    expect(lost).toBe(0)
  })
}
