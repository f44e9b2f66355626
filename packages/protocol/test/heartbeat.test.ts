import { type Clock, systemClock } from '@cni-offload/sdk'
import { describe, expect, test } from 'vitest'
import { pulse, untilSilent } from '../src/index.ts'

/** Sleeps end when the test says so, one at a time. */
const stepwise = () => {
  const sleeps: { ms: number; end(): void }[] = []
  const clock: Clock = {
    ...systemClock,
    sleep: (ms, signal) =>
      new Promise((resolve, reject) => {
        const sleep = { ms, end: resolve }
        sleeps.push(sleep)
        signal.addEventListener('abort', () => {
          sleeps.splice(sleeps.indexOf(sleep), 1)
          reject(signal.reason as Error)
        })
      }),
  }
  const turn = async (): Promise<number | undefined> => {
    await new Promise((resolve) => setImmediate(resolve))
    const sleep = sleeps.shift()
    sleep?.end()
    return sleep?.ms
  }
  return { clock, turn }
}

/** Beats that come when the test says so. */
const beating = () => {
  const queue: number[] = []
  let wake = (): void => {}
  let returned = false
  const beats = async function* (): AsyncGenerator<number> {
    try {
      for (;;) {
        const next = queue.shift()
        if (next === undefined) await new Promise<void>((resolve) => (wake = resolve))
        else yield next
      }
    } finally {
      returned = true
    }
  }
  const beat = (n: number): void => {
    queue.push(n)
    wake()
  }
  return { beats: beats(), beat, returned: () => returned }
}

describe('untilSilent', () => {
  test('passes beats on and fails after five pauses without one, in all as long as the silence', async () => {
    const { clock, turn } = stepwise()
    const { beats, beat } = beating()
    const never = new AbortController().signal
    const heard = untilSilent(beats, { clock, silenceMs: 2_500, who: 'the agent' }, never)
    const first = heard.next()
    for (let pause = 0; pause < 4; pause++) expect(await turn()).toBe(500)
    beat(1)
    expect(await first).toEqual({ done: false, value: 1 })
    const second = heard.next().catch((error: unknown) => error)
    for (let pause = 0; pause < 5; pause++) expect(await turn()).toBe(500)
    expect(await second).toMatchObject({ code: 'AGENT_UNREACHABLE', message: 'no heartbeat of the agent for 2500 ms' })
  })

  test('ends with the beats, with their failure, and with the signal', async () => {
    const { clock } = stepwise()
    const never = new AbortController().signal
    const silence = { clock, silenceMs: 1, who: 'x' }
    const few = async function* (): AsyncGenerator<number> {
      yield 1
    }
    const got: number[] = []
    for await (const one of untilSilent(few(), silence, never)) got.push(one)
    expect(got).toEqual([1])
    const broken = async function* (): AsyncGenerator<number> {
      throw new Error('cut')
    }
    await expect(untilSilent(broken(), silence, never).next()).rejects.toThrow('cut')
    const { beats } = beating()
    const abort = new AbortController()
    const next = untilSilent(beats, silence, abort.signal).next()
    abort.abort(new Error('enough'))
    await expect(next).rejects.toThrow('enough')
  })
})

describe('pulse', () => {
  test('beats at once and after each pause, until the signal aborts', async () => {
    const { clock, turn } = stepwise()
    const abort = new AbortController()
    const beats = pulse(clock, 1_000, abort.signal)
    expect((await beats.next()).done).toBe(false)
    const second = beats.next()
    expect(await turn()).toBe(1_000)
    expect((await second).done).toBe(false)
    const third = beats.next()
    abort.abort()
    expect((await third).done).toBe(true)
  })
})
