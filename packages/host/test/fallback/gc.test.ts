import { silentLogger, systemClock } from '@cni-offload/sdk'
import { type CniEnvironment, type Netconf, parseEnvironment, parseNetconf } from '@cni-offload/sdk/cni'
import type { ListCall, PluginList } from '@cni-offload/sdk/exec'
import { describe, expect, it } from 'vitest'
import { SqliteFallbackJournal } from '../../src/fallback/sqlite-fallback-journal.ts'
import { DEFAULT_LIMITS } from '../../src/limits.ts'
import { Stages } from '../../src/metrics/stages.ts'
import type { VerbContext } from '../../src/verbs/deps.ts'
import { FakeHostNetwork, FakeListRunner } from '../support/fake-list-runner.ts'
import { fallbacksOf, LIST } from '../support/fallbacks.ts'

const GC: Netconf = parseNetconf(
  JSON.stringify({ cniVersion: '1.1.0', name: 'net', type: 'x', fallback: { conflist: LIST }, 'cni.dev/valid-attachments': [] }),
  'GC',
)
const ADD: Netconf = parseNetconf(JSON.stringify({ cniVersion: '1.1.0', name: 'net', type: 'x' }), 'ADD')
const envOf = (pod: string): CniEnvironment =>
  parseEnvironment({
    CNI_COMMAND: 'ADD',
    CNI_CONTAINERID: pod,
    CNI_NETNS: `/run/netns/${pod}`,
    CNI_IFNAME: 'eth0',
    CNI_PATH: '/x',
  })
const context = (): VerbContext => ({
  signal: AbortSignal.timeout(20_000),
  log: silentLogger,
  requestId: 'r',
  stages: new Stages(systemClock),
})

/** As an IPAM plugin does it, GC takes away what it is not told of, at some time while it runs. */
class CollectingRunner extends FakeListRunner {
  readonly begun: Promise<void>
  readonly #begin: () => void
  readonly #network: FakeHostNetwork
  /** Ends a GC. */
  readonly finish: () => void
  readonly #finished: Promise<void>

  constructor(network: FakeHostNetwork) {
    super(network)
    this.#network = network
    const [begun, finished] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
    this.begun = begun.promise
    this.#begin = begun.resolve
    this.#finished = finished.promise
    this.finish = finished.resolve
  }

  override async gc(_list?: PluginList, valid: readonly Pick<ListCall, 'containerId'>[] = []): Promise<void> {
    this.#begin()
    await this.#finished
    const told = new Set(valid.map(({ containerId }) => containerId))
    for (const pod of this.#network.made.keys()) if (!told.has(pod)) this.#network.made.delete(pod)
  }
}

describe('GC of the list of the host', () => {
  it('takes nothing from a pod that is made meanwhile', async () => {
    const network = new FakeHostNetwork()
    const runner = new CollectingRunner(network)
    using journal = new SqliteFallbackJournal(':memory:', systemClock)
    const { fallbacks } = fallbacksOf({
      journal,
      runners: () => runner,
      net: { netnsIdentity: async (path) => path, link: async () => undefined },
      bootId: 'boot-1',
      limits: DEFAULT_LIMITS,
      observer: { added: () => {} },
      leftToQueue: () => {},
    })
    const add = (pod: string): Promise<unknown> =>
      fallbacks.add(
        {
          plan: { list: LIST, when: new Set() },
          reason: 'netconf',
          env: envOf(pod),
          netconf: ADD,
          netnsIdentity: `/run/netns/${pod}`,
          pod: { namespace: '', name: pod, uid: '' },
        },
        context(),
      )
    await add('before')
    const collected = fallbacks.gc(GC, context())
    await runner.begun
    const added = add('meanwhile')
    // Long enough for an ADD that does not wait: it takes a few turns.
    for (let turn = 0; turn < 50; turn++) await new Promise((resolve) => setImmediate(resolve))
    runner.finish()
    await Promise.all([collected, added])
    expect([...network.made.keys()]).toEqual(['before', 'meanwhile'])
  })
})
