import { readFileSync } from 'node:fs'
import { formatAttachmentKey, formatVfId, type VfId } from '@cni-offload/sdk'
import fc from 'fast-check'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { type Daemon, ModelNode } from './node.ts'
import type { Fate } from './parts.ts'
import { Runtime } from './runtime.ts'
import { Turns } from './turns.ts'

const PODS = ['a', 'b', 'c'] as const
const VFS = 2

/** How many histories, instead of what a test run has time for; what a failure has printed, to see it again. */
const { LIFECYCLE_RUNS: runs, LIFECYCLE_SEED: seed, LIFECYCLE_PATH: path } = process.env

/** How many turns each of those who wait gets, as a rule, before something else begins. */
const TURNS_PER_OP = 3

const FAULTS = [
  'adapter.attach',
  'adapter.detach',
  'adapter.list',
  'device.acquire',
  'device.release',
  'net.apply',
  'ipam.add',
  'ipam.del',
] as const

type Op =
  | { readonly do: 'add' | 'del' | 'check' | 'give up' | 'remove the sandbox of'; readonly pod: (typeof PODS)[number] }
  | { readonly do: 'gc' | 'unplug' | 'plug' }
  | { readonly do: 'kill' | 'start' | 'restart'; readonly who: Daemon | 'both' }
  | { readonly do: 'fail'; readonly what: (typeof FAULTS)[number]; readonly fate: Fate }
  | { readonly do: 'pass'; readonly ms: number }

/** What the agent may have, by what the host has. */
const DOCUMENTED: ReadonlyMap<string, ReadonlySet<string>> = new Map(
  readFileSync(new URL('../../docs/attachment-lifecycle.md', import.meta.url), 'utf8')
    .split('## Both together')[1]!
    .matchAll(/^\| (`\w+`[^|]*) \| ([^|]*) \|$/gm)
    .map(([, host, agent]) => [host!.replaceAll('`', ''), new Set(agent!.replaceAll('`', '').split(', '))] as const),
)

const pod = fc.constantFrom(...PODS)
const who = fc.constantFrom<Daemon | 'both'>('host', 'agent', 'both')
const op: fc.Arbitrary<Op> = fc.oneof(
  { weight: 8, arbitrary: fc.record({ do: fc.constant('add' as const), pod }) },
  { weight: 5, arbitrary: fc.record({ do: fc.constant('del' as const), pod }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('check' as const), pod }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('give up' as const), pod }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('remove the sandbox of' as const), pod }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constantFrom('gc' as const, 'unplug' as const, 'plug' as const) }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('restart' as const), who }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('kill' as const), who }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('start' as const), who }) },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant('fail' as const),
      what: fc.constantFrom(...FAULTS),
      fate: fc.constantFrom<Fate>('before', 'after'),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constant('pass' as const), ms: fc.constantFrom(1_000, 3_000, 6_000, 6_000, 20_000, 70_000) }),
  },
)

const ops = (what: 'add' | 'del' | 'check', pods: readonly string[]): readonly Op[] =>
  PODS.flatMap((each) => (pods.includes(each) ? [{ do: what, pod: each }] : []))

const daemons = (whom: Daemon | 'both'): readonly Daemon[] => (whom === 'both' ? ['host', 'agent'] : [whom])

/** One history of a node. */
class History implements Disposable {
  readonly turns = new Turns()
  readonly node = new ModelNode(this.turns, VFS)
  readonly runtime = new Runtime(this.node, this.turns)

  constructor() {
    vi.spyOn(AbortSignal, 'timeout').mockImplementation((ms) => this.turns.timeout(ms))
    let random = 1
    vi.spyOn(Math, 'random').mockImplementation(() => (random = (random * 48_271) % 2_147_483_647) / 2_147_483_647)
    this.node.start('host')
    this.node.start('agent')
  }

  /** Lets ops happen among the turns of everybody, in the order that the picks say; without picks one after the other. */
  async play(happening: readonly Op[], picks: readonly number[]): Promise<void> {
    let [at, begun] = [0, 0]
    for (;;) {
      await this.turns.idle()
      this.#expectNothingWrong()
      // One op for several turns of everybody who waits: otherwise hardly any call would come to its end.
      const choices = this.turns.size * TURNS_PER_OP + (begun < happening.length ? 1 : 0)
      if (choices === 0) return
      const pick = (picks[at++] ?? 0) % choices
      if (pick < this.turns.size * TURNS_PER_OP) this.turns.next(Math.floor(pick / TURNS_PER_OP))
      else this.#happen(happening[begun++]!)
    }
  }

  /** Whatever is broken is mended, and then so much time passes that everything that is due has been done. */
  async settle(): Promise<void> {
    this.node.faults.clear()
    this.node.link.plug(true)
    let left: readonly string[] = []
    for (let round = 0; round < 60; round++) {
      this.node.start('host')
      this.node.start('agent')
      await this.play([], [])
      left = [...(this.runtime.busy ? ['calls are under way'] : []), ...this.#unsettled()]
      if (left.length === 0) return
      this.turns.advance(round < 20 ? 2_000 : 30_000)
    }
    this.#fail(left)
  }

  /** What runs is found to be in order, and then everything ends. */
  async end(): Promise<void> {
    const { node, runtime } = this
    const running = [...runtime.told.keys()]
    runtime.sound.clear()
    await this.play(ops('check', running), [])
    expect(runtime.sound, this.turns.trace.join('\n')).toEqual(new Set(running))
    await this.play(ops('del', PODS), [])
    await this.settle()
    const { kernel, network, ipam } = node
    const left = [
      ...kernel.functions.filter((vf) => !kernel.isPristine(vf)).map((vf) => `VF ${vf.index} is not pristine`),
      ...[...network.connected.keys()].map((key) => `${key} is connected`),
      ...[...ipam.held].map(([pod, address]) => `${pod} has ${address}`),
      ...node.host!.journal!.vfs().flatMap(({ vf, state }) => (state === 'free' ? [] : [`${formatVfId(vf)} is ${state}`])),
    ]
    if (left.length > 0) this.#fail(left)
  }

  /** As many pods as there are VFs can be made. */
  async begin(): Promise<void> {
    const pods = PODS.slice(0, VFS)
    await this.play(ops('add', pods), [])
    expect([...this.runtime.told.keys()], this.turns.trace.join('\n')).toEqual(pods)
  }

  #happen(what: Op): void {
    this.turns.trace.push(JSON.stringify(what))
    const { node, runtime } = this
    switch (what.do) {
      case 'add':
      case 'del':
      case 'check':
        if (!runtime.isBusy(what.pod)) runtime[what.do](what.pod)
        return
      case 'give up':
        return runtime.giveUp(what.pod)
      case 'remove the sandbox of':
        return runtime.removeSandbox(what.pod)
      case 'gc':
        if (!runtime.isBusy('*')) runtime.gc()
        return
      case 'plug':
      case 'unplug':
        return node.link.plug(what.do === 'plug')
      case 'kill':
      case 'start':
      case 'restart':
        if (what.do !== 'start') for (const daemon of daemons(what.who)) node.kill(daemon)
        if (what.do !== 'kill') for (const daemon of daemons(what.who)) node.start(daemon)
        return
      case 'fail':
        return node.faults.set(what.what, what.fate)
      case 'pass':
        return this.turns.advance(what.ms)
    }
  }

  /** What host, agent, network and kernel do not agree on, and what is left to do. */
  #unsettled(): string[] {
    const { host, agent, network, ipam } = this.node
    if (host?.journal === undefined || host.addresses === undefined || agent?.journal === undefined) return ['a daemon does not run']
    const rows = host.journal.all()
    const wired = rows.map(({ key, vf, phase }) => `${formatAttachmentKey(key)} on ${vf.index} ${phase === 'wired' ? 'attached' : phase}`)
    const attached = agent.journal.all().map(({ key, vf, state }) => `${formatAttachmentKey(key)} on ${vf.index} ${state}`)
    const connected = [...network.connected].map(([key, { port }]) => `${key} on ${port.slice(4)} attached`)
    const differ = (what: string, a: string[], b: string[]): string[] =>
      a.toSorted().join() === b.toSorted().join() ? [] : [`${what}: ${a.join()} and ${b.join()}`]
    const asked = rows.flatMap(({ key, intent }) => (intent.hostIpam === undefined ? [] : [`${key.containerId} added`]))
    const leases = host.addresses.all().map(({ key, phase }) => `${key.containerId} ${phase}`)
    return [
      ...rows.flatMap(({ key, phase }) => (phase === 'wired' ? [] : [`${key.containerId} is ${phase} on the host`])),
      ...differ('host and agent', wired, attached),
      ...differ('agent and network', attached, connected),
      ...differ('attachments and addresses', asked, leases),
      ...differ(
        'the journal of addresses and the plugin',
        leases,
        [...ipam.held.keys()].map((pod) => `${pod} added`),
      ),
      ...host.journal.queue().map(({ key, reason }) => `${key.containerId} is queued: ${reason}`),
      ...rows.flatMap(({ key }) => (this.runtime.ended.has(key.containerId) ? [`${key.containerId} is there after its DEL`] : [])),
    ]
  }

  #expectNothingWrong(): void {
    const wrong = [...this.node.wrong, ...this.runtime.lacking(), ...this.#unclean(), ...this.#atOdds()]
    if (wrong.length > 0) this.#fail(wrong)
  }

  /** Whoever leases a free VF must find it as it was before anybody had it, on both sides. */
  #unclean(): string[] {
    const { host, kernel, network } = this.node
    const ports = new Map([...network.connected].map(([key, { port }]) => [port, key]))
    return (host?.journal?.vfs() ?? []).flatMap(({ vf, state }) => {
      if (state !== 'free') return []
      const holder = ports.get(`port${vf.index}`)
      const wrong = holder === undefined ? [] : [`VF ${vf.index} is free, and on the DPU ${holder} has it`]
      return kernel.isPristine(kernel.functions[vf.index]!) ? wrong : [...wrong, `VF ${vf.index} is free and not pristine`]
    })
  }

  /** Where host and agent stand otherwise than the documentation has it. */
  #atOdds(): string[] {
    const [host, agent] = [this.node.host?.journal, this.node.agent?.journal]
    if (host === undefined || agent === undefined) return []
    const [rows, queue, known] = [host.all(), host.queue(), agent.all()]
    return host.vfs().flatMap(({ vf, state, key }) => {
      const here = ({ vf: of }: { readonly vf: VfId }): boolean => of.index === vf.index
      const left = queue.find(here)
      const onHost =
        left === undefined
          ? (rows.find(here)?.phase ?? state)
          : `${state}, ${left.detach ? 'the agent has to confirm' : 'it has confirmed'}`
      const row = known.find(here)
      const onAgent = row?.state ?? 'absent'
      if (row !== undefined && key !== undefined && formatAttachmentKey(row.key) !== formatAttachmentKey(key))
        return [`VF ${vf.index} is ${formatAttachmentKey(key)}'s on the host, and ${formatAttachmentKey(row.key)}'s on the DPU`]
      return DOCUMENTED.get(onHost)?.has(onAgent) === true ? [] : [`VF ${vf.index} is ${onHost} on the host and ${onAgent} on the DPU`]
    })
  }

  #fail(wrong: readonly string[]): never {
    throw new Error(`${wrong.join('\n')}\nafter\n${this.turns.trace.join('\n')}`)
  }

  [Symbol.dispose](): void {
    this.node[Symbol.dispose]()
  }
}

describe('whatever happens to host and agent in whatever order', () => {
  afterEach(() => vi.restoreAllMocks())

  test('no VF is in two pods, running pods keep their network, and what has ended leaves nothing', { timeout: 86_400_000 }, async () => {
    const began = performance.now()
    let [histories, turns] = [0, 0]
    const picks = fc.array(fc.nat({ max: 1_000 }), { maxLength: 500, size: 'max' })
    await fc.assert(
      fc.asyncProperty(fc.array(op, { maxLength: 40, size: 'max' }), picks, async (happens, order) => {
        using history = new History()
        await history.play([], [])
        await history.play(happens, order)
        await history.settle()
        await history.end()
        await history.begin()
        histories++
        turns += history.turns.trace.length
      }),
      {
        // Without being asked for more, a machine that is busy does fewer of them.
        ...(runs === undefined
          ? { numRuns: 80, interruptAfterTimeLimit: 12_000, markInterruptAsFailure: false }
          : { numRuns: Number(runs) }),
        ...(seed === undefined ? {} : { seed: Number(seed) }),
        ...(path === undefined ? {} : { path }),
      },
    )
    console.log(`${histories} histories of ${turns} steps in ${Math.round(performance.now() - began)} ms`)
    expect(turns).toBeGreaterThan(histories)
  })
})
