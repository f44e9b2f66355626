import { describe, expect, test } from 'vitest'
import { sysctlPath } from '../../src/net/sysctl.ts'

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
