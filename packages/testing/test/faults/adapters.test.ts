import {
  silentLogger,
  type AttachmentKey,
  type AttachRequest,
  type AttachResult,
  type CniAdapter,
  type Clock,
  formatAttachmentKey,
  OffloadError,
} from '@cni-offload/sdk'
import { type AdapterLie, lyingAdapter, slowAdapter, STRANGER } from '@cni-offload/testing/faults'
import { describe, expect, it } from 'vitest'

/** What an adapter has to do for these tests, and nothing of a network. */
class PlainAdapter implements CniAdapter {
  readonly name = 'plain'
  readonly specVersion = 'v1'
  readonly capabilities = { families: ['ipv4' as const], runtimeConfig: [], fixedMac: false }
  readonly held = new Map<string, { key: AttachmentKey; result: AttachResult }>()
  disposed = false
  #next = 2

  attach({ key }: AttachRequest): Promise<AttachResult> {
    const known = this.held.get(formatAttachmentKey(key))
    const ips = [{ address: `10.1.0.${this.#next}/24` }]
    const result = known?.result ?? { mac: '02:00:00:00:00:01', mtu: 1500, ips, routes: [], neighbours: [], dns: {}, sysctls: {} }
    if (known === undefined) this.#next++
    this.held.set(formatAttachmentKey(key), { key, result })
    return Promise.resolve(result)
  }
  detach({ key }: { key: AttachmentKey }): Promise<void> {
    this.held.delete(formatAttachmentKey(key))
    return Promise.resolve()
  }
  check(): Promise<void> {
    return Promise.reject(new OffloadError('CHECK_FAILED', 'never right'))
  }
  status(): Promise<void> {
    return Promise.resolve()
  }
  list(): Promise<AttachmentKey[]> {
    return Promise.resolve([...this.held.values()].map(({ key }) => key))
  }
  [Symbol.asyncDispose](): Promise<void> {
    this.disposed = true
    return Promise.resolve()
  }
}

const ctx = () => ({ signal: AbortSignal.timeout(20_000), log: silentLogger })
const request = (containerId: string): AttachRequest => ({ key: { network: 'podnet', containerId, ifName: 'eth0' } }) as AttachRequest

describe('lyingAdapter', () => {
  const lying = (...lies: AdapterLie[]) => {
    const honest = new PlainAdapter()
    return { honest, ...lyingAdapter(honest, ...lies) }
  }

  it('tells the truth where it does not lie, and is disposed with what it wraps', async () => {
    const { honest, adapter } = lying()
    const result = await adapter.attach(request('a'), ctx())
    expect(await adapter.attach(request('a'), ctx())).toEqual(result)
    expect(await adapter.list(ctx())).toEqual([request('a').key])
    await expect(adapter.check({} as never, ctx())).rejects.toMatchObject({ code: 'CHECK_FAILED' })
    await adapter.detach(request('a'), ctx())
    expect(honest.held.size).toBe(0)
    await adapter[Symbol.asyncDispose]?.()
    expect([adapter.name, honest.disposed]).toEqual(['plain', true])
  })

  it('attaches nothing and detaches nothing', async () => {
    const { honest, adapter, lies } = lying()
    const first = await adapter.attach(request('a'), ctx())
    lies.add('attach-does-nothing')
    const second = await adapter.attach(request('b'), ctx())
    expect(second.ips).not.toEqual(first.ips)
    expect({ ...second, ips: [] }).toEqual({ ...first, ips: [] })
    expect([...honest.held.keys()]).toEqual(['podnet/a/eth0'])
    lies.add('detach-does-nothing')
    await adapter.detach(request('a'), ctx())
    expect(honest.held.size).toBe(1)
  })

  it('answers differently, or nonsense', async () => {
    const { adapter, lies } = lying('repeats-differently')
    const first = await adapter.attach(request('a'), ctx())
    expect(await adapter.attach(request('a'), ctx())).not.toEqual(first)
    lies.add('answers-nonsense')
    expect((await adapter.attach(request('a'), ctx())).ips[0]?.address).not.toContain('/')
  })

  it('lists and checks what is not so', async () => {
    const { adapter, lies } = lying('lists-strangers', 'checks-nothing')
    await adapter.attach(request('a'), ctx())
    expect(await adapter.list(ctx())).toEqual([request('a').key, STRANGER])
    await adapter.check({} as never, ctx())
    lies.add('lists-nothing')
    expect(await adapter.list(ctx())).toEqual([])
  })
})

describe('slowAdapter', () => {
  /** Time that stands still until it is told to go on. */
  const held = () => {
    const gate = Promise.withResolvers<void>()
    const slept: number[] = []
    const clock: Clock = {
      now: () => 0,
      monotonic: () => 0,
      async sleep(ms, signal) {
        if (ms === 0) return
        slept.push(ms)
        await Promise.race([
          gate.promise,
          new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error))),
        ])
      },
    }
    return { clock, slept, go: gate.resolve }
  }

  it.each(['before', 'after'] as const)('waits %s the work', async (when) => {
    const honest = new PlainAdapter()
    const { clock, slept, go } = held()
    const adapter = slowAdapter(honest, { ms: { attach: 500 }, when, clock })
    const attached = adapter.attach(request('a'), ctx())
    await expect.poll(() => slept, { timeout: 15_000 }).toEqual([500])
    expect(honest.held.size).toBe(when === 'before' ? 0 : 1)
    go()
    expect(await attached).toMatchObject({ mtu: 1500 })
    await adapter.detach(request('a'), ctx())
  })

  it('gives up with its caller, unless it is deaf', async () => {
    const signal = AbortSignal.abort(new Error('gave up'))
    const abort = new AbortController()
    const heeding = slowAdapter(new PlainAdapter(), { ms: { attach: 60_000 } })
    await expect(heeding.attach(request('a'), { ...ctx(), signal })).rejects.toThrow('gave up')
    const honest = new PlainAdapter()
    const { clock, go } = held()
    const attached = slowAdapter(honest, { ms: { attach: 500 }, deaf: true, clock }).attach(request('a'), {
      ...ctx(),
      signal: abort.signal,
    })
    abort.abort()
    go()
    await attached
    expect(honest.held.size).toBe(1)
  })
})
