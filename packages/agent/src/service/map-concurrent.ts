/**
 * Results of `work` for every item of `source`, in the order in which they are ready, with at most `limit` running.
 *
 * `work` must not reject. Ending the loop early ends `source` too and waits for what is running. If `source` fails, what is
 * running is waited for and its results are yielded before the failure is thrown.
 */
export async function* mapConcurrent<T, R>(
  source: AsyncIterable<T>,
  limit: number,
  work: (item: T) => Promise<R>,
): AsyncGenerator<R, void, undefined> {
  const iterator = source[Symbol.asyncIterator]()
  const running = new Set<Promise<void>>()
  const ready: R[] = []
  let next: Promise<void> | undefined
  let ended = false
  let failure: { readonly error: unknown } | undefined

  const start = (item: T): void => {
    const run = work(item).then((result) => {
      ready.push(result)
      running.delete(run)
    })
    running.add(run)
  }
  const pull = async (): Promise<void> => {
    try {
      const step = await iterator.next()
      if (step.done === true) ended = true
      else start(step.value)
    } catch (error) {
      ended = true
      failure = { error }
    }
    next = undefined
  }

  try {
    while (!ended || running.size > 0 || ready.length > 0) {
      yield* ready.splice(0)
      if (!ended && next === undefined && running.size < limit) next = pull()
      const waits = [...running, ...(next === undefined ? [] : [next])]
      if (ready.length === 0 && waits.length > 0) await Promise.race(waits)
    }
    if (failure !== undefined) throw failure.error
  } finally {
    if (!ended) await iterator.return?.()
    await Promise.all(running)
  }
}
