/** What an agent would do with an adapter, in a process of its own that may be killed. See `CrashOrder`. */
import { createInterface } from 'node:readline'
import { OffloadError, parseWith, silentLogger, systemClock } from '@cni-offload/sdk'
import { loadPlugin } from '@cni-offload/sdk/runtime'
import { freshContext } from '../../kit/expect.ts'
import { crashOrder } from './order.ts'

const lines = createInterface(process.stdin)[Symbol.asyncIterator]()
const line = async (): Promise<string> => String((await lines.next()).value ?? '')

const { plugin, stateDir, requests, calls } = parseWith(crashOrder, JSON.parse(await line()), 'order', 'UNDECODABLE')
const [request] = requests
if (request === undefined) throw new OffloadError('INTERNAL', 'requests is empty')
const adapter = await (await loadPlugin('adapter', plugin)).create({ log: silentLogger, clock: systemClock, stateDir })
await adapter.start?.(
  requests.map(({ port }) => port),
  freshContext(),
)
for (const [turn, call] of calls.entries()) {
  if (turn === calls.length - 1) {
    process.stdout.write('ready\n')
    await line()
  }
  if (call === 'attach') await adapter.attach(request, freshContext())
  else await adapter.detach({ key: request.key, port: request.port }, freshContext())
}
await adapter[Symbol.asyncDispose]?.()
process.exit(0)
