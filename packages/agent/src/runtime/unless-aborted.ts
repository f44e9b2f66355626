import { aborted } from '@cni-offload/sdk/runtime'

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
