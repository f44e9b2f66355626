import { createInMemoryClient, createOffloadClient, createOffloadServer } from '../../src/index.ts'
import type { OffloadApi } from '../../src/api.ts'
import { NODE, type Pki } from '../fixture.ts'

/** A client of an api, and whatever lies in between. */
export interface Pair extends AsyncDisposable {
  readonly client: OffloadApi
}

const over = async (served: OffloadApi, certificates: Pki, listen: string): Promise<Pair> => {
  const server = await createOffloadServer({ listen, tls: certificates.agent, api: served })
  const client = createOffloadClient({ address: server.address, tls: certificates.host, node: NODE })
  return {
    client,
    async [Symbol.asyncDispose]() {
      await client[Symbol.asyncDispose]()
      await server[Symbol.asyncDispose]()
    },
  }
}

let sockNumber = 0

const unixSocket = (served: OffloadApi, certificates: Pki): Promise<Pair> => {
  sockNumber += 1
  return over(served, certificates, `unix:${certificates.dir}/agent${sockNumber}.sock`)
}

const inMemory = async (served: OffloadApi): Promise<Pair> => ({
  client: createInMemoryClient(served, { role: 'host', node: NODE }),
  async [Symbol.asyncDispose]() {},
})

/** Everything that a call can go over; to its ends it must make no difference. */
export const TRANSPORTS: readonly (readonly [name: string, open: (served: OffloadApi, certificates: Pki) => Promise<Pair>])[] = [
  ['TCP with mTLS', (served, certificates) => over(served, certificates, 'tcp://127.0.0.1:0')],
  ['unix socket with mTLS', unixSocket],
  ['in memory', inMemory],
]

/** Resolves with the reason when the signal aborts. */
export const aborted = (signal: AbortSignal): Promise<unknown> =>
  new Promise((resolve) => {
    if (signal.aborted) resolve(signal.reason)
    else signal.addEventListener('abort', () => resolve(signal.reason), { once: true })
  })

export async function* items<T>(...all: T[]): AsyncGenerator<T, void, undefined> {
  yield* all
}

export const collect = async <T>(all: AsyncIterable<T>): Promise<T[]> => {
  const got: T[] = []
  for await (const one of all) got.push(one)
  return got
}
