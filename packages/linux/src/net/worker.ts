import { parentPort } from 'node:worker_threads'
import { loadLibc } from '../native/libc.ts'
import { NetExecutor } from './executor.ts'
import { failureOf, NetFailure } from './failure.ts'
import type { NetOrder, NetReply } from './requests.ts'

if (parentPort === null) throw new Error('this file runs as a worker thread only')
const port = parentPort
const executor = new NetExecutor(loadLibc())

const answer = (order: Exclude<NetOrder, 'close'>): NetReply => {
  try {
    return { id: order.id, ok: true, result: executor.execute(order.request) }
  } catch (error) {
    const { code, message, hint } = error instanceof NetFailure ? error : failureOf(error, order.request.call)
    return { id: order.id, ok: false, code, message, hint }
  }
}

port.on('message', (order: NetOrder) => {
  if (order !== 'close') return port.postMessage(answer(order))
  executor[Symbol.dispose]()
  port.close()
})
