import type { LinuxNet, NetnsPath } from '@cni-offload/linux'
import type { TlsFiles } from '@cni-offload/protocol'
import type { Clock, ConfiguredPlugin, Logger } from '@cni-offload/sdk'
import type { AgentClient } from './agent/agent-link.ts'
import type { DevicePluginConfig } from './device-plugin/config.ts'
import type { FallbackOptions } from './fallback/config.ts'
import type { HostIpamOptions } from './ipam/config.ts'
import type { IpamRunners } from './ipam/runners.ts'
import type { HostLimits } from './limits.ts'

/** Where the shim looks for the daemon unless told otherwise. */
export const DEFAULT_SOCKET: string = '/run/cni-offload/host.sock'

/** Where the daemon keeps its state unless told otherwise. */
export const DEFAULT_STATE_DIR: string = '/var/lib/cni-offload/host'

/** What a host daemon is made of. */
export interface HostOptions {
  /** Name of this node; the agent's certificate must name it. */
  readonly node: string
  /** Host half of the hardware backend. */
  readonly hardware: ConfiguredPlugin<'host-device'>
  /** The agent on the DPU: `tcp://host:port` or `unix:/path`, and the PEM files to talk to it. */
  readonly agent: { readonly address: string; readonly tls: TlsFiles }
  /** Network that pods may get on the host instead of a VF. @defaultValue none: every pod is offloaded or fails */
  readonly fallback?: FallbackOptions
  /** IPAM plugins of networks whose addresses are given on this host. @defaultValue they are found by the runtime's CNI_PATH */
  readonly ipam?: HostIpamOptions
  /** Unix socket that the shim talks to. @defaultValue `/run/cni-offload/host.sock` */
  readonly socket?: string
  /** Folder for journal and plugin state. @defaultValue `/var/lib/cni-offload/host` */
  readonly stateDir?: string
  /** Where `/metrics` and `/healthz` are served, `host:port`. @defaultValue nowhere */
  readonly metrics?: string
  /** Folder of device information files. @defaultValue `/var/run/k8s.cni.cncf.io/devinfo` */
  readonly deviceInfoDir?: string
  /** VFs as resources that kubelet counts. @defaultValue nothing is advertised */
  readonly devicePlugin?: DevicePluginConfig
  /** Where the file system of the host is mounted, which tells its boot id. @defaultValue `/` */
  readonly root?: string
  /** Log. @defaultValue JSON on standard error, level info */
  readonly log?: Logger
  /** Time. @defaultValue the machine's */
  readonly clock?: Clock
  /** Times and concurrency that differ from {@link DEFAULT_LIMITS}. */
  readonly limits?: Partial<HostLimits>
}

/** Parts that stand in for the daemon's own, for embedding and for tests. What is given here is not disposed by the daemon. */
export interface HostParts {
  /** Kernel. @defaultValue rtnetlink on a thread of its own */
  readonly net?: LinuxNet
  /** Client of the agent. @defaultValue gRPC over mTLS to `options.agent` */
  readonly agent?: AgentClient
  /** IPAM plugins, by the folders that they are in. @defaultValue the programs there */
  readonly ipam?: IpamRunners
  /** Namespace that free VFs lie in. @defaultValue the process's own */
  readonly netns?: NetnsPath
}
