import fc from 'fast-check'
import { expect, it } from 'vitest'
import { comparePciAddresses, formatPciAddress, isPciAddress, parsePciAddress } from '../../src/pci/index.ts'

const address = fc.record({
  domain: fc.oneof(fc.integer({ min: 0, max: 0xffff }), fc.integer({ min: 0x1_0000, max: 0xffff_ffff })),
  bus: fc.integer({ min: 0, max: 255 }),
  device: fc.integer({ min: 0, max: 31 }),
  function: fc.integer({ min: 0, max: 7 }),
})

it('what is written is read again, with domains of any width', () => {
  fc.assert(fc.property(address, (given) => void expect(parsePciAddress(formatPciAddress(given))).toEqual(given)))
})

it('the order is that of the numbers', () => {
  const key = (a: { domain: number; bus: number; device: number; function: number }): bigint =>
    (BigInt(a.domain) << 16n) | BigInt((a.bus << 8) | (a.device << 3) | a.function)
  fc.assert(
    fc.property(address, address, (a, b) => {
      const wanted = key(a) < key(b) ? -1 : key(a) > key(b) ? 1 : 0
      expect(Math.sign(comparePciAddresses(formatPciAddress(a), formatPciAddress(b)))).toBe(wanted)
    }),
  )
  expect(['10000:00:00.0', '2000:00:00.0', '0002:01:01.0', '0002:01:00.7'].toSorted(comparePciAddresses)).toEqual([
    '0002:01:00.7',
    '0002:01:01.0',
    '2000:00:00.0',
    '10000:00:00.0',
  ])
})

it('an address without a domain is of domain 0, and capitals are written small', () => {
  expect(formatPciAddress(parsePciAddress('3B:1F.7'))).toBe('0000:3b:1f.7')
})

it.each(['', '1', '0000:01:00', '0000:01:20.0', '0000:01:00.8', '000:01:00.0', '0000:01:00.0/..', ' 0000:01:00.0', '0000:1:00.0'])(
  '%j is none',
  (text) => {
    expect(isPciAddress(text)).toBe(false)
    expect(() => parsePciAddress(text, 'pf')).toThrow(
      expect.objectContaining({ code: 'INVALID_CONFIG', message: expect.stringContaining(`pf = ${JSON.stringify(text)}`) }),
    )
  },
)
