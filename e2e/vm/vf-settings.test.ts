import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { OWN_NETNS, type VfAdmin } from '@cni-offload/linux'
import { probeVfSettings, setVfAndReadBack } from '@cni-offload/linux/function'
import { Card, ipSays } from './support.ts'

const FRESH: VfAdmin = {
  vf: 0,
  mac: '00:00:00:00:00:00',
  vlan: { id: 0, qos: 0, protocol: '802.1q' },
  minTxRate: 0,
  maxTxRate: 0,
  spoofCheck: true,
  trust: false,
  linkState: 'auto',
}

describe('settings of VFs, the physical function being off', () => {
  let card: Card
  before(async () => {
    card = await Card.with(2, false)
  })
  after(async () => await card[Symbol.asyncDispose]())

  test('VFs are told of as their driver makes them', async () => {
    assert.deepEqual(await card.net.vfs(OWN_NETNS, card.pf), [FRESH, { ...FRESH, vf: 1 }])
  })

  test('without carrier the driver refuses rates, which it makes otherwise; nothing is left of the probe', async () => {
    const outcomes = await probeVfSettings(card.place(0))
    assert.match(JSON.stringify(outcomes.get('rate')), /EINVAL/)
    assert.equal(outcomes.get('vlan'), 'set')
    assert.deepEqual((await card.net.vfs(OWN_NETNS, card.pf))[0], FRESH)
  })
})

describe('settings of VFs, the physical function having carrier', () => {
  let card: Card
  before(async () => {
    card = await Card.with(5, true)
  })
  after(async () => await card[Symbol.asyncDispose]())
  const told = async (vf: number): Promise<VfAdmin | undefined> => (await card.net.vfs(OWN_NETNS, card.pf))[vf]

  test('a VF that has an interface has told its own address to the physical function', async () => {
    assert.deepEqual(
      (await card.net.vfs(OWN_NETNS, card.pf)).map(({ mac }) => mac),
      card.ends.map(({ mac }) => mac),
    )
  })

  test('settings are made, each for itself, and read back as ip tells them; what the driver refuses is named', async () => {
    const outcomes = await setVfAndReadBack(card.place(1), {
      mac: '02:00:00:00:00:11',
      vlan: { id: 100, qos: 3, protocol: '802.1q' },
      minTxRate: 0,
      maxTxRate: 200,
      spoofCheck: false,
      trust: true,
      linkState: 'disable',
    })
    assert.deepEqual(
      [...outcomes].filter(([, outcome]) => outcome === 'set').map(([name]) => name),
      ['mac', 'vlan', 'rate', 'spoofCheck', 'trust'],
    )
    assert.match(JSON.stringify(outcomes.get('linkState')), /"refused":".*VF 1 of .*: (EOPNOTSUPP|ENOTSUP)"/)
    const [untouched, set] = ipSays(card.pf)['vfinfo_list']
    assert.equal(untouched.spoofchk, true)
    assert.deepEqual(
      { mac: set.address, vlan: set.vlan_list, rate: set.rate, spoof: set.spoofchk, trust: set.trust },
      { mac: '02:00:00:00:00:11', vlan: [{ vlan: 100, qos: 3 }], rate: { max_tx: 200, min_tx: 0 }, spoof: false, trust: true },
    )
  })

  test('values that the driver refuses change nothing', async () => {
    const was = await told(2)
    for (const [wish, reason] of [
      [{ vlan: { id: 100, qos: 0, protocol: '802.1ad' } }, 'EPROTONOSUPPORT'],
      [{ minTxRate: 0, maxTxRate: 5000 }, 'EINVAL'],
      [{ minTxRate: 100, maxTxRate: 200 }, 'EINVAL'],
      [{ mac: '01:00:5e:00:00:01' }, 'EINVAL'],
    ] as const) {
      const [[, outcome] = []] = await setVfAndReadBack(card.place(2), wish)
      assert.match(JSON.stringify(outcome), new RegExp(reason), JSON.stringify(wish))
    }
    assert.deepEqual(await told(2), was)
  })

  test('the probe finds what the driver makes: all but the carrier; nothing is left of it', async () => {
    const was = await told(3)
    const outcomes = await probeVfSettings(card.place(3))
    assert.deepEqual(
      [...outcomes].filter(([, outcome]) => outcome === 'set').map(([name]) => name),
      ['mac', 'vlan', 'rate', 'spoofCheck', 'trust'],
    )
    assert.deepEqual(await told(3), was)
  })

  test('an address that the physical function has set is refused by the driver of the VF; set on the VF first, both go', async () => {
    const mac = '02:00:00:00:00:12'
    const onVf = async (index: number): Promise<void> =>
      await card.net.apply(OWN_NETNS, [{ op: 'link.set', dev: card.end(index).name, mac }])
    await setVfAndReadBack(card.place(0), { mac })
    await assert.rejects(onVf(0), { code: 'KERNEL_REFUSED', message: /EADDRNOTAVAIL/, hint: /physical function has set/ })
    await onVf(4)
    assert.deepEqual([...(await setVfAndReadBack(card.place(4), { mac }))], [['mac', 'set']])
    assert.equal((await card.net.link(OWN_NETNS, card.end(4).name))?.mac, mac)
  })
})
