import { OffloadError, silentLogger, systemClock } from '@cni-offload/sdk'
import { parseEnvironment, parseNetconf } from '@cni-offload/sdk/cni'
import { pluginList } from '@cni-offload/sdk/exec'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { FallbackUndo } from '../../src/fallback/fallback-undo.ts'
import type { Fallbacks } from '../../src/fallback/fallbacks.ts'
import { SqliteFallbackJournal } from '../../src/fallback/sqlite-fallback-journal.ts'
import { DEFAULT_LIMITS } from '../../src/limits.ts'
import { Stages } from '../../src/metrics/stages.ts'
import { type Fate, FakeHostNetwork, FakeListRunner } from '../support/fake-list-runner.ts'
import { fallbacksOf } from '../support/fallbacks.ts'

const FATES: readonly Fate[] = ['ok', 'ok', 'ok', 'fail-before', 'fail-after', 'crash-before', 'crash-after']
const PODS = ['a', 'bb', 'ccc']

type Op = { readonly do: 'add' | 'del' | 'retry' | 'lose-netns'; readonly pod: string; readonly fate: Fate; readonly list: string }

const op: fc.Arbitrary<Op> = fc.record({
  do: fc.constantFrom('add', 'add', 'del', 'retry', 'lose-netns'),
  pod: fc.constantFrom(...PODS),
  fate: fc.constantFrom(...FATES),
  list: fc.constantFrom('one', 'two'),
})
/** What happens at the same time; the lock of a key lets one happen to a pod at a time. */
const steps = fc.array(fc.uniqueArray(op, { minLength: 1, maxLength: 3, selector: ({ pod }) => pod }), { maxLength: 12 })

/** A node: what is on the host outlives the daemon, which dies and is started again. */
class Node implements Disposable {
  readonly network = new FakeHostNetwork()
  readonly journal = new SqliteFallbackJournal(':memory:', systemClock)
  /** What the runtime was told to have, with the list that made it. */
  readonly told = new Map<string, string>()
  readonly #netns = new Map<string, number>()
  #namespaces = 1
  #runner!: FakeListRunner
  #fallbacks!: Fallbacks
  #undo!: FallbackUndo

  constructor() {
    this.#boot()
  }

  #boot(): void {
    this.#runner = new FakeListRunner(this.network)
    const made = fallbacksOf({
      journal: this.journal,
      runners: () => this.#runner,
      net: {
        netnsIdentity: async (path) => (this.#netns.has(path) ? `4:${this.#netns.get(path)}` : undefined),
        link: async () => undefined,
      },
      bootId: 'boot-1',
      limits: DEFAULT_LIMITS,
      observer: { added: () => {} },
      leftToQueue: () => {},
    })
    this.#fallbacks = made.fallbacks
    this.#undo = made.undo
    this.#fallbacks.recover()
  }

  /** Does all at once; a crash ends whatever has not ended. */
  async step(ops: readonly Op[]): Promise<void> {
    this.network.fates.clear()
    for (const { pod, fate } of ops) this.network.fates.set(pod, fate)
    const done = Promise.all(ops.map((each) => this.#do(each)))
    if ((await Promise.race([done, this.#runner.died])) === 'died') this.#boot()
  }

  async settle(): Promise<void> {
    this.network.fates.clear()
    for (const { key } of this.journal.ending()) await this.#undo.retry(key, silentLogger)
  }

  async #do({ do: what, pod, list }: Op): Promise<void> {
    const key = { network: 'net', containerId: pod, ifName: 'eth0' }
    const path = `/run/netns/${pod}`
    switch (what) {
      case 'add': {
        if (!this.#netns.has(path)) this.#netns.set(path, this.#namespaces++)
        const told = await this.#add(pod, path, list)
        if (told) this.told.set(pod, list)
        return
      }
      case 'del':
        // From here on the runtime may take it for gone.
        this.told.delete(pod)
        await this.#fallbacks.end(key, silentLogger)
        if (this.journal.get(key)?.phase === 'added') this.network.wrong.push(`${pod} is still added after DEL`)
        return
      case 'retry':
        await this.#undo.retry(key, silentLogger)
        return
      case 'lose-netns':
        this.#netns.delete(path)
        // What it had is gone with it, whoever notices first.
        this.told.delete(pod)
    }
  }

  async #add(pod: string, netns: string, list: string): Promise<boolean> {
    const env = parseEnvironment({ CNI_COMMAND: 'ADD', CNI_CONTAINERID: pod, CNI_NETNS: netns, CNI_IFNAME: 'eth0', CNI_PATH: '/x' })
    const netconf = parseNetconf('{"cniVersion":"1.0.0","name":"net","type":"x"}', 'ADD')
    const plan = { list: pluginList.parse({ cniVersion: '1.0.0', name: list, plugins: [{ type: list }] }), when: new Set<never>() }
    const ctx = { signal: new AbortController().signal, log: silentLogger, requestId: 'r', stages: new Stages(systemClock) }
    const key = { network: 'net', containerId: pod, ifName: 'eth0' }
    const alive = this.told.has(pod)
    try {
      await this.#fallbacks.clearRemains(key, silentLogger)
      if (alive && `4:${this.#netns.get(netns)}` === this.journal.get(key)?.netnsIdentity)
        this.network.wrong.push(`a second ADD of ${pod} was let in`)
      this.told.delete(pod)
      const request = {
        plan,
        reason: 'netconf' as const,
        env,
        netconf,
        netnsIdentity: `4:${this.#netns.get(netns)}`,
        pod: { namespace: '', name: pod, uid: '' },
      }
      await this.#fallbacks.add(request, ctx)
      return true
    } catch (error) {
      const { code } = OffloadError.from(error)
      if (code !== 'ADAPTER_FAILED' && code !== 'ALREADY_EXISTS') throw error
      // Its namespace was another one: what was told of it is over.
      if (code !== 'ALREADY_EXISTS') this.told.delete(pod)
      return false
    }
  }

  [Symbol.dispose](): void {
    this.journal[Symbol.dispose]()
  }
}

describe('attachments on the host, whatever happens in whatever order', () => {
  it('are on the host exactly as the runtime was told, end by the list that made them, and leave nothing', async () => {
    await fc.assert(
      fc.asyncProperty(steps, async (happens) => {
        using node = new Node()
        for (const ops of happens) {
          await node.step(ops)
          for (const [pod, list] of node.told) expect(node.network.made.get(pod), `${pod} keeps its network`).toBe(list)
          const rows = new Set(node.journal.all().map(({ key }) => key.containerId))
          for (const pod of node.network.made.keys()) expect(rows, `${pod} is in the journal`).toContain(pod)
        }
        await node.settle()
        expect(node.network.wrong).toEqual([])
        const held = node.journal.all()
        expect(held.map(({ phase }) => phase).filter((phase) => phase !== 'added')).toEqual([])
        expect(new Map(held.map(({ key, call }) => [key.containerId, call.list.name]))).toEqual(node.network.made)
        await node.step(PODS.map((pod) => ({ do: 'del', pod, fate: 'ok', list: 'one' })))
        expect(node.journal.all()).toEqual([])
        expect([...node.network.made]).toEqual([])
      }),
      { numRuns: 300 },
    )
  })
})
