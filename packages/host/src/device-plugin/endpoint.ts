import { createHash } from 'node:crypto'
import { lstat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import {
  DEVICE_PLUGIN_VERSION,
  type DevicePluginApi,
  KUBELET_SOCKET,
  registerDevicePlugin,
  serveDevicePlugin,
  type ServedDevicePlugin,
} from '@cni-offload/protocol/device-plugin'
import { type Clock, type Logger, OffloadError } from '@cni-offload/sdk'
import { backoff } from '../backoff.ts'
import { claimPath } from '../server/claim-path.ts'
import type { FolderWatch } from './folder-watch.ts'
import type { DevicePluginMetrics } from './metrics.ts'
import { Wake } from './wake.ts'

/** What an {@link Endpoint} is made of. */
export interface EndpointDeps {
  /** Name of the resource. */
  readonly resource: string
  /** What kubelet is answered. */
  readonly api: DevicePluginApi
  /** Folder of the sockets, watched. */
  readonly dir: string
  /** Its watch. */
  readonly folder: FolderWatch
  /** Metrics. */
  readonly metrics: DevicePluginMetrics
  /** Time. */
  readonly clock: Clock
  /** Log. */
  readonly log: Logger
}

/** How long kubelet may take to watch the devices after it has accepted the registration, in milliseconds. */
const WATCH_MS = 15_000

/** A stream that has lasted as long as this is not held against kubelet when it ends, in milliseconds. */
const STABLE_MS = 5_000

const FIRST_RETRY_MS = 500
const LAST_RETRY_MS = 30_000

/** How often the folder is looked at where it cannot be watched, in milliseconds. */
const LOOK_MS = 5_000

/** Name of a resource's socket: readable, short, and different for each resource. */
export function socketName(resource: string): string {
  const digest = createHash('sha256').update(resource).digest('hex').slice(0, 8)
  const name = resource.slice(resource.lastIndexOf('/') + 1, resource.lastIndexOf('/') + 17)
  return `offload-${name}-${digest}.sock`
}

/**
 * Keeps one resource registered: its socket stands in kubelet's folder, and kubelet watches its devices. What holds is looked
 * at anew whenever something has happened, so that it does not matter in which order kubelet stops, wipes the folder and
 * comes back.
 */
export class Endpoint {
  readonly #deps: EndpointDeps
  readonly #path: string
  readonly #wake = new Wake()
  #served: ServedDevicePlugin | undefined
  #failures = 0
  #failure: string | undefined
  /** When the next attempt may be made, unless there is another kubelet. */
  #notBefore = 0
  #kubelet: string | undefined
  /** Until when a kubelet that has accepted us must have begun to watch. */
  #watchBy: number | undefined
  /** Whether it has, since the last registration. */
  #watched = false
  /** When it has begun. */
  #watchedAt = 0

  constructor(deps: EndpointDeps) {
    this.#deps = deps
    this.#path = join(deps.dir, socketName(deps.resource))
  }

  /** Works until the signal aborts, and then removes the socket. Never rejects. */
  async run(signal: AbortSignal): Promise<void> {
    const { folder, clock } = this.#deps
    using _subscription = folder.changes.subscribe(() => this.#wake.call())
    while (!signal.aborted) {
      const watched = folder.arm()
      const pause = await this.#step(signal)
      await this.#wake.wait(signal, clock, watched ? pause : Math.min(pause ?? LOOK_MS, LOOK_MS))
    }
    await this.#withdraw()
  }

  /** @returns milliseconds until the next step, undefined if only an event can change something */
  async #step(signal: AbortSignal): Promise<number | undefined> {
    const { clock, dir } = this.#deps
    const kubelet = await socketIdentity(join(dir, KUBELET_SOCKET))
    const left = this.#notBefore - clock.monotonic()
    if (left > 0 && kubelet === this.#kubelet) return left
    if (kubelet !== this.#kubelet) this.#watchBy = undefined
    this.#kubelet = kubelet
    try {
      return await this.#bringUp(signal)
    } catch (error) {
      return signal.aborted ? undefined : this.#failed(OffloadError.from(error))
    }
  }

  async #bringUp(signal: AbortSignal): Promise<number | undefined> {
    const { log, clock, resource, metrics } = this.#deps
    await this.#serve()
    if (this.#served === undefined) return undefined
    if (this.#served.watchers > 0) {
      this.#failure = undefined
      return undefined
    }
    const now = clock.monotonic()
    if (this.#watchBy !== undefined && now < this.#watchBy) return this.#watchBy - now
    if (this.#watchBy !== undefined) {
      this.#watchBy = undefined
      throw new OffloadError('NOT_READY', `kubelet accepted ${resource} and does not watch its devices`)
    }
    if (this.#kubelet === undefined) return undefined
    this.#watched = false
    await this.#register(signal)
    metrics.registered(resource, 'OK')
    log.info({ socket: this.#path }, 'registered with kubelet')
    // Kubelet may have begun to watch, and ended it, before its answer has come.
    if (!this.#watched) this.#watchBy = clock.monotonic() + WATCH_MS
    return this.#watchBy === undefined ? 0 : WATCH_MS
  }

  async #register(signal: AbortSignal): Promise<void> {
    const { resource, api, dir, metrics } = this.#deps
    const request = { version: DEVICE_PLUGIN_VERSION, endpoint: socketName(resource), resourceName: resource, options: api.options }
    try {
      await registerDevicePlugin(join(dir, KUBELET_SOCKET), request, signal)
    } catch (error) {
      if (!signal.aborted) metrics.registered(resource, OffloadError.from(error).code)
      throw error
    }
  }

  /** Makes sure that our socket stands in the folder, if there is one: kubelet wipes it when it starts. */
  async #serve(): Promise<void> {
    const { api, log } = this.#deps
    if (this.#served !== undefined) {
      if (await this.#served.inPlace()) return
      log.warn({ socket: this.#path }, 'the socket for kubelet was removed, it is made again')
      // Before the new one is announced: kubelet takes the end of a stream for the end of the resource, whichever stream it was.
      await this.#withdraw()
    }
    // Kubelet makes the folder; without it there is no kubelet that could be served.
    if ((await lstat(dirname(this.#path)).catch(() => undefined))?.isDirectory() !== true) return
    await claimPath(this.#path)
    this.#served = await serveDevicePlugin({ path: this.#path, api, log, onWatchers: (count) => this.#heard(count) })
  }

  async #withdraw(): Promise<void> {
    const served = this.#served
    this.#served = undefined
    this.#watchBy = undefined
    await served?.[Symbol.asyncDispose]()
  }

  #heard(count: number): void {
    const { log, metrics, resource, clock } = this.#deps
    const now = clock.monotonic()
    if (count > 0) {
      this.#watched = true
      this.#watchBy = undefined
      this.#watchedAt = now
    } else if (now - this.#watchedAt >= STABLE_MS) this.#failures = 0
    // Or a kubelet that ends each stream at once, because of another plugin for the same resource, would keep us busy.
    else this.#pause()
    metrics.watched(resource, count > 0)
    log.info({ streams: count }, count > 0 ? 'kubelet watches the devices' : 'kubelet does not watch the devices any more')
    this.#wake.call()
  }

  /** Lets some time pass before the next attempt. */
  #pause(): number {
    this.#failures++
    const pause = backoff(this.#failures, FIRST_RETRY_MS, LAST_RETRY_MS)
    this.#notBefore = this.#deps.clock.monotonic() + pause
    return pause
  }

  #failed(failure: OffloadError): number {
    const pause = this.#pause()
    // The same failure again and again is said once.
    if (failure.message !== this.#failure)
      this.#deps.log.error(
        { err: failure, code: failure.code, hint: failure.hint, retryMs: Math.round(pause) },
        'not advertised to kubelet',
      )
    this.#failure = failure.message
    return pause
  }
}

/** Tells one socket at a path from the next one there; undefined if there is none. */
async function socketIdentity(path: string): Promise<string | undefined> {
  const found = await lstat(path, { bigint: true }).catch(() => undefined)
  return found?.isSocket() === true ? `${found.ino}:${found.ctimeNs}` : undefined
}
