import type { Clock } from '@cni-offload/sdk'
import { Limiter } from '@cni-offload/sdk/runtime'
import { ApiFailure } from './api-failure.ts'

/** Limit of one group of API calls. What is left out is not limited. */
export interface ApiLimit {
  /** Calls per second in the long run. */
  readonly ratePerSecond?: number
  /** Calls that may come at once. */
  readonly burst?: number
  /** The first calls of all, which are not limited. */
  readonly skipInitial?: number
  /** Calls that are worked on at the same time. */
  readonly parallel?: number
  /** A call that would wait longer, in milliseconds, is refused with 429. */
  readonly maxWaitMs?: number
}

/** Group of API calls with a limit of its own. */
export type LimitedGroup = 'endpoint-create' | 'endpoint-delete' | 'endpoint-get' | 'endpoint-patch' | 'endpoint-list'

/**
 * What a stock agent begins with. A real one raises the rates while it finds itself fast enough; the fake stays at the
 * beginning, which is the worst that a client meets.
 */
export const DEFAULT_LIMITS: Readonly<Record<LimitedGroup, ApiLimit>> = {
  'endpoint-create': { ratePerSecond: 0.5, burst: 4, skipInitial: 4, parallel: 4, maxWaitMs: 60_000 },
  'endpoint-delete': { parallel: 4 },
  'endpoint-get': { ratePerSecond: 4, burst: 4, skipInitial: 4, parallel: 4, maxWaitMs: 10_000 },
  'endpoint-patch': { ratePerSecond: 0.5, burst: 4, skipInitial: 4, parallel: 4, maxWaitMs: 15_000 },
  'endpoint-list': { ratePerSecond: 1, burst: 4, parallel: 2 },
}

/** No limits at all, for tests of other things. */
export const NO_LIMITS: Readonly<Record<LimitedGroup, ApiLimit>> = {
  'endpoint-create': {},
  'endpoint-delete': {},
  'endpoint-get': {},
  'endpoint-patch': {},
  'endpoint-list': {},
}

/** Applies one {@link ApiLimit}: first a place among the parallel calls, then a token; both within the longest wait. */
export class RateLimit {
  readonly #limit: ApiLimit
  readonly #clock: Clock
  readonly #places: Limiter | undefined
  /** When the next token is due if all are taken, by the monotonic clock; tokens pile up to the burst behind the present. */
  #nextToken: number
  #calls = 0

  constructor(limit: ApiLimit, clock: Clock) {
    this.#limit = limit
    this.#clock = clock
    this.#places = limit.parallel === undefined ? undefined : new Limiter(limit.parallel)
    this.#nextToken = Number.NEGATIVE_INFINITY
  }

  /** Runs a call when its turn comes. @throws ApiFailure 429 when it would wait for too long */
  async run<T>(signal: AbortSignal, call: () => Promise<T>): Promise<T> {
    this.#calls += 1
    if (this.#calls <= (this.#limit.skipInitial ?? 0)) return await call()
    const end = this.#clock.monotonic() + (this.#limit.maxWaitMs ?? Number.POSITIVE_INFINITY)
    using _place = await this.#place(signal, end)
    await this.#token(signal, end)
    return await call()
  }

  async #place(signal: AbortSignal, end: number): Promise<Disposable | undefined> {
    if (this.#places === undefined) return undefined
    if (this.#limit.maxWaitMs === undefined || this.#places.active < this.#places.limit) return await this.#places.acquire(signal)
    const [late, done] = [new AbortController(), new AbortController()]
    void this.#clock.sleep(end - this.#clock.monotonic(), done.signal).then(
      () =>
        late.abort(
          new ApiFailure(
            429,
            `timed out while waiting to be served with ${this.#limit.parallel} parallel requests: context deadline exceeded`,
          ),
        ),
      () => {},
    )
    try {
      return await this.#places.acquire(AbortSignal.any([signal, late.signal]))
    } finally {
      done.abort(new Error('the place is taken'))
    }
  }

  async #token(signal: AbortSignal, end: number): Promise<void> {
    const { ratePerSecond, burst = 1 } = this.#limit
    if (ratePerSecond === undefined) return
    const [now, interval] = [this.#clock.monotonic(), 1000 / ratePerSecond]
    const due = Math.max(this.#nextToken, now - (burst - 1) * interval)
    if (due > end)
      throw new ApiFailure(
        429,
        `request would have to wait ${seconds(due - now)} to be served (maximum wait duration: ${seconds(end - now)})`,
      )
    this.#nextToken = due + interval
    if (due > now) await this.#clock.sleep(due - now, signal)
  }
}

/** As Go writes a duration, to the millisecond. */
const seconds = (ms: number): string => `${Math.max(0, Math.round(ms)) / 1000}s`
