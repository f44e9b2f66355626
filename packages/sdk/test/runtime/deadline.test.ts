import { once } from 'node:events'
import { describe, expect, it } from 'vitest'
import { OffloadError } from '../../src/index.ts'
import { deadline } from '../../src/runtime/index.ts'

const never = new AbortController().signal

describe('deadline', () => {
  it('aborts with a TimeoutError, which becomes DEADLINE_EXCEEDED', async () => {
    const signal = deadline(never, 5)
    expect(signal.aborted).toBe(false)
    // The timer of a timeout signal does not keep a process alive; this one does.
    const keepAlive = setInterval(() => {}, 1000)
    await once(signal, 'abort')
    clearInterval(keepAlive)
    expect(OffloadError.from(signal.reason).code).toBe('DEADLINE_EXCEEDED')
  })

  it.each([0, -1])('has passed already with %d ms', (ms) => {
    const signal = deadline(never, ms)
    expect(OffloadError.from(signal.reason).code).toBe('DEADLINE_EXCEEDED')
  })

  it('aborts with the reason of the caller', () => {
    const caller = new AbortController()
    const signal = deadline(caller.signal, 60_000)
    const reason = new Error('gave up')
    caller.abort(reason)
    expect(signal.reason).toBe(reason)
    expect(deadline(caller.signal, 0)).toBe(caller.signal)
  })

  it('accepts limits beyond what a timer can hold and fractions', async () => {
    const signals = [deadline(never, Number.MAX_SAFE_INTEGER), deadline(never, Infinity), deadline(never, 60_000.5)]
    await new Promise((resolve) => setTimeout(resolve, 5))
    expect(signals.map((signal) => signal.aborted)).toEqual([false, false, false])
  })
})
