import { expect, it } from 'vitest'
import { OffloadError } from '../../src/index.ts'
import { refuseIfAborted } from '../../src/runtime/index.ts'

it('refuses nothing as long as nothing has aborted', () => {
  expect(() => refuseIfAborted(new AbortController().signal)).not.toThrow()
})

it('refuses as CANCELLED, or as what the signal gives for a reason', () => {
  expect(() => refuseIfAborted(AbortSignal.abort())).toThrow(expect.objectContaining({ code: 'CANCELLED' }))
  const late = new OffloadError('DEADLINE_EXCEEDED', 'too late')
  expect(() => refuseIfAborted(AbortSignal.abort(late))).toThrow(late)
})
