import type { GroupReader } from './reader.ts'

/**
 * Reads a list of groups that say their index themselves. The agent counts the entries of a list and then addresses that many from 0 on,
 * so that with a gap it would talk about functions that are not there.
 *
 * @param most - how many the agent can hold
 * @returns what was read, in the order of the indices
 */
export function readIndexed<T>(parent: GroupReader, name: string, most: number, read: (entry: GroupReader) => T): T[] {
  const entries = parent.groups(name)
  if (entries.length > most) parent.problem(name, `has ${entries.length} entries; the agent takes ${most} at most and reads over the rest`)
  const owners = new Map<number, string>()
  const found = entries.map((entry) => {
    const index = entry.required('idx', [0, most - 1])
    if (index === undefined) return { index: most, value: read(entry) }
    const other = owners.get(index)
    if (other !== undefined) entry.problem('idx', `is ${index}, as that of ${other}`)
    else if (index >= entries.length)
      entry.problem('idx', `is ${index} in a list of ${entries.length}: 0 to ${entries.length - 1}, each once, is expected`)
    owners.set(index, entry.path)
    return { index, value: read(entry) }
  })
  return found.toSorted((a, b) => a.index - b.index).map(({ value }) => value)
}
