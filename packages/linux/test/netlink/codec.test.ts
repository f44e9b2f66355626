import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { attribute, decodeMessages, encodeMessage, nested, readAttributes, readText, text, uint32 } from '../../src/netlink/codec.ts'
import { interfaceName } from '../../src/netlink/link.ts'

const bytes = fc.uint8Array({ maxLength: 300 })

describe('attributes', () => {
  test('are read as they were written, each aligned to four bytes', () => {
    const attributes = fc.uniqueArray(fc.tuple(fc.integer({ min: 1, max: 0x3fff }), bytes), { selector: ([type]) => type })
    fc.assert(
      fc.property(attributes, (list) => {
        const encoded = Buffer.concat(list.map(([type, data]) => attribute(type, data)))
        expect(encoded.length % 4).toBe(0)
        const read = readAttributes(encoded)
        expect([...read].map(([type, data]) => [type, [...data]])).toEqual(list.map(([type, data]) => [type, [...data]]))
      }),
    )
  })

  test('can hold attributes', () => {
    const outer = readAttributes(nested(7, [attribute(1, uint32(5)), attribute(2, text('mirred'))]))
    const inner = readAttributes(outer.get(7)!)
    expect(inner.get(1)!.readUInt32LE()).toBe(5)
    expect(readText(inner.get(2)!)).toBe('mirred')
  })

  test('never make reading fail, whatever the bytes are', () => {
    fc.assert(
      fc.property(bytes, (data) => {
        const total = [...readAttributes(Buffer.from(data)).values()].reduce((sum, value) => sum + value.length, 0)
        expect(total).toBeLessThanOrEqual(data.length)
      }),
    )
  })

  test('that do not fit are refused', () => {
    expect(() => attribute(1, Buffer.alloc(65_532))).toThrow(/EMSGSIZE/)
  })
})

describe('messages', () => {
  test('are read as they were written', () => {
    const u16 = fc.integer({ min: 0, max: 0xffff })
    const message = fc.record({ type: u16, flags: u16, seq: fc.integer({ min: 0, max: 0xffff_ffff }), data: bytes })
    fc.assert(
      fc.property(fc.array(message, { maxLength: 5 }), (list) => {
        const padded = list.map(({ type, flags, seq, data }) => encodeMessage(type, flags, seq, [attribute(1, data)]))
        const read = [...decodeMessages(Buffer.concat(padded))]
        expect(read.map(({ type, flags, seq }) => ({ type, flags, seq }))).toEqual(
          list.map(({ type, flags, seq }) => ({ type, flags, seq })),
        )
        expect(read.map(({ payload }) => [...readAttributes(payload).get(1)!])).toEqual(list.map(({ data }) => [...data]))
      }),
    )
  })

  test('of impossible length are refused, and arbitrary bytes end in nothing worse', () => {
    expect(() => [...decodeMessages(Buffer.alloc(20))]).toThrow(/EBADMSG/)
    fc.assert(
      fc.property(bytes, (data) => {
        try {
          expect([...decodeMessages(Buffer.from(data))].length).toBeLessThanOrEqual(data.length / 16)
        } catch (error) {
          expect(String(error)).toMatch(/EBADMSG/)
        }
      }),
    )
  })
})

describe('interface names', () => {
  test.each(['eth0', 'a', 'enp1s0f0v0.100', 'ünï', '123456789012345'])('%j is one', (name) => {
    expect(readText(interfaceName(name))).toBe(name)
  })

  test.each(['', '.', '..', 'a/b', 'a:b', 'a b', 'eth%d', 'a\0b', '1234567890123456', 'ääääääää'])('%j is none', (name) => {
    expect(() => interfaceName(name)).toThrow(/EINVAL/)
  })
})
