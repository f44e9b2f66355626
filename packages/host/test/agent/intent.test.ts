import { parseEnvironment, parseNetconf } from '@cni-offload/sdk/cni'
import { describe, expect, it } from 'vitest'
import { attachIntent } from '../../src/agent/intent.ts'

const env = parseEnvironment({
  CNI_COMMAND: 'ADD',
  CNI_CONTAINERID: 'c1',
  CNI_NETNS: '/run/netns/x',
  CNI_IFNAME: 'eth0',
  CNI_ARGS: 'IgnoreUnknown=1;K8S_POD_NAMESPACE=ns;K8S_POD_NAME=web;K8S_POD_UID=u1',
})
const intent = (netconf: object) =>
  attachIntent(env, parseNetconf(JSON.stringify({ cniVersion: '1.0.0', name: 'net', type: 'x', ...netconf }), 'ADD'))

describe('attachIntent', () => {
  it('takes identity, arguments and configuration apart', () => {
    expect(
      intent({
        capabilities: { mac: true },
        runtimeConfig: { mac: '02:00:00:00:00:01' },
        mtu: 1400,
        vlan: 100,
        ipsec: true,
        prevResult: { cniVersion: '1.0.0', dns: { domain: 'x' } },
      }),
    ).toEqual({
      key: { network: 'net', containerId: 'c1', ifName: 'eth0' },
      pod: { namespace: 'ns', name: 'web', uid: 'u1' },
      netconf: { cniVersion: '1.0.0', name: 'net', type: 'x', capabilities: { mac: true }, mtu: 1400, vlan: 100, ipsec: true },
      prevResult: { cniVersion: '1.0.0', dns: { domain: 'x' } },
      runtimeConfig: { mac: '02:00:00:00:00:01' },
      cniArgs: { IgnoreUnknown: '1', K8S_POD_NAMESPACE: 'ns', K8S_POD_NAME: 'web', K8S_POD_UID: 'u1' },
      vlan: 100,
      flags: { ipsec: true },
    })
  })

  it('takes VLAN 0 for untagged and an empty prevResult for none', () => {
    const plain = intent({ vlan: 0, prevResult: {} })
    expect(plain).not.toHaveProperty('vlan')
    expect(plain).not.toHaveProperty('prevResult')
    expect(plain.flags).toEqual({ ipsec: false })
  })

  it.each([
    [{ vlan: 4095 }, 'vlan = 4095'],
    [{ vlan: '5' }, 'vlan = "5"'],
    [{ ipsec: 'yes' }, 'ipsec = "yes"'],
  ])('refuses %j', (netconf, text) => {
    expect(() => intent(netconf)).toThrow(expect.objectContaining({ code: 'INVALID_NETCONF', message: expect.stringContaining(text) }))
  })
})
