/** A value of a configuration file in the grammar of libconfig. */
export type ConfigValue = number | string | boolean | ConfigGroup | readonly ConfigValue[]

/** Settings by name. */
export interface ConfigGroup {
  readonly [name: string]: ConfigValue
}

/** A configuration that does not follow the grammar. */
export class ConfigSyntaxError extends Error {
  override readonly name = 'ConfigSyntaxError'
  /** Line, counted from 1. */
  readonly line: number

  constructor(line: number, text: string) {
    super(text)
    this.line = line
  }
}

interface Token {
  readonly text: string
  readonly line: number
}

const SKIPPED = /(?:\s+|#[^\n]*|\/\/[^\n]*|\/\*[^]*?\*\/)+/y
const TOKEN =
  /"(?:[^"\\]|\\[^])*"|[A-Za-z*][-A-Za-z0-9_*]*|[-+]?0[xX][0-9a-fA-F]+L{0,2}|[-+]?\d*\.?\d+(?:[eE][-+]?\d+)?L{0,2}|[=:;,{}()[\]]/y

/** Reads a configuration as the control agent's library does. @throws ConfigSyntaxError */
export function parseLibconfig(text: string): ConfigGroup {
  return new Parser(tokens(text)).file()
}

function tokens(text: string): readonly Token[] {
  const found: Token[] = []
  let at = 0
  let line = 1
  while (at < text.length) {
    SKIPPED.lastIndex = at
    TOKEN.lastIndex = at
    const match = SKIPPED.exec(text) ?? TOKEN.exec(text)
    if (match === null) throw new ConfigSyntaxError(line, 'syntax error')
    const [piece] = match
    if (TOKEN.lastIndex > at) found.push({ text: piece, line })
    at += piece.length
    line += piece.split('\n').length - 1
  }
  return found
}

class Parser {
  readonly #tokens: readonly Token[]
  #at = 0

  constructor(found: readonly Token[]) {
    this.#tokens = found
  }

  file(): ConfigGroup {
    const group = this.#settings()
    if (this.#peek() !== undefined) throw this.#error('syntax error')
    return group
  }

  #settings(): ConfigGroup {
    const group: Record<string, ConfigValue> = {}
    for (let name = this.#peek(); name !== undefined && /^[A-Za-z*]/.test(name); name = this.#peek()) {
      this.#at += 1
      if (!this.#take('=') && !this.#take(':')) throw this.#error('syntax error')
      if (Object.hasOwn(group, name)) throw this.#error('duplicate setting name')
      group[name] = this.#value()
      if (!this.#take(';')) this.#take(',')
    }
    return group
  }

  #value(): ConfigValue {
    if (this.#take('{')) {
      const group = this.#settings()
      this.#expect('}')
      return group
    }
    if (this.#take('(')) return this.#list(')', () => this.#value())
    if (this.#take('[')) return this.#list(']', () => this.#scalar())
    return this.#scalar()
  }

  #list(end: string, element: () => ConfigValue): readonly ConfigValue[] {
    const found: ConfigValue[] = []
    while (this.#peek() !== end) {
      found.push(element())
      // One behind the last is taken, too.
      if (!this.#take(',')) break
    }
    this.#expect(end)
    return found
  }

  #scalar(): ConfigValue {
    const text = this.#peek()
    if (text === undefined) throw this.#error('syntax error')
    this.#at += 1
    if (text.startsWith('"')) return this.#strings(text)
    if (/^(?:true|false)$/i.test(text)) return text.toLowerCase() === 'true'
    const number = Number(text.replace(/^\+/, '').replace(/L+$/, ''))
    const hex = /^-0x/i.test(text) ? -Number.parseInt(text.slice(1), 16) : number
    if (!/^[-+.\d]/.test(text) || Number.isNaN(hex)) {
      this.#at -= 1
      throw this.#error('syntax error')
    }
    return hex
  }

  #strings(first: string): string {
    let text = first.slice(1, -1)
    for (let next = this.#peek(); next?.startsWith('"') === true; next = this.#peek()) {
      text += next.slice(1, -1)
      this.#at += 1
    }
    return text.replaceAll(/\\(.)/g, '$1')
  }

  #peek(): string | undefined {
    return this.#tokens[this.#at]?.text
  }

  #take(text: string): boolean {
    if (this.#peek() !== text) return false
    this.#at += 1
    return true
  }

  #expect(text: string): void {
    if (!this.#take(text)) throw this.#error('syntax error')
  }

  #error(text: string): ConfigSyntaxError {
    return new ConfigSyntaxError((this.#tokens[this.#at] ?? this.#tokens.at(-1))?.line ?? 1, text)
  }
}
