import { describe, expect, test } from 'vitest'
import { sysctlPath } from '../../src/net/sysctl.ts'
import { run, TestNet, unprivileged } from '../support.ts'

describe('the file of a kernel variable', () => {
  test('has dots where the name has slashes', () => {
    expect(sysctlPath('net.ipv6.conf.eth0.disable_ipv6')).toBe('/proc/sys/net/ipv6/conf/eth0/disable_ipv6')
    expect(sysctlPath('net.ipv4.conf.eth0/100.arp_filter')).toBe('/proc/sys/net/ipv4/conf/eth0.100/arp_filter')
  })

  test.each(['kernel.panic', 'net', 'net.ipv4', 'net.//.kernel.panic', 'net./.x', 'net..x', 'net.ipv4.a\0b'])(
    'is refused for %j',
    (key) => {
      expect(() => sysctlPath(key)).toThrow(/EINVAL: .* is no kernel variable below "net\."/)
    },
  )
})

describe.skipIf(unprivileged)('a kernel variable (needs root for network namespaces)', () => {
  test('that cannot be read is written all the same, and one that has its value stays as it is', async () => {
    await using lab = new TestNet()
    const netns = await lab.netns()
    await lab.apply(netns, { op: 'sysctl', key: 'net.ipv4.route.flush', value: '1' })
    const ports = { op: 'sysctl', key: 'net.ipv4.ip_local_port_range' } as const
    await lab.apply(netns, { ...ports, value: '40000 50000' }, { ...ports, value: '40000  50000' }, { ...ports, value: '40001 50000' })
    expect(run(netns, 'cat', '/proc/sys/net/ipv4/ip_local_port_range').output.trim().split(/\s+/)).toEqual(['40001', '50000'])
  })
})
