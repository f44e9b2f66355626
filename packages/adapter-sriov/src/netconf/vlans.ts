import { z } from 'zod'

/** Consecutive VLANs, both ends included. */
export interface VlanRange {
  /** First one. */
  readonly first: number
  /** Last one. */
  readonly last: number
}

const id = z.number().int().min(1, 'a VLAN, 1–4094').max(4094, 'a VLAN, 1–4094')

const item = z.union(
  [
    z.strictObject({ id }).transform((only): VlanRange => ({ first: only.id, last: only.id })),
    z
      .strictObject({ minID: id, maxID: id })
      .refine(({ minID, maxID }) => minID <= maxID, 'minID is at most maxID')
      .transform(({ minID, maxID }): VlanRange => ({ first: minID, last: maxID })),
  ],
  '{"id": 1–4094} or {"minID": 1–4094, "maxID": minID–4094}',
)

const text = z
  .string()
  .regex(/^\s*\d+\s*(-\s*\d+\s*)?(,\s*\d+\s*(-\s*\d+\s*)?)*$/, 'VLANs and ranges such as "2,4,10-20"')
  .transform((list) => list.split(',').map(rangeOf))
  .pipe(z.array(z.object({ first: id, last: id }).refine(({ first, last }) => first <= last, 'a range begins with its smaller end')))

const list = z.array(item).max(64)

/** Schema of a list of VLANs, as the bridge plugin writes it or as text; the ranges come out in order and apart from each other. */
export const vlanTrunk: z.ZodType<readonly VlanRange[]> = z.unknown().transform((given, ctx): readonly VlanRange[] => {
  const parsed = typeof given === 'string' ? text.safeParse(given) : list.safeParse(given)
  if (parsed.success) return merged(parsed.data)
  for (const { path, message } of parsed.error.issues)
    ctx.addIssue({ code: 'custom', path: typeof given === 'string' ? [] : [...path], message, input: given })
  return z.NEVER
})

function rangeOf(part: string): VlanRange {
  const [first = '', last = first] = part.split('-')
  return { first: Number(first), last: Number(last) }
}

/** Ranges that touch or overlap become one: every comparison less is a frame's time less. */
function merged(ranges: readonly VlanRange[]): readonly VlanRange[] {
  const result: VlanRange[] = []
  for (const { first, last } of ranges.toSorted((a, b) => a.first - b.first)) {
    const before = result.at(-1)
    if (before === undefined || first > before.last + 1) result.push({ first, last })
    else result[result.length - 1] = { first: before.first, last: Math.max(before.last, last) }
  }
  return result
}
