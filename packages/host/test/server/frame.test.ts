import type { OffloadError } from '@cni-offload/sdk'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { encodeReply, FrameReader, MAX_FRAME_BYTES } from '../../src/server/frame.ts'
import { parseRequest } from '../../src/server/request.ts'
import { frame } from '../support/call.ts'

describe('FrameReader', () => {
  it('gives the content whatever the chunks, and ignores what follows', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1 }), (content, sizes) => {
        const bytes = Buffer.concat([frame(Buffer.from(content)), Buffer.from('rest')])
        const reader = new FrameReader()
        let at = 0
        for (let n = 0; at < bytes.length; n++) {
          const size = sizes[n % sizes.length]!
          const got = reader.push(bytes.subarray(at, at + size))
          at += size
          if (got !== undefined) return void expect(got.equals(content)).toBe(true)
          expect(at).toBeLessThan(4 + content.length)
        }
        expect.unreachable('no frame')
      }),
    )
  })

  it('refuses a length beyond the limit before anything of it was sent', () => {
    const length = Buffer.alloc(4)
    length.writeUInt32BE(MAX_FRAME_BYTES + 1)
    expect(() => new FrameReader().push(length)).toThrow(expect.objectContaining({ code: 'UNDECODABLE' }))
    length.writeUInt32BE(MAX_FRAME_BYTES)
    expect(new FrameReader().push(length)).toBeUndefined()
  })
})

describe('encodeReply', () => {
  it('counts bytes, not characters', () => {
    const reply = encodeReply({ exitCode: 3, output: 'ä€' })
    expect([reply.readUInt32BE(0), reply.readUInt8(4), reply.subarray(5).toString()]).toEqual([6, 3, 'ä€'])
  })
})

describe('parseRequest', () => {
  it.each([
    ['no JSON', Buffer.from('{'), 'not JSON'],
    ['bytes that are no UTF-8', Buffer.from([0x22, 0xff, 0x22]), 'not JSON'],
    ['an unknown kind', Buffer.from('{"v":1,"kind":"exec"}'), 'kind = "exec"'],
    [
      'a variable that is no text',
      Buffer.from('{"v":1,"kind":"cni","env":{"CNI_COMMAND":1},"stdin":"","deadlineMs":1}'),
      'env.CNI_COMMAND = 1',
    ],
    ['no deadline', Buffer.from('{"v":1,"kind":"cni","env":{},"stdin":""}'), 'deadlineMs is missing'],
    ['null', Buffer.from('null'), 'request'],
  ])('refuses %s', (_what, content, text) => {
    expect(() => parseRequest(content)).toThrow(expect.objectContaining({ code: 'UNDECODABLE', message: expect.stringContaining(text) }))
  })

  it.each([
    [2, 'Upgrade the host daemon.'],
    [0, 'Upgrade the CNI executable and the command line tool.'],
  ])('says what to upgrade where its caller speaks version %d', (v, hint) => {
    const error = expect.objectContaining({ code: 'INCOMPATIBLE_PEER', message: expect.stringContaining(`v = ${v}`) as string, hint })
    expect(() => parseRequest(Buffer.from(JSON.stringify({ v, kind: 'inspect' })))).toThrow(error)
  })

  it('takes no offence at fields that only a newer caller knows', () => {
    const newer = { v: 1, kind: 'cni', env: {}, stdin: '', deadlineMs: 1, colour: 'blue' }
    expect(parseRequest(Buffer.from(JSON.stringify(newer)))).toEqual({ v: 1, kind: 'cni', env: {}, stdin: '', deadlineMs: 1 })
  })

  it('never throws anything but OffloadError', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.json().map((text) => Buffer.from(text)),
          fc.uint8Array().map((bytes) => Buffer.from(bytes)),
        ),
        (content) => {
          try {
            parseRequest(content)
          } catch (error) {
            expect(['UNDECODABLE', 'INCOMPATIBLE_PEER']).toContain((error as OffloadError).code)
          }
        },
      ),
    )
  })
})
