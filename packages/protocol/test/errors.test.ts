import { ERROR_CODES, type ErrorCode, OffloadError } from '@cni-offload/sdk'
import { Metadata, status } from '@grpc/grpc-js'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { errorFromStatus, statusFromError } from '../src/errors.ts'

const codes = Object.keys(ERROR_CODES) as ErrorCode[]

test('code, message and hint of every error come back', () => {
  const text = fc.string({ unit: 'grapheme', maxLength: 300 })
  fc.assert(
    fc.property(fc.constantFrom(...codes), text, fc.option(text, { nil: undefined }), (code, message, hint) => {
      const sent = statusFromError(new OffloadError(code, message, hint === undefined ? {} : { hint }))
      expect(sent.code).toBe(ERROR_CODES[code].grpc)
      const back = errorFromStatus(sent, 'call')
      expect({ code: back.code, message: back.message, hint: back.hint }).toEqual({ code, message, hint })
      expect(back.cause).toBe(sent)
    }),
  )
})

test('texts that are not well formed or too long for a header are made to fit', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 50 }), fc.integer({ min: 1, max: 2000 }), (piece, times) => {
      const sent = statusFromError(new OffloadError('INTERNAL', piece.repeat(times), { hint: piece.repeat(times) }))
      expect(sent.details.length).toBeLessThanOrEqual(1024)
      expect(() => encodeURI(sent.details)).not.toThrow()
      expect(JSON.stringify(sent.metadata.toHttp2Headers()).length).toBeLessThan(60_000)
    }),
  )
})

describe('a status that is not one of ours', () => {
  test.each([
    [status.UNAVAILABLE, 'AGENT_UNREACHABLE'],
    [status.DEADLINE_EXCEEDED, 'DEADLINE_EXCEEDED'],
    [status.CANCELLED, 'CANCELLED'],
    [status.UNAUTHENTICATED, 'PERMISSION_DENIED'],
    [status.PERMISSION_DENIED, 'PERMISSION_DENIED'],
    [status.UNIMPLEMENTED, 'INCOMPATIBLE_PEER'],
    [status.RESOURCE_EXHAUSTED, 'RESOURCE_EXHAUSTED'],
    [status.INVALID_ARGUMENT, 'UNDECODABLE'],
    [status.FAILED_PRECONDITION, 'NOT_READY'],
    [status.NOT_FOUND, 'NOT_FOUND'],
    [status.ALREADY_EXISTS, 'ALREADY_EXISTS'],
    [status.UNKNOWN, 'INTERNAL'],
    [status.DATA_LOSS, 'INTERNAL'],
    [4711, 'INTERNAL'],
  ] as const)('%i becomes %s', (code, expected) => {
    const error = errorFromStatus({ code: code as status, details: 'why' }, 'attach on tcp://x:1')
    expect(error.code).toBe(expected)
    expect(error.message).toMatch(/^attach on tcp:\/\/x:1: .*why/)
  })

  test('a code that nobody knows does not get in', () => {
    const metadata = new Metadata()
    metadata.set('offload-code', 'constructor')
    expect(errorFromStatus({ code: status.UNAVAILABLE, metadata }, 'x').code).toBe('AGENT_UNREACHABLE')
  })
})
