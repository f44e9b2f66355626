import { describe, expect, it } from 'vitest'
import { capabilityDemands } from '../../src/cni/index.ts'

describe('capabilityDemands', () => {
  it('tells what asks something of the network, and neither metadata nor what is empty', () => {
    const demands = { portMappings: [{ hostPort: 1 }], mac: '02:00:00:00:00:01' }
    const nothing = {
      ips: [],
      bandwidth: { ingressRate: null },
      deviceID: 'x',
      cgroupPath: '/k',
      'io.kubernetes.cri.pod-annotations': { a: 'b' },
    }
    expect(capabilityDemands({ ...nothing, ...demands })).toEqual(Object.entries(demands))
  })
})
