import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { type LinkTraits, type NetnsPath, PRISTINE_TRAITS } from '../../src/index.ts'
import { ipJson, run, TestNet, unprivileged } from '../support.ts'

describe.skipIf(unprivileged)('what a link keeps over a move (needs root for network namespaces)', () => {
  let lab: TestNet
  let here: NetnsPath

  beforeAll(() => {
    lab = new TestNet()
  })
  beforeEach(async () => {
    here = await lab.netns()
    await lab.apply(here, { op: 'link.add-veth', dev: 'v0', peer: { name: 'v1' } })
  })
  afterAll(() => lab[Symbol.asyncDispose]())

  const traits = async (): Promise<LinkTraits | undefined> => (await lab.net.link(here, 'v0'))?.traits
  const ip = (...args: string[]): void => expect(run(here, 'ip', ...args)).toEqual({ status: 0, output: '' })
  const witness = (): Record<string, unknown> | undefined => ipJson(here, 'link').find(({ ifname }) => ifname === 'v0')
  const changes: readonly (readonly [string, Partial<LinkTraits>])[] = [
    ['arp off', { arp: false }],
    ['multicast off', { multicast: false }],
    ['promisc on', { promiscuous: true }],
    ['allmulticast on', { allMulticast: true }],
    ['mode dormant', { linkMode: 1 }],
    ['txqueuelen 7', { txQueueLength: 7 }],
    ['group 9', { group: 9 }],
    ['broadcast 00:00:00:00:00:01', { broadcast: '00:00:00:00:00:01' }],
  ]

  test('is pristine at first', async () => {
    expect(await lab.net.link(here, 'v0')).toMatchObject({ traits: PRISTINE_TRAITS, altNames: [] })
  })

  test.each(changes)('%s is read, and set as well', async (command, change) => {
    const pristine = witness()
    ip('link', 'set', 'dev', 'v0', ...command.split(' '))
    expect(await traits()).toEqual({ ...PRISTINE_TRAITS, ...change })
    const changed = witness()
    expect(changed).not.toEqual(pristine)
    await lab.apply(here, { op: 'link.set', dev: 'v0', traits: PRISTINE_TRAITS })
    expect(await traits()).toEqual(PRISTINE_TRAITS)
    expect(witness()).toEqual(pristine)
    await lab.apply(here, { op: 'link.set', dev: 'v0', traits: change })
    expect(witness()).toEqual(changed)
  })

  test('is touched where asked to only, in whatever state the link is', async () => {
    await lab.apply(here, { op: 'link.set', dev: 'v0', up: true, traits: { arp: false, group: 3 } })
    await lab.apply(here, { op: 'link.set', dev: 'v0', traits: { promiscuous: true } })
    expect(await lab.net.link(here, 'v0')).toMatchObject({
      up: true,
      traits: { ...PRISTINE_TRAITS, arp: false, group: 3, promiscuous: true },
    })
    await lab.apply(here, { op: 'link.set', dev: 'v0', up: false })
    expect(await traits()).toEqual({ ...PRISTINE_TRAITS, arp: false, group: 3, promiscuous: true })
  })

  test('has alternative names, of any bytes, that can be removed', async () => {
    run(here, 'bash', '-c', "ip link property add dev v0 altname other; ip link property add dev v0 altname $'\\xff\\xfeodd'")
    const names = (await lab.net.link(here, 'v0'))?.altNames
    expect(names).toHaveLength(2)
    expect(names).toContain('other')
    await lab.apply(here, { op: 'link.set', dev: 'v0', altNames: false }, { op: 'link.expect', dev: 'v0', altNames: false })
    expect(witness()).not.toHaveProperty('altnames')
    await lab.apply(here, { op: 'link.set', dev: 'v0', altNames: false })
  })

  test('does not answer any more, also within the call, to an alternative name that was removed', async () => {
    ip('link', 'property', 'add', 'dev', 'v0', 'altname', 'other')
    await expect(
      lab.apply(here, { op: 'link.set', dev: 'other', altNames: false }, { op: 'link.set', dev: 'other', mtu: 1300 }),
    ).rejects.toMatchObject({ code: 'NOT_FOUND' })
  })

  test('is read and removed also with as many alternative names as the kernel takes, and hides no other link', async () => {
    const script = 'for i in $(seq 500); do printf "link property add dev v1 altname n%0126d\\n" $i; done | ip -force -batch -'
    run(here, 'bash', '-c', script)
    const { altNames } = (await lab.net.link(here, 'v1')) ?? {}
    expect(altNames?.length).toBeGreaterThan(400)
    expect((await lab.net.links(here)).map(({ name }) => name).toSorted()).toEqual(['lo', 'v0', 'v1'])
    await lab.apply(here, { op: 'link.set', dev: 'v1', altNames: false })
    expect((await lab.net.link(here, 'v1'))?.altNames).toEqual([])
  })
})
