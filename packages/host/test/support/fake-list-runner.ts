import { OffloadError } from '@cni-offload/sdk'
import type { ListCall, RawResult } from '@cni-offload/sdk/exec'
import type { FallbackRunner } from '../../src/fallback/runners.ts'

/** How a run of a list goes. `crash-*`: the daemon dies then, and nothing of it goes on. */
export type Fate = 'ok' | 'fail-before' | 'fail-after' | 'crash-before' | 'crash-after'

/** What lists have made on a host, in memory. It outlives the daemons that run them. */
export class FakeHostNetwork {
  /** Name of the list that made an attachment, by container and interface. */
  readonly made = new Map<string, string>()
  readonly wrong: string[] = []
  /** How the next runs go, by container. */
  readonly fates = new Map<string, Fate>()
}

/** Runs lists against a {@link FakeHostNetwork}; what it is asked after the daemon has died never comes back. */
export class FakeListRunner implements FallbackRunner {
  readonly #network: FakeHostNetwork
  readonly #died = Promise.withResolvers<'died'>()
  #dead = false

  constructor(network: FakeHostNetwork) {
    this.#network = network
  }

  /** Resolves when the daemon has died. */
  get died(): Promise<'died'> {
    return this.#died.promise
  }

  async requirePlugins(): Promise<void> {}
  async check(): Promise<void> {}
  async status(): Promise<void> {}
  async gc(): Promise<void> {}

  async add(call: ListCall): Promise<RawResult> {
    await this.#run(call, () => {
      const before = this.#network.made.get(call.containerId)
      if (before !== undefined) this.#network.wrong.push(`ADD of ${call.containerId}, which ${before} has made`)
      if (call.netns === '') this.#network.wrong.push(`ADD of ${call.containerId} without a namespace`)
      this.#network.made.set(call.containerId, call.list.name)
    })
    return { cniVersion: '1.0.0', ips: [{ address: '10.0.0.2/24' }] }
  }

  async del(call: ListCall): Promise<void> {
    await this.#run(call, () => {
      const by = this.#network.made.get(call.containerId)
      if (by !== undefined && by !== call.list.name)
        this.#network.wrong.push(`DEL of ${call.containerId} by ${call.list.name}, made by ${by}`)
      this.#network.made.delete(call.containerId)
    })
  }

  async #run({ containerId }: ListCall, effect: () => void): Promise<void> {
    const fate = this.#network.fates.get(containerId) ?? 'ok'
    await this.#turns(containerId.length % 3)
    if (fate === 'crash-before') await this.#die()
    if (fate === 'fail-before') throw new OffloadError('ADAPTER_FAILED', 'refused')
    effect()
    await this.#turns(1)
    if (fate === 'crash-after') await this.#die()
    if (fate === 'fail-after') throw new OffloadError('ADAPTER_FAILED', 'failed in the middle')
  }

  async #turns(count: number): Promise<void> {
    for (let turn = 0; turn < count; turn++) await new Promise((resolve) => setImmediate(resolve))
    if (this.#dead) await new Promise(() => {})
  }

  async #die(): Promise<never> {
    this.#dead = true
    this.#died.resolve('died')
    return await new Promise<never>(() => {})
  }
}
