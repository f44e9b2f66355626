import { readAgentConfig } from '@cni-offload/agent'
import { createLinuxNet } from '@cni-offload/linux'
import { type Clock, OffloadError } from '@cni-offload/sdk'
import { hardwareCheck, listChecks, loadAdapters } from './adapters.ts'
import { type Check, ok } from './check.ts'
import { certificateChecks } from './general/certificates.ts'
import { folderCheck } from './general/folder.ts'
import { kernelChecks } from './general/kernel.ts'

/** What is looked at on a DPU. */
export interface DpuDoctorOptions {
  /** Path of `agent.yaml`. */
  readonly config: string
  /** Time. */
  readonly clock: Clock
}

/** The checks of a DPU. Reads the configuration and loads what it names, and does nothing else yet. */
export async function dpuChecks({ config: file, clock }: DpuDoctorOptions): Promise<readonly Check[]> {
  const kernel = kernelChecks({ net: createLinuxNet, scratch: `offload-doctor-${process.pid}`, families: ['ipv4'] })
  try {
    const config = await readAgentConfig(file)
    const after = ['agent.config']
    const adapters = await loadAdapters(config, file)
    return [
      configCheck(() => ok(`${file}, node ${config.node}`)),
      ...certificateChecks({ role: 'agent', node: config.node, tls: config.tls }, clock, after),
      folderCheck('agent.state', config.stateDir, after),
      await hardwareCheck(config, file),
      ...adapters.map(({ check }) => check),
      ...listChecks(adapters),
      ...kernel,
    ]
  } catch (error) {
    const failure = OffloadError.from(error)
    return [
      configCheck(() => {
        throw failure
      }),
      ...kernel,
    ]
  }
}

const configCheck = (run: Check['run']): Check => ({ id: 'agent.config', title: 'the configuration can be used', run })
