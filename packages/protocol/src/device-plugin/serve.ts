import { chmod, lstat, rename, unlink } from 'node:fs/promises'
import { type Logger, OffloadError, silentLogger } from '@cni-offload/sdk'
import { type sendUnaryData, Server, ServerCredentials, type ServerWritableStream } from '@grpc/grpc-js'
import { statusFromError } from '../errors.ts'
import {
  type DevicePluginServer as Handlers,
  DevicePluginService,
  type Empty,
  type ListAndWatchResponse,
} from '../gen/deviceplugin/v1beta1/deviceplugin.ts'
import { MAX_MESSAGE_BYTES } from '../limits.ts'
import type { DevicePluginApi } from './types.ts'

/** Settings of {@link serveDevicePlugin}. */
export interface ServeDevicePluginOptions {
  /** Path of the socket, at most 103 bytes. What lies there is replaced. */
  readonly path: string
  /** What is served. */
  readonly api: DevicePluginApi
  /** Told the number of open ListAndWatch streams whenever it changes. */
  onWatchers?(count: number): void
  /** Log. */
  readonly log?: Logger
}

/** A plugin that is being served. Disposing it ends its streams and removes its socket. */
export interface ServedDevicePlugin extends AsyncDisposable {
  /** How many ListAndWatch streams are open: one while kubelet knows the plugin. */
  readonly watchers: number
  /** Whether the socket at the path is still this one. */
  inPlace(): Promise<boolean>
}

/** How long streams may take to end by themselves, in milliseconds. */
const FLUSH_MS = 1000

/**
 * Serves a device plugin on a unix socket of mode 0600, which appears only when calls can be answered.
 *
 * @throws OffloadError IO_FAILURE when it cannot listen
 */
export async function serveDevicePlugin(options: ServeDevicePluginOptions): Promise<ServedDevicePlugin> {
  const { path, api, log = silentLogger } = options
  const server = new Server({
    'grpc.max_receive_message_length': MAX_MESSAGE_BYTES,
    'grpc.max_send_message_length': MAX_MESSAGE_BYTES,
    'grpc.enable_channelz': 0,
  })
  const stop = new AbortController()
  const streams = new Set<object>()
  const watched = (call: object, open: boolean): void => {
    if (open) streams.add(call)
    else streams.delete(call)
    options.onWatchers?.(streams.size)
  }
  server.addService(DevicePluginService, handlers(api, stop.signal, watched, log))
  // Under a temporary name until its mode is right and it answers. Closing unlinks that name, and never a successor's socket.
  const temporary = `${path}.new`
  let inode: bigint
  try {
    await unlink(temporary).catch(() => {})
    await bind(server, temporary)
    await chmod(temporary, 0o600)
    inode = (await lstat(temporary, { bigint: true })).ino
    await rename(temporary, path)
  } catch (error) {
    server.forceShutdown()
    throw OffloadError.from(error, 'IO_FAILURE', `device plugin socket ${path}`)
  }
  const inPlace = async (): Promise<boolean> => (await lstat(path, { bigint: true }).catch(() => undefined))?.ino === inode
  const close = async (): Promise<void> => {
    if (await inPlace()) await unlink(path).catch(() => {})
    stop.abort(new OffloadError('CANCELLED', 'the device plugin is stopping'))
    await new Promise<void>((resolve) => {
      const force = setTimeout(() => server.forceShutdown(), FLUSH_MS)
      server.tryShutdown(() => {
        clearTimeout(force)
        resolve()
      })
    })
  }
  let closed: Promise<void> | undefined
  return {
    get watchers() {
      return streams.size
    },
    inPlace,
    [Symbol.asyncDispose]: () => (closed ??= close()),
  }
}

function bind(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.bindAsync(`unix:${path}`, ServerCredentials.createInsecure(), (error) => (error === null ? resolve() : reject(error)))
  })
}

function handlers(api: DevicePluginApi, stop: AbortSignal, watched: (call: object, open: boolean) => void, log: Logger): Handlers {
  const answer = <T>(callback: sendUnaryData<T>, work: () => T): void => {
    let reply: T
    try {
      reply = work()
    } catch (error) {
      log.warn({ err: error }, 'kubelet’s request was refused')
      return callback(statusFromError(error))
    }
    callback(null, reply)
  }
  return {
    getDevicePluginOptions: (_call, callback) => callback(null, api.options),
    getPreferredAllocation: (call, callback) => answer(callback, () => api.preferred(call.request)),
    allocate: (call, callback) => answer(callback, () => api.allocate(call.request)),
    preStartContainer: (_call, callback) => callback(null, {}),
    listAndWatch(call) {
      watched(call, true)
      void pump(call, api, stop)
        .catch((error: unknown) => {
          log.error({ err: error }, 'list of devices')
          call.destroy(Object.assign(new Error('list of devices'), statusFromError(error)))
        })
        .finally(() => watched(call, false))
    },
  }
}

/** Each list is written when the one before has left, so that a kubelet that reads slowly finds the newest and no queue. */
async function pump(call: ServerWritableStream<Empty, ListAndWatchResponse>, api: DevicePluginApi, stop: AbortSignal): Promise<void> {
  const gone = new AbortController()
  const leave = (): void => gone.abort(new OffloadError('CANCELLED', 'kubelet has ended the stream'))
  call.once('cancelled', leave)
  call.once('close', leave)
  call.once('error', leave)
  const signal = AbortSignal.any([stop, gone.signal])
  for await (const devices of api.listAndWatch(signal)) {
    await written(call, { devices }, signal)
    if (signal.aborted) break
  }
  call.end()
}

function written(call: ServerWritableStream<Empty, ListAndWatchResponse>, list: ListAndWatchResponse, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      signal.removeEventListener('abort', done)
      resolve()
    }
    signal.addEventListener('abort', done, { once: true })
    // A stream that breaks says so by its own events.
    call.write(list, done)
  })
}
