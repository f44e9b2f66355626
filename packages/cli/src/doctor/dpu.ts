import { networkInterfaces } from 'node:os'
import { join } from 'node:path'
import { type CiliumOptions, ciliumOptions, expectationsOf } from '@cni-offload/adapter-cilium'
import { type AgentConfig, HARDWARE_FOLDER, readAgentConfig } from '@cni-offload/agent'
import { createLinuxNet } from '@cni-offload/linux'
import { type Clock, OffloadError, parseWith } from '@cni-offload/sdk'
import type { Kubectl } from '../kubectl/kubectl.ts'
import { hardwareCheck, listChecks, type LoadedAdapter, loadAdapters } from './adapters.ts'
import { type Check, ok, skipped } from './check.ts'
import { agentChecks, type AgentSubject } from './cilium/agent-checks.ts'
import { clusterChecks } from './cilium/cluster-checks.ts'
import { configMapChecks } from './cilium/config-map.ts'
import { certificateChecks } from './general/certificates.ts'
import { folderCheck } from './general/folder.ts'
import { kernelChecks } from './general/kernel.ts'
import { listenCheck } from './general/listens.ts'
import { type HardwareChoice, hardwareChecks } from './octeon.ts'

/** The cluster of a DPU, if it is to be looked at. */
export interface ClusterOptions {
  /** kubectl. */
  readonly kubectl: Kubectl
  /** Whether somebody has asked for it: then it is a failure that there is none. */
  readonly asked: boolean
  /** Namespace of Cilium's ConfigMap. */
  readonly ciliumNamespace: string
}

/** What is looked at on a DPU. */
export interface DpuDoctorOptions extends HardwareChoice {
  /** Path of `agent.yaml`. */
  readonly config: string
  /** Whether the rest is of use without it. */
  readonly configOptional?: boolean | undefined
  /** Socket of cilium-agent; those of the configuration's adapters by default. */
  readonly ciliumSocket?: string | undefined
  /** Name of the host's node; that of the configuration by default. */
  readonly node?: string | undefined
  /** The cluster. */
  readonly cluster?: ClusterOptions | undefined
  /** Time. */
  readonly clock: Clock
}

/** The checks of a DPU. Reads the configuration and loads what it names, and does nothing else yet. */
export async function dpuChecks(options: DpuDoctorOptions): Promise<readonly Check[]> {
  const loaded = await load(options)
  const cilium = ciliumSubjects(options, loaded.adapters)
  const node = options.node ?? cilium.map(({ expected }) => expected.nodeName).find((name) => name !== undefined) ?? loaded.config?.node
  const families = cilium.flatMap(({ expected }) => expected.families ?? [])
  return [
    ...loaded.checks,
    ...hardwareChecks('dpu', loaded.config?.hardware, {
      ...options,
      stateDir: loaded.config === undefined ? undefined : join(loaded.config.stateDir, HARDWARE_FOLDER),
    }),
    ...kernelChecks({
      net: createLinuxNet,
      scratch: `offload-doctor-${process.pid}`,
      families: families.length === 0 ? ['ipv4'] : [...new Set(families)],
    }),
    ...cilium.flatMap(agentChecks),
    ...(cilium.length === 0 ? [] : cluster(options.cluster, node)),
  ]
}

interface Loaded {
  readonly config?: AgentConfig
  readonly adapters: readonly LoadedAdapter[]
  readonly checks: readonly Check[]
}

async function load({ config: file, configOptional, clock }: DpuDoctorOptions): Promise<Loaded> {
  try {
    const config = await readAgentConfig(file)
    const adapters = await loadAdapters(config, file)
    const after = ['agent.config']
    const checks = [
      configCheck(() => ok(`${file}, node ${config.node}`)),
      ...certificateChecks({ role: 'agent', node: config.node, tls: config.tls }, clock, after),
      folderCheck('agent.state', config.stateDir, after),
      listenCheck(config.listen, after),
      await hardwareCheck(config, file),
      ...adapters.map(({ check }) => check),
      ...listChecks(adapters),
    ]
    return { config, adapters, checks }
  } catch (error) {
    const failure = OffloadError.from(error)
    const check = configCheck(() => {
      if (configOptional === true) return skipped(failure.message, failure.hint)
      throw failure
    })
    return { adapters: [], checks: [check] }
  }
}

/** The agents of all adapters, each once. */
function ciliumSubjects({ ciliumSocket, node }: DpuDoctorOptions, adapters: readonly LoadedAdapter[]): readonly AgentSubject[] {
  const subjects = new Map<string, AgentSubject>()
  const configured = adapters
    .filter(({ name }) => name === 'cilium')
    .map(({ network, options }) => ({ network, options: optionsOf(options, network) }))
  for (const { network, options } of configured) {
    const socket = ciliumSocket ?? options.socket
    if (subjects.has(socket)) continue
    const expected = { ...expectationsOf(options), nodeName: node ?? options.nodeName }
    subjects.set(socket, { id: subjects.size === 0 ? 'cilium' : `cilium.${network}`, socket, expected })
  }
  if (subjects.size === 0 && ciliumSocket !== undefined) return [{ id: 'cilium', socket: ciliumSocket, expected: { nodeName: node } }]
  return [...subjects.values()]
}

const optionsOf = (options: unknown, network: string): CiliumOptions =>
  parseWith(ciliumOptions, options, `options of network ${network}`, 'INVALID_CONFIG')

function cluster(options: ClusterOptions | undefined, node: string | undefined): readonly Check[] {
  if (options === undefined) return []
  const { kubectl, asked, ciliumNamespace } = options
  if (node === undefined)
    return [{ id: 'k8s.api', title: 'the cluster', run: () => skipped('the name of the node is not known', 'Give --node.') }]
  const addresses = Object.values(networkInterfaces()).flatMap((entries) => (entries ?? []).map(({ address }) => address))
  return [...clusterChecks({ kubectl, asked, node, addresses }), ...configMapChecks(kubectl, ciliumNamespace, ['k8s.api'])]
}

const configCheck = (run: Check['run']): Check => ({ id: 'agent.config', title: 'the configuration can be used', run })
