import type { AttachCall, CallContext, OffloadApi, ResyncEvent } from '@cni-offload/protocol'
import type { Clock } from '@cni-offload/sdk'
import { type ApiMethod, type CallFault, FaultyApi, randomFaults, scriptedFaults, seededRandom } from '@cni-offload/testing/faults'
import { describe, expect, it } from 'vitest'

const KEY = { network: 'podnet', containerId: 'c', ifName: 'eth0' }
const CALL = { key: KEY, vf: { device: 'd', index: 0 } } as unknown as AttachCall
const ctx = (timeoutMs?: number): CallContext => ({
  signal: new AbortController().signal,
  ...(timeoutMs === undefined ? {} : { timeoutMs }),
})

/** Remembers in which order calls take effect; not an agent, only the end of the way. */
class Sink implements Pick<OffloadApi, 'attach' | 'detach' | 'list' | 'resync'> {
  readonly #name = 'sink'
  readonly effects: string[] = []

  attach(): Promise<{ result: never; port: string }> {
    this.effects.push('attach')
    return Promise.resolve({ result: undefined as never, port: this.#name })
  }
  detach(): Promise<void> {
    this.effects.push('detach')
    return Promise.resolve()
  }
  list(): Promise<never[]> {
    this.effects.push('list')
    return Promise.resolve([])
  }
  async *resync(wired: AsyncIterable<AttachCall>): AsyncGenerator<ResyncEvent> {
    for await (const { key } of wired) {
      this.effects.push('resync')
      yield { key, action: 'kept' }
    }
  }
  get own(): string {
    return this.#name
  }
  obstacle(): string {
    return this.#name
  }
}

/** Time that passes only when somebody sleeps, and at once. */
const hastyClock = (): Clock & { readonly slept: number[] } => {
  const slept: number[] = []
  return { slept, now: () => 0, monotonic: () => 0, sleep: (ms) => Promise.resolve(void slept.push(ms)) }
}

const faulty = (script: Partial<Record<ApiMethod, (CallFault | undefined)[]>>, clock: Clock = hastyClock()) => {
  const sink = new Sink()
  return { sink, clock, ...wrap(new FaultyApi(sink as unknown as OffloadApi & Sink, scriptedFaults(script), clock)) }
}
const wrap = (way: FaultyApi<OffloadApi & Sink>): { way: typeof way; api: OffloadApi & Sink } => ({ way, api: way.api })

const listed = async (events: AsyncIterable<ResyncEvent>): Promise<string[]> => {
  const seen: string[] = []
  for await (const { action } of events) seen.push(action)
  return seen
}
const two = async function* (): AsyncGenerator<AttachCall> {
  yield CALL
  yield CALL
}

describe('FaultyApi', () => {
  it('lets everything pass that nothing happens to, also what does not belong to offload.v1', async () => {
    const { api, way, sink } = faulty({})
    expect(await api.attach(CALL, ctx())).toMatchObject({ port: 'sink' })
    await api.detach(CALL, ctx())
    expect(await api.list(ctx())).toEqual([])
    expect(await listed(api.resync(two(), ctx()))).toEqual(['kept', 'kept'])
    expect([api.own, api.obstacle()]).toEqual(['sink', 'sink'])
    expect(sink.effects).toEqual(['attach', 'detach', 'list', 'resync', 'resync'])
    expect(way.injected).toEqual([])
  })

  it('loses requests before, and replies after their effect', async () => {
    const { api, way, sink } = faulty({ attach: [{ kind: 'request-lost' }, { kind: 'reply-lost' }] })
    await expect(api.attach(CALL, ctx())).rejects.toMatchObject({ code: 'AGENT_UNREACHABLE' })
    expect(sink.effects).toEqual([])
    await expect(api.attach(CALL, ctx())).rejects.toMatchObject({ code: 'AGENT_UNREACHABLE' })
    expect(sink.effects).toEqual(['attach'])
    way.use(scriptedFaults({ attach: [undefined, { kind: 'request-lost' }] }))
    await api.attach(CALL, ctx())
    await expect(api.attach(CALL, ctx())).rejects.toMatchObject({ code: 'AGENT_UNREACHABLE' })
    expect(way.injected.map(({ occurrence, fault }) => [occurrence, fault.kind])).toEqual([
      [1, 'request-lost'],
      [2, 'reply-lost'],
      [2, 'request-lost'],
    ])
  })

  it('is silent until the time of the call is over', async () => {
    const clock = hastyClock()
    const { api } = faulty({ detach: [{ kind: 'request-lost', silent: true }] }, clock)
    await expect(api.detach(CALL, ctx(700))).rejects.toMatchObject({ code: 'DEADLINE_EXCEEDED' })
    expect(clock.slept).toEqual([700])
  })

  it('delays', async () => {
    const clock = hastyClock()
    const { api, sink } = faulty({ attach: [{ kind: 'delayed', ms: 250 }] }, clock)
    await api.attach(CALL, ctx())
    expect(clock.slept).toEqual([250])
    expect(sink.effects).toEqual(['attach'])
  })

  it('duplicates, and repeats after another call', async () => {
    const { api, way, sink } = faulty({ attach: [{ kind: 'duplicated' }, { kind: 'repeated' }] })
    await api.attach(CALL, ctx())
    expect(sink.effects).toEqual(['attach', 'attach'])
    await api.attach(CALL, ctx())
    expect(sink.effects).toHaveLength(3)
    await api.detach(CALL, ctx())
    await way.settled()
    expect(sink.effects).toEqual(['attach', 'attach', 'attach', 'detach', 'attach'])
  })

  it('lets a call be overtaken by the next one', async () => {
    const never: Clock = { now: () => 0, monotonic: () => 0, sleep: () => new Promise(() => {}) }
    const { api, sink } = faulty({ attach: [{ kind: 'overtaken' }] }, never)
    const attached = api.attach(CALL, ctx())
    await api.detach(CALL, ctx())
    await attached
    expect(sink.effects).toEqual(['detach', 'attach'])
  })

  it('breaks a resync off', async () => {
    const { api, sink } = faulty({ resync: [{ kind: 'reply-lost' }, { kind: 'request-lost' }] })
    await expect(listed(api.resync(two(), ctx()))).rejects.toMatchObject({ code: 'AGENT_UNREACHABLE' })
    expect(sink.effects).toEqual(['resync'])
    await expect(listed(api.resync(two(), ctx()))).rejects.toMatchObject({ code: 'AGENT_UNREACHABLE' })
    expect(sink.effects).toEqual(['resync'])
  })
})

describe('randomFaults', () => {
  const draw = (seed: number): (string | undefined)[] => {
    const plan = randomFaults(seededRandom(seed), { oneIn: 3, faults: [{ kind: 'request-lost' }, { kind: 'duplicated' }] })
    return Array.from({ length: 300 }, (_, i) => plan({ method: i % 2 === 0 ? 'attach' : 'list', occurrence: i })?.kind)
  }

  it('is the same for the same seed, strikes about as often as it should, and only where it should', () => {
    expect(draw(7)).toEqual(draw(7))
    expect(draw(7)).not.toEqual(draw(8))
    const struck = draw(7).filter((kind) => kind !== undefined)
    expect(struck.length).toBeGreaterThan(25)
    expect(struck.length).toBeLessThan(75)
    expect(new Set(struck)).toEqual(new Set(['request-lost', 'duplicated']))
    expect(draw(7).filter((_, i) => i % 2 === 1)).toEqual(Array.from({ length: 150 }, () => undefined))
  })
})
