import {
  type AllocateRequest,
  type AllocateResponse,
  DEVICE_HEALTH,
  type DevicePluginOptions,
  DevicePluginService,
  type ListAndWatchResponse,
  type PreferredAllocationRequest,
  type PreferredAllocationResponse,
} from '@cni-offload/protocol/device-plugin'
import { OffloadError } from '@cni-offload/sdk'
import { Client, type ClientReadableStream, credentials, type MethodDefinition } from '@grpc/grpc-js'

/** A device as kubelet keeps it in its books. */
export interface KnownDevice {
  /** Whether it can be given to containers. */
  readonly healthy: boolean
  /** NUMA node, if the plugin told exactly one. */
  readonly numaNode?: number
}

/** Longest call of a kubelet, in milliseconds. */
const CALL_MS = 10_000

/** A kubelet's connection to one plugin. */
export class PluginConnection {
  /** What the newest list says, by id. */
  devices: ReadonlyMap<string, KnownDevice> = new Map()
  /** How many lists have come. */
  lists = 0
  readonly #client: Client
  readonly #heard: { changed(): void; ended(): void }
  #options: DevicePluginOptions | undefined
  #stream: ClientReadableStream<ListAndWatchResponse> | undefined

  /** @param socket - path of the plugin's socket */
  constructor(socket: string, heard: { changed(): void; ended(): void }) {
    this.#heard = heard
    this.#client = new Client(`unix:${socket}`, credentials.createInsecure(), {
      'grpc.use_local_subchannel_pool': 1,
      'grpc.enable_channelz': 0,
    })
  }

  /** Dials the plugin, asks for its options and watches its devices. */
  async open(timeoutMs: number): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.#client.waitForReady(Date.now() + timeoutMs, (error) => (error === undefined ? resolve() : reject(error)))
    })
    this.#options = await this.#call(DevicePluginService.getDevicePluginOptions, {})
    const { path, requestSerialize, responseDeserialize } = DevicePluginService.listAndWatch
    const stream = this.#client.makeServerStreamRequest(path, requestSerialize, responseDeserialize, {})
    this.#stream = stream
    stream.on('data', (list: ListAndWatchResponse) => {
      this.lists++
      this.devices = new Map(
        list.devices.map(({ id, health, topology }) => {
          const [node, ...more] = topology?.nodes ?? []
          const numaNode = node === undefined || more.length > 0 ? {} : { numaNode: Number(node.id) }
          return [id, { healthy: health === DEVICE_HEALTH.healthy, ...numaNode }]
        }),
      )
      this.#heard.changed()
    })
    stream.on('error', () => this.#heard.ended())
    stream.on('end', () => this.#heard.ended())
  }

  /** Stops or continues reading lists. */
  pause(paused: boolean): void {
    if (paused) this.#stream?.pause()
    else this.#stream?.resume()
  }

  /** Which devices the plugin would take; none if it has no preference. */
  async preferred(available: readonly string[], size: number): Promise<readonly string[]> {
    if (this.#options?.getPreferredAllocationAvailable !== true) return []
    const request: PreferredAllocationRequest = {
      containerRequests: [{ availableDeviceIds: available, mustIncludeDeviceIds: [], allocationSize: size }],
    }
    const reply: PreferredAllocationResponse = await this.#call(DevicePluginService.getPreferredAllocation, request)
    return reply.containerResponses[0]?.deviceIds ?? []
  }

  /** Tells the plugin that a container gets devices. */
  async allocate(ids: readonly string[]): Promise<{ envs: Record<string, string>; annotations: Record<string, string> }> {
    const request: AllocateRequest = { containerRequests: [{ deviceIds: ids }] }
    const reply: AllocateResponse = await this.#call(DevicePluginService.allocate, request)
    const [container] = reply.containerResponses
    return { envs: { ...container?.envs }, annotations: { ...container?.annotations } }
  }

  /** Breaks the connection. */
  close(): void {
    this.#stream?.cancel()
    this.#client.close()
  }

  #call<Request, Reply>(method: MethodDefinition<Request, Reply>, request: Request): Promise<Reply> {
    return new Promise((resolve, reject) => {
      this.#client.makeUnaryRequest(
        method.path,
        method.requestSerialize,
        method.responseDeserialize,
        request,
        { deadline: Date.now() + CALL_MS },
        (error, reply) => {
          if (error === null && reply !== undefined) resolve(reply)
          else reject(new OffloadError('IO_FAILURE', error?.details ?? 'no reply', { cause: error }))
        },
      )
    })
  }
}
