// tsyringe refuses to load without the metadata API, although nothing here uses metadata.
import 'reflect-metadata'
import { container, type DependencyContainer } from 'tsyringe'
import { OffloadError } from '../errors/offload-error.ts'
import { type Token, tokenName } from './token.ts'

/** Options of a factory. */
export interface FactoryOptions<T> {
  /**
   * How an instance is given up when its scope is disposed.
   *
   * @defaultValue the instance's own `Symbol.asyncDispose` or `Symbol.dispose`, if it has one
   */
  readonly dispose?: (instance: T) => void | PromiseLike<void>
}

/** Tokens of a constructor's parameters, in their order. */
export type TokensOf<A extends readonly unknown[]> = { readonly [K in keyof A]-?: Token<A[K]> }

interface Construction {
  readonly name: string
}

const disposerOf = (instance: unknown): (() => void | PromiseLike<void>) | undefined => {
  const candidate = instance as Partial<AsyncDisposable & Disposable> | null | undefined
  if (typeof candidate?.[Symbol.asyncDispose] === 'function') return () => candidate[Symbol.asyncDispose]?.()
  if (typeof candidate?.[Symbol.dispose] === 'function') return () => candidate[Symbol.dispose]?.()
  return undefined
}

/**
 * A scope of dependencies: the process, a test, or one request inside of it.
 *
 * What a factory makes is made once, in the scope that holds the factory, and is given up with that scope in reverse
 * order of creation. A child sees what its parent provides; the parent never sees what a child provides. Factories are
 * synchronous: starting things is the composition root's job, after everything is wired.
 */
export class Scope implements AsyncDisposable {
  readonly #container: DependencyContainer
  readonly #forgotten: () => void
  readonly #children = new Set<Scope>()
  readonly #owned = new AsyncDisposableStack()
  /** What is being made at the moment, outermost first; shared by a whole tree because a cycle may cross scopes. */
  readonly #constructing: Construction[]
  #disposal: Promise<void> | undefined

  private constructor(parent: Scope | undefined) {
    this.#forgotten = () => parent !== undefined && parent.#children.delete(this)
    // Never the global container itself: two runtimes in one process must not see each other.
    this.#container = (parent === undefined ? container : parent.#container).createChildContainer()
    this.#constructing = parent === undefined ? [] : parent.#constructing
  }

  /** Makes an empty scope without a parent. */
  static root(): Scope {
    return new Scope(undefined)
  }

  /** Provides a value that lives elsewhere; it is not disposed with the scope. @throws OffloadError INTERNAL if provided already */
  value<T>(to: Token<T>, value: NoInfer<T>): this {
    this.#claim(to)
    this.#container.register(to, { useValue: value })
    return this
  }

  /** Provides what `make` returns, made on first use. @throws OffloadError INTERNAL if provided already */
  factory<T>(to: Token<T>, make: (scope: Scope) => NoInfer<T>, options: FactoryOptions<NoInfer<T>> = {}): this {
    this.#claim(to)
    let made: { readonly instance: T } | undefined
    const construction: Construction = { name: tokenName(to) }
    this.#container.register(to, { useFactory: () => (made ??= { instance: this.#construct(construction, make, options) }).instance })
    return this
  }

  /** Provides `new Class(...)` with the parameters named by `deps`, made on first use. @throws OffloadError INTERNAL if provided already */
  bind<T, A extends readonly unknown[]>(to: Token<T>, Class: new (...args: A) => NoInfer<T>, deps: TokensOf<A>): this {
    return this.factory(to, (scope) => new Class(...(deps.map((dep) => scope.get(dep)) as unknown as A)))
  }

  /**
   * What is provided for a token, here or in a parent.
   *
   * @throws OffloadError INTERNAL if nothing is, if the scope is disposed, or if making it needs itself; tokens are named
   */
  get<T>(of: Token<T>): T {
    this.#assertOpen(`get "${tokenName(of)}"`)
    if (!this.#container.isRegistered(of, true))
      throw new OffloadError('INTERNAL', `nothing provides "${tokenName(of)}"${this.#neededBy()}`)
    return this.#container.resolve<T>(of)
  }

  /** A scope inside this one, for one request for example. Disposed with this one at the latest. */
  child(): Scope {
    this.#assertOpen('make a child scope')
    const child = new Scope(this)
    this.#children.add(child)
    return child
  }

  /** Disposes children first, then everything that was made here, last made first. All are tried; failures are thrown together. */
  [Symbol.asyncDispose](): Promise<void> {
    return (this.#disposal ??= this.#dispose())
  }

  async #dispose(): Promise<void> {
    await using stack = new AsyncDisposableStack()
    // Out of the parent's set at the end, so that a parent that is disposed meanwhile waits for this one too.
    stack.defer(() => this.#forgotten())
    stack.use(this.#owned)
    for (const child of this.#children) stack.use(child)
  }

  #construct<T>(construction: Construction, make: (scope: Scope) => T, options: FactoryOptions<T>): T {
    const from = this.#constructing.indexOf(construction)
    if (from >= 0) {
      const names = [...this.#constructing.slice(from), construction].map(({ name }) => `"${name}"`)
      throw new OffloadError('INTERNAL', `dependency cycle: ${names.join(' needs ')}`)
    }
    this.#constructing.push(construction)
    try {
      const instance = make(this)
      const { dispose } = options
      const disposer = dispose === undefined ? disposerOf(instance) : (): void | PromiseLike<void> => dispose(instance)
      if (disposer !== undefined) this.#owned.defer(async () => disposer())
      return instance
    } finally {
      this.#constructing.pop()
    }
  }

  #claim(to: Token<unknown>): void {
    this.#assertOpen(`provide "${tokenName(to)}"`)
    if (this.#container.isRegistered(to)) throw new OffloadError('INTERNAL', `"${tokenName(to)}" is provided already in this scope`)
  }

  #assertOpen(what: string): void {
    if (this.#disposal !== undefined) throw new OffloadError('INTERNAL', `cannot ${what}: the scope is disposed`)
  }

  #neededBy(): string {
    const at = this.#constructing.at(-1)
    return at === undefined ? '' : `, which "${at.name}" needs`
  }
}
