import { parseNumber } from './libconfig-number.ts'
import type { ConfigScalar, TextPosition } from './libconfig-value.ts'

/** A word of a libconfig text. */
export type Token = { readonly at: TextPosition } & (
  | { readonly kind: 'name'; readonly text: string }
  | { readonly kind: 'scalar'; readonly scalar: ConfigScalar }
  | { readonly kind: 'mark'; readonly text: Mark }
  | { readonly kind: 'end' }
)

/** Characters that stand for themselves. */
export type Mark = '=' | ',' | ';' | '{' | '}' | '[' | ']' | '(' | ')'

/** A text that is no libconfig file, and where it ceases to be one. */
export class LibconfigSyntaxError extends Error {
  override readonly name = 'LibconfigSyntaxError'
  /** Where. */
  readonly at: TextPosition

  /** What is wrong at a place. */
  constructor(at: TextPosition, message: string) {
    super(message)
    this.at = at
  }
}

const MARKS: ReadonlyMap<string, Mark> = new Map<string, Mark>([
  ...(['=', ',', ';', '{', '}', '[', ']', '(', ')'] as const).map((mark) => [mark, mark] as const),
  [':', '='],
])

/** Blanks and comments. A block comment ends at the first end mark; it does not nest. */
const SKIPPED = /(?:[ \t\r\n\f]+|#[^\n]*|\/\/[^\n]*|\/\*[\s\S]*?\*\/)+/y
const NAME = /[A-Za-z*][-A-Za-z0-9_*]*/y
/** Everything that begins as a number does, as far as it goes on like one: so that `12abc` is one wrong word and not two right ones. */
const NUMBER = /[-+.0-9](?:[0-9A-Za-z_.]|(?<=[eE])[-+])*/y
const STRING = /"[^"\\]*(?:\\[\s\S][^"\\]*)*"/y
const INCLUDE = /[ \t]*@include[ \t]/y

/** The words of a text, the end as the last. @throws LibconfigSyntaxError */
export function* scan(text: string): Generator<Token, void, undefined> {
  const positions = positionsOf(text)
  let offset = 0
  const take = (pattern: RegExp): string | undefined => {
    pattern.lastIndex = offset
    const found = pattern.exec(text)?.[0]
    if (found !== undefined) offset += found.length
    return found
  }
  for (;;) {
    take(SKIPPED)
    const at = positions(offset)
    const next = text[offset]
    if (next === undefined) return yield { kind: 'end', at }
    const mark = MARKS.get(next)
    if (mark !== undefined) {
      offset += 1
      yield { kind: 'mark', text: mark, at }
      continue
    }
    const name = take(NAME)
    if (name !== undefined) {
      yield word(name, at)
      continue
    }
    const number = take(NUMBER)
    if (number !== undefined) {
      const value = parseNumber(number)
      if (typeof value === 'string') throw new LibconfigSyntaxError(at, `"${number}" ${value}`)
      yield { kind: 'scalar', scalar: { ...value, at }, at }
      continue
    }
    const string = take(STRING)
    if (string !== undefined) {
      yield { kind: 'scalar', scalar: { kind: 'string', value: unescape(string.slice(1, -1)), at }, at }
      continue
    }
    throw new LibconfigSyntaxError(at, misfit(text, offset, next, take(INCLUDE) !== undefined))
  }
}

function word(name: string, at: TextPosition): Token {
  const lower = name.toLowerCase()
  if (lower === 'true' || lower === 'false') return { kind: 'scalar', scalar: { kind: 'boolean', value: lower === 'true', at }, at }
  return { kind: 'name', text: name, at }
}

function misfit(text: string, offset: number, next: string, include: boolean): string {
  if (include) return '@include is not supported: put the settings of that file here'
  if (next === '"') return 'a string that does not end'
  if (text.startsWith('/*', offset)) return 'a comment that does not end'
  return `${JSON.stringify(String.fromCodePoint(text.codePointAt(offset) ?? 0))} means nothing here`
}

const ESCAPES: Readonly<Record<string, string>> = { n: '\n', r: '\r', t: '\t', f: '\f', '\\': '\\', '"': '"' }

/** What libconfig does not know as an escape sequence stays as it is, with its backslash. */
function unescape(text: string): string {
  return text.replaceAll(/\\(?:[xX]([0-9A-Fa-f]{2})|([\s\S]))/g, (whole: string, hex: string | undefined, letter: string | undefined) =>
    hex === undefined ? (ESCAPES[letter ?? ''] ?? whole) : String.fromCodePoint(Number.parseInt(hex, 16)),
  )
}

/** Line and column of offsets that only grow: the text is gone through once. */
function positionsOf(text: string): (offset: number) => TextPosition {
  let line = 1
  let start = 0
  return (offset) => {
    for (let newline = text.indexOf('\n', start); newline >= 0 && newline < offset; newline = text.indexOf('\n', start)) {
      line += 1
      start = newline + 1
    }
    return { line, column: offset - start + 1 }
  }
}
