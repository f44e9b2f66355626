import type { KubectlAnswer } from './answers.ts'

/** A call of kubectl. */
export interface KubectlRequest {
  /** Its arguments, global flags included. */
  readonly args: readonly string[]
  /** Its standard input; empty where kubectl would not read it. */
  readonly stdin: string
  /** `KUBECONFIG` of its environment. */
  readonly kubeconfig?: string | undefined
}

/** Which calls are meant: exactly these arguments, as a list or divided by single blanks, or those that the function says yes to. */
export type KubectlMatcher = string | readonly string[] | ((request: KubectlRequest) => boolean)

/** What comes of a call; `hang` for a call that never ends by itself. */
export type KubectlReply = KubectlAnswer | 'hang' | ((request: KubectlRequest) => KubectlAnswer | 'hang' | Promise<KubectlAnswer | 'hang'>)

/** How often a call is expected. */
export interface ExpectedTimes {
  /** This often, or any number of times, none included. @defaultValue 1 */
  readonly times?: number | 'any'
}

/** Calls that are expected, and what they are answered. */
export class Expectation {
  /** What comes of a call. */
  readonly reply: KubectlReply
  readonly #matcher: KubectlMatcher
  readonly #times: number | 'any'
  #served = 0

  /** Nothing was called yet. */
  constructor(matcher: KubectlMatcher, reply: KubectlReply, times: number | 'any') {
    this.#matcher = matcher
    this.reply = reply
    this.#times = times
  }

  /** Whether it has to be called again before all is as expected. */
  get open(): boolean {
    return this.#times !== 'any' && this.#served < this.#times
  }

  /** Whether it is this call that is expected, now or again. */
  expects(request: KubectlRequest): boolean {
    return (this.#times === 'any' || this.open) && this.#matches(request)
  }

  /** A call has come. */
  serve(): void {
    this.#served++
  }

  /** For messages. */
  toString(): string {
    const call = typeof this.#matcher === 'function' ? `a call that fits ${this.#matcher.toString()}` : callText(wordsOf(this.#matcher))
    return this.#times === 'any' || this.#times === 1 ? call : `${call} (${this.#served} of ${this.#times} times)`
  }

  #matches(request: KubectlRequest): boolean {
    if (typeof this.#matcher === 'function') return this.#matcher(request)
    const words = wordsOf(this.#matcher)
    return words.length === request.args.length && words.every((word, index) => word === request.args[index])
  }
}

/** A call as it would be typed. */
export function callText(args: readonly string[]): string {
  return ['kubectl', ...args.map((arg) => (/^[\w@%+=:,./-]+$/.test(arg) ? arg : JSON.stringify(arg)))].join(' ')
}

const wordsOf = (matcher: string | readonly string[]): readonly string[] => (typeof matcher === 'string' ? matcher.split(' ') : matcher)
