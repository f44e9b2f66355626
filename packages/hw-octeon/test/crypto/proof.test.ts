import { parseCryptoAlgorithms, type SecurityAssociation } from '@cni-offload/linux/ipsec'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type CptBlock, type CptSnapshot, parseCptCounters, parseFaultRegisters, proveCpt } from '../../src/crypto/index.ts'
import { counterText, faultText } from '../support/counter-text.ts'
import { association, CPT, cryptoText, SOFT, usingCpt, usingCpu } from '../support/crypto-entries.ts'

interface Parts {
  readonly at?: number
  readonly requests: bigint
  readonly associations?: readonly SecurityAssociation[]
  readonly crypto?: string
  readonly fault?: string
  readonly errors?: Readonly<Record<string, bigint>>
}

const block = (requests: bigint, fault?: string): CptBlock => ({
  folder: '/d/cpt',
  counters: parseCptCounters(counterText(requests), 'cpt_pc'),
  faults: parseFaultRegisters(faultText(fault), 'cpt_err_info'),
  engines: {},
})
const snapshot = ({ at = 0, requests, associations = [], crypto = cryptoText(CPT, SOFT), fault, errors = {} }: Parts): CptSnapshot => ({
  at,
  first: [block(requests, fault)],
  last: [block(requests, fault)],
  associations,
  algorithms: parseCryptoAlgorithms(crypto),
  errors: new Map(Object.entries(errors)),
})
const pair = (packets: bigint): readonly SecurityAssociation[] => [association(packets), association(packets, { spi: 4 })]
const ALL_CPT = cryptoText(CPT, SOFT, usingCpt(2))

describe('that CPT encrypted', () => {
  const before = snapshot({ requests: 23n, associations: pair(10n) })
  const after = (more: Partial<Parts> = {}): CptSnapshot =>
    snapshot({ at: 1000, requests: 47n, associations: pair(22n), crypto: ALL_CPT, ...more })

  it('is shown by its requests, if all associations use it', () => {
    const proof = proveCpt({ before, after: after(), sent: 24n, seenOnWire: 24n })
    expect(proof).toMatchObject({ verdict: 'yes', packets: 24n, requests: 24n })
    expect(proof.because).toBe('CPT was asked 24 times for 24 packets, and all associations use it')
    expect(proof.evidence.filter(({ holds }) => holds === false)).toEqual([])
    expect(proof.evidence.map(({ what }) => what)).toContain('registers with faults')
  })

  it('is shown by its requests and a time without traffic, if the kernel does not tell who uses it', () => {
    const unsure = { before, after: after({ requests: 50n, crypto: cryptoText(CPT, SOFT, usingCpt(1)) }) }
    expect(proveCpt(unsure)).toMatchObject({ verdict: 'unknown', because: expect.stringContaining('measure a time without traffic') })
    const idle = (others: bigint) => ({
      before: snapshot({ at: 2000, requests: 60n, associations: pair(22n) }),
      after: snapshot({ at: 3000, requests: 60n + others, associations: pair(22n) }),
    })
    expect(proveCpt({ ...unsure, idle: idle(3n) })).toMatchObject({
      verdict: 'yes',
      because: expect.stringContaining('about 3 of them by others'),
    })
    expect(proveCpt({ ...unsure, idle: idle(4n) })).toMatchObject({
      verdict: 'unknown',
      because: expect.stringContaining('about 4 times by others'),
    })
  })

  it.each<[string, Partial<Parts>, 'no' | 'unknown', string]>([
    ['it was asked too rarely', { requests: 46n }, 'no', '1 of them were encrypted elsewhere'],
    ['no association uses it', { crypto: cryptoText(CPT, SOFT, usingCpu(2)) }, 'no', '0 of 2 associations with rfc4106(gcm(aes)) use CPT'],
    ['it shows a fault', { fault: '0x4' }, 'unknown', 'CPT_AF_FLTX_INT 0x4 0x0'],
    ['IPsec drops packets', { errors: { XfrmInError: 2n } }, 'unknown', 'XfrmInError +2'],
    ['its counters were reset', { requests: 5n }, 'unknown', 'reset'],
    ['keys were rotated', { associations: [association(30n, { spi: 5 }), association(3n, { spi: 4 })] }, 'unknown', 'replaced'],
    ['nothing went through associations', { associations: pair(10n) }, 'unknown', '0 packets went through the associations, 1 were sent'],
  ])('is not, when %s', (_, more, verdict, because) => {
    expect(proveCpt({ before, after: after(more) })).toMatchObject({ verdict, because: expect.stringContaining(because) as string })
  })

  it('is not, when fewer packets went through associations than were sent, or none was seen on the wire', () => {
    expect(proveCpt({ before, after: after(), sent: 25n })).toMatchObject({
      verdict: 'unknown',
      because: expect.stringContaining('25 were sent'),
    })
    expect(proveCpt({ before, after: after(), seenOnWire: 0n })).toMatchObject({
      verdict: 'unknown',
      because: expect.stringContaining('on the wire'),
    })
  })

  it('is never said of fewer requests than packets, nor with anything against it', () => {
    const parts = fc.record({
      requests: fc.bigInt(0n, 40n),
      packets: fc.bigInt(0n, 20n),
      users: fc.nat(3),
      fault: fc.constantFrom('0x0', '0x8'),
    })
    fc.assert(
      fc.property(parts, fc.option(fc.bigInt(0n, 40n), { nil: undefined }), ({ requests, packets, users, fault }, others) => {
        const idle =
          others === undefined
            ? {}
            : { idle: { before: snapshot({ at: 0, requests: 0n }), after: snapshot({ at: 1000, requests: others }) } }
        const proof = proveCpt({
          before: snapshot({ requests: 0n, associations: pair(0n) }),
          after: snapshot({ at: 1000, requests, associations: pair(packets), crypto: cryptoText(CPT, SOFT, usingCpt(users)), fault }),
          ...idle,
        })
        if (proof.verdict === 'yes') {
          expect(packets).toBeGreaterThan(0n)
          expect(requests).toBeGreaterThanOrEqual(2n * packets)
          expect(fault).toBe('0x0')
          expect(users >= 2 || (users > 0 && others !== undefined && requests - others >= 2n * packets)).toBe(true)
        }
        if (proof.verdict === 'no') expect(requests < 2n * packets || users === 0).toBe(true)
      }),
    )
  })
})
