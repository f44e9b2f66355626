/**
 * Kubernetes' device plugin API, v1beta1: what a plugin serves to kubelet, and how it announces itself.
 *
 * @packageDocumentation
 */
export {
  type AllocateRequest,
  type AllocateResponse,
  type ContainerAllocateRequest,
  type ContainerAllocateResponse,
  type ContainerPreferredAllocationRequest,
  type ContainerPreferredAllocationResponse,
  type Device,
  type DevicePluginOptions,
  DevicePluginService,
  type ListAndWatchResponse,
  type PreferredAllocationRequest,
  type PreferredAllocationResponse,
  type RegisterRequest,
  RegistrationService,
} from '../gen/deviceplugin/v1beta1/deviceplugin.ts'
export { registerDevicePlugin } from './register.ts'
export { serveDevicePlugin, type ServedDevicePlugin, type ServeDevicePluginOptions } from './serve.ts'
export * from './types.ts'
