import { execFileSync } from 'node:child_process'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import type { NetnsPath, NetOp } from '../../src/index.ts'
import { pings, run, TestNet, unprivileged } from '../support.ts'

const quiet = (dev: string): NetOp => ({ op: 'sysctl', key: `net.ipv6.conf.${dev}.disable_ipv6`, value: '1' })
const up = (dev: string): NetOp => ({ op: 'link.set', dev, up: true })

describe.skipIf(unprivileged)('redirects (needs root for network namespaces)', () => {
  let lab: TestNet
  let pod: NetnsPath
  let middle: NetnsPath
  let far: NetnsPath

  beforeAll(() => {
    lab = new TestNet()
  })
  beforeEach(async () => {
    ;[pod, middle, far] = await Promise.all([lab.netns(), lab.netns(), lab.netns()])
    await lab.apply(
      middle,
      { op: 'link.add-veth', dev: 'port', peer: { name: 'eth0', netns: pod } },
      { op: 'link.add-veth', dev: 'cni', peer: { name: 'eth0', netns: far } },
      ...[quiet('port'), quiet('cni'), up('port'), up('cni')],
    )
    for (const [netns, host] of [
      [pod, 1],
      [far, 2],
    ] as const) {
      const addresses = [`10.7.0.${host}/24`, `fd07::${host}/64`].map((address): NetOp => ({ op: 'addr.add', dev: 'eth0', address }))
      await lab.apply(netns, up('eth0'), ...addresses)
    }
  })
  afterAll(() => lab[Symbol.asyncDispose]())

  const splice: NetOp[] = [
    { op: 'redirect.set', from: 'port', to: 'cni' },
    { op: 'redirect.set', from: 'cni', to: 'port' },
  ]
  const filters = (): unknown[] =>
    (
      JSON.parse(
        execFileSync('tc', ['-n', middle.replace('/run/netns/', ''), '-j', 'filter', 'show', 'dev', 'port', 'ingress'], {
          encoding: 'utf8',
        }),
      ) as object[]
    ).filter((filter) => 'options' in filter && JSON.stringify(filter).includes('mirred'))

  test('both ways join two networks, for IPv4 and IPv6', async () => {
    await lab.apply(middle, ...splice)
    expect([pings(pod, '10.7.0.2'), pings(pod, 'fd07::2')]).toEqual([true, true])
    expect(await lab.net.redirectTarget(middle, 'port')).toBe('cni')
    expect(await lab.net.redirectTarget(middle, 'cni')).toBe('port')
    await lab.apply(middle, { op: 'redirect.clear', dev: 'port' })
    expect(run(pod, 'ping', '-c', '1', '-W', '1', '10.7.0.2').status).toBe(1)
  })

  test('that are set again stay one', async () => {
    await lab.apply(middle, ...splice, ...splice)
    expect(filters()).toHaveLength(1)
  })

  test('can be pointed elsewhere', async () => {
    await lab.apply(
      middle,
      { op: 'link.add-bridge', dev: 'br0' },
      { op: 'redirect.set', from: 'port', to: 'br0' },
      { op: 'redirect.set', from: 'port', to: 'cni' },
    )
    expect(await lab.net.redirectTarget(middle, 'port')).toBe('cni')
    expect(filters()).toHaveLength(1)
  })

  test('whose target went away count as none and are repaired by setting them', async () => {
    await lab.apply(middle, ...splice, { op: 'link.move', dev: 'cni', netns: far, name: 'away' })
    expect(await lab.net.redirectTarget(middle, 'port')).toBeUndefined()
    await lab.apply(far, { op: 'link.move', dev: 'away', netns: middle, name: 'cni' })
    expect(await lab.net.redirectTarget(middle, 'port')).toBeUndefined()
    await lab.apply(middle, up('cni'), ...splice)
    expect(filters()).toHaveLength(1)
    expect(pings(pod, '10.7.0.2')).toBe(true)
  })

  test('that take only some frames do not count', async () => {
    const tc = (...args: string[]): void => void execFileSync('tc', ['-n', middle.replace('/run/netns/', ''), ...args])
    tc('qdisc', 'add', 'dev', 'port', 'ingress')
    const action = ['action', 'mirred', 'egress', 'redirect', 'dev', 'cni']
    tc('filter', 'add', 'dev', 'port', 'parent', 'ffff:', 'protocol', 'ip', 'prio', '5', 'u32', 'match', 'u8', '0', '0', ...action)
    tc(
      'filter',
      'add',
      'dev',
      'port',
      'parent',
      'ffff:',
      'protocol',
      'all',
      'prio',
      '6',
      'u32',
      'match',
      'u8',
      '6',
      '0xff',
      'at',
      '9',
      ...action,
    )
    expect(await lab.net.redirectTarget(middle, 'port')).toBeUndefined()
    await lab.apply(middle, { op: 'redirect.set', from: 'port', to: 'cni' })
    expect(await lab.net.redirectTarget(middle, 'port')).toBe('cni')
    expect(filters()).toHaveLength(3)
  })

  test('are overruled by a dead one before them', async () => {
    const tc = (...args: string[]): void => void execFileSync('tc', ['-n', middle.replace('/run/netns/', ''), ...args])
    await lab.apply(middle, { op: 'link.add-bridge', dev: 'br0' }, { op: 'redirect.set', from: 'port', to: 'br0' })
    const action = ['action', 'mirred', 'egress', 'redirect', 'dev', 'cni']
    tc('filter', 'add', 'dev', 'port', 'parent', 'ffff:', 'protocol', 'all', 'prio', '6', 'u32', 'match', 'u8', '0', '0', ...action)
    await lab.apply(middle, { op: 'link.del', dev: 'br0' })
    expect(await lab.net.redirectTarget(middle, 'port')).toBeUndefined()
    await lab.apply(middle, { op: 'redirect.set', from: 'port', to: 'cni' })
    expect(await lab.net.redirectTarget(middle, 'port')).toBe('cni')
  })

  test('are cleared, also when there are none', async () => {
    await lab.apply(middle, ...splice)
    const clear: NetOp = { op: 'redirect.clear', dev: 'port' }
    await lab.apply(middle, clear, clear, { op: 'redirect.clear', dev: 'lo' }, { op: 'redirect.clear', dev: 'nope' })
    expect(await lab.net.redirectTarget(middle, 'port')).toBeUndefined()
    expect(await lab.net.redirectTarget(middle, 'cni')).toBe('port')
  })

  test('need both devices', async () => {
    await expect(lab.apply(middle, { op: 'redirect.set', from: 'port', to: 'nope' })).rejects.toMatchObject({
      code: 'NOT_FOUND',
      message: `redirect.set in ${middle}: port to nope: there is no device nope (ENODEV)`,
    })
    await expect(lab.apply(middle, { op: 'redirect.set', from: 'nope', to: 'port' })).rejects.toMatchObject({ code: 'NOT_FOUND' })
    await expect(lab.net.redirectTarget(middle, 'nope')).rejects.toMatchObject({ code: 'NOT_FOUND' })
  })
})
