import { describe, expect, it } from 'vitest'
import { causeMessages, OffloadError } from '../../src/index.ts'

describe('OffloadError', () => {
  it('recognises itself across copies of the package', () => {
    const foreign = Object.assign(new Error('x'), { name: 'OffloadError', code: 'NOT_FOUND' })
    expect(OffloadError.is(foreign)).toBe(true)
    expect(OffloadError.is(Object.assign(new Error('x'), { code: 'NOT_FOUND' }))).toBe(false)
    expect(OffloadError.is(Object.assign(new Error('x'), { name: 'OffloadError', code: 'EVIL' }))).toBe(false)
    expect(OffloadError.is({ name: 'OffloadError', code: 'NOT_FOUND' })).toBe(false)
  })

  it('turns anything into one of its kind', () => {
    const own = new OffloadError('NO_FREE_VF', 'none', { hint: 'wait' })
    expect(OffloadError.from(own)).toBe(own)
    expect(own.retryable).toBe(true)
    expect(OffloadError.from(new Error('x'), 'KERNEL_REFUSED', 'move')).toMatchObject({
      code: 'KERNEL_REFUSED',
      message: 'move: x',
      retryable: true,
    })
    expect(OffloadError.from(new DOMException('t', 'TimeoutError')).code).toBe('DEADLINE_EXCEEDED')
    expect(OffloadError.from(new DOMException('a', 'AbortError')).code).toBe('CANCELLED')
    expect(OffloadError.from(5)).toMatchObject({ code: 'INTERNAL', message: '5', cause: 5 })
  })

  it('has no cause property where there is no cause', () => {
    expect(Object.hasOwn(new OffloadError('INTERNAL', 'x'), 'cause')).toBe(false)
  })
})

describe('causeMessages', () => {
  it('lists each message once, outermost first, and ends', () => {
    const loop = new Error('a', { cause: 'b' })
    const outer = new Error('0', { cause: new Error('a', { cause: loop }) })
    expect(causeMessages(outer)).toEqual(['a', 'b'])
    const chain = Array.from({ length: 9 }, (_, at) => at).reduceRight<unknown>((cause, at) => new Error(`e${at}`, { cause }), undefined)
    expect(causeMessages(chain, 3)).toEqual(['e1', 'e2', 'e3'])
    expect(causeMessages('x')).toEqual([])
  })
})
