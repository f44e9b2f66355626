import { describe, expect, it } from 'vitest'
import { pluginList, podSysctls } from '../../src/index.ts'

describe('podSysctls', () => {
  it('names the kernel settings that tuning makes in the pod, and only those of the network', () => {
    const list = pluginList.parse({
      cniVersion: '1.0.0',
      plugins: [
        { type: 'tuning', sysctl: { 'net.core.somaxconn': '500', 'net/ipv4/conf/IFNAME/arp_filter': '1', 'kernel.shmmax': '1' } },
        { type: 'other', sysctl: { 'net.x.y': '1' } },
      ],
    })
    expect(podSysctls(list, 'net1')).toEqual({ 'net.core.somaxconn': '500', 'net.ipv4.conf.net1.arp_filter': '1' })
    expect(podSysctls(list, 'net1.100')).toHaveProperty(['net.ipv4.conf.net1/100.arp_filter'], '1')
  })
})
