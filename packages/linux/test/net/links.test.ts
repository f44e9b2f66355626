import { execFileSync } from 'node:child_process'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { type NetnsPath, OWN_NETNS } from '../../src/index.ts'
import { ipJson, TestNet, unprivileged } from '../support.ts'

describe.skipIf(unprivileged)('links (needs root for network namespaces)', () => {
  let lab: TestNet
  let a: NetnsPath
  let b: NetnsPath

  beforeAll(async () => {
    lab = new TestNet()
    b = await lab.netns()
  })
  beforeEach(async () => {
    a = await lab.netns()
  })
  afterAll(() => lab[Symbol.asyncDispose]())

  const ipLink = (netns: NetnsPath, dev: string): Record<string, unknown> | undefined =>
    ipJson(netns, 'link').find((link) => link['ifname'] === dev)

  test('of the own namespace are those that the kernel shows', async () => {
    const names = (await lab.net.links(OWN_NETNS)).map(({ name }) => name)
    expect(names).toContain('lo')
    expect(await lab.net.link(OWN_NETNS, 'lo')).toMatchObject({ index: 1, mac: '00:00:00:00:00:00', kind: '', alias: '', up: true })
  })

  test('have the largest MTU and the device that the kernel tells of, as far as it does', async () => {
    type Shown = { readonly ifname: string; readonly max_mtu?: number; readonly parentbus?: string; readonly parentdev?: string }
    const shown: readonly Shown[] = JSON.parse(execFileSync('ip', ['-d', '-j', 'link', 'show'], { encoding: 'utf8' }))
    const links = await lab.net.links(OWN_NETNS)
    for (const { ifname, max_mtu: maxMtu, parentbus: bus, parentdev: name } of shown) {
      const link = links.find((candidate) => candidate.name === ifname)
      expect(link?.parent).toEqual(bus === undefined ? undefined : { bus, name })
      expect(link?.maxMtu ?? 0).toBe(maxMtu)
    }
    await lab.apply(a, { op: 'link.add-veth', dev: 'v0', peer: { name: 'v1' } })
    expect(await lab.net.link(a, 'v0')).toMatchObject({ maxMtu: 65_535 })
    expect(await lab.net.link(a, 'v0')).not.toHaveProperty('parent')
  })

  test('are made as pairs, the peer in another namespace', async () => {
    await lab.apply(a, {
      op: 'link.add-veth',
      dev: 'v0',
      mac: '02:00:00:00:00:01',
      mtu: 1400,
      alias: 'orig=v0',
      peer: { name: 'p0', netns: b, mac: '02:00:00:00:00:02', mtu: 1300, alias: 'orig=p0' },
    })
    expect(ipLink(a, 'v0')).toMatchObject({ address: '02:00:00:00:00:01', mtu: 1400, ifalias: 'orig=v0', linkinfo: { info_kind: 'veth' } })
    expect(ipLink(b, 'p0')).toMatchObject({ address: '02:00:00:00:00:02', mtu: 1300, ifalias: 'orig=p0' })
    expect(await lab.net.link(b, 'p0')).toMatchObject({
      name: 'p0',
      mac: '02:00:00:00:00:02',
      mtu: 1300,
      alias: 'orig=p0',
      kind: 'veth',
      up: false,
    })
  })

  test('are made as pairs within one namespace too', async () => {
    await lab.apply(a, { op: 'link.add-veth', dev: 'v0', peer: { name: 'v1', alias: 'peer' } })
    expect((await lab.net.links(a)).map(({ name }) => name).toSorted()).toEqual(['lo', 'v0', 'v1'])
    expect(ipLink(a, 'v1')).toMatchObject({ ifalias: 'peer' })
  })

  test('of a pair whose alias is refused are gone again', async () => {
    const op = { op: 'link.add-veth', dev: 'v0', peer: { name: 'p0', alias: 'x'.repeat(256) } } as const
    await expect(lab.apply(a, op)).rejects.toMatchObject({
      code: 'KERNEL_REFUSED',
      message: expect.stringContaining('EINVAL: alias of 256 bytes'),
    })
    expect((await lab.net.links(a)).map(({ name }) => name)).toEqual(['lo'])
  })

  test('take no MAC address that their driver refuses, which is told with what it may mean', async () => {
    await lab.apply(a, { op: 'link.add-veth', dev: 'v0', mac: '02:00:00:00:00:01', peer: { name: 'v1' } })
    await expect(lab.apply(a, { op: 'link.set', dev: 'v0', mac: '01:00:5e:00:00:01', alias: 'new' })).rejects.toMatchObject({
      code: 'KERNEL_REFUSED',
      message: `link.set in ${a}: v0: its driver does not take mac = 01:00:5e:00:00:01 (EADDRNOTAVAIL)`,
      hint: expect.stringContaining('multicast'),
    })
    expect(await lab.net.link(a, 'v0')).toMatchObject({ mac: '02:00:00:00:00:01' })
  })

  test('change exactly where asked to', async () => {
    await lab.apply(a, { op: 'link.add-veth', dev: 'v0', mac: '02:00:00:00:00:01', alias: 'old', peer: { name: 'v1' } })
    await lab.apply(a, { op: 'link.set', dev: 'v0', mac: '02:00:00:00:00:0a', mtu: 1280, alias: 'new' })
    expect(ipLink(a, 'v0')).toMatchObject({ address: '02:00:00:00:00:0a', mtu: 1280, ifalias: 'new', operstate: 'DOWN' })
    await lab.apply(a, { op: 'link.set', dev: 'v0', up: true }, { op: 'link.set', dev: 'v1', up: true })
    expect(await lab.net.link(a, 'v0')).toMatchObject({ mac: '02:00:00:00:00:0a', mtu: 1280, alias: 'new', up: true, carrier: true })
    await lab.apply(a, { op: 'link.set', dev: 'v0', up: false, alias: '' })
    expect(await lab.net.link(a, 'v0')).toMatchObject({ mac: '02:00:00:00:00:0a', alias: '', up: false, carrier: false })
  })

  test('answer to their new name within the same call', async () => {
    await lab.apply(
      a,
      { op: 'link.add-veth', dev: 'v0', peer: { name: 'v1' } },
      { op: 'link.set', dev: 'v0', name: 'eth0' },
      { op: 'link.set', dev: 'v1', name: 'v0' },
      { op: 'link.set', dev: 'eth0', mtu: 1300 },
      { op: 'link.set', dev: 'v0', mtu: 1200 },
    )
    expect([ipLink(a, 'eth0')?.['mtu'], ipLink(a, 'v0')?.['mtu']]).toEqual([1300, 1200])
  })

  test('enter and leave a bridge', async () => {
    await lab.apply(
      a,
      { op: 'link.add-bridge', dev: 'br0', mac: '02:00:00:00:00:ff', mtu: 1400 },
      { op: 'link.add-veth', dev: 'v0', peer: { name: 'v1' } },
      { op: 'link.set', dev: 'v0', master: 'br0' },
    )
    const bridge = await lab.net.link(a, 'br0')
    expect(bridge).toMatchObject({ kind: 'bridge', mac: '02:00:00:00:00:ff', mtu: 1400 })
    expect((await lab.net.link(a, 'v0'))?.master).toBe(bridge?.index)
    expect(ipLink(a, 'v0')).toMatchObject({ master: 'br0' })
    await lab.apply(a, { op: 'link.set', dev: 'v0', master: null })
    expect(await lab.net.link(a, 'v0')).not.toHaveProperty('master')
  })

  test('are removed, also when they are absent already', async () => {
    await lab.apply(
      a,
      { op: 'link.add-bridge', dev: 'br0' },
      { op: 'link.del', dev: 'br0' },
      { op: 'link.del', dev: 'br0', absentOk: true },
    )
    expect(await lab.net.link(a, 'br0')).toBeUndefined()
    await expect(lab.apply(a, { op: 'link.del', dev: 'br0' })).rejects.toMatchObject({
      code: 'NOT_FOUND',
      message: `link.del in ${a}: br0: there is no device br0 (ENODEV)`,
    })
  })

  test('count what passes', async () => {
    await lab.apply(
      a,
      { op: 'link.add-veth', dev: 'v0', mac: '02:00:00:00:00:01', peer: { name: 'v1' } },
      { op: 'sysctl', key: 'net.ipv6.conf.v0.disable_ipv6', value: '1' },
      { op: 'sysctl', key: 'net.ipv6.conf.v1.disable_ipv6', value: '1' },
      { op: 'link.set', dev: 'v0', up: true },
      { op: 'link.set', dev: 'v1', up: true },
      { op: 'announce', dev: 'v0', addresses: ['10.0.0.1', '10.0.0.2'] },
    )
    expect((await lab.net.link(a, 'v0'))?.stats).toMatchObject({ txPackets: 2n, txBytes: 84n })
  })

  test('that are bridges of an impossible MTU are gone again', async () => {
    await expect(lab.apply(a, { op: 'link.add-bridge', dev: 'br0', mtu: 10 })).rejects.toMatchObject({ code: 'KERNEL_REFUSED' })
    expect(await lab.net.link(a, 'br0')).toBeUndefined()
  })

  describe('refuse, with operation, namespace and reason,', () => {
    test('to exist twice', async () => {
      await lab.apply(a, { op: 'link.add-bridge', dev: 'br0' })
      await expect(lab.apply(a, { op: 'link.add-bridge', dev: 'br0' })).rejects.toMatchObject({
        code: 'ALREADY_EXISTS',
        message: expect.stringMatching(new RegExp(`^link\\.add-bridge in ${a}: br0: EEXIST`)),
      })
    })

    test('what the kernel does not allow', async () => {
      await expect(lab.apply(a, { op: 'link.set', dev: 'lo', mtu: -1 })).rejects.toMatchObject({ code: 'KERNEL_REFUSED' })
      await lab.apply(a, { op: 'link.add-veth', dev: 'v0', peer: { name: 'v1' } })
      await expect(lab.apply(a, { op: 'link.set', dev: 'v0', mtu: 10 })).rejects.toMatchObject({
        code: 'KERNEL_REFUSED',
        message: `link.set in ${a}: v0: EINVAL: mtu less than device minimum`,
      })
    })

    test.each([
      ['a bad MAC address', { op: 'link.set', dev: 'lo', mac: '02:zz' }, 'EINVAL: "02:zz" is no MAC address'],
      ['a name that the kernel would complete', { op: 'link.set', dev: 'lo', name: 'eth%d' }, 'EINVAL: "eth%d" is no interface name'],
      ['a name that is too long', { op: 'link.add-bridge', dev: 'abcdefghijklmnop' }, 'EINVAL: "abcdefghijklmnop" is no interface name'],
    ] as const)('%s', async (_what, op, reason) => {
      await expect(lab.apply(a, op)).rejects.toMatchObject({ code: 'KERNEL_REFUSED', message: expect.stringContaining(reason) })
    })

    test('a missing device or master', async () => {
      await expect(lab.apply(a, { op: 'link.set', dev: 'nope', up: true })).rejects.toMatchObject({ code: 'NOT_FOUND' })
      await expect(lab.apply(a, { op: 'link.set', dev: 'lo', master: 'nope' })).rejects.toMatchObject({
        code: 'NOT_FOUND',
        message: `link.set in ${a}: lo: there is no device nope (ENODEV)`,
      })
    })

    test('and leave what came before in the same call', async () => {
      const ops = [
        { op: 'link.add-bridge', dev: 'br0' },
        { op: 'link.set', dev: 'nope', up: true },
        { op: 'link.add-bridge', dev: 'br1' },
      ] as const
      await expect(lab.apply(a, ...ops)).rejects.toMatchObject({ code: 'NOT_FOUND' })
      expect((await lab.net.links(a)).map(({ name }) => name)).toEqual(['lo', 'br0'])
    })
  })
})
