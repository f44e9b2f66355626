import fc from 'fast-check'
import { afterAll, describe, expect, it } from 'vitest'
import type { VfAdmin } from '../../src/index.ts'
import { attribute, nested, readAttributes, uint32 } from '../../src/netlink/codec.ts'
import { decodeVfs, vfAttributes } from '../../src/netlink/vf.ts'
import { TestNet, unprivileged } from '../support.ts'

const IFLA_VFINFO_LIST = 22
const IFLA_VF_VLAN = 2

const admins: fc.Arbitrary<VfAdmin> = fc.record(
  {
    vf: fc.nat(255),
    mac: fc
      .array(fc.integer({ min: 0, max: 255 }), { minLength: 6, maxLength: 6 })
      .map((bytes) => bytes.map((byte) => byte.toString(16).padStart(2, '0')).join(':')),
    vlan: fc.record({ id: fc.nat(4094), qos: fc.nat(7), protocol: fc.constantFrom('802.1q' as const, '802.1ad' as const) }),
    minTxRate: fc.nat(100_000),
    maxTxRate: fc.nat(100_000),
    spoofCheck: fc.boolean(),
    trust: fc.boolean(),
    linkState: fc.constantFrom('auto' as const, 'enable' as const, 'disable' as const),
  },
  { requiredKeys: ['vf', 'mac', 'vlan', 'minTxRate', 'maxTxRate', 'linkState'] },
)

/** What a kernel answers of a VF: what it was told, the VLAN a second time in its old form, and -1 for switches unknown to the driver. */
const described = (admin: VfAdmin): Buffer => {
  const { vf, vlan, spoofCheck, trust } = admin
  const unknown = [...(spoofCheck === undefined ? [4] : []), ...(trust === undefined ? [9] : [])]
  return nested(1, [
    ...vfAttributes(vf, admin),
    attribute(IFLA_VF_VLAN, Buffer.concat([vf, vlan.id, vlan.qos].map(uint32))),
    ...unknown.map((type) => attribute(type, Buffer.concat([uint32(vf), uint32(0xffff_ffff)]))),
  ])
}

const answer = (infos: readonly Buffer[]): Buffer => Buffer.concat([Buffer.alloc(16), nested(IFLA_VFINFO_LIST, infos)])

describe('settings of VFs', () => {
  it('are read as they were written', () => {
    fc.assert(
      fc.property(fc.array(admins, { maxLength: 8 }), (all) => {
        expect(decodeVfs(answer(all.map(described)))).toEqual(all)
      }),
    )
  })

  it('of a link without any are none', () => {
    expect(decodeVfs(Buffer.alloc(16))).toEqual([])
  })

  it('are written as the kernel defines them', () => {
    const [mac, vlan, rate] = vfAttributes(3, {
      mac: '02:00:00:00:00:01',
      vlan: { id: 100, qos: 5, protocol: '802.1ad' },
      minTxRate: 10,
      maxTxRate: 20,
    })
    // struct ifla_vf_mac: the address has room for 32 bytes.
    expect(mac?.toString('hex')).toBe(`2800 0100 03000000 020000000001${'00'.repeat(26)}`.replaceAll(' ', ''))
    // struct ifla_vf_vlan_info within two nests: the protocol in network byte order, padded to four bytes.
    expect(vlan?.toString('hex')).toBe('1800 0c80 1400 0100 03000000 64000000 05000000 88a80000'.replaceAll(' ', ''))
    expect(
      readAttributes(rate ?? Buffer.alloc(0))
        .get(6)
        ?.toString('hex'),
    ).toBe('030000000a00000014000000')
  })

  it.each([
    [{ vlan: { id: 4096, qos: 0, protocol: '802.1q' } }, 'VLAN 4096'],
    [{ vlan: { id: 1, qos: 8, protocol: '802.1q' } }, 'priority 8'],
    [{ maxTxRate: 10 }, 'together'],
  ] as const)('that no driver could take are refused: %o', (settings, reason) => {
    expect(() => vfAttributes(0, settings)).toThrow(reason)
  })
})

describe.skipIf(unprivileged)('VFs of a link that has none (needs root for network namespaces)', () => {
  const lab = new TestNet()
  afterAll(() => lab[Symbol.asyncDispose]())

  it('are none, and cannot be set: the kernel says so', async () => {
    const netns = await lab.netns()
    await lab.apply(netns, { op: 'link.add-veth', dev: 'v0', peer: { name: 'v1' } })
    expect(await lab.net.vfs(netns, 'v0')).toEqual([])
    await expect(lab.net.vfs(netns, 'none')).rejects.toMatchObject({ code: 'NOT_FOUND' })
    await expect(lab.apply(netns, { op: 'vf.set', dev: 'v0', vf: 3, settings: { trust: true } })).rejects.toMatchObject({
      code: 'KERNEL_REFUSED',
      message: expect.stringMatching(/VF 3 of v0.*ENOTSUP/),
    })
  })
})
