import { LibconfigSyntaxError, type Mark, scan, type Token } from './libconfig-scanner.ts'
import type { ConfigGroup, ConfigScalar, ConfigSetting, ConfigValue } from './libconfig-value.ts'

/** Deeper than any configuration, and far from what a call stack holds. */
const DEEPEST = 100

/**
 * Reads a text in the format of libconfig 1.7.2: groups, lists and arrays, comments of all three kinds, `=` or `:`, `;`, `,` or nothing after
 * a setting, separators after the last item, adjacent strings joined. `@include` is refused.
 *
 * @returns the group that the whole of the file is, every value with its position
 * @throws LibconfigSyntaxError
 */
export function parseLibconfig(text: string): ConfigGroup {
  return new Parser(text).file()
}

class Parser {
  readonly #tokens: Generator<Token, void, undefined>
  #next: Token
  #depth = 0

  constructor(text: string) {
    this.#tokens = scan(text)
    this.#next = this.#scan()
  }

  file(): ConfigGroup {
    const { at } = this.#next
    const settings = this.#settings()
    if (this.#next.kind !== 'end') throw this.#unexpected('a setting')
    return { kind: 'group', settings, at }
  }

  #settings(): ConfigSetting[] {
    const settings = new Map<string, ConfigSetting>()
    while (this.#next.kind === 'name') {
      const { text: name, at } = this.#next
      const earlier = settings.get(name)
      if (earlier !== undefined)
        throw new LibconfigSyntaxError(at, `"${name}" is set a second time, first in line ${earlier.at?.line ?? 0}`)
      this.#advance()
      if (!this.#skip('=')) throw this.#unexpected(`"=" after "${name}"`)
      settings.set(name, { name, value: this.#value(), at })
      if (!this.#skip(';')) this.#skip(',')
    }
    return [...settings.values()]
  }

  #value(): ConfigValue {
    const { at } = this.#next
    if (this.#next.kind === 'scalar') return this.#scalar(this.#next.scalar)
    if (this.#depth >= DEEPEST) throw new LibconfigSyntaxError(at, `values are nested more than ${DEEPEST} deep`)
    this.#depth += 1
    try {
      if (this.#skip('{')) return { kind: 'group', settings: this.#closed(() => this.#settings(), '}', 'a setting'), at }
      if (this.#skip('(')) return { kind: 'list', items: this.#closed(() => this.#items(() => this.#value()), ')', '","'), at }
      if (this.#skip('[')) return { kind: 'array', items: this.#closed(() => this.#array(), ']', '","'), at }
    } finally {
      this.#depth -= 1
    }
    throw this.#unexpected('a value')
  }

  #array(): ConfigScalar[] {
    let first: ConfigScalar | undefined
    return this.#items(() => {
      if (this.#next.kind !== 'scalar') throw this.#unexpected('a number, a string, true or false')
      const item = this.#scalar(this.#next.scalar)
      first ??= item
      if (item.kind !== first.kind)
        throw new LibconfigSyntaxError(item.at ?? this.#next.at, `an item of kind ${item.kind} in an array of kind ${first.kind}`)
      return item
    })
  }

  /** Items and the commas between and after them. */
  #items<T>(item: () => T): T[] {
    const items: T[] = []
    while (this.#next.kind === 'scalar' || (this.#next.kind === 'mark' && '{(['.includes(this.#next.text))) {
      items.push(item())
      if (!this.#skip(',')) break
      while (this.#skip(',')) {
        // libconfig takes any number of commas for one.
      }
    }
    return items
  }

  #scalar(scalar: ConfigScalar): ConfigScalar {
    this.#advance()
    if (scalar.kind !== 'string') return scalar
    let { value } = scalar
    while (this.#next.kind === 'scalar' && this.#next.scalar.kind === 'string') {
      value += this.#next.scalar.value
      this.#advance()
    }
    return { ...scalar, value }
  }

  #closed<T>(content: () => T, end: Mark, or: string): T {
    const found = content()
    if (!this.#skip(end)) throw this.#unexpected(`${or} or "${end}"`)
    return found
  }

  #skip(mark: Mark): boolean {
    const found = this.#next.kind === 'mark' && this.#next.text === mark
    if (found) this.#advance()
    return found
  }

  #advance(): void {
    this.#next = this.#scan()
  }

  #scan(): Token {
    const { done, value } = this.#tokens.next()
    return done === true ? this.#next : value
  }

  #unexpected(wanted: string): LibconfigSyntaxError {
    const { at } = this.#next
    return new LibconfigSyntaxError(at, `${wanted} is expected, not ${shown(this.#next)}`)
  }
}

function shown(token: Token): string {
  switch (token.kind) {
    case 'end':
      return 'the end of the file'
    case 'scalar':
      return typeof token.scalar.value === 'string' ? JSON.stringify(token.scalar.value) : `"${token.scalar.value}"`
    default:
      return `"${token.text}"`
  }
}
