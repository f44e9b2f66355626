import { OffloadError } from '@cni-offload/sdk'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type Card, endOf, functionsOf, pciAddresses } from '../src/card.ts'

const card: Card = { device: 'soft0', vfs: 1024, node: 'node-a', mtu: 1500 }

const cards = fc.record({
  device: fc.stringMatching(/^[a-z][a-z0-9]{0,7}$/),
  vfs: fc.integer({ min: 1, max: 1024 }),
  node: fc.string({ minLength: 1 }),
  mtu: fc.integer({ min: 1280, max: 65_535 }),
})

describe('pciAddresses', () => {
  it('makes up a valid address for every function, each another one, and none unless told to', () => {
    expect(pciAddresses(card, 0)).toBeUndefined()
    const all = functionsOf(card).map(({ index }) => pciAddresses({ ...card, pciBus: 'f000:ef' }, index))
    expect(all[0]).toEqual({ pciAddress: 'f000:ef:00.1', pfPciAddress: 'f000:ef:00.0' })
    expect(all[255]?.pciAddress).toBe('f000:f0:00.0')
    for (const addresses of all) expect(addresses?.pciAddress).toMatch(/^[0-9a-f]{4}:[0-9a-f]{2}:[01][0-9a-f]\.[0-7]$/)
    expect(new Set(all.flatMap((addresses) => [addresses?.pciAddress, addresses?.pfPciAddress])).size).toBe(1025)
  })
})

describe('endOf', () => {
  it('gives every end of two nodes a locally administered unicast MAC of its own', () => {
    const macs = ['node-a', 'node-b'].flatMap((node) =>
      functionsOf(card).flatMap((vf) => (['vf', 'port'] as const).map((end) => endOf({ ...card, node }, vf, end).mac)),
    )
    expect(new Set(macs).size).toBe(4 * card.vfs)
    for (const mac of macs) {
      expect(mac).toMatch(/^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/)
      expect(Number.parseInt(mac.slice(0, 2), 16) & 0b11).toBe(0b10)
    }
  })

  it('gives the same addresses in every release, since plugged cards keep them', () => {
    expect(endOf(card, { device: 'soft0', index: 3 }, 'vf')).toEqual({
      vf: { device: 'soft0', index: 3 },
      end: 'vf',
      name: 'soft0v3',
      mac: 'be:61:e0:2c:73:d0',
      mtu: 1500,
    })
  })

  it('has names that the kernel accepts', () => {
    fc.assert(fc.property(cards, (any) => functionsOf(any).every((vf) => endOf(any, vf, 'port').name.length <= 15)))
  })

  it.each([
    { device: 'soft0', index: 1024 },
    { device: 'soft0', index: -1 },
    { device: 'soft0', index: 0.5 },
    { device: 'soft1', index: 0 },
  ])('refuses $device/$index', (vf) => {
    expect(() => endOf(card, vf, 'vf')).toThrow(expect.objectContaining({ code: 'HARDWARE_FAILURE' }))
    expect(() => endOf(card, vf, 'vf')).toThrow(OffloadError)
  })
})
