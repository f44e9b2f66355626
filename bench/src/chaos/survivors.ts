import type { Lab, LabNode } from '@cni-offload/cli'
import type { CniResult } from '@cni-offload/sdk/cni'
import { ping } from '@cni-offload/testing'
import { type Calls, must, type Pod } from './calls.ts'
import type { Random } from './random.ts'
import type { Tally } from './tally.ts'

/** Pods of each node that run from the beginning to the end. */
export const SURVIVORS_PER_NODE = 2

/** How long the answer to one echo request may take on a busy machine, milliseconds. */
const ANSWER_MS = 5_000

interface Survivor extends Pod {
  readonly addresses: readonly string[]
}

/** Pods that run through all of it. None of them may ever be without its network, whoever is dead. */
export class Survivors {
  readonly #lab: Lab
  readonly #tally: Tally
  readonly #all: readonly Survivor[]

  private constructor(lab: Lab, tally: Tally, all: readonly Survivor[]) {
    this.#lab = lab
    this.#tally = tally
    this.#all = all
  }

  /** Makes them. @throws OffloadError NOT_READY if an ADD fails */
  static async up(lab: Lab, calls: Calls, tally: Tally): Promise<Survivors> {
    const pods = lab.state.nodes.flatMap((node) =>
      Array.from({ length: SURVIVORS_PER_NODE }, (_, at): Pod => ({ name: `s${node.index}n${at}`, node })),
    )
    const all: Survivor[] = []
    for (const pod of pods) {
      await lab.createPod(pod.name)
      all.push({ ...pod, addresses: addressesOf(await must(calls, 'ADD', pod)) })
    }
    return new Survivors(lab, tally, all)
  }

  /** Names of those of a node. */
  names(node: LabNode): string[] {
    return this.#all.filter((survivor) => survivor.node === node).map(({ name }) => name)
  }

  /** Any address of any of them. */
  address(numbers: Random): string {
    return numbers.pick(numbers.pick(this.#all)?.addresses ?? []) ?? ''
  }

  /** Has one of a node's send an echo request to the next one, in every family. @param when - for the report */
  async check(node: LabNode, when: string, numbers: Random): Promise<void> {
    const from = numbers.pick(this.#all.filter((survivor) => survivor.node === node))
    if (from !== undefined) await this.#ask(from, when)
  }

  /** As {@link Survivors.check}, each of them. */
  async checkAll(when: string): Promise<void> {
    for (const from of this.#all) await this.#ask(from, when)
  }

  /** Ends them. @throws OffloadError NOT_READY if a DEL fails */
  async end(calls: Calls): Promise<void> {
    for (const pod of this.#all) {
      await must(calls, 'DEL', pod)
      await this.#lab.deletePod(pod.name)
    }
  }

  async #ask(from: Survivor, when: string): Promise<void> {
    const { survivors, defects } = this.#tally
    const to = this.#all[(this.#all.indexOf(from) + 1) % this.#all.length] ?? from
    for (const address of to.addresses) {
      const { received } = await ping(this.#lab.podPath(from.name), address, { count: 1, waitMs: ANSWER_MS })
      survivors.asked++
      survivors.answered += received
      if (received === 0) defects.silent.push(`${from.name} of ${from.node.name} gets no answer from ${address}, ${when}`)
    }
  }
}

const addressesOf = (result: CniResult | undefined): string[] => result?.ips.map(({ address }) => address.replace(/\/\d+$/, '')) ?? []
