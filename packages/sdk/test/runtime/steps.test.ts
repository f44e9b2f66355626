import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { describe, expect, it } from 'vitest'
import { reached, STEPS_CHANNEL } from '../../src/runtime/index.ts'

describe('reached', () => {
  it('tells subscribers before it returns, and nobody once there are none', () => {
    const seen: unknown[] = []
    const note = (step: unknown): void => void seen.push(step)
    reached('x.add.before')
    subscribe(STEPS_CHANNEL, note)
    reached('x.add.one')
    expect(seen).toEqual(['x.add.one'])
    unsubscribe(STEPS_CHANNEL, note)
    reached('x.add.after')
    expect(seen).toEqual(['x.add.one'])
  })
})
