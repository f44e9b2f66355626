import { describe, expect, it } from 'vitest'
import { aborted } from '../../src/runtime/index.ts'

describe('aborted', () => {
  it('resolves when the signal aborts, not before', async () => {
    const controller = new AbortController()
    let over = false
    const done = aborted(controller.signal).then(() => (over = true))
    await new Promise((resolve) => setImmediate(resolve))
    expect(over).toBe(false)
    controller.abort(new Error('enough'))
    expect(await done).toBe(true)
  })

  it('resolves for a signal that has aborted already', async () => {
    await expect(aborted(AbortSignal.abort())).resolves.toBeUndefined()
  })
})
