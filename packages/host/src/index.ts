/**
 * The host daemon: VF leases, pod wiring and the way to the DPU. `createHost` assembles one in code; `offload-host
 * --config host.yaml` does it by file.
 *
 * @packageDocumentation
 */
export type { AgentClient } from './agent/agent-link.ts'
export { hostOptions, readHostConfig } from './config/load.ts'
export type { HostConfig } from './config/schema.ts'
export { type DeviceInfo, deviceInfo, type PciDeviceInfo, vfDeviceInfo } from './device-info/device-info.ts'
export { DEFAULT_DEVICE_INFO_DIR, DeviceInfoFiles, type DeviceInfoKind } from './device-info/device-info-files.ts'
export type { Allocation, DevicePluginConfig, DeviceResource, VfSelector } from './device-plugin/config.ts'
export type { FallbackConfig, FallbackOptions, FallbackTrigger } from './fallback/config.ts'
export { type FallbackReason, NETWORK_ANNOTATION } from './fallback/plan.ts'
export type { FallbackPhase } from './fallback/types.ts'
export { createHost, type Host } from './host.ts'
export type { DpuInspection, HostInspection } from './inspect.ts'
export type { HostIpamOptions } from './ipam/config.ts'
export type { IpamRunner, IpamRunners } from './ipam/runners.ts'
export { SqliteJournal } from './journal/sqlite-journal.ts'
export type * from './journal/types.ts'
export { DEFAULT_LIMITS, type HostLimits } from './limits.ts'
export { LOG_LEVELS, type LogLevel, stderrLogger } from './log.ts'
export { DEFAULT_SOCKET, DEFAULT_STATE_DIR, type HostOptions, type HostParts } from './options.ts'
export type { PluginPhase } from './plugins/types.ts'
export type { CallFailure } from './server/recent-failures.ts'
export type { HostState } from './state.ts'
export { HOST_STEPS, type HostStep } from './steps.ts'
