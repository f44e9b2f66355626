/** Resolves when the signal aborts. */
export function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve()
    else
      signal.addEventListener(
        'abort',
        () => {
          resolve()
        },
        { once: true },
      )
  })
}

/** The work's outcome, or the signal's reason if it aborts first; the work goes on then and its outcome is dropped. */
export async function unlessAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  const done = new AbortController()
  try {
    return await Promise.race([
      work,
      aborted(AbortSignal.any([signal, done.signal])).then(() => {
        throw signal.reason as Error
      }),
    ])
  } finally {
    done.abort()
  }
}
