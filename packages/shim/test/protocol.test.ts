import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { frame, ReplyReader } from '../src/protocol.ts'
import { reply } from './fake-daemon.ts'

describe('frame', () => {
  it('puts the length of the UTF-8 first', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), (content) => {
        const bytes = Buffer.from(frame(content))
        expect(bytes.readUInt32BE()).toBe(Buffer.byteLength(content))
        expect(bytes.subarray(4).toString()).toBe(content)
      }),
    )
    expect(Buffer.from(frame('x'.repeat(0x01020304))).readUInt32BE()).toBe(0x01020304)
  })
})

describe('ReplyReader', () => {
  it('puts a reply together whatever the pieces', () => {
    const pieces = fc.array(fc.integer({ min: 1, max: 70_000 }), { minLength: 1, maxLength: 8 })
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), fc.nat(200_000), fc.nat(255), pieces, (head, filler, status, sizes) => {
        const stdout = Buffer.concat([head, Buffer.alloc(filler, 7)])
        const bytes = reply(status, stdout)
        const reader = new ReplyReader()
        for (let at = 0, turn = 0; at < bytes.length; turn++) {
          expect(reader.state()).toBe('incomplete')
          const chunk = bytes.subarray(at, at + sizes[turn % sizes.length]!)
          reader.push(Buffer.concat([chunk, Buffer.from('rubbish of an earlier piece')]), chunk.length)
          at += chunk.length
        }
        expect(reader.state()).toBe('complete')
        expect(reader.answer().status).toBe(status)
        expect(Buffer.from(reader.answer().stdout).equals(stdout)).toBe(true)
      }),
    )
  })

  it.each([
    ['no status', [0, 0, 0, 0]],
    ['more than 16 MiB', [1, 0, 0, 1]],
    ['the largest length', [255, 255, 255, 255]],
  ])('refuses %s', (_what, bytes) => {
    const reader = new ReplyReader()
    reader.push(Uint8Array.from(bytes), 4)
    expect(reader.state()).toBe('malformed')
  })

  it('takes exactly 16 MiB', () => {
    const reader = new ReplyReader()
    reader.push(Uint8Array.of(1, 0, 0, 0), 4)
    expect(reader.state()).toBe('incomplete')
  })
})
