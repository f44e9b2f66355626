import { describe, expect, it } from 'vitest'
import { encodeError } from '../../src/cni/index.ts'
import { OffloadError } from '../../src/index.ts'

const encoded = (error: unknown, version = '1.0.0'): unknown => JSON.parse(encodeError(error, version).json)

describe('encodeError', () => {
  it('has version, code, message, and in the details remedy and causes', () => {
    const cause = new Error('socket closed', { cause: new Error('ECONNRESET') })
    const error = new OffloadError('AGENT_UNREACHABLE', 'agent 10.0.0.1:8000 does not answer', { cause, hint: 'Is the agent running?' })
    expect(encoded(error, '0.4.0')).toEqual({
      cniVersion: '0.4.0',
      code: 11,
      msg: 'agent 10.0.0.1:8000 does not answer',
      details: 'Is the agent running?; socket closed; ECONNRESET',
    })
    expect(encodeError(error, '0.4.0').exitCode).toBe(1)
  })

  it('takes anything that was thrown', () => {
    expect(encoded(new TypeError('x is undefined'))).toEqual({ cniVersion: '1.0.0', code: 999, msg: 'x is undefined', details: '' })
    expect(encoded('text')).toMatchObject({ code: 999, msg: 'text' })
    expect(encoded(undefined)).toMatchObject({ code: 999 })
    expect(encoded(new DOMException('too slow', 'TimeoutError'))).toMatchObject({ code: 11 })
  })

  it('speaks the newest version where none is known', () => {
    expect(encoded(new Error('x'), '')).toMatchObject({ cniVersion: '1.1.0' })
  })

  it('keeps the words out that make containerd take a failed DEL for a success', () => {
    const cause = new Error("ENOENT: no such file or directory, open '/run/x'")
    const error = new OffloadError('ADAPTER_FAILED', 'plugin said: network not found, no such file or directory', {
      cause,
      hint: 'not found twice: not found',
    })
    expect(encoded(error)).toMatchObject({
      msg: 'plugin said: network not-found, ENOENT',
      details: "not-found twice: not-found; ENOENT, open '/run/x'",
    })
  })

  it('is short enough for an event', () => {
    const { json } = encodeError(new OffloadError('INTERNAL', 'x'.repeat(100_000), { hint: 'y'.repeat(100_000) }), '1.0.0')
    expect(json.length).toBeLessThan(10_000)
    expect(JSON.parse(json)).toMatchObject({ msg: expect.stringMatching(/^x+…$/), details: expect.stringMatching(/^y+…$/) })
  })
})
