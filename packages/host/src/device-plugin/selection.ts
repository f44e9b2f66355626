import type { VirtualFunction } from '@cni-offload/sdk'
import type { DeviceResource, VfSelector } from './config.ts'

/** What a VF is selected by. */
export type SelectableVf = Pick<VirtualFunction, 'id' | 'pciAddress' | 'numaNode'>

/** First and last number, both included. */
export type IndexRange = readonly [from: number, to: number]

/** Takes `0-3,8` apart; undefined if it is not of that form. */
export function indexRanges(text: string): readonly IndexRange[] | undefined {
  const ranges = text.split(',').map((part): IndexRange | undefined => {
    const [, from, to = from] = /^\s*(\d{1,6})(?:-(\d{1,6}))?\s*$/.exec(part) ?? []
    return from === undefined || Number(to) < Number(from) ? undefined : [Number(from), Number(to)]
  })
  return ranges.every((range) => range !== undefined) ? ranges : undefined
}

/** Whether a selector takes a VF: each of its fields has to. */
export function selects(select: VfSelector, { id, pciAddress, numaNode }: SelectableVf): boolean {
  const { devices, vfs, numaNodes, pciAddresses } = select
  if (devices !== undefined && !devices.includes(id.device)) return false
  if (vfs !== undefined && indexRanges(vfs)?.some(([from, to]) => from <= id.index && id.index <= to) !== true) return false
  if (numaNodes !== undefined && (numaNode === undefined || !numaNodes.includes(numaNode))) return false
  return pciAddresses === undefined || (pciAddress !== undefined && pciAddresses.includes(pciAddress))
}

/** The resource that a VF belongs to: the first one that selects it. */
export function resourceOf(resources: readonly DeviceResource[], vf: SelectableVf): DeviceResource | undefined {
  return resources.find(({ select = {} }) => selects(select, vf))
}
