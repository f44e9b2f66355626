import { cniName } from '@cni-offload/sdk'
import { limitsSchema, type PluginReference } from '@cni-offload/sdk/runtime'
import { z } from 'zod'
import { DEFAULT_DEVICE_INFO_DIR } from '../device-info/device-info-files.ts'
import { type DevicePluginConfig, devicePluginConfig } from '../device-plugin/config.ts'
import { type FallbackConfig, fallbackConfig } from '../fallback/config.ts'
import { type HostIpamOptions, hostIpamOptions } from '../ipam/config.ts'
import { DEFAULT_LIMITS, type HostLimits } from '../limits.ts'
import { LOG_LEVELS, type LogLevel } from '../log.ts'
import { DEFAULT_SOCKET, DEFAULT_STATE_DIR } from '../options.ts'

/** `host.yaml`, parsed. */
export interface HostConfig {
  /** Name of this node. */
  readonly node: string
  /** Unix socket that the shim talks to. */
  readonly socket: string
  /** Folder for journal and plugin state. */
  readonly stateDir: string
  /** The agent on the DPU, and the PEM files to talk to it. */
  readonly agent: { readonly address: string; readonly tls: { readonly ca: string; readonly cert: string; readonly key: string } }
  /** Host half of the hardware backend. */
  readonly hardware: PluginReference
  /** Network that pods may get on the host instead of a VF. */
  readonly fallback?: FallbackConfig | undefined
  /** IPAM plugins of networks whose addresses are given on this host. */
  readonly ipam?: HostIpamOptions | undefined
  /** Where metrics are served. */
  readonly metrics?: { readonly listen: string } | undefined
  /** Device information files: where `cni/` and `dp/` of the specification lie. */
  readonly deviceInfo: { readonly dir: string }
  /** VFs as resources that kubelet counts. */
  readonly devicePlugin?: DevicePluginConfig | undefined
  /** Times and concurrency that differ from the defaults. */
  readonly limits?: Partial<HostLimits> | undefined
  /** Where the file system of the host is mounted. */
  readonly root: string
  /** Log. */
  readonly log: { readonly level: LogLevel }
}

const path = z.string('a path').min(1)

/** Schema of {@link HostConfig}. Unknown keys are refused: a misspelt one would be a setting that silently does not hold. */
export const hostConfig: z.ZodType<HostConfig> = z.strictObject({
  node: cniName.max(253),
  socket: path.default(DEFAULT_SOCKET),
  stateDir: path.default(DEFAULT_STATE_DIR),
  agent: z.strictObject({
    address: z.string().regex(/^(tcp:\/\/.+:\d{1,5}|unix:\/.+)$/, 'tcp://host:port or unix:/path'),
    tls: z.strictObject({ ca: path, cert: path, key: path }, 'paths of the PEM files ca, cert and key'),
  }),
  hardware: z.strictObject({
    plugin: z.string('a package name or the path of a module').min(1),
    export: z.string().min(1).optional(),
    options: z.record(z.string(), z.unknown()).optional(),
  }),
  fallback: fallbackConfig.optional(),
  ipam: hostIpamOptions.optional(),
  metrics: z.strictObject({ listen: z.string('host:port').min(1) }).optional(),
  deviceInfo: z
    .strictObject({ dir: z.string().regex(/^\//, 'an absolute path').default(DEFAULT_DEVICE_INFO_DIR) })
    .default({ dir: DEFAULT_DEVICE_INFO_DIR }),
  devicePlugin: devicePluginConfig.optional(),
  limits: limitsSchema(DEFAULT_LIMITS, ['reconcileMs', 'restartMs']).optional(),
  root: path.default('/'),
  log: z.strictObject({ level: z.enum(LOG_LEVELS).default('info') }).default({ level: 'info' }),
})
