import { mkdir, readdir, rename, rm, unlink } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { DEVICE_PLUGIN_VERSION, KUBELET_SOCKET, type RegisterRequest, RegistrationService } from '@cni-offload/protocol/device-plugin'
import { OffloadError } from '@cni-offload/sdk'
import { type sendUnaryData, Server, ServerCredentials, type ServerUnaryCall, status } from '@grpc/grpc-js'
import { PluginConnection } from './plugin-connection.ts'

/** Devices that a kubelet has given to a container. */
export interface Admission {
  /** Resource. */
  readonly resource: string
  /** Ids of the devices. */
  readonly ids: readonly string[]
  /** Variables of the container. */
  readonly envs: Readonly<Record<string, string>>
  /** Annotations of the container. */
  readonly annotations: Readonly<Record<string, string>>
}

/** How long {@link FakeKubelet.until} waits, in milliseconds: a loaded machine needs its time. */
const UNTIL_MS = 25_000

/** Kubelet dials a plugin for as long as this, in milliseconds, before it refuses its registration. */
const DIAL_MS = 10_000

/**
 * The device manager of a kubelet: speaks the real protocol over real sockets and keeps kubelet's books, but runs no pods.
 *
 * It does as kubelet does: it wipes the folder when it starts, dials a plugin back before it answers its registration, takes
 * the end of a stream for the end of all devices, and hands out only devices that are healthy and that nobody has.
 */
export class FakeKubelet implements AsyncDisposable {
  /** Folder of the sockets. */
  readonly dir: string
  /** All registrations so far, of earlier runs too, those that were refused included. */
  readonly registrations: RegisterRequest[] = []
  /** Says why a registration is refused; undefined accepts it. */
  refuse: (request: RegisterRequest) => string | undefined = () => undefined
  readonly #connections = new Map<string, PluginConnection>()
  readonly #allocated = new Map<string, Set<string>>()
  readonly #waiting = new Set<() => void>()
  #server: Server | undefined

  /** A kubelet that does not run yet. @param dir - folder of the sockets */
  constructor(dir: string) {
    this.dir = dir
  }

  /** A kubelet that runs. */
  static async start(dir: string): Promise<FakeKubelet> {
    const kubelet = new FakeKubelet(dir)
    await kubelet.start()
    return kubelet
  }

  /** Wipes the folder and serves. What was allocated before is still allocated, as kubelet's checkpoint has it. */
  async start(): Promise<void> {
    await mkdir(this.dir, { recursive: true, mode: 0o750 })
    for (const name of await readdir(this.dir))
      // A plugin that is just coming puts its socket in place by a rename: a name may be gone again.
      if (name !== 'kubelet_internal_checkpoint') await rm(join(this.dir, name), { recursive: true, force: true })
    const server = new Server({ 'grpc.enable_channelz': 0 })
    server.addService(RegistrationService, {
      register: (call: ServerUnaryCall<RegisterRequest, object>, callback: sendUnaryData<object>) => {
        this.#register(call.request).then(
          () => callback(null, {}),
          (error: unknown) => callback({ code: status.UNKNOWN, details: OffloadError.from(error).message }),
        )
      },
    })
    // The name under which it is bound is unlinked when it is closed; the socket of a kubelet that dies stays.
    const temporary = join(this.dir, '.kubelet')
    await new Promise<void>((resolve, reject) => {
      server.bindAsync(`unix:${temporary}`, ServerCredentials.createInsecure(), (error) => (error === null ? resolve() : reject(error)))
    })
    await rename(temporary, join(this.dir, KUBELET_SOCKET))
    this.#server = server
  }

  /** Dies: connections break, its socket stays in the folder and answers nobody. */
  stop(): void {
    this.#server?.forceShutdown()
    this.#server = undefined
    for (const connection of this.#connections.values()) connection.close()
    this.#connections.clear()
  }

  /** What the newest list of a resource says, by id; undefined while there is no plugin for it. */
  devices(resource: string): ReadonlyMap<string, { readonly healthy: boolean; readonly numaNode?: number }> | undefined {
    return this.#connections.get(resource)?.devices
  }

  /** Ids that could be given to a container now. */
  available(resource: string): string[] {
    const taken = this.#allocated.get(resource)
    return [...(this.devices(resource) ?? [])].flatMap(([id, { healthy }]) => (healthy && taken?.has(id) !== true ? [id] : []))
  }

  /** How many lists the plugin of a resource has sent since it was registered. */
  lists(resource: string): number {
    return this.#connections.get(resource)?.lists ?? 0
  }

  /** Stops (and continues) reading the lists of a resource. */
  pause(resource: string, paused: boolean = true): void {
    this.#connections.get(resource)?.pause(paused)
  }

  /** Ends the stream of a resource only, as kubelet does when it is confused. */
  disconnect(resource: string): void {
    this.#connections.get(resource)?.close()
    this.#connections.delete(resource)
  }

  /**
   * Gives devices to a container, as kubelet admits a pod: it asks for a preference, heeds it if it can, and allocates.
   *
   * @param ids - take these and ask for no preference
   * @throws OffloadError RESOURCE_EXHAUSTED when there are not enough: the pod is not admitted; what the plugin answers
   */
  async admit(resource: string, count: number, ids?: readonly string[]): Promise<Admission> {
    const connection = this.#connections.get(resource)
    const available = this.available(resource)
    if (connection === undefined || available.length < count)
      throw new OffloadError('RESOURCE_EXHAUSTED', `requested ${resource}: ${count}, available: ${available.length}`)
    const hint = ids ?? (await connection.preferred(available, count))
    const heeded = hint.filter((id) => available.includes(id)).slice(0, count)
    const chosen = ids ?? [...heeded, ...available.filter((id) => !heeded.includes(id))].slice(0, count)
    const taken = this.#allocated.get(resource) ?? new Set<string>()
    this.#allocated.set(resource, taken)
    for (const id of chosen) taken.add(id)
    try {
      return { resource, ids: chosen, ...(await connection.allocate(chosen)) }
    } catch (error) {
      for (const id of chosen) taken.delete(id)
      throw error
    }
  }

  /** Takes the devices of a container back, as kubelet does when its pod is over. */
  release({ resource, ids }: Admission): void {
    for (const id of ids) this.#allocated.get(resource)?.delete(id)
  }

  /** Resolves when the condition holds; it is looked at whenever something has arrived. Rejects after 25 s. */
  async until(condition: () => boolean, what: string): Promise<void> {
    const timeout = AbortSignal.timeout(UNTIL_MS)
    while (!condition()) {
      await new Promise<void>((resolve, reject) => {
        const fail = (): void => reject(new OffloadError('DEADLINE_EXCEEDED', `never happened: ${what}`))
        if (timeout.aborted) return fail()
        timeout.addEventListener('abort', fail, { once: true })
        this.#waiting.add(resolve)
      })
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.stop()
    await unlink(join(this.dir, KUBELET_SOCKET)).catch(() => {})
  }

  async #register(request: RegisterRequest): Promise<void> {
    this.registrations.push(request)
    this.#arrived()
    const { version, endpoint, resourceName } = request
    const reason = version === DEVICE_PLUGIN_VERSION ? this.refuse(request) : `requested API version "${version}" is not supported`
    if (reason !== undefined) throw new OffloadError('INVALID_CONFIG', reason)
    this.#connections.get(resourceName)?.close()
    const connection = new PluginConnection(join(this.dir, basename(endpoint)), {
      changed: () => this.#arrived(),
      ended: () => {
        if (this.#connections.get(resourceName) === connection) this.#connections.delete(resourceName)
        this.#arrived()
      },
    })
    this.#connections.set(resourceName, connection)
    await connection.open(DIAL_MS).catch((error: unknown) => {
      this.#connections.delete(resourceName)
      connection.close()
      throw new OffloadError('NOT_READY', `failed to dial device plugin: ${OffloadError.from(error).message}`, { cause: error })
    })
  }

  #arrived(): void {
    const waiting = [...this.#waiting]
    this.#waiting.clear()
    for (const resolve of waiting) resolve()
  }
}
