import { readFile } from 'node:fs/promises'
import { OffloadError, parseWith } from '@cni-offload/sdk'
import { parse } from 'yaml'
import { z } from 'zod'
import type { FakeAgentConfig } from './daemon-view.ts'
import type { PodRanges } from './ipam.ts'
import type { ApiLimit, LimitedGroup } from './rate-limit.ts'
import { CILIUM_VERSIONS, type CiliumVersion } from './version.ts'

/** Configuration of a fake agent that is a process of its own: the options of the same names, as far as a file can hold them. */
export interface FakeProcessConfig {
  /** Path of its unix socket. */
  readonly socket: string
  /** File in which endpoints outlive a restart. */
  readonly stateFile: string
  /** Release that it behaves as. The newest by default. */
  readonly version?: CiliumVersion
  /** Name of the node that it believes to be on. */
  readonly nodeName: string
  /** Ranges of the pods; IPv6 ones end in `::`. */
  readonly ranges: PodRanges
  /** Ranges of further pools by name, for the IPAM mode `multi-pool`. None by default. */
  readonly pools?: Readonly<Record<string, PodRanges>>
  /** How many addresses of each range pods may have. All by default. */
  readonly poolSize?: number
  /** How it is configured, where that differs from a stock agent. */
  readonly config?: Partial<FakeAgentConfig>
  /** Limits of its API; those of a stock agent by default. */
  readonly limits?: Readonly<Record<LimitedGroup, ApiLimit>>
  /** How long an endpoint takes to build, milliseconds. 0 by default. */
  readonly buildMs?: number
  /** Whether pods of any name are taken for pods of this node. */
  readonly anyPod?: boolean
  /** Folder of the {@link FakeCluster} that it learns of pods, policies and other nodes from. */
  readonly cluster?: string
}

const limit: z.ZodType<ApiLimit> = z.strictObject({
  ratePerSecond: z.number().positive().exactOptional(),
  burst: z.int().min(1).exactOptional(),
  parallel: z.int().min(1).exactOptional(),
  maxWaitMs: z.int().min(0).exactOptional(),
})

const agentConfig: z.ZodType<Partial<FakeAgentConfig>> = z.strictObject({
  datapathMode: z.enum(['veth', 'netkit', 'netkit-l2']).exactOptional(),
  ipamMode: z.string().exactOptional(),
  deviceMtu: z.int().min(1280).max(65_535).exactOptional(),
  routeMtu: z.int().min(0).max(65_535).exactOptional(),
  ipLocalReservedPorts: z.string().exactOptional(),
  packetizationLayerPMTUDMode: z.enum(['0', '1', '2', '']).exactOptional(),
  bbrHostNamespaceOnly: z.boolean().exactOptional(),
  chainingMode: z.string().exactOptional(),
  hostRouting: z.enum(['BPF', 'Legacy']).exactOptional(),
  encryption: z.enum(['Disabled', 'IPsec', 'Wireguard']).exactOptional(),
  kubeProxyReplacement: z.boolean().exactOptional(),
  socketLb: z.enum(['none', 'host', 'all']).exactOptional(),
})

const ranges: z.ZodType<PodRanges> = z.strictObject({ ipv4: z.cidrv4().exactOptional(), ipv6: z.cidrv6().exactOptional() })

const processConfig: z.ZodType<FakeProcessConfig> = z.strictObject({
  socket: z.string().min(1),
  stateFile: z.string().min(1),
  version: z.enum(CILIUM_VERSIONS).exactOptional(),
  nodeName: z.string().min(1),
  ranges,
  pools: z.record(z.string(), ranges).exactOptional(),
  poolSize: z.int().min(1).exactOptional(),
  config: agentConfig.exactOptional(),
  limits: z
    .strictObject({
      'endpoint-create': limit,
      'endpoint-delete': limit,
      'endpoint-get': limit,
      'endpoint-patch': limit,
      'endpoint-list': limit,
    })
    .exactOptional(),
  buildMs: z.int().min(0).exactOptional(),
  anyPod: z.boolean().exactOptional(),
  cluster: z.string().min(1).exactOptional(),
})

/** Reads the configuration of a fake agent that is a process. @throws OffloadError INVALID_CONFIG */
export async function readFakeConfig(file: string): Promise<FakeProcessConfig> {
  try {
    return parseWith(processConfig, parse(await readFile(file, 'utf8')), file, 'INVALID_CONFIG')
  } catch (error) {
    throw OffloadError.from(error, 'INVALID_CONFIG', `cannot use ${file}`)
  }
}
