import { undecodable } from './undecodable.ts'

/**
 * Reads the text of `/proc/net/xfrm_stat`: errors of the kernel's IPsec since it began, by name.
 *
 * @throws OffloadError UNDECODABLE that names the line
 */
export function parseXfrmStat(text: string, path: string = '/proc/net/xfrm_stat'): ReadonlyMap<string, bigint> {
  const lines = text.split('\n').map((line, index) => ({ line, index }))
  return new Map(
    lines
      .filter(({ line }) => line.trim() !== '')
      .map(({ line, index }) => {
        const [, name, digits] = /^(Xfrm\w+)\s+(\d+)\s*$/.exec(line) ?? []
        if (name === undefined || digits === undefined) throw undecodable(path, index, line, 'a name and a whole number')
        return [name, BigInt(digits)]
      }),
  )
}

/** Errors that have grown, by how much. */
export function grownErrors(before: ReadonlyMap<string, bigint>, after: ReadonlyMap<string, bigint>): ReadonlyMap<string, bigint> {
  return new Map([...after].map(([name, now]) => [name, now - (before.get(name) ?? 0n)] as const).filter(([, more]) => more > 0n))
}
