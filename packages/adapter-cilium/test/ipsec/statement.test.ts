import type { CryptoAlgorithm, SecurityAssociation } from '@cni-offload/linux/ipsec'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { driverKind, type Sample, stateCluster, type Statement, stateNode, stateNodes } from '../../src/ipsec/index.ts'

const GCM = 'rfc4106(gcm(aes))'
const HARD = 'cpt_rfc4106_gcm_aes'
const SOFT = 'rfc4106-gcm-aes-ce'

const driver = (name: string, driverName: string, priority: number, users = 0): CryptoAlgorithm => ({
  name,
  driver: driverName,
  module: 'm',
  priority,
  tested: true,
  internal: false,
  users,
})
const SOFTWARE = driver(GCM, SOFT, 300)
const HARDWARE = driver(GCM, HARD, 4001)
const using = (driverName: string, users: number): CryptoAlgorithm => driver(`seqiv(${GCM})`, `seqiv(${driverName})`, 300, users)

const association = (packets: bigint, more: Partial<SecurityAssociation> = {}): SecurityAssociation => ({
  source: '10.0.0.1',
  destination: '10.0.0.2',
  spi: 3,
  requestId: 1,
  algorithm: GCM,
  packets,
  bytes: packets * 100n,
  sent: packets,
  addedAt: 1,
  offload: 'none',
  ...more,
})

interface Parts {
  readonly mode?: string
  readonly keys?: number
  readonly sent?: bigint
  readonly associations?: readonly SecurityAssociation[]
  readonly drivers?: readonly CryptoAlgorithm[]
  readonly engine?: bigint | readonly [packets: bigint, errors: bigint]
  readonly offload?: 'inline' | 'lookaside' | 'none'
  readonly counts?: 'packets' | 'requests' | 'nothing'
}

const sample = ({ mode, keys, sent, associations, drivers, engine, offload = 'lookaside', counts = 'packets' }: Parts): Sample => {
  const [packets, errors] = typeof engine === 'bigint' ? [engine, 0n] : (engine ?? [0n, 0n])
  const counters = { packets: { packets, bytes: packets * 100n, errors }, requests: { requests: packets, errors }, nothing: { errors } }[
    counts
  ]
  return {
    modes: mode === undefined ? [] : [{ value: mode, from: 'agent' }],
    ...(keys === undefined ? {} : { keysInUse: { value: keys, from: 'dbg' } }),
    ...(sent === undefined ? {} : { sequence: { value: sent, from: 'dbg' } }),
    ...(associations === undefined ? {} : { associations: { value: associations, from: 'kernel' } }),
    ...(drivers === undefined ? {} : { algorithms: { value: drivers, from: '/proc/crypto' } }),
    ...(engine === undefined ? {} : { engine: { value: { offload, first: counters, last: counters }, from: 'engine' } }),
    missing: [],
  }
}

const state = (now: Parts, before?: Parts): Statement => stateNode('n1', sample(now), before && sample(before))

describe('whether a node encrypts', () => {
  const running = { mode: 'IPsec', keys: 2 } as const
  const cases: readonly (readonly [string, Parts, Parts | undefined, string, string])[] = [
    ['nothing was read', {}, undefined, 'unknown', 'nothing was read'],
    ['the agent has no encryption', { mode: 'Disabled' }, undefined, 'no', 'no encryption'],
    ['keys of old are left', { mode: 'Disabled', keys: 2, sent: 9n }, { mode: 'Disabled', keys: 2, sent: 9n }, 'no', 'no encryption'],
    ['… and are used', { mode: 'Disabled', keys: 2, sent: 9n }, { mode: 'Disabled', keys: 2, sent: 8n }, 'unknown', 'kernel encrypts'],
    ['it is Wireguard', { mode: 'Wireguard', keys: 2, sent: 9n }, undefined, 'unknown', 'mode is Wireguard'],
    ['only the mode is known', { mode: 'IPsec' }, undefined, 'unknown', 'mode alone'],
    ['no key is in use', { mode: 'IPsec', keys: 0, sent: 0n }, undefined, 'no', 'no key is in use'],
    ['there is no key, and no agent', { keys: 0, sent: 0n }, undefined, 'unknown', 'no agent says'],
    ['there are no associations', { mode: 'IPsec', associations: [] }, undefined, 'no', 'no key is in use'],
    ['nothing was sent ever', { ...running, sent: 0n }, undefined, 'unknown', 'nothing was sent with them yet'],
    ['what was sent is not known', running, undefined, 'unknown', 'was not read'],
    ['something was sent', { ...running, sent: 1n }, undefined, 'yes', 'packets were sent'],
    ['by associations', { mode: 'IPsec', associations: [association(1n)] }, undefined, 'yes', 'packets were sent'],
    ['the agent is away', { keys: 2, sent: 9n }, undefined, 'unknown', 'does not say'],
    ['the agent is away, and it goes on', { keys: 2, sent: 9n }, { keys: 2, sent: 8n }, 'yes', 'in between'],
    ['it grew', { ...running, sent: 2n }, { ...running, sent: 1n }, 'yes', 'in between'],
    ['it did not grow', { ...running, sent: 2n }, { ...running, sent: 2n }, 'unknown', 'nothing was sent in between'],
    ['it shrank', { ...running, sent: 1n }, { ...running, sent: 2n }, 'unknown', 'replaced'],
    ['it was not known before', { ...running, sent: 1n }, running, 'unknown', 'before was not read'],
  ]
  it.each(cases)('%s', (_title, now, before, answer, because) => {
    const { encrypted } = state(now, before)
    expect(encrypted).toMatchObject({ answer, because: expect.stringContaining(because) })
  })

  it('is not known where two sources differ, and both are named', () => {
    const both = {
      ...sample({ keys: 2, sent: 2n }),
      modes: [
        { value: 'IPsec', from: 'a' },
        { value: 'Disabled', from: 'b' },
      ],
    }
    expect(stateNode('n1', both).encrypted).toEqual({ answer: 'unknown', because: 'the sources differ: IPsec by a, Disabled by b' })
  })
})

describe('whether hardware does it', () => {
  const one = [association(100n)]
  const later = [association(150n)]
  const two = [association(100n), association(100n, { spi: 4 })]
  const cases: readonly (readonly [string, Parts, Parts | undefined, string, string])[] = [
    ['nothing is encrypted', { mode: 'Disabled', drivers: [HARDWARE, using(HARD, 9)] }, undefined, 'no', 'nothing is encrypted'],
    ['that it is encrypted is not shown', { mode: 'IPsec', drivers: [HARDWARE], engine: 9n }, undefined, 'unknown', 'not shown'],
    ['nothing was read of it', { associations: one }, undefined, 'unknown', 'neither an engine nor the drivers'],
    ['all associations have a driver for hardware', { associations: two, drivers: [HARDWARE, using(HARD, 2)] }, undefined, 'yes', 'all'],
    [
      '… but the engine saw less',
      { associations: later, drivers: [HARDWARE, using(HARD, 1)], engine: 49n },
      { associations: one, engine: 0n },
      'unknown',
      '49 of 50 packets',
    ],
    [
      'one is older',
      { associations: two, drivers: [HARDWARE, using(HARD, 1)] },
      undefined,
      'unknown',
      '1 uses of a driver for hardware, for 2',
    ],
    ['some are of other namespaces', { associations: one, drivers: [HARDWARE, using(HARD, 2)] }, undefined, 'unknown', '2 uses'],
    [
      'how many there are is not known',
      { keys: 1, sent: 1n, drivers: [HARDWARE, using(HARD, 2)] },
      undefined,
      'unknown',
      'an unknown number',
    ],
    ['hardware is there, and all are older', { associations: one, drivers: [HARDWARE, SOFTWARE] }, undefined, 'unknown', 'older ones keep'],
    ['all have a driver for the CPU', { associations: one, drivers: [HARDWARE, SOFTWARE, using(SOFT, 1)] }, undefined, 'no', 'for the CPU'],
    [
      'only one of two is seen',
      { associations: two, drivers: [HARDWARE, SOFTWARE, using(SOFT, 1)] },
      undefined,
      'unknown',
      'older ones keep',
    ],
    ['there is no other driver', { keys: 1, sent: 1n, drivers: [SOFTWARE] }, undefined, 'no', 'no driver for hardware'],
    ['the driver is not known', { associations: one, drivers: [driver(GCM, 'x-gcm', 9)] }, undefined, 'unknown', 'of which it is known'],
    ['an unknown one is used', { associations: one, drivers: [SOFTWARE, using('x-gcm', 1)] }, undefined, 'unknown', 'of which it is known'],
    ['the kernel has no driver yet', { associations: one, drivers: [] }, undefined, 'unknown', 'of which it is known'],
    [
      'a driver that failed its selftest',
      { associations: one, drivers: [{ ...HARDWARE, tested: false }] },
      undefined,
      'unknown',
      'of which it is known',
    ],
    ['the engine counted all', { associations: later, engine: 50n }, { associations: one, engine: 0n }, 'yes', 'all 50 packets'],
    ['the engine counted more', { associations: later, engine: 90n }, { associations: one, engine: 0n }, 'yes', 'all 50 packets'],
    [
      'the engine counted nothing',
      { associations: later, engine: 7n, drivers: [HARDWARE] },
      { associations: one, engine: 7n },
      'unknown',
      '0 of 50',
    ],
    [
      'the engine was asked often enough, by whomever',
      { associations: later, engine: 50n, counts: 'requests' },
      { associations: one, engine: 0n, counts: 'requests' },
      'unknown',
      'whether others asked it is not known',
    ],
    [
      '… and no association has a driver for it',
      { associations: later, engine: 50n, counts: 'requests', drivers: [HARDWARE] },
      { associations: one, engine: 0n, counts: 'requests' },
      'unknown',
      'no association is seen to use a driver for hardware',
    ],
    [
      '… and some have one for the CPU',
      { associations: later, engine: 50n, counts: 'requests', drivers: [HARDWARE, using(HARD, 2), using(SOFT, 1)] },
      { associations: one, engine: 0n, counts: 'requests' },
      'unknown',
      '1 associations have a driver for something else',
    ],
    [
      '… and nothing but hardware serves them',
      { associations: later, engine: 51n, counts: 'requests', drivers: [HARDWARE, using(HARD, 2)] },
      { associations: one, engine: 0n, counts: 'requests' },
      'yes',
      '51 requests for 50 packets, and all drivers in use are for hardware',
    ],
    [
      'the engine was asked too rarely',
      { associations: later, engine: 49n, counts: 'requests', drivers: [HARDWARE, using(HARD, 2)] },
      { associations: one, engine: 0n, counts: 'requests' },
      'unknown',
      '49 requests for 50 packets',
    ],
    [
      'the engine counts nothing that is of use',
      { associations: later, engine: 50n, counts: 'nothing' },
      { associations: one, engine: 0n, counts: 'nothing' },
      'unknown',
      'neither packets nor requests',
    ],
    ['the engine has errors', { associations: later, engine: [50n, 1n] }, { associations: one, engine: 0n }, 'unknown', '1 errors'],
    ['the engine was reset', { associations: later, engine: 5n }, { associations: one, engine: 9n }, 'unknown', 'reset'],
    ['of all packets nothing is known', { keys: 1, sent: 2n, engine: 9n }, { keys: 1, sent: 1n, engine: 0n }, 'unknown', 'not how many'],
    [
      'keys were replaced',
      { associations: [association(900n, { spi: 4 })], engine: 900n },
      { associations: one, engine: 0n },
      'unknown',
      'not how many',
    ],
    [
      'an engine, once',
      { associations: one, drivers: [SOFTWARE, using(SOFT, 1)], engine: 9n },
      undefined,
      'unknown',
      'a device may take part',
    ],
    [
      'an engine that does nothing',
      { associations: later, drivers: [SOFTWARE, using(SOFT, 1)], engine: 9n, offload: 'none' },
      { associations: one, engine: 0n, offload: 'none' },
      'no',
      'for the CPU',
    ],
    ['a device takes packets', { associations: [association(1n, { offload: 'packet' })] }, undefined, 'yes', 'whole packets'],
    [
      'a device takes some',
      { associations: [association(1n, { offload: 'packet' }), association(1n)], drivers: [SOFTWARE] },
      undefined,
      'unknown',
      'may take part',
    ],
    [
      'a device may encrypt',
      { associations: [association(1n, { offload: 'crypto' })], drivers: [SOFTWARE, using(SOFT, 1)] },
      undefined,
      'unknown',
      'may take part',
    ],
  ]
  it.each(cases)('%s', (_title, now, before, answer, because) => {
    const { inHardware } = state({ mode: 'IPsec', ...now }, before && { mode: 'IPsec', ...before })
    expect(inHardware).toMatchObject({ answer, because: expect.stringContaining(because) })
  })

  it('is looked up by the algorithm that the associations have', () => {
    const pair = 'authencesn(hmac(sha256),cbc(aes))'
    const drivers = [
      using(SOFT, 1),
      driver(pair, 'cpt_hmac_sha256_cbc_aes', 4001),
      driver(`echainiv(${pair})`, 'echainiv(cpt_hmac_sha256_cbc_aes)', 4001, 1),
    ]
    expect(state({ mode: 'IPsec', associations: [association(1n, { algorithm: pair })], drivers }).inHardware.answer).toBe('yes')
  })

  it.each([
    ['cpt_rfc4106_gcm_aes', 'hardware'],
    ['seqiv(cpt_rfc4106_gcm_aes)', 'hardware'],
    ['rfc4106-gcm-aes-caam', 'hardware'],
    ['rfc4106-gcm-aesni', 'software'],
    ['rfc4106-gcm-aes-ce', 'software'],
    ['rfc4106-gcm-vaes-avx10_512', 'software'],
    ['seqiv(rfc4106(gcm_base(ctr(aes-generic),ghash-generic)))', 'software'],
    ['echainiv(authencesn(hmac-sha256-lib,cbc-aes-ce))', 'software'],
    ['echainiv(authencesn(hmac-sha256-lib,cpt_cbc_aes))', 'unknown'],
    ['pcrypt(rfc4106-gcm-aesni-avx)', 'software'],
    ['rfc4106(gcm_base(ctr-aes-ce,ghash-neon))', 'software'],
    ['seqiv()', 'unknown'],
    ['scpt_gcm', 'unknown'],
    ['accelerator-9', 'unknown'],
  ])('%s is a driver for %s', (name, kind) => {
    expect(driverKind({ driver: name })).toBe(kind)
  })
})

describe('a statement', () => {
  const packets = fc.bigInt({ min: 0n, max: 3n })
  const parts: fc.Arbitrary<Parts> = fc.record(
    {
      mode: fc.constantFrom('IPsec', 'Disabled', 'Wireguard'),
      keys: fc.nat(2),
      sent: packets,
      associations: fc.array(
        fc
          .record({ packets, spi: fc.constantFrom(3, 4), offload: fc.constantFrom('none' as const, 'crypto' as const, 'packet' as const) })
          .map((one) => association(one.packets, one)),
        { maxLength: 2 },
      ),
      drivers: fc.subarray([SOFTWARE, HARDWARE, using(HARD, 1), using(HARD, 2), using(SOFT, 1), using('x', 1)]),
      engine: fc.tuple(packets, packets),
      offload: fc.constantFrom('inline' as const, 'lookaside' as const, 'none' as const),
      counts: fc.constantFrom('packets' as const, 'requests' as const),
    },
    { requiredKeys: [] },
  )
  const usersOf = (drivers: readonly CryptoAlgorithm[], kind: string): number =>
    drivers.filter((one) => driverKind(one) === kind).reduce((sum, { users }) => sum + users, 0)

  const others = (drivers: readonly CryptoAlgorithm[]): number => usersOf(drivers, 'software') + usersOf(drivers, 'unknown')

  it('never says more than the evidence carries', () => {
    fc.assert(
      fc.property(parts, fc.option(parts, { nil: undefined }), (now, before) => {
        const { encrypted, inHardware } = state(now, before)
        const sent = (some: Parts): bigint =>
          some.sent ?? some.associations?.reduce((most, one) => (one.sent > most ? one.sent : most), 0n) ?? 0n
        if (encrypted.answer === 'yes') {
          expect(now.keys ?? now.associations?.length).toBeGreaterThan(0)
          expect(now.mode ?? 'IPsec').toBe('IPsec')
          expect(sent(now) > (before === undefined ? 0n : sent(before))).toBe(true)
        }
        if (encrypted.answer === 'no')
          expect(now.mode === 'Disabled' || (now.mode === 'IPsec' && (now.keys ?? now.associations?.length) === 0)).toBe(true)
        if (inHardware.answer === 'yes') {
          expect(encrypted.answer).toBe('yes')
          const some = now.associations ?? []
          expect(some.length).toBeGreaterThan(0)
          const bound = usersOf(now.drivers ?? [], 'hardware') === some.length && usersOf(now.drivers ?? [], 'software') === 0
          const asked = now.counts !== 'requests' || (usersOf(now.drivers ?? [], 'hardware') > 0 && others(now.drivers ?? []) === 0)
          const counted = now.engine !== undefined && before?.engine !== undefined && asked
          expect(bound || counted || some.every(({ offload }) => offload === 'packet')).toBe(true)
        }
        if (inHardware.answer === 'no' && encrypted.answer !== 'no') {
          expect(usersOf(now.drivers ?? [], 'hardware')).toBe(0)
          expect(now.associations?.every(({ offload }) => offload === 'none') ?? true).toBe(true)
        }
      }),
      { numRuns: 5000 },
    )
  })

  it('names all that was read, where, and how it changed', () => {
    const [before, now] = [
      sample({ mode: 'IPsec', keys: 2, sent: 1n, associations: [association(1n)], engine: 1n }),
      sample({ mode: 'IPsec', keys: 2, sent: 3n, associations: [association(3n)], drivers: [HARDWARE, using(HARD, 1)], engine: [3n, 0n] }),
    ]
    const missing = [{ value: 'no such file', from: 'x.sock' }]
    expect(stateNode('n1', { ...now, missing }, before).evidence).toEqual([
      { what: 'encryption mode', value: 'IPsec', from: 'agent' },
      { what: 'keys in use', value: '2 → 2', from: 'dbg' },
      { what: 'highest sequence number', value: '1 → 3', from: 'dbg' },
      { what: 'security associations', value: `1 with 1 packets, ${GCM} → 1 with 3 packets, ${GCM}`, from: 'kernel' },
      { what: 'driver of new associations', value: `${HARD} of m (hardware), priority 4001, selftest passed`, from: '/proc/crypto' },
      { what: 'drivers in use', value: `1 × seqiv(${HARD}) (hardware)`, from: '/proc/crypto' },
      { what: 'crypto engine (lookaside)', value: '1 packets, 100 bytes, 0 errors → 3 packets, 300 bytes, 0 errors', from: 'engine' },
      { what: 'not read', value: 'no such file', from: 'x.sock' },
    ])
  })

  it('warns of errors that are new', () => {
    const at = (errors: number, failed: bigint): Sample => ({
      ...sample({ engine: [0n, failed] }),
      errors: { value: errors, from: 'dbg' },
    })
    expect(stateNode('n1', at(5, 2n)).warnings).toEqual([])
    expect(stateNode('n1', at(5, 2n), at(5, 2n)).warnings).toEqual([])
    expect(stateNode('n1', at(7, 3n), at(5, 2n)).warnings).toEqual([
      'IPsec dropped packets in between: 2 errors, see /proc/net/xfrm_stat',
      'the crypto engine counted 1 errors in between',
    ])
  })
})

describe('the statement about several nodes', () => {
  const yes = { ...state({ mode: 'IPsec', associations: [association(1n)], drivers: [HARDWARE, using(HARD, 1)] }), subject: 'a' }
  const soft = { ...state({ mode: 'IPsec', associations: [association(1n)], drivers: [SOFTWARE, using(SOFT, 1)] }), subject: 'b' }
  const no = { ...state({ mode: 'Disabled' }), subject: 'c' }
  const open = { ...state({}), subject: 'd' }
  it.each([
    [[], 'unknown', 'unknown'],
    [[yes, yes], 'yes', 'yes'],
    [[yes, soft], 'yes', 'unknown'],
    [[no, no], 'no', 'no'],
    [[yes, no], 'partly', 'unknown'],
    [[yes, no, open], 'partly', 'unknown'],
    [[yes, open], 'unknown', 'unknown'],
    [[no, open], 'unknown', 'unknown'],
    [[stateNodes([yes, no]), yes], 'partly', 'unknown'],
  ])('case %#', (statements, encrypted, inHardware) => {
    const all = stateNodes(statements)
    expect([all.encrypted.answer, all.inHardware.answer]).toEqual([encrypted, inHardware])
  })

  it('names the nodes that are not as the others', () => {
    expect(stateNodes([yes, no]).encrypted.because).toBe('not on c')
    expect(stateNodes([yes, open]).encrypted.because).toBe('not known of d')
  })

  it.each([
    [{ modes: { IPsec: 2 }, keysInUse: [{ keys: 4, nodes: 2 }] }, 'unknown'],
    [{ modes: { IPsec: 1, Disabled: 1 }, keysInUse: [{ keys: 4, nodes: 1 }] }, 'partly'],
    [
      {
        modes: { IPsec: 2 },
        keysInUse: [
          { keys: 0, nodes: 1 },
          { keys: 4, nodes: 1 },
        ],
      },
      'partly',
    ],
    [{ modes: { IPsec: 2 }, keysInUse: [{ keys: 0, nodes: 2 }] }, 'no'],
    [{ modes: { Disabled: 2 }, keysInUse: [] }, 'no'],
    [{ modes: { Wireguard: 2 }, keysInUse: [] }, 'unknown'],
    [{ modes: { IPsec: 1, Wireguard: 1 }, keysInUse: [{ keys: 4, nodes: 1 }] }, 'unknown'],
  ])('from a sum: %j', (sum, answer) => {
    const { encrypted, evidence } = stateCluster({ nodes: 2, xfrmErrors: {}, ...sum }, 'cilium encrypt status')
    expect(encrypted.answer).toBe(answer)
    expect(evidence.every(({ from }) => from === 'cilium encrypt status')).toBe(true)
  })
})
