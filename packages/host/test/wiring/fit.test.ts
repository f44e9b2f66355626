import type { AttachResult } from '@cni-offload/sdk'
import { parseNetconf } from '@cni-offload/sdk/cni'
import { describe, expect, it } from 'vitest'
import { refuseUnfit } from '../../src/wiring/fit.ts'

const NETWORK: AttachResult = {
  mac: '02:00:00:00:00:01',
  mtu: 1500,
  ips: [{ address: '10.0.0.2/24' }, { address: 'fd00::2/64' }],
  routes: [],
  neighbours: [],
  dns: {},
  sysctls: {},
}

const refuse = (
  network: Partial<AttachResult>,
  conf: Readonly<Record<string, unknown>> = {},
  { ipv6 = true, maxMtu }: { ipv6?: boolean; maxMtu?: number } = {},
): void => {
  const netconf = parseNetconf(JSON.stringify({ cniVersion: '1.0.0', name: 'net', type: 'offload-cni', ...conf }), 'ADD')
  const netdev = { name: 'v0', mac: NETWORK.mac, mtu: 1500, ...(maxMtu === undefined ? {} : { maxMtu }) }
  refuseUnfit({ ...NETWORK, ...network }, { netconf, netdev, ipv6 })
}
const v4 = { ips: [{ address: '10.0.0.2/24' }] }
const previous = { cniVersion: '0.2.0', ip4: { ip: '10.9.0.2/24' }, dns: {} }

describe('a network', () => {
  it.each([
    ['of both families', {}, {}, {}],
    ['whose MTU is what was asked for', { mtu: 9000 }, { mtu: 9000 }, {}],
    ['for which 0 was asked, which is nothing', { mtu: 9000 }, { mtu: 0 }, {}],
    ['that uses all that the function has', { mtu: 9000 }, {}, { maxMtu: 9000 }],
    ['of IPv4 below the MTU of IPv6', { ...v4, mtu: 576 }, {}, {}],
    ['of IPv4 where the kernel has no IPv6', v4, {}, { ipv6: false }],
    ['without addresses', { ips: [] }, {}, {}],
    ['without addresses behind one with some', { ips: [] }, { cniVersion: '0.2.0', prevResult: previous }, {}],
  ])('%s fits', (_what, network, conf, host) => {
    expect(() => refuse(network, conf, host)).not.toThrow()
  })

  it.each([
    ['of another MTU than asked for', {}, { mtu: 9000 }, {}, 'INVALID_NETCONF', 'mtu = 9000: network "net" has an MTU of 1500 on the DPU'],
    [
      'larger than the function',
      { mtu: 9000 },
      {},
      { maxMtu: 1500 },
      'HARDWARE_FAILURE',
      'v0 carries an MTU of 1500 at most; network "net" has 9000',
    ],
    [
      'too small for its addresses',
      { mtu: 1279 },
      {},
      {},
      'INVALID_NETCONF',
      'mtu = 1279: address fd00::2/64 needs 1280 or more, as all of IPv6',
    ],
    [
      'too small for its routes',
      { ...v4, mtu: 1000, routes: [{ dst: '::/0' }] },
      {},
      {},
      'INVALID_NETCONF',
      'mtu = 1000: route ::/0 needs 1280 or more, as all of IPv6',
    ],
    [
      'of IPv6 where the kernel has none',
      {},
      {},
      { ipv6: false },
      'KERNEL_REFUSED',
      'address fd00::2/64: the kernel of this host has no IPv6',
    ],
    [
      'that the version cannot express',
      { ips: [] },
      { cniVersion: '0.2.0' },
      {},
      'INCOMPATIBLE_VERSION',
      'cniVersion = "0.2.0": its results need an address, and network "net" gives none',
    ],
    [
      'that no version given cannot express',
      { ips: [] },
      { cniVersion: '' },
      {},
      'INCOMPATIBLE_VERSION',
      'cniVersion = "0.1.0": its results need an address, and network "net" gives none',
    ],
  ])('%s is refused', (_what, network, conf, host, code, message) => {
    expect(() => refuse(network, conf, host)).toThrow(expect.objectContaining({ code, message, hint: expect.any(String) }))
  })
})
