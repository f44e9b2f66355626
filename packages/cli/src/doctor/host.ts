import { readHostConfig } from '@cni-offload/host'
import { DEFAULT_INSTALL_STATE_DIR } from '@cni-offload/host/install'
import { type Clock, OffloadError } from '@cni-offload/sdk'
import { type Check, ok } from './check.ts'
import { certificateChecks } from './general/certificates.ts'
import { folderCheck } from './general/folder.ts'
import { hostDaemonChecks } from './general/host-daemon.ts'
import { installationChecks } from './general/installation.ts'

/** What is looked at on a host. */
export interface HostDoctorOptions {
  /** Path of `host.yaml`. */
  readonly config: string
  /** Where the installer remembers what it has done. */
  readonly installState?: string | undefined
  /** Time. */
  readonly clock: Clock
}

/** The checks of a host. Reads the configuration, and does nothing else yet. */
export async function hostChecks({ config: file, installState, clock }: HostDoctorOptions): Promise<readonly Check[]> {
  const installation = installationChecks(installState ?? DEFAULT_INSTALL_STATE_DIR)
  try {
    const config = await readHostConfig(file)
    const after = ['host.config']
    return [
      configCheck(() => ok(`${file}, node ${config.node}`)),
      ...certificateChecks({ role: 'host', node: config.node, tls: config.agent.tls }, clock, after),
      folderCheck('host.state', config.stateDir, after),
      ...hostDaemonChecks(config, after),
      ...installation,
    ]
  } catch (error) {
    const failure = OffloadError.from(error)
    return [
      configCheck(() => {
        throw failure
      }),
      ...installation,
    ]
  }
}

const configCheck = (run: Check['run']): Check => ({ id: 'host.config', title: 'the configuration can be used', run })
