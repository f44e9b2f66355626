import { mkdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type FakeProcessConfig, installFakeCiliumCni } from '@cni-offload/testing/cilium'
import { stringify } from 'yaml'
import { podSubnets } from './addresses.ts'
import type { LabCilium } from './model.ts'

/** What the fake cilium-agent of a node is made from. */
export interface CiliumInput {
  /** Folder of the node. */
  readonly dir: string
  /** Name of the node. */
  readonly name: string
  /** Number of the node, from 1. */
  readonly index: number
  /** Addresses that pods may get. */
  readonly pool: number
  /** Folder of the cluster that the agents of all nodes share. */
  readonly cluster: string
}

/** Limits that docs/guides/cilium.md recommends for a DPU; a stock agent begins with a tenth. */
const LIMITS: NonNullable<FakeProcessConfig['limits']> = {
  'endpoint-create': { ratePerSecond: 5, burst: 10, parallel: 4, maxWaitMs: 30_000 },
  'endpoint-delete': { parallel: 4 },
  'endpoint-get': { ratePerSecond: 40, burst: 40, parallel: 4, maxWaitMs: 10_000 },
  'endpoint-patch': { ratePerSecond: 5, burst: 10, parallel: 4, maxWaitMs: 30_000 },
  'endpoint-list': { ratePerSecond: 10, burst: 10, parallel: 2 },
}

/** Where the fake cilium-agent of a node keeps its endpoints. A real one has them in memory: they do not outlive a reboot. */
export function ciliumStateFile(nodeDir: string): string {
  return join(nodeDir, 'cilium', 'endpoints.json')
}

/** Where the fake cilium-cni of a node lies. */
export function ciliumPlugins(nodeDir: string): string {
  return join(nodeDir, 'cilium', 'bin')
}

/** Writes the configuration of a node's fake cilium-agent, and puts its plugin into place. */
export async function prepareCilium({ dir, name, index, pool, cluster }: CiliumInput): Promise<LabCilium> {
  const cilium: LabCilium = {
    pid: null,
    config: join(dir, 'cilium.yaml'),
    log: join(dir, 'cilium.log'),
    socket: join(dir, 'cilium.sock'),
  }
  const pods = podSubnets(index, pool)
  const config: FakeProcessConfig = {
    socket: cilium.socket,
    stateFile: ciliumStateFile(dir),
    // As on a real DPU: the agent takes the place of the host's.
    nodeName: name,
    ranges: { ipv4: pods.ipv4.subnet, ipv6: pods.ipv6.subnet },
    poolSize: pool,
    limits: LIMITS,
    // Whoever calls the shim of a lab need not have told anybody of the pod.
    anyPod: true,
    cluster,
  }
  await mkdir(join(dir, 'cilium'), { recursive: true, mode: 0o700 })
  await writeFile(cilium.config, stringify(config))
  await installFakeCiliumCni(ciliumPlugins(dir))
  return cilium
}

/** What a reboot takes from a cilium-agent that has ended. */
export async function rebootCilium(nodeDir: string, { socket }: LabCilium): Promise<void> {
  for (const file of [socket, ciliumStateFile(nodeDir)]) await rm(file, { force: true })
}
