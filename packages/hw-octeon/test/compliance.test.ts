import { createLinuxNet } from '@cni-offload/linux'
import { hardwareSuite } from '@cni-offload/testing/hardware'
import { afterAll } from 'vitest'
import { fakeNode } from './fake-node.ts'

const net = createLinuxNet()
afterAll(() => net[Symbol.asyncDispose]())

const vfAdmin = { vlan: 'does', rate: 'does', spoofCheck: 'pretends', trust: 'does', linkState: 'refuses' } as const
hardwareSuite({ name: 'hw-octeon over a fake card whose driver makes some settings of VFs', setup: () => fakeNode(net, { vfAdmin }) })
// Nearly a minute: what differs is under the kit's calls, and has tests of its own.
if (process.env['E2E_EVERYTHING'] === '1')
  hardwareSuite({
    name: 'hw-octeon over a fake card with the driver out of the tree, functions of the SDP block and older firmware',
    setup: () => fakeNode(net, { hostDriver: 'out-of-tree', layout: 'sdp', firmware: '12.25.01' }),
  })
