import { undecodable } from './undecodable.ts'

/** Which engines of a kind are free and which work, a bit each. */
export interface EngineStatus {
  /** Free ones. */
  readonly free: bigint
  /** Ones that work. */
  readonly busy: bigint
  /** Numbers of the engines, as newer drivers tell them. */
  readonly engines: { readonly first: number; readonly last: number } | undefined
}

/** `FREE STS : 0x…`, and as newer drivers have it `FREE STS : Engines 0 to 31 \t: 0x…`. */
const LINE = /^(FREE|BUSY) STS\s*:\s*(?:Engines (\d+) to (\d+)\s*:\s*)?(0x[0-9a-f]{1,16})\s*$/

/**
 * Reads the text of `cpt_ae_sts`, `cpt_se_sts` or `cpt_ie_sts`. Newer drivers may have several lines of a kind, one per range of engines:
 * the first range ends up in the lowest bits.
 *
 * @param path - where it was read, for messages
 * @throws OffloadError UNDECODABLE that names the line
 */
export function parseEngineStatus(text: string, path: string): EngineStatus {
  const words: Record<'FREE' | 'BUSY', { readonly word: bigint; readonly first: number; readonly last: number }[]> = { FREE: [], BUSY: [] }
  let ranged = false
  for (const [index, line] of text.split('\n').entries()) {
    if (line.trim() === '') continue
    const [, kind, first, last, word] = LINE.exec(line) ?? []
    if ((kind !== 'FREE' && kind !== 'BUSY') || word === undefined) throw undecodable(path, index, line, 'free or busy engines')
    if (first === undefined && words[kind].length > 0) throw undecodable(path, index, line, 'each kind once')
    ranged ||= first !== undefined
    words[kind].push({ word: BigInt(word), first: Number(first ?? 0), last: Number(last ?? 63) })
  }
  for (const kind of ['FREE', 'BUSY'] as const) if (words[kind].length === 0) throw undecodable(path, undefined, `${kind} STS`, 'this line')
  const all = [...words.FREE, ...words.BUSY]
  const base = Math.min(...all.map(({ first }) => first))
  const joined = (kind: 'FREE' | 'BUSY'): bigint => words[kind].reduce((mask, { word, first }) => mask | (word << BigInt(first - base)), 0n)
  return {
    free: joined('FREE'),
    busy: joined('BUSY'),
    engines: ranged ? { first: base, last: Math.max(...all.map(({ last }) => last)) } : undefined,
  }
}
