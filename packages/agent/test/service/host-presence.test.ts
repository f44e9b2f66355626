import type { HostBeat } from '@cni-offload/protocol'
import { silentLogger } from '@cni-offload/sdk'
import { describe, expect, test } from 'vitest'
import { HostPresence } from '../../src/service/host-presence.ts'
import { TestClock } from '../support/clock.ts'

const NEVER = new AbortController().signal

/** A host that beats when the test says so. */
class Host {
  readonly #queue: HostBeat[] = []
  #wake = (): void => {}
  #gone: Error | undefined

  beat(stopping = false): void {
    this.#queue.push({ stopping })
    this.#wake()
  }

  goAway(): void {
    this.#gone = new Error('the connection is gone')
    this.#wake()
  }

  async *beats(): AsyncGenerator<HostBeat> {
    for (;;) {
      const next = this.#queue.shift()
      if (next !== undefined) yield next
      else if (this.#gone !== undefined) throw this.#gone
      else await new Promise<void>((resolve) => (this.#wake = resolve))
    }
  }
}

const start = () => {
  const clock = new TestClock()
  const warnings: string[] = []
  const log = { ...silentLogger, warn: (_fields: object, message: string) => void warnings.push(message) }
  const presence = new HostPresence({ clock, limits: { beatMs: 1_000, silenceMs: 2_500 }, log })
  return { clock, presence, warnings }
}

const turns = async (count = 20): Promise<void> => {
  for (let turn = 0; turn < count; turn++) await new Promise((resolve) => setImmediate(resolve))
}

describe('HostPresence', () => {
  test('beats each second while the host does, and knows that it is there', async () => {
    const { clock, presence, warnings } = start()
    expect([presence.state, presence.text]).toEqual(['unknown', 'host not heard of yet'])
    const host = new Host()
    const beats = presence.meet(host.beats(), NEVER)
    for (let n = 0; n < 5; n++) {
      const next = beats.next()
      host.beat()
      await turns()
      clock.advance(1_000)
      expect(await next).toEqual({ done: false, value: { restarting: false } })
    }
    expect([presence.state, presence.text]).toEqual(['there', 'host connected'])
    expect(warnings).toEqual([])
  })

  test('takes silence for a loss, and says for how long', async () => {
    const { clock, presence, warnings } = start()
    const host = new Host()
    const beats = presence.meet(host.beats(), NEVER)
    await beats.next()
    const ended = (async () => {
      for await (const _beat of beats);
    })().catch((error: unknown) => error)
    for (let n = 0; n < 5; n++) {
      await turns()
      clock.advance(500)
    }
    expect(await ended).toMatchObject({ code: 'AGENT_UNREACHABLE', message: 'no heartbeat of the host for 2500 ms' })
    expect(presence.state).toBe('lost')
    clock.advance(7_000)
    expect(presence.text).toBe('host lost for 7 s')
    expect(warnings).toEqual(['host lost; pods go on'])
  })

  test.each<[string, (host: Host) => void, string]>([
    ['has said that it stops', (host) => host.beat(true), 'stopped'],
    ['is cut off', (host) => host.goAway(), 'lost'],
  ])('ends when the host %s', async (_what, act, state) => {
    const { presence } = start()
    const host = new Host()
    const beats = presence.meet(host.beats(), NEVER)
    await beats.next()
    const rest = beats.next().catch((error: unknown) => error)
    act(host)
    await rest
    expect(presence.state).toBe(state)
  })

  test('what becomes of an older connection says nothing', async () => {
    const { presence, warnings } = start()
    const [older, newer] = [new Host(), new Host()]
    const first = presence.meet(older.beats(), NEVER)
    await first.next()
    await presence.meet(newer.beats(), NEVER).next()
    const rest = first.next().catch((error: unknown) => error)
    older.goAway()
    await rest
    expect([presence.state, warnings]).toEqual(['there', []])
  })

  test('tells the host that it restarts, with its last beat', async () => {
    const { presence, warnings } = start()
    const beats = presence.meet(new Host().beats(), NEVER)
    await beats.next()
    const last = beats.next()
    presence.restarting()
    expect(await last).toEqual({ done: false, value: { restarting: true } })
    expect((await beats.next()).done).toBe(true)
    expect(warnings).toEqual([])
  })
})
