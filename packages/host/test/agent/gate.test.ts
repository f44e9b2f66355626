import { describe, expect, it } from 'vitest'
import { Gate } from '../../src/agent/gate.ts'

const never = new AbortController().signal

describe('Gate', () => {
  it('keeps callers back until it opens', async () => {
    const gate = new Gate()
    const entered: string[] = []
    const waiting = ['a', 'b'].map((name) => gate.enter(never).then((pass) => (entered.push(name), pass)))
    await new Promise((resolve) => setImmediate(resolve))
    expect(entered).toEqual([])
    gate.open()
    for (const pass of await Promise.all(waiting)) pass[Symbol.dispose]()
    expect(entered).toEqual(['a', 'b'])
  })

  it('keeps back those who were admitted but had not entered when it closed again', async () => {
    const gate = new Gate()
    let entered = false
    const waiting = gate.enter(never).then((pass) => ((entered = true), pass))
    gate.open()
    gate.close()
    await new Promise((resolve) => setImmediate(resolve))
    expect(entered).toBe(false)
    gate.open()
    ;(await waiting)[Symbol.dispose]()
  })

  it('knows when nobody is inside', async () => {
    const gate = new Gate()
    gate.open()
    const [a, b] = [await gate.enter(never), await gate.enter(never)]
    gate.close()
    let empty = false
    const emptied = gate.emptied(never).then(() => (empty = true))
    a[Symbol.dispose]()
    a[Symbol.dispose]()
    await new Promise((resolve) => setImmediate(resolve))
    expect(empty).toBe(false)
    b[Symbol.dispose]()
    await emptied
    await gate.emptied(never)
  })

  it('lets callers give up', async () => {
    const gate = new Gate()
    const patience = new AbortController()
    const waiting = gate.enter(patience.signal)
    patience.abort(new Error('enough'))
    await expect(waiting).rejects.toThrow('enough')
    gate.open()
    using _pass = await gate.enter(never)
    gate.close()
    const other = new AbortController()
    const emptied = gate.emptied(other.signal)
    other.abort(new Error('enough'))
    await expect(emptied).rejects.toThrow('enough')
    await expect(gate.enter(AbortSignal.abort(new Error('before')))).rejects.toThrow('before')
  })
})
