import { once } from 'node:events'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { text } from 'node:stream/consumers'
import { errnoOf } from '@cni-offload/linux/machine'
import { OffloadError } from '@cni-offload/sdk'
import { deadline } from '@cni-offload/sdk/runtime'
import { z } from 'zod'

/**
 * The lock of a machine's set-up: a socket without a file, in the network namespace that the interfaces of the card lie in. The kernel
 * takes it from a process that dies, so that none is ever left behind.
 */
export const SETUP_LOCK = 'cni-offload/octeon-setup'

/** Whoever has the lock answers at once, unless it hangs. */
const ANSWER_WITHIN_MS = 1_000

const holder = z.object({ pid: z.number().int(), by: z.string(), since: z.iso.datetime() })

/**
 * Takes the lock that a set-up, or undoing one, has to hold: two at once would each take the other's changes for how the machine was.
 *
 * @param by - who takes it, for others
 * @returns the lock; it is free when that is disposed, or this process has ended in whatever way
 * @throws OffloadError NOT_READY if another process has it, which is named; IO_FAILURE, CANCELLED
 */
export async function takeSetupLock(by: string, signal: AbortSignal, name: string = SETUP_LOCK): Promise<AsyncDisposable> {
  const server = createServer()
  const told = `${JSON.stringify({ pid: process.pid, by, since: new Date().toISOString() })}\n`
  server.on('connection', (socket) => answer(socket, told))
  server.listen(addressOf(name))
  try {
    await once(server, 'listening', { signal })
  } catch (error) {
    server.close()
    if (errnoOf(error) === 'EADDRINUSE') throw await taken(name, signal)
    throw OffloadError.from(error, 'IO_FAILURE', 'lock of the set-up')
  }
  // That it is held keeps nobody from ending.
  server.unref()
  return { [Symbol.asyncDispose]: async () => await close(server) }
}

/** A name that no file has. */
const addressOf = (name: string): string => `\0${name}`

function answer(socket: Socket, told: string): void {
  // Who asks and goes away again is no concern of ours.
  socket.on('error', () => {})
  socket.end(told)
}

async function close(server: Server): Promise<void> {
  const closed = once(server, 'close')
  server.close()
  await closed
}

async function taken(name: string, signal: AbortSignal): Promise<OffloadError> {
  const who = await holderOf(name, signal)
  signal.throwIfAborted()
  return new OffloadError('NOT_READY', `another set-up of this machine is under way${who === undefined ? '' : `: ${who}`}`, {
    hint: 'Run it again when that has ended. Nothing was changed.',
  })
}

/** Undefined where it does not say: it has just ended, or hangs. */
async function holderOf(name: string, signal: AbortSignal): Promise<string | undefined> {
  const socket = connect(addressOf(name))
  const late = deadline(signal, ANSWER_WITHIN_MS)
  const stop = (): void => void socket.destroy()
  late.addEventListener('abort', stop, { once: true })
  try {
    const { pid, by, since } = holder.parse(JSON.parse(await text(socket)))
    return `${by}, process ${pid}, since ${since}`
  } catch {
    return undefined
  } finally {
    late.removeEventListener('abort', stop)
    socket.destroy()
  }
}
