import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import type { NetnsPath } from '../../src/index.ts'
import { loadLibc } from '../../src/native/libc.ts'
import { moveOrStay } from '../../src/net/link-ops.ts'
import { SessionFactory } from '../../src/net/session.ts'
import { TestNet, uniqueName, unprivileged } from '../support.ts'

describe.skipIf(unprivileged)('moving a link (needs root for network namespaces)', () => {
  let lab: TestNet
  let host: NetnsPath
  let pod: NetnsPath

  beforeAll(() => {
    lab = new TestNet()
  })
  beforeEach(async () => {
    ;[host, pod] = await Promise.all([lab.netns(), lab.netns()])
    await lab.apply(host, {
      op: 'link.add-veth',
      dev: 'vf0',
      mac: '02:00:00:00:00:01',
      mtu: 1400,
      alias: 'orig=vf0',
      peer: { name: 'far' },
    })
  })
  afterAll(() => lab[Symbol.asyncDispose]())

  const names = async (netns: NetnsPath): Promise<string[]> =>
    (await lab.net.links(netns)).map(({ name }) => name).filter((name) => name !== 'lo')
  const taken = (error: { message?: string } = {}): object => ({ code: 'ALREADY_EXISTS', ...error })

  test('renames it and keeps MAC, MTU and alias', async () => {
    await lab.apply(host, { op: 'link.move', dev: 'vf0', netns: pod, name: 'eth0' })
    expect(await names(host)).toEqual(['far'])
    expect(await lab.net.link(pod, 'eth0')).toMatchObject({ mac: '02:00:00:00:00:01', mtu: 1400, alias: 'orig=vf0', up: false })
    await lab.apply(pod, { op: 'link.move', dev: 'eth0', netns: host, name: 'vf0' })
    expect([await names(host), await names(pod)]).toEqual([expect.arrayContaining(['far', 'vf0']), []])
  })

  test('works although its old name is in use there', async () => {
    await lab.apply(pod, { op: 'link.add-bridge', dev: 'vf0' })
    await lab.apply(host, { op: 'link.move', dev: 'vf0', netns: pod, name: 'eth0' })
    expect((await names(pod)).toSorted()).toEqual(['eth0', 'vf0'])
  })

  test('leaves it alone if the new name is taken', async () => {
    await lab.apply(pod, { op: 'link.add-bridge', dev: 'eth0' })
    await lab.apply(host, { op: 'link.set', dev: 'vf0', up: true })
    const before = await lab.net.link(host, 'vf0')
    await expect(lab.apply(host, { op: 'link.move', dev: 'vf0', netns: pod, name: 'eth0' })).rejects.toMatchObject(
      taken({ message: `link.move in ${host}: vf0 to ${pod} as eth0: a device eth0 exists there (EEXIST)` }),
    )
    expect(await lab.net.link(host, 'vf0')).toMatchObject({ index: before?.index, up: true, mac: '02:00:00:00:00:01' })
    expect(await names(pod)).toEqual(['eth0'])
  })

  // What happens when the name is taken between the look and the move: the part behind the look is called alone.
  test.each([
    ['moves it back if the kernel had moved it before it refused the name', ['eth0']],
    ['leaves it if the kernel refused before moving', ['eth0', 'vf0']],
  ])('%s', async (_what, existing) => {
    for (const dev of existing) await lab.apply(pod, { op: 'link.add-bridge', dev })
    const index = (await lab.net.link(host, 'vf0'))!.index
    using sessions = new SessionFactory(loadLibc())
    using source = sessions.open(host)
    using target = sessions.open(pod)
    expect(() => moveOrStay(source, target, { index, from: 'vf0', to: 'eth0' })).toThrow(expect.objectContaining(taken()))
    expect((await names(host)).toSorted()).toEqual(['far', 'vf0'])
    expect((await names(pod)).toSorted()).toEqual(existing)
    expect(await lab.net.link(host, 'vf0')).toMatchObject({ mac: '02:00:00:00:00:01', alias: 'orig=vf0' })
  })

  test('needs a device, a namespace and a possible name', async () => {
    const nowhere = `/run/netns/${uniqueName()}`
    await expect(lab.apply(host, { op: 'link.move', dev: 'nope', netns: pod, name: 'eth0' })).rejects.toMatchObject({ code: 'NOT_FOUND' })
    await expect(lab.apply(host, { op: 'link.move', dev: 'vf0', netns: nowhere, name: 'eth0' })).rejects.toMatchObject({
      code: 'NOT_FOUND',
      message: `link.move in ${host}: vf0 to ${nowhere} as eth0: network namespace ${nowhere} does not exist (ENOENT)`,
    })
    await expect(lab.apply(host, { op: 'link.move', dev: 'vf0', netns: '/etc/hostname', name: 'eth0' })).rejects.toMatchObject({
      code: 'NOT_FOUND',
      message: expect.stringContaining('/etc/hostname is no network namespace'),
    })
    await expect(lab.apply(host, { op: 'link.move', dev: 'vf0', netns: pod, name: 'eth%d' })).rejects.toMatchObject({
      code: 'KERNEL_REFUSED',
    })
    expect(await names(host)).toContain('vf0')
  })

  test('is possible for many at once', async () => {
    const devs = Array.from({ length: 8 }, (_, index) => `d${index}`)
    await Promise.all(devs.map((dev) => lab.apply(host, { op: 'link.add-bridge', dev })))
    const moves = devs.map((dev) => lab.apply(host, { op: 'link.move', dev: 'vf0', netns: pod, name: dev }))
    const outcomes = await Promise.allSettled(moves)
    expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
    expect((await names(pod)).length).toBe(1)
  })
})
