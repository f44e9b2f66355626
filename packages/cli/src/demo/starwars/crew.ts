import { decodeResult } from '@cni-offload/sdk/cni'
import { plain } from '../checks.ts'
import { type Member, podManifest } from './cast.ts'
import type { Stage } from '../stage.ts'

/** The pods of the cast. All that was made for them goes when it is disposed. */
export class Crew implements AsyncDisposable {
  readonly #stage: Pick<Stage, 'lab' | 'runtime'>
  readonly #made = new AsyncDisposableStack()

  /** Makes nothing yet. */
  constructor(stage: Pick<Stage, 'lab' | 'runtime'>) {
    this.#stage = stage
  }

  /** Tells the cluster of a pod and its labels, and makes its namespace: all that precedes its ADD. */
  async prepare(member: Member): Promise<void> {
    const { lab, runtime } = this.#stage
    const node = lab.node(member.node)
    const manifest = podManifest(member, node.name)
    await lab.cluster.apply([manifest])
    this.#made.defer(async () => void (await lab.cluster.delete([manifest])))
    await lab.createPod(member.name)
    this.#made.defer(() => lab.deletePod(member.name))
    this.#made.defer(async () => void (await runtime.call('DEL', node, member.name)))
  }

  /** Adds a pod that was prepared. @returns its addresses */
  async add(member: Member): Promise<readonly string[]> {
    const { lab, runtime } = this.#stage
    const { json } = await runtime.call('ADD', lab.node(member.node), member.name)
    return decodeResult(json, '1.0.0').ips.map(({ address }) => plain(address))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#made.disposeAsync()
  }
}
