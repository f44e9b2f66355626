import { parseCryptoAlgorithms } from '@cni-offload/linux/ipsec'
import { describe, expect, it } from 'vitest'
import { cptCapability, cptSilicon, inlineCapability, type InlineTrial, selectionOf } from '../../src/crypto/index.ts'
import { association, CPT, cryptoText, entry, GCM, SOFT, usingCpt, usingCpu } from '../support/crypto-entries.ts'

const of = (...entries: readonly string[]) => parseCryptoAlgorithms(cryptoText(...entries))

describe('how CPT takes part', () => {
  it.each([
    ['it is the best driver and there is no association', of(CPT, SOFT), [], 'lookaside', 'there are no associations'],
    ['associations use it', of(CPT, SOFT, usingCpt(1)), [association(1n)], 'lookaside', '1 uses of CPT'],
    [
      'associations are older than it',
      of(CPT, SOFT, usingCpu(1)),
      [association(1n)],
      'none',
      '10.0.0.1 → 10.0.0.2 SPI 0x3 began without CPT',
    ],
    [
      'some are',
      of(CPT, SOFT, usingCpt(1), usingCpu(1)),
      [association(1n), association(1n, { spi: 4 })],
      'lookaside',
      'some began without CPT, 10.0.0.1 → 10.0.0.2 SPI 0x3 and 1 more may be among them',
    ],
    ['associations cannot be read', of(CPT, SOFT), undefined, 'lookaside', 'could not be read'],
    ['an interface has all associations', of(CPT, SOFT), [association(1n, { offload: 'packet' })], 'inline', 'an interface has all 1'],
    [
      'an interface has some of them',
      of(CPT, SOFT),
      [association(1n, { offload: 'packet' }), association(1n)],
      'none',
      'no association uses CPT',
    ],
    ['it has no function that the kernel has', of(SOFT), [], 'none', 'no virtual function'],
    [
      'it failed its selftest',
      of(entry(GCM, 'cpt_rfc4106_gcm_aes', 0, { selftest: 'unknown' }), SOFT),
      [],
      'none',
      'has not passed its selftest',
    ],
    [
      'another driver is better',
      of(CPT, entry(GCM, 'qat_gcm', 0, { priority: 9000 })),
      [],
      'none',
      'qat_gcm has a higher priority than cpt_',
    ],
  ] as const)('if %s', (_, algorithms, associations, offload, because) => {
    const capability = cptCapability(algorithms, associations)
    expect(capability.offload).toBe(offload)
    expect(capability.because.join('\n')).toContain(because)
  })

  it('is told by entry', () => {
    expect(selectionOf(of(CPT, SOFT, usingCpt(3)))).toMatchObject({ byCpt: true, users: 3, preferred: { driver: 'cpt_rfc4106_gcm_aes' } })
    expect(selectionOf(of(SOFT, usingCpu(3)))).toMatchObject({ byCpt: false, users: 0, cpt: undefined })
  })
})

describe('silicon', () => {
  const name = (device: string, subsystemDevice: string, revision: number): string => cptSilicon({ device, subsystemDevice, revision }).name

  it('is told by subsystem and revision', () => {
    expect(name('a0f2', 'b900', 0x50)).toBe('CN106xx A0')
    expect(name('a0f2', 'b900', 0x51)).toBe('CN106xx A1')
    expect(name('a0f2', 'b900', 0x54)).toBe('CN106xx B0')
    expect(name('a0f2', 'bd00', 0x54)).toBe('CN103xx B0')
    expect(name('a0f2', 'b900', 0x04)).toBe('CN106xx Ax')
    expect(name('a0fd', 'b200', 1)).toBe('CN96xx A1')
    expect(name('a0f2', 'ff00', 0x50)).toBe('a chip with subsystem ff00 A0')
  })
})

describe('inline', () => {
  const silicon = (revision: number, subsystemDevice = 'b900') => cptSilicon({ device: 'a0f2', subsystemDevice, revision })
  const trial = (mode: InlineTrial['mode'], direction: InlineTrial['direction'], accepted: boolean): InlineTrial => ({
    mode,
    direction,
    accepted,
    reason: accepted ? '' : 'Cannot offload other than crypto-mode',
  })

  it('is not said of silicon or kernels that have none, and never untried', () => {
    expect(inlineCapability(silicon(0x51), '6.18.0')).toMatchObject({ answer: 'no', because: expect.stringContaining('CN106xx A1') })
    expect(inlineCapability(silicon(0x54), '6.1.67-marvell')).toMatchObject({ answer: 'no', because: expect.stringContaining('6.14') })
    expect(inlineCapability(silicon(0x54), '6.14.0')).toMatchObject({ answer: 'untried' })
    expect(inlineCapability(silicon(0x50, 'bd00'), '7.0.1')).toMatchObject({ answer: 'untried' })
    expect(inlineCapability(cptSilicon({ device: 'a0fd', subsystemDevice: 'b200', revision: 1 }), '7.0.1')).toMatchObject({ answer: 'no' })
  })

  it('is what was taken when it was tried', () => {
    const tried = (packetOut: boolean, packetIn: boolean, cryptoOut: boolean) => [
      trial('packet', 'out', packetOut),
      trial('packet', 'in', packetIn),
      trial('crypto', 'out', cryptoOut),
      trial('crypto', 'in', false),
    ]
    expect(inlineCapability(silicon(0x54), '6.14.0', tried(false, false, false))).toMatchObject({
      answer: 'no',
      because: expect.stringContaining('packet out: Cannot offload other than crypto-mode'),
    })
    expect(inlineCapability(silicon(0x54), '6.14.0', tried(false, false, true)).answer).toBe('outbound-crypto')
    expect(inlineCapability(silicon(0x54), '6.14.0', tried(true, false, true)).answer).toBe('outbound-crypto')
    expect(inlineCapability(silicon(0x54), '6.14.0', tried(true, true, true)).answer).toBe('packet')
  })
})
