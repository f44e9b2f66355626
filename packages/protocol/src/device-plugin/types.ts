import type {
  AllocateRequest,
  AllocateResponse,
  Device,
  DevicePluginOptions,
  PreferredAllocationRequest,
  PreferredAllocationResponse,
} from '../gen/deviceplugin/v1beta1/deviceplugin.ts'

/** Version of the API that is spoken here, as kubelet wants it in a registration. */
export const DEVICE_PLUGIN_VERSION: string = 'v1beta1'

/** Health of a device as it stands on the wire. */
export const DEVICE_HEALTH: Readonly<Record<'healthy' | 'unhealthy', string>> = { healthy: 'Healthy', unhealthy: 'Unhealthy' }

/** Name of kubelet's socket in the folder that it shares with its plugins. */
export const KUBELET_SOCKET: string = 'kubelet.sock'

/**
 * What a plugin answers to kubelet. Methods may throw OffloadError, which becomes a gRPC status by the project's one mapping.
 *
 * @see https://kubernetes.io/docs/concepts/extend-kubernetes/compute-storage-net/device-plugins/#device-plugin-implementation
 */
export interface DevicePluginApi {
  /** What kubelet may ask of this plugin. */
  readonly options: DevicePluginOptions
  /**
   * All devices, and all again when one has changed, until the signal aborts. It is asked for the next list only when
   * kubelet has taken the one before: what changes in between should come as one list.
   */
  listAndWatch(signal: AbortSignal): AsyncIterable<readonly Device[]>
  /** Which devices the plugin would take. */
  preferred(request: PreferredAllocationRequest): PreferredAllocationResponse
  /** Devices are given to the containers of a pod. */
  allocate(request: AllocateRequest): AllocateResponse
}
