import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { endKey, formatNote, type FunctionEnd, isEnd, parseNote } from '../../src/function/index.ts'
import { type Link, PRISTINE_TRAITS } from '../../src/index.ts'

const soft: FunctionEnd = { vf: { device: 'soft0', index: 1 }, end: 'vf', name: 'soft0v1', mac: '02:00:00:00:00:01', mtu: 1500 }
const pci: FunctionEnd = { ...soft, vf: { device: 'octeon0', index: 1 }, pciAddress: '0000:01:02.1', name: 'enp1s0v1' }

const mac = fc
  .array(fc.integer({ min: 0, max: 255 }), { minLength: 6, maxLength: 6 })
  .map((bytes) => bytes.map((byte) => byte.toString(16).padStart(2, '0')).join(':'))
const ends: fc.Arbitrary<FunctionEnd> = fc
  .record({
    device: fc.stringMatching(/^[a-z][a-z0-9]{0,11}$/),
    index: fc.nat(1023),
    end: fc.constantFrom('vf' as const, 'port' as const),
    pciAddress: fc.option(fc.stringMatching(/^[0-9a-f]{4,8}:[0-9a-f]{2}:[01][0-9a-f]\.[0-7]$/), { nil: undefined }),
    name: fc.stringMatching(/^[a-zA-Z0-9_.-]{1,15}$/),
    mac,
    mtu: fc.integer({ min: 68, max: 65_535 }),
  })
  .map(({ device, index, pciAddress, ...rest }) => ({
    vf: { device, index },
    ...(pciAddress === undefined ? {} : { pciAddress }),
    ...rest,
  }))

const link = (alias: string, parent?: Link['parent']): Link => ({
  index: 1,
  name: 'x',
  mac: '',
  mtu: 0,
  up: false,
  carrier: false,
  alias,
  kind: '',
  traits: PRISTINE_TRAITS,
  altNames: [],
  ...(parent === undefined ? {} : { parent }),
  stats: { rxPackets: 0n, txPackets: 0n, rxBytes: 0n, txBytes: 0n },
})

describe('the note', () => {
  it('can be read back, whatever the end', () => {
    fc.assert(
      fc.property(ends, (end) => {
        expect(parseNote(formatNote(end))).toEqual(end)
        // IFALIASZ of the kernel
        expect(formatNote(end).length).toBeLessThan(256)
      }),
    )
  })

  it('can be read back when an adapter has noted something behind it', () => {
    expect(parseNote(`${formatNote(soft)} [mac=02:00:00:00:00:01 mtu=1500 whose]`)).toEqual(soft)
    for (const more of ['[]', ' whose', ' [whose', '0 [whose] more']) expect(parseNote(`${formatNote(soft)}${more}`)).toBeUndefined()
  })

  it('is not found in any other text', () => {
    fc.assert(fc.property(fc.string(), (text) => parseNote(text) === undefined))
  })
})

describe('isEnd', () => {
  it('tells ends, functions and cards apart, and not the MTU', () => {
    expect(isEnd(link(formatNote(soft)), soft)).toBe(true)
    expect(isEnd(link(formatNote({ ...soft, mtu: 9000 })), soft)).toBe(true)
    expect(isEnd(link(''), soft)).toBe(false)
    const others: FunctionEnd[] = [
      { ...soft, end: 'port' },
      { ...soft, vf: { device: 'soft0', index: 10 } },
      { ...soft, mac: '02:00:00:00:00:02' },
    ]
    for (const other of others) {
      expect(isEnd(link(formatNote(other)), soft)).toBe(false)
      expect(endKey(other)).not.toBe(endKey(soft))
    }
  })

  it('believes the kernel, which a pod cannot change, and no note, where the kernel tells whose interface it is', () => {
    const parent = { bus: 'pci', name: '0000:01:02.1' }
    expect(isEnd(link('', parent), pci)).toBe(true)
    expect(isEnd(link(formatNote({ ...pci, vf: { device: 'octeon0', index: 7 } }), parent), pci)).toBe(true)
    expect(isEnd(link(formatNote(pci), { bus: 'pci', name: '0000:01:02.2' }), pci)).toBe(false)
    expect(isEnd(link(formatNote(pci)), pci)).toBe(true)
  })
})
