import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { createLinuxNet, type LinuxNet, type NetnsPath, OWN_NETNS } from '@cni-offload/linux'
import { cryptoAlgorithms, preferredAlgorithm, securityAssociations } from '@cni-offload/linux/ipsec'
import { readNode, stateNode, type NodeSources } from '@cni-offload/adapter-cilium/ipsec'
import { parseXfrmStat } from '@cni-offload/hw-octeon'
import { machine, pings, run } from './support.ts'

const ALGORITHM = 'rfc4106(gcm(aes))'
const KEY = '0x000102030405060708090a0b0c0d0e0f10111213'
const [NEAR, FAR] = ['10.8.0.1', '10.8.0.2']

const ASSOCIATIONS = [
  { ends: ['src', NEAR, 'dst', FAR], from: NEAR, spi: '0x100' },
  { ends: ['src', FAR, 'dst', NEAR], from: FAR, spi: '0x200' },
] as const

/** What one end of a tunnel has: an association and a policy for each direction. */
function encrypt(netns: NetnsPath, own: string): void {
  for (const { ends, from, spi } of ASSOCIATIONS) {
    const how = ['reqid', '1', 'mode', 'tunnel']
    run(netns, 'ip', 'xfrm', 'state', 'add', ...ends, 'proto', 'esp', 'spi', spi, ...how, 'aead', ALGORITHM, KEY, '128')
    run(netns, 'ip', 'xfrm', 'policy', 'add', ...ends, 'dir', from === own ? 'out' : 'in', 'tmpl', ...ends, 'proto', 'esp', ...how)
  }
}

const sources: NodeSources = {
  status: { from: 'cilium-dbg encrypt status', read: () => ({ mode: 'IPsec' }) },
  associations: { from: 'XFRM_MSG_GETSA', read: () => securityAssociations() },
  algorithms: { from: '/proc/crypto', read: async () => await cryptoAlgorithms() },
}

describe('IPsec of the kernel', () => {
  let net: LinuxNet
  let far: NetnsPath
  before(async () => {
    net = createLinuxNet()
    far = await net.createNetns('far')
    await net.apply(OWN_NETNS, [{ op: 'link.add-veth', dev: 'near0', peer: { name: 'far0', netns: far } }])
    for (const [netns, dev, own] of [
      [OWN_NETNS, 'near0', NEAR],
      [far, 'far0', FAR],
    ] as const) {
      await net.apply(netns, [
        { op: 'link.set', dev, up: true },
        { op: 'addr.add', dev, address: `${own}/24` },
      ])
      encrypt(netns, own)
    }
  })
  after(async () => {
    for (const what of ['state', 'policy']) run(OWN_NETNS, 'ip', 'xfrm', what, 'flush')
    await net.deleteNetns('far')
    await net[Symbol.asyncDispose]()
  })

  test('associations of the kernel count what they encrypt; the statement says that the CPU does it', async () => {
    const before = await readNode(sources)
    assert.equal(stateNode('node', before).encrypted.answer, 'unknown')
    assert.equal(pings(OWN_NETNS, FAR), true)

    const [out, back] = securityAssociations().toSorted((a, b) => a.spi - b.spi)
    assert.deepEqual(
      { ...out, bytes: 0n, addedAt: 0 },
      {
        ...{ source: NEAR, destination: FAR, spi: 0x100, requestId: 1, algorithm: ALGORITHM },
        ...{ packets: 2n, bytes: 0n, sent: 2n, addedAt: 0, offload: 'none' },
      },
    )
    assert.deepEqual([back?.source, back?.packets, back?.sent], [FAR, 2n, 0n])
    // Two echoes with an IP header each: what it counts is what is in the tunnel.
    assert.equal(out?.bytes, 168n)

    const now = await readNode(sources)
    assert.deepEqual(now.missing, [])
    const { encrypted, inHardware, evidence, warnings } = stateNode('node', now, before)
    assert.deepEqual([encrypted.answer, inHardware.answer, warnings], ['yes', 'no', []])
    assert.deepEqual(
      evidence.find(({ what }) => what === 'security associations')?.value,
      `2 with 0 packets, ${ALGORITHM} → 2 with 4 packets, ${ALGORITHM}`,
    )
  })

  test('the driver that new associations get is the one of the kernel with the highest priority', async () => {
    const best = preferredAlgorithm(await cryptoAlgorithms(), ALGORITHM)
    assert.equal(best?.tested, true)
    assert.match(best?.driver ?? '', /aes/)
    assert.ok((best?.users ?? 0) > 0, `${best?.driver} has ${best?.users} users`)
  })

  test('what arrives without an association is counted as an error, by its name', async () => {
    const errors = async (): Promise<ReadonlyMap<string, bigint>> => parseXfrmStat(await machine.read('/proc/net/xfrm_stat'))
    const before = await errors()
    assert.ok(before.size > 20)
    run(OWN_NETNS, 'ip', 'xfrm', 'state', 'delete', 'src', FAR, 'dst', NEAR, 'proto', 'esp', 'spi', '0x200')
    assert.equal(pings(far, NEAR), false)
    const after = await errors()
    const grown = [...after].filter(([name, count]) => count > (before.get(name) ?? 0n)).map(([name]) => name)
    assert.deepEqual(grown, ['XfrmInNoStates'])
  })
})
