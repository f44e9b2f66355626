import { deepStrictEqual } from 'node:assert'
import { type AttachmentKey, ERROR_CODES, type ErrorCode, formatAttachmentKey, OffloadError, VF_ADMIN_SETTINGS } from '@cni-offload/sdk'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type Codec, METHODS } from '../src/codec/methods.ts'
import { attachToWire, resultToWire } from '../src/codec/wire.ts'
import * as wire from '../src/gen/offload/v1/offload.ts'
import { ATTACH, KEY, RESULT } from './fixture.ts'

const record = (fields: Record<string, fc.Arbitrary<unknown>>): fc.Arbitrary<Record<string, unknown>> =>
  fc.record(fields, { noNullPrototype: true })

const optional = <T>(name: string, value: fc.Arbitrary<T>): fc.Arbitrary<Record<string, T>> =>
  fc.oneof(
    fc.constant({}),
    value.map((one) => ({ [name]: one })),
  )

/** An object of the given fields plus any subset of the optional ones, absent where absent. */
const object = (
  fields: Record<string, fc.Arbitrary<unknown>>,
  optionals: Record<string, fc.Arbitrary<unknown>> = {},
): fc.Arbitrary<Record<string, unknown>> =>
  fc
    .tuple(record(fields), ...Object.entries(optionals).map(([name, value]) => optional(name, value)))
    .map((parts) => Object.assign({}, ...parts))

const text = fc.string({ unit: 'grapheme', maxLength: 40 })
const nonEmpty = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 40 })
const texts = fc.array(text, { maxLength: 5 })
const uint32 = fc.integer({ min: 0, max: 0xffff_ffff })
const name = fc.stringMatching(/^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,40}$/)
const ifName = fc.stringMatching(/^[a-z][a-z0-9_.-]{0,14}$/)
const mac = fc
  .uint8Array({ minLength: 6, maxLength: 6 })
  .map((bytes) => [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join(':'))
const ip = fc.oneof(fc.ipV4(), fc.ipV6())
const cidr = fc.oneof(
  fc.tuple(fc.ipV4(), fc.integer({ min: 0, max: 32 })).map(([address, length]) => `${address}/${length}`),
  fc.tuple(fc.ipV6(), fc.integer({ min: 0, max: 128 })).map(([address, length]) => `${address}/${length}`),
)
const repair = object(
  {
    at: fc.maxSafeNat(),
    action: fc.constantFrom('reattach', 'report'),
    found: texts,
    outcome: fc.constantFrom('repaired', 'failed', 'reported'),
    times: fc.integer({ min: 1, max: 0xffff_ffff }),
  },
  { reason: text },
)
const about = ({ key: of }: Record<string, unknown>): object => ({ key: of, subject: formatAttachmentKey(of as AttachmentKey) })
// A netconf's own "__proto__" is dropped on purpose.
const json = fc
  .dictionary(
    nonEmpty.filter((name) => name !== '__proto__'),
    fc.jsonValue({ maxDepth: 3 }),
    { maxKeys: 6 },
  )
  .map((value) => JSON.parse(JSON.stringify(value)) as Record<string, unknown>)
const map = (key: fc.Arbitrary<string>, value: fc.Arbitrary<string>): fc.Arbitrary<Record<string, string>> =>
  fc.dictionary(key, value, { maxKeys: 6, noNullPrototype: true }).filter((made) => !Object.hasOwn(made, '__proto__'))

const key = record({ network: name, containerId: name, ifName })
const vf = record({ device: nonEmpty, index: uint32 })
const ips = fc.array(object({ address: cidr }, { gateway: ip }), { maxLength: 4 })
const routes = fc.array(
  object({ dst: cidr }, { gw: ip, mtu: uint32, advmss: uint32, priority: uint32, table: uint32, scope: fc.integer({ min: 0, max: 255 }) }),
  { maxLength: 4 },
)
const dns = object({}, { nameservers: texts, domain: text, search: texts, options: texts })
const vfAdmin = object(
  {},
  {
    mac,
    vlan: record({ id: fc.nat(4094), qos: fc.nat(7), protocol: fc.constantFrom('802.1q', '802.1ad') }),
    minTxRate: fc.nat(100),
    maxTxRate: fc.oneof(fc.constant(0), fc.integer({ min: 100, max: 0xffff_ffff })),
    spoofCheck: fc.boolean(),
    trust: fc.boolean(),
    linkState: fc.constantFrom('auto', 'enable', 'disable'),
  },
)
const result = object(
  {
    mac,
    mtu: fc.integer({ min: 68, max: 65_535 }),
    ips,
    routes,
    neighbours: fc.array(record({ ip, mac }), { maxLength: 3 }),
    dns,
    sysctls: map(fc.stringMatching(/^net(\.[a-z0-9_-]{1,10}){1,4}$/), text),
  },
  { vf: vfAdmin },
)
const attach = object(
  {
    key,
    pod: record({ namespace: text, name: text, uid: text }),
    vf,
    vfMac: mac,
    netconf: json,
    runtimeConfig: json,
    cniArgs: map(text, text),
    flags: record({ ipsec: fc.boolean() }),
  },
  {
    prevResult: json,
    hostIpam: record({ ips, routes, dns }),
    vlan: fc.integer({ min: 1, max: 4094 }),
    hostEnforces: fc.subarray([...VF_ADMIN_SETTINGS], { minLength: 1 }),
    had: result,
  },
)
const version = fc.integer({ min: 1, max: 1_000_000 })
const code = fc.constantFrom(...(Object.keys(ERROR_CODES) as ErrorCode[]))

const cases: readonly [name: string, codec: Codec<never>, values: fc.Arbitrary<unknown>][] = [
  [
    'handshake call',
    METHODS.handshake.call as Codec<never>,
    record({
      protocol: fc.tuple(version, version).map(([a, b]) => ({ min: Math.min(a, b), max: Math.max(a, b) })),
      node: nonEmpty,
      bootId: text,
      features: texts,
    }),
  ],
  [
    'handshake reply',
    METHODS.handshake.reply as Codec<never>,
    record({
      protocol: version,
      instanceId: nonEmpty,
      networks: texts,
      features: texts,
      kept: fc.array(record({ network: nonEmpty, vfs: fc.array(vf, { maxLength: 3 }) }), { maxLength: 3 }),
    }),
  ],
  ['attach call', METHODS.attach.call as Codec<never>, attach],
  ['attach reply', METHODS.attach.reply as Codec<never>, record({ result, port: text })],
  ['detach call', METHODS.detach.call as Codec<never>, object({ key }, { vf })],
  ['check call', METHODS.check.call as Codec<never>, object({ key }, { expected: result })],
  ['status call', METHODS.status.call as Codec<never>, object({}, { network: nonEmpty })],
  [
    'list reply',
    METHODS.list.reply as Codec<never>,
    fc
      .tuple(
        object({ key, vf, port: text, state: fc.constantFrom('attaching', 'attached', 'detaching', 'unknown') }, { result }),
        fc.array(repair, { maxLength: 3 }),
      )
      .map(([state, repairs]) =>
        repairs.length === 0 ? state : { ...state, repairs: repairs.map((one) => ({ ...one, ...about(state) })) },
      ),
  ],
  ['resync call', METHODS.resync.call as Codec<never>, fc.oneof(attach, fc.constant('complete'))],
  ['heartbeat of the host', METHODS.heartbeat.call as Codec<never>, record({ stopping: fc.boolean() })],
  ['heartbeat of the agent', METHODS.heartbeat.reply as Codec<never>, record({ restarting: fc.boolean() })],
  [
    'resync event',
    METHODS.resync.reply as Codec<never>,
    fc.oneof(
      object(
        { key, action: fc.constantFrom('kept', 'reattached', 'detached', 'failed') },
        { result, error: record({ code, message: text }) },
      ),
      object({ key, action: fc.constant('unknown') }, { error: record({ code, message: text }) }),
    ),
  ],
]

describe.each(cases)('%s', (_name, codec, values) => {
  test('is understood with fields that only a newer peer knows', () => {
    // Field 1000, a number; field 1001, a text.
    const newer = Buffer.from([0xc0, 0x3e, 0x07, 0xca, 0x3e, 0x02, 0x68, 0x69])
    fc.assert(
      fc.property(values, (value) => {
        deepStrictEqual(codec.decode(Buffer.concat([codec.encode(value as never), newer])), value)
      }),
      { numRuns: 20 },
    )
  })

  test('comes back from the wire as it was', () => {
    fc.assert(
      fc.property(values, (value) => {
        // Vitest's own strict equality stumbles over keys like "constructor".
        deepStrictEqual(codec.decode(codec.encode(value as never)), value)
      }),
    )
  })

  test('any bytes give a value or an UNDECODABLE, and nothing else', () => {
    const mangled = fc.tuple(values, fc.nat(), fc.nat({ max: 255 })).map(([value, at, byte]) => {
      const bytes = Buffer.from(codec.encode(value as never))
      if (bytes.length > 0) bytes[at % bytes.length] = byte
      return bytes
    })
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array({ maxLength: 200 }), mangled), (bytes) => {
        try {
          codec.decode(bytes)
        } catch (error) {
          expect(OffloadError.is(error) && error.code).toBe('UNDECODABLE')
        }
      }),
    )
  })
})

describe('settings of a VF', () => {
  const call = METHODS.attach.call
  const reply = METHODS.attach.reply

  test('that only a newer host enforces are passed over', () => {
    const bytes = (hostEnforces: string[]): Uint8Array => wire.AttachRequest.encode({ ...attachToWire(ATTACH), hostEnforces }).finish()
    expect(call.decode(bytes(['mirror', 'vlan'])).hostEnforces).toEqual(['vlan'])
    expect(call.decode(bytes(['mirror']))).not.toHaveProperty('hostEnforces')
  })

  test.each([
    [{ vlan: { id: 4095, qos: 0, protocol: '802.1q' } }, /result\.vf\.vlan\.id = 4095/],
    [{ vlan: { id: 1, qos: 8, protocol: '802.1q' } }, /result\.vf\.vlan\.qos = 8/],
    [{ vlan: { id: 1, qos: 0, protocol: 'isl' } }, /result\.vf\.vlan\.protocol/],
    [{ linkState: 'up' }, /result\.vf\.linkState/],
    [{ mac: 'x' }, /result\.vf\.mac/],
    [{ minTxRate: 2, maxTxRate: 1 }, /result\.vf\.minTxRate/],
  ])('that make no sense are refused: %j', (vf, reason) => {
    const result = { ...resultToWire(RESULT), vf }
    expect(() => reply.decode(wire.AttachResponse.encode({ result, port: 'p' }).finish())).toThrow(reason)
  })
})

describe('what only a newer agent knows', () => {
  const key = { network: KEY.network, containerId: KEY.containerId, ifName: KEY.ifName }
  const event = (over: Partial<wire.ResyncResponse>): unknown =>
    METHODS.resync.reply.decode(wire.ResyncResponse.encode({ key, action: wire.ResyncAction.KEPT, ...over }).finish())

  test.each([0, 5, 101, -1])('action %i of a resync is unknown, and its result of no use', (action) => {
    expect(event({ action: action as wire.ResyncAction, result: resultToWire(RESULT) })).toEqual({ key, action: 'unknown' })
  })

  test.each([0, 4, 101, -1])('phase %i of an attachment is unknown', (phase) => {
    const message = { key, vf: { device: 'd', index: 1 }, port: 'p', phase: phase as wire.AttachmentPhase, repairs: [] }
    expect(METHODS.list.reply.decode(wire.ListResponse.encode(message).finish())).toMatchObject({ key, state: 'unknown' })
  })

  test.each([
    ['FROM_THE_FUTURE', 14, 'AGENT_UNREACHABLE'],
    ['FROM_THE_FUTURE', 0, 'INTERNAL'],
    ['constructor', 3, 'INVALID_NETCONF'],
  ])('error code %s is taken for what status %i says', (code, status, expected) => {
    expect(event({ action: wire.ResyncAction.FAILED, error: { code, message: 'm', status } })).toMatchObject({
      error: { code: expected, message: `m (${code}, a code of a newer release)` },
    })
  })
})

test('what cannot be JSON is refused before it is sent', () => {
  const circular: Record<string, unknown> = {}
  circular['self'] = circular
  expect(() => METHODS.attach.call.encode({ ...ATTACH, netconf: circular })).toThrow(/AttachRequest can't be encoded/)
})

test('a result beyond the limits of the wire is refused', () => {
  const many = Array.from({ length: 1025 }, () => ({ dst: '10.0.0.0/8' }))
  expect(() => METHODS.attach.reply.decode(METHODS.attach.reply.encode({ result: { ...RESULT, routes: many }, port: 'p' }))).toThrow(
    /result\.routes/,
  )
  const dnsLong = { nameservers: ['x'.repeat(1025)] }
  expect(() => METHODS.attach.reply.decode(METHODS.attach.reply.encode({ result: { ...RESULT, dns: dnsLong }, port: 'p' }))).toThrow(
    /result\.dns\.nameservers/,
  )
})
