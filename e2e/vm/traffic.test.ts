import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { OWN_NETNS } from '@cni-offload/linux'
import { setVfAndReadBack } from '@cni-offload/linux/function'
import { Card, pings } from './support.ts'

const vlan = (id: number) => ({ vlan: { id, qos: 0, protocol: '802.1q' } }) as const

describe('traffic of VFs', () => {
  let card: Card
  before(async () => {
    card = await Card.with(2, true)
  })
  after(async () => await card[Symbol.asyncDispose]())

  test('pods with VFs of one card reach each other, and the wire; a VLAN of the physical function parts them', async () => {
    const [one, other] = [await card.pod('one'), await card.pod('other')]
    await card.into(one, card.end(0), '10.7.0.10/24')
    await card.into(other, card.end(1), '10.7.0.11/24')
    const wire = (await card.net.links(OWN_NETNS)).find(({ parent }) => parent?.bus === 'virtio')?.name ?? ''
    await card.net.apply(OWN_NETNS, [{ op: 'addr.add', dev: wire, address: '10.7.0.1/24' }])
    try {
      assert.equal(pings(one, '10.7.0.11'), true, 'pod to pod')
      assert.equal(pings(one, '10.7.0.1'), true, 'pod to wire')

      assert.deepEqual([...(await setVfAndReadBack(card.place(0), vlan(100)))], [['vlan', 'set']])
      assert.equal(pings(one, '10.7.0.11'), false, 'to a pod that is in no VLAN')
      await setVfAndReadBack(card.place(1), vlan(100))
      assert.equal(pings(one, '10.7.0.11'), true, 'in the same VLAN')
      assert.equal(pings(one, '10.7.0.1'), false, 'to the wire, where nobody knows the VLAN')
    } finally {
      await card.net.apply(OWN_NETNS, [{ op: 'addr.flush', dev: wire }])
    }
  })
})
