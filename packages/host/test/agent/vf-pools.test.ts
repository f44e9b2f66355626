import type { VfId } from '@cni-offload/sdk'
import { describe, expect, it } from 'vitest'
import { vfPools } from '../../src/agent/vf-pools.ts'

const vf = (index: number): VfId => ({ device: 'soft0', index })
const ALL = [0, 1, 2, 3, 4]

describe('vfPools', () => {
  const usable = (pools: ReturnType<typeof vfPools>, network: string): number[] => ALL.filter((index) => pools(network)(vf(index)))

  it('lets every network use every VF where none keeps any', () => {
    expect(usable(vfPools({ kept: [], networks: ['a'] }), 'a')).toEqual(ALL)
  })

  it('gives a network what it keeps, and all others the rest', () => {
    const pools = vfPools({ kept: [{ network: 'fast', vfs: [vf(1), vf(3)] }], networks: ['fast', '*'] })
    expect(usable(pools, 'fast')).toEqual([1, 3])
    expect(usable(pools, 'podnet')).toEqual([0, 2, 4])
  })

  it('takes what "*" keeps for networks without an adapter of their own only', () => {
    const pools = vfPools({ kept: [{ network: '*', vfs: [vf(0)] }], networks: ['podnet', '*'] })
    expect(usable(pools, 'podnet')).toEqual([1, 2, 3, 4])
    expect(usable(pools, 'another')).toEqual([0])
  })
})
