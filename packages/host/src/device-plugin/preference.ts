import { OffloadError } from '@cni-offload/sdk'

/** What the choice between devices depends on. */
export interface Candidate {
  /** Id of the device. */
  readonly id: string
  /** NUMA node, where it is known. */
  readonly numaNode?: number | undefined
  /** Whether nobody has it at the moment. */
  readonly free: boolean
  /** When it was given back, as a number that rises: the lowest has rested longest. */
  readonly turn: number
}

/** What kubelet asks for. */
export interface Wanted {
  /** Ids that can be had. */
  readonly available: readonly string[]
  /** Ids of those that must be in the answer. */
  readonly mustInclude: readonly string[]
  /** How many are needed. */
  readonly size: number
}

/** Stands for a node that is not known: sorting would put `undefined` last without asking. */
const UNKNOWN = -1

/**
 * Which devices to take: all on one NUMA node if that is possible, preferably that of those which must be included; and of one
 * node those that are free, the one that has rested longest first. Devices of an unknown node count as one node.
 *
 * @param known - the resource's devices
 * @returns `size` different ids of those that are available
 * @throws OffloadError UNDECODABLE when no answer can be right
 */
export function preferred(known: ReadonlyMap<string, Candidate>, { available, mustInclude, size }: Wanted): string[] {
  const all = new Set(available)
  const chosen = new Set(mustInclude)
  const stranger = [...chosen].find((id) => !all.has(id))
  if (stranger !== undefined) throw new OffloadError('UNDECODABLE', `must_include_deviceIDs = "${stranger}": is not available`)
  if (size < chosen.size || size > all.size)
    throw new OffloadError('UNDECODABLE', `allocation_size = ${size}: of ${all.size} that are available ${chosen.size} must be included`)
  const nodeOf = (id: string): number => known.get(id)?.numaNode ?? UNKNOWN
  const perNode = (ids: Iterable<string>): Map<number, number> => {
    const counts = new Map<number, number>()
    for (const id of ids) counts.set(nodeOf(id), (counts.get(nodeOf(id)) ?? 0) + 1)
    return counts
  }
  const included = perNode(chosen)
  const rest = [...all].filter((id) => !chosen.has(id)).toSorted((a, b) => byRest(known.get(a), known.get(b)) || (a < b ? -1 : 1))
  const room = perNode(rest)
  const missing = size - chosen.size
  const first = new Map([...room.keys()].map((node) => [node, rest.findIndex((id) => nodeOf(id) === node)]))
  const nodes = [...room.keys()].toSorted((a, b) => {
    const [roomA, roomB] = [room.get(a) ?? 0, room.get(b) ?? 0]
    const near = (included.get(b) ?? 0) - (included.get(a) ?? 0)
    if (near !== 0) return near
    const [fitsA, fitsB] = [roomA >= missing, roomB >= missing]
    if (fitsA !== fitsB) return fitsA ? -1 : 1
    // Where none fits, the fewest nodes are touched by taking the fullest first.
    return fitsA ? (first.get(a) ?? 0) - (first.get(b) ?? 0) : roomB - roomA
  })
  const inOrder = nodes.flatMap((node) => rest.filter((id) => nodeOf(id) === node))
  return [...chosen, ...inOrder.slice(0, missing)]
}

/** Free before taken, longest rest first, unknown ones last. */
function byRest(a: Candidate | undefined, b: Candidate | undefined): number {
  if (a === undefined || b === undefined) return Number(a === undefined) - Number(b === undefined)
  return Number(b.free) - Number(a.free) || a.turn - b.turn
}
