/** What a thing that a node holds is counted as. */
export type HoldingKind =
  | 'VF'
  | 'port'
  | 'namespace'
  | 'link'
  | 'address'
  | 'queueing discipline'
  | 'process'
  | 'journal row'
  | 'lease'
  | 'endpoint'
  | 'queued clean-up'
  | 'file'

/** One thing that a node holds. Equal in all fields: the same thing, in the same state. */
export interface Holding {
  /** Name of the node. */
  readonly node: string
  /** What it is counted as. */
  readonly kind: HoldingKind
  /** What it is and how, for people. */
  readonly what: string
}

/** Something that is held at one of two moments only. What has changed its state has left the old one and come in the new one. */
export interface AuditDifference extends Holding {
  /** `leaked`: at the later moment only. `lost`: at the earlier one only. */
  readonly change: 'leaked' | 'lost'
}

/** What two audits of the same lab do not have in common, empty if nothing has leaked and nothing is lost. */
export function auditDifferences(before: readonly Holding[], after: readonly Holding[]): AuditDifference[] {
  return [
    ...without(after, before).map((holding) => ({ change: 'leaked' as const, ...holding })),
    ...without(before, after).map((holding) => ({ change: 'lost' as const, ...holding })),
  ]
}

/** One line for people: `leaked on node1: lease 10.244.1.7 of p3 eth0`. */
export function describeDifference({ change, node, kind, what }: AuditDifference): string {
  return `${change} on ${node}: ${kind} ${what}`
}

/** The holdings that are not among others, each as often as it is there more often. */
function without(all: readonly Holding[], others: readonly Holding[]): Holding[] {
  const left = new Map<string, number>()
  for (const holding of others) left.set(identity(holding), (left.get(identity(holding)) ?? 0) + 1)
  return all.filter((holding) => {
    const count = left.get(identity(holding)) ?? 0
    left.set(identity(holding), count - 1)
    return count <= 0
  })
}

const identity = ({ node, kind, what }: Holding): string => JSON.stringify([node, kind, what])
