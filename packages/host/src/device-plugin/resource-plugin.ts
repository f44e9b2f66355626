import { isDeepStrictEqual } from 'node:util'
import {
  type AllocateRequest,
  type AllocateResponse,
  type Device,
  DEVICE_HEALTH,
  type DevicePluginApi,
  type DevicePluginOptions,
  type PreferredAllocationRequest,
  type PreferredAllocationResponse,
} from '@cni-offload/protocol/device-plugin'
import { type Clock, type Logger, OffloadError } from '@cni-offload/sdk'
import { type DeviceResource, isCounted } from './config.ts'
import type { VfDevice } from './inventory.ts'
import type { DevicePluginMetrics } from './metrics.ts'
import { preferred } from './preference.ts'
import { deviceVariable } from './resource-name.ts'
import { type Changes, Wake } from './wake.ts'

/** What a {@link ResourcePlugin} is made of. */
export interface ResourcePluginDeps {
  /** The resource. */
  readonly resource: DeviceResource
  /** Its devices at the moment, by id. */
  readonly devices: () => ReadonlyMap<string, VfDevice>
  /** Tells when they may have changed. */
  readonly changes: Changes
  /** Metrics. */
  readonly metrics: DevicePluginMetrics
  /** Time. */
  readonly clock: Clock
  /** Log. */
  readonly log: Logger
}

/** How long changes are gathered before kubelet is told, in milliseconds. */
const GATHER_MS = 50

/** What kubelet is told about one resource. */
export class ResourcePlugin implements DevicePluginApi {
  readonly options: DevicePluginOptions = { preStartRequired: false, getPreferredAllocationAvailable: true }
  readonly #deps: ResourcePluginDeps

  constructor(deps: ResourcePluginDeps) {
    this.#deps = deps
  }

  /** @inheritDoc */
  async *listAndWatch(signal: AbortSignal): AsyncIterable<readonly Device[]> {
    const { changes, clock, log } = this.#deps
    const wake = new Wake()
    using _subscription = changes.subscribe(() => wake.call())
    let last: readonly Device[] | undefined
    while (!signal.aborted) {
      const devices = [...this.#deps.devices().values()].map(advertised)
      if (!isDeepStrictEqual(devices, last)) {
        const healthy = devices.filter(({ health }) => health === DEVICE_HEALTH['healthy']).length
        log.info({ devices: devices.length, healthy }, 'devices told to kubelet')
        last = devices
        yield devices
      }
      await wake.wait(signal, clock)
      await clock.sleep(GATHER_MS, signal).catch(() => {})
    }
  }

  /** @inheritDoc */
  preferred({ containerRequests }: PreferredAllocationRequest): PreferredAllocationResponse {
    const known = this.#deps.devices()
    return {
      containerResponses: containerRequests.map(({ availableDeviceIds, mustIncludeDeviceIds, allocationSize }) => ({
        deviceIds: preferred(known, { available: availableDeviceIds, mustInclude: mustIncludeDeviceIds, size: allocationSize }),
      })),
    }
  }

  /**
   * What the containers need to know of their devices: nothing where the devices are only counted, since the VF that a pod
   * gets is another one as a rule.
   *
   * A device that is not healthy at the moment is no reason to refuse: that would fail the pod for ever, while its ADD is
   * repeated until the VF can be had.
   *
   * @throws OffloadError NOT_FOUND naming a device that the resource does not have
   */
  allocate({ containerRequests }: AllocateRequest): AllocateResponse {
    const { resource, metrics, log } = this.#deps
    const known = this.#deps.devices()
    const ids = containerRequests.flatMap(({ deviceIds }) => deviceIds)
    const unknown = ids.find((id) => !known.has(id))
    if (unknown !== undefined) {
      metrics.allocated(resource.name, 'refused', ids.length)
      throw new OffloadError('NOT_FOUND', `device "${unknown}": resource ${resource.name} has no such device`, {
        hint: 'Was the selection of the resource changed while kubelet was running? It is told the devices that there are.',
      })
    }
    metrics.allocated(resource.name, 'given', ids.length)
    log.info({ devices: ids }, 'devices allocated by kubelet')
    return {
      containerResponses: containerRequests.map(({ deviceIds }) => {
        const list = deviceIds.join(',')
        return isCounted(resource)
          ? { envs: {}, annotations: {} }
          : { envs: { [deviceVariable(resource.name)]: list }, annotations: { [resource.name]: list } }
      }),
    }
  }
}

function advertised({ id, healthy, numaNode }: VfDevice): Device {
  return {
    id,
    health: DEVICE_HEALTH[healthy ? 'healthy' : 'unhealthy'],
    ...(numaNode === undefined ? {} : { topology: { nodes: [{ id: BigInt(numaNode) }] } }),
  }
}
