/** Time as a dependency, so that tests decide what time it is. */
export interface Clock {
  /** Wall clock, milliseconds since the epoch. May jump. */
  now(): number
  /** Monotonic time in milliseconds, for durations and deadlines. */
  monotonic(): number
  /** Resolves after `ms` milliseconds. @throws the signal's reason when it aborts first */
  sleep(ms: number, signal: AbortSignal): Promise<void>
}

/** The machine's own clocks. */
export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  sleep: (ms, signal) =>
    new Promise((resolve, reject) => {
      if (signal.aborted) return reject(signal.reason as Error)
      const abort = (): void => {
        clearTimeout(timer)
        reject(signal.reason as Error)
      }
      const timer = setTimeout(() => {
        signal.removeEventListener('abort', abort)
        resolve()
      }, ms)
      signal.addEventListener('abort', abort, { once: true })
    }),
}
