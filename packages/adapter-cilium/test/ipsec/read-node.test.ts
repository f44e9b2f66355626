import type { SecurityAssociation } from '@cni-offload/linux/ipsec'
import { FakeCryptoEngine } from '@cni-offload/testing'
import { describe, expect, it } from 'vitest'
import { readNode, type Source, stateNode } from '../../src/ipsec/index.ts'

const association = (packets: bigint, requestId = 1): SecurityAssociation => ({
  source: '10.0.0.1',
  destination: '10.0.0.2',
  spi: 3,
  requestId,
  algorithm: 'rfc4106(gcm(aes))',
  packets,
  bytes: 0n,
  sent: packets,
  addedAt: 1,
  offload: 'none',
})
const source = <T>(from: string, read: () => T): Source<T> => ({ from, read })
const refuses = (from: string): Source<never> =>
  source(from, () => {
    throw new Error(`${from} is broken`)
  })

describe('what is read of a node', () => {
  it('is all that the sources have, each with where it is from; the agent alone tells its mode only', async () => {
    const sample = await readNode({
      agent: source('healthz', () => ({ mode: 'IPsec' })),
      status: source('dbg', () => ({ mode: 'IPsec', keysInUse: 2, sequence: 9n, errors: 1, message: 'careful' })),
      associations: source('kernel', () => [association(1n), association(2n, 2), association(3n, 7)]),
      algorithms: source('/proc/crypto', () => []),
      engine: source('engine', () => new FakeCryptoEngine('inline', { packets: 5n })),
    })
    expect(sample).toEqual({
      modes: [
        { value: 'IPsec', from: 'healthz' },
        { value: 'IPsec', from: 'dbg' },
      ],
      keysInUse: { value: 2, from: 'dbg' },
      sequence: { value: 9n, from: 'dbg' },
      errors: { value: 1, from: 'dbg' },
      // 7 is not one of Cilium's.
      associations: { value: [association(1n), association(2n, 2)], from: 'kernel' },
      algorithms: { value: [], from: '/proc/crypto' },
      engine: {
        value: { offload: 'inline', first: { packets: 5n, bytes: 0n, errors: 0n }, last: { packets: 5n, bytes: 0n, errors: 0n } },
        from: 'engine',
      },
      missing: [{ value: 'careful', from: 'dbg' }],
    })
  })

  it('lacks what cannot be read, with the reason, and nothing else', async () => {
    const engine = new FakeCryptoEngine()
    engine.failure = new Error('the engine is gone')
    const sample = await readNode({
      agent: refuses('healthz'),
      status: source('dbg', () => ({ mode: 'IPsec' })),
      associations: refuses('kernel'),
      algorithms: refuses('/proc/crypto'),
      engine: source('engine', () => engine),
    })
    expect(sample).toMatchObject({ modes: [{ value: 'IPsec', from: 'dbg' }] })
    expect(sample.missing.map(({ value }) => value).toSorted()).toEqual([
      '/proc/crypto is broken',
      'healthz is broken',
      'kernel is broken',
      'the engine is gone',
    ])
    expect(await readNode({})).toEqual({ modes: [], missing: [] })
    expect((await readNode({ agent: source('healthz', () => undefined) })).modes, 'an agent that has not looked yet').toEqual([])
  })

  it('counts what the engine does while the associations are read, so that traffic never hides it', async () => {
    const engine = new FakeCryptoEngine()
    let packets = 10n
    const read = (meanwhile: bigint): ReturnType<typeof readNode> =>
      readNode({
        agent: source('healthz', () => ({ mode: 'IPsec' })),
        associations: source('kernel', () => {
          const seen = [association(packets)]
          engine.process(meanwhile)
          packets += meanwhile
          return seen
        }),
        engine: source('engine', () => engine),
      })
    const before = await read(5n)
    expect(stateNode('n', await read(0n), before).inHardware).toEqual({
      answer: 'yes',
      because: 'the engine counted all 5 packets that went through the associations',
    })
  })
})
