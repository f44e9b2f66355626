import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { formatIp, formatMac, normalizeCidr, normalizeIp, parseCidr, parseIp, parseMac, withHostBits } from '../../src/netlink/address.ts'

const raw = (length: number): fc.Arbitrary<Buffer> =>
  fc.uint8Array({ minLength: length, maxLength: length }).map((data) => Buffer.from(data))
// Runs of zeros are what makes the text form of IPv6 hard.
const sparse = fc.array(fc.constantFrom(0, 0, 0, 1, 0xff, 0xabcd), { minLength: 8, maxLength: 8 }).map((words) => {
  const bytes = Buffer.alloc(16)
  for (const [index, word] of words.entries()) bytes.writeUInt16BE(word, index * 2)
  return bytes
})
const any = fc.oneof(raw(4), raw(16), sparse)

describe('addresses', () => {
  test('are the same after formatting and parsing', () => {
    fc.assert(
      fc.property(any, (bytes) => {
        expect(parseIp(formatIp(bytes)).bytes).toEqual(bytes)
      }),
    )
  })

  test('of IPv6 are written as the URL standard writes them', () => {
    const mapped = (bytes: Buffer): boolean => bytes.subarray(0, 10).every((byte) => byte === 0) && bytes.readUInt16BE(10) === 0xffff
    fc.assert(
      fc.property(fc.oneof(raw(16), sparse), (bytes) => {
        fc.pre(!mapped(bytes))
        expect(`[${formatIp(bytes)}]`).toBe(new URL(`http://[${bytes.toString('hex').replace(/....(?!$)/g, '$&:')}]/`).hostname)
      }),
    )
  })

  test.each([
    ['FD00:0:0::0001', 'fd00::1'],
    ['::', '::'],
    ['::ffff:1.2.3.4', '::ffff:1.2.3.4'],
    ['64:ff9b::1.2.3.4', '64:ff9b::102:304'],
    ['10.0.0.2', '10.0.0.2'],
  ])('%s is %s in normal form', (given, normal) => {
    expect(normalizeIp(given)).toBe(normal)
  })

  test.each(['', '10.0.0', '10.0.0.256', 'fe80::1%eth0', 'fd00:::1', 'host', '10.0.0.2/24'])('%j is none', (given) => {
    expect(() => parseIp(given)).toThrow(/EINVAL: ".*" is no IP address/)
  })

  test('with prefix length keep it', () => {
    expect(normalizeCidr('FD00::0/64')).toBe('fd00::/64')
    expect(parseCidr('10.0.0.2/0').prefix).toBe(0)
    expect(parseCidr('fd00::/128').prefix).toBe(128)
  })

  test.each(['10.0.0.2', '10.0.0.2/33', 'fd00::/129', '10.0.0.2/-1', '10.0.0.2/1/2', '10.0.0.2/1e1', '10.0.0.2/'])(
    '%j has no prefix length',
    (given) => {
      expect(() => parseCidr(given)).toThrow(/EINVAL/)
    },
  )

  test('get host bits cleared or set without touching the prefix', () => {
    const bits = (bytes: Buffer): string => Array.from(bytes, (byte) => byte.toString(2).padStart(8, '0')).join('')
    fc.assert(
      fc.property(any, fc.nat(128), fc.constantFrom<0 | 1>(0, 1), (bytes, length, bit) => {
        const prefix = Math.min(length, bytes.length * 8)
        const expected = bits(bytes).slice(0, prefix) + String(bit).repeat(bytes.length * 8 - prefix)
        expect(bits(withHostBits(bytes, prefix, bit))).toBe(expected)
      }),
    )
  })
})

describe('MAC addresses', () => {
  test('are the same after formatting and parsing, in either case', () => {
    fc.assert(
      fc.property(raw(6), (bytes) => {
        expect(parseMac(formatMac(bytes))).toEqual(bytes)
        expect(parseMac(formatMac(bytes).toUpperCase())).toEqual(bytes)
      }),
    )
  })

  test('are empty for devices with another kind of address', () => {
    expect(formatMac(Buffer.alloc(4))).toBe('')
    expect(formatMac(Buffer.alloc(0))).toBe('')
  })

  test.each(['', '02:00:00:00:00', '02-00-00-00-00-01', '02:00:00:00:00:0g', '02:00:00:00:00:01:02'])('%j is none', (given) => {
    expect(() => parseMac(given)).toThrow(/EINVAL: ".*" is no MAC address/)
  })
})
