import { describe, expect, test } from 'vitest'
import { decodeAssociation } from '../../src/ipsec/association-codec.ts'
import { securityAssociations } from '../../src/ipsec/index.ts'
import { attribute, uint32 } from '../../src/netlink/codec.ts'
import { unprivileged } from '../support.ts'

/** Made by another implementation, github.com/vishvananda/netlink 1.3.1, on a 64-bit machine: an AEAD state with extended sequence numbers. */
const PAYLOAD = Buffer.from(
  `00000000000000000000000000000000000000000000000000000000000000000000000000000000020000000000000000000000000000000a00000200000000
000000000000000000000003320000000a000001000000000000000000000000ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff
0000000000000000000000000000000000000000000000000000000000000000141a99be1c000000b168de3a0000000000f153650000000064f1536500000000
000000000000000007000000010000000100000002000100800000000000000060001200726663343130362867636d2861657329290000000000000000000000
000000000000000000000000000000000000000000000000000000000000000000000000a00000008000000044434241343332312423222114131211f4f3f2f1
2c00170004000000e301000005000000020000000000000080000000000000000000000000000000000000000c001500003e000000ff0000`.replaceAll('\n', ''),
  'hex',
)
const KEY = '44434241343332312423222114131211f4f3f2f1'
const INFO = PAYLOAD.subarray(0, 224)
const algorithm = (name: string): Buffer => Buffer.concat([Buffer.from(name.padEnd(64, '\0')), uint32(16), Buffer.alloc(2)])

describe('a security association', () => {
  test('is decoded without its key', () => {
    const decoded = decodeAssociation(PAYLOAD)
    expect(decoded).toEqual({
      source: '10.0.0.1',
      destination: '10.0.0.2',
      spi: 3,
      requestId: 1,
      algorithm: 'rfc4106(gcm(aes))',
      packets: 987_654_321n,
      bytes: 123_456_789_012n,
      sent: 0x2_0000_01e3n,
      addedAt: 1_700_000_000,
      offload: 'none',
    })
    expect(PAYLOAD.toString('hex')).toContain(KEY)
    expect(Object.values(decoded).join()).not.toContain(KEY.slice(0, 8))
  })

  test('with two algorithms has the name by which the kernel asks for both', () => {
    const pair = [attribute(2, algorithm('cbc(aes)')), attribute(1, algorithm('hmac(sha256)'))]
    const plain = Buffer.from(INFO)
    plain.writeUInt8(0, 216)
    expect(decodeAssociation(Buffer.concat([plain, ...pair])).algorithm).toBe('authenc(hmac(sha256),cbc(aes))')
    expect(decodeAssociation(Buffer.concat([INFO, ...pair])).algorithm).toBe('authencesn(hmac(sha256),cbc(aes))')
    expect(decodeAssociation(Buffer.concat([INFO, ...pair, attribute(20, algorithm('hmac(sha512)'))])).algorithm).toContain('sha512')
  })

  test('of IPv6, with short sequence numbers, and at a device', () => {
    const info = Buffer.from(INFO)
    Buffer.from('fd000000000000000000000000000001', 'hex').copy(info, 80)
    info.writeUInt16LE(10, 212)
    const more = [attribute(10, Buffer.concat([uint32(77), uint32(5), uint32(0)]))]
    expect(decodeAssociation(Buffer.concat([info, ...more]))).toMatchObject({ source: 'fd00::1', sent: 77n })
    const at = (flags: number): Buffer => attribute(28, Buffer.concat([uint32(4), Buffer.from([flags, 0, 0, 0])]))
    expect(decodeAssociation(Buffer.concat([info, at(2)])).offload).toBe('crypto')
    expect(decodeAssociation(Buffer.concat([info, at(6)])).offload).toBe('packet')
  })

  test('that is cut off is refused', () => {
    expect(() => decodeAssociation(PAYLOAD.subarray(0, 223))).toThrow('223 bytes')
  })

  test.skipIf(unprivileged)('of this kernel can be asked for (needs root)', () => {
    expect(securityAssociations().every(({ spi }) => spi > 0)).toBe(true)
  })
})
