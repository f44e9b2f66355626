import type { HandshakeReply } from '@cni-offload/protocol'
import { formatVfId, type VfId } from '@cni-offload/sdk'

/** Which VFs a network may use. */
export type VfPools = (network: string) => (vf: VfId) => boolean

const any = (): boolean => true

/** Where no agent has said otherwise. */
export const ONE_POOL: VfPools = () => any

/** By what the agent says that its networks keep: a network that keeps VFs has those, all others share the rest. */
export function vfPools({ kept, networks }: Pick<HandshakeReply, 'kept' | 'networks'>): VfPools {
  if (kept.length === 0) return ONE_POOL
  const own = new Map(kept.map(({ network, vfs }) => [network, new Set(vfs.map(formatVfId))]))
  const taken = new Set([...own.values()].flatMap((vfs) => [...vfs]))
  return (network) => {
    const vfs = own.get(networks.includes(network) ? network : '*')
    return vfs === undefined ? (vf) => !taken.has(formatVfId(vf)) : (vf) => vfs.has(formatVfId(vf))
  }
}
