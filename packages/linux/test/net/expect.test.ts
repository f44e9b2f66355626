import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type NetnsPath, PRISTINE_TRAITS } from '../../src/index.ts'
import { run, TestNet, unprivileged } from '../support.ts'

describe.skipIf(unprivileged)('link.expect (needs root for network namespaces)', () => {
  let lab: TestNet
  let here: NetnsPath
  let there: NetnsPath

  beforeAll(async () => {
    lab = new TestNet()
    here = await lab.netns()
    there = await lab.netns()
    await lab.apply(here, {
      op: 'link.add-veth',
      dev: 'a',
      mac: '02:00:00:00:00:0a',
      mtu: 1400,
      alias: 'note',
      peer: { name: 'b', netns: there },
    })
  })
  afterAll(() => lab[Symbol.asyncDispose]())

  test('passes when all that is named is so, also in another namespace', async () => {
    await lab.apply(here, { op: 'link.expect', dev: 'a', mac: '02:00:00:00:00:0a', mtu: 1400, up: false, alias: 'note', addresses: false })
    await lab.apply(here, { op: 'link.expect', dev: 'b', netns: there, up: false })
  })

  test('names every difference', async () => {
    await lab.apply(here, { op: 'addr.add', dev: 'a', address: '10.1.0.1/24' })
    const failure = lab.apply(here, {
      op: 'link.expect',
      dev: 'a',
      mac: '02:00:00:00:00:0b',
      mtu: 1500,
      up: true,
      alias: '',
      addresses: false,
    })
    await expect(failure).rejects.toMatchObject({ code: 'CHECK_FAILED' })
    for (const text of ['mac is "02:00:00:00:00:0a"', 'mtu is 1400, not 1500', 'up is false', 'alias is "note"', '10.1.0.1/24'])
      await expect(failure).rejects.toThrow(text)
  })

  test('knows traits and alternative names', async () => {
    await lab.apply(here, { op: 'link.expect', dev: 'a', traits: PRISTINE_TRAITS, altNames: false })
    await lab.apply(here, { op: 'link.set', dev: 'a', traits: { arp: false, group: 7 } })
    run(here, 'ip', 'link', 'property', 'add', 'dev', 'a', 'altname', 'other')
    const failure = lab.apply(here, { op: 'link.expect', dev: 'a', traits: PRISTINE_TRAITS, altNames: false })
    await expect(failure).rejects.toMatchObject({
      code: 'CHECK_FAILED',
      message: expect.stringMatching(/: arp is false, not true; group is 7, not 0; it has 1 alternative names, one is "other"$/),
    })
    await lab.apply(here, { op: 'link.expect', dev: 'a', traits: { arp: false, multicast: true } })
  })

  test('a device that is not there is not what was expected', async () => {
    await expect(lab.apply(here, { op: 'link.expect', dev: 'b' })).rejects.toMatchObject({ code: 'NOT_FOUND' })
  })

  test('stops what comes after it', async () => {
    await expect(
      lab.apply(here, { op: 'link.expect', dev: 'a', mtu: 9000 }, { op: 'link.set', dev: 'a', mtu: 1300 }),
    ).rejects.toMatchObject({ code: 'CHECK_FAILED' })
    expect(await lab.net.link(here, 'a')).toMatchObject({ mtu: 1400 })
  })
})
