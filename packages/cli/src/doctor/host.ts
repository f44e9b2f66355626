import { readHostConfig } from '@cni-offload/host'
import { DEFAULT_INSTALL_STATE_DIR } from '@cni-offload/host/install'
import { type Clock, OffloadError } from '@cni-offload/sdk'
import { type Check, ok, skipped } from './check.ts'
import { certificateChecks } from './general/certificates.ts'
import { folderCheck } from './general/folder.ts'
import { hostDaemonChecks } from './general/host-daemon.ts'
import { installationChecks } from './general/installation.ts'
import { type HardwareChoice, hardwareChecks } from './octeon.ts'

/** What is looked at on a host. */
export interface HostDoctorOptions extends HardwareChoice {
  /** Path of `host.yaml`. */
  readonly config: string
  /** Whether the rest is of use without it. */
  readonly configOptional?: boolean | undefined
  /** Where the installer remembers what it has done. */
  readonly installState?: string | undefined
  /** Time. */
  readonly clock: Clock
}

/** The checks of a host. Reads the configuration, and does nothing else yet. */
export async function hostChecks(options: HostDoctorOptions): Promise<readonly Check[]> {
  const { config: file, configOptional, installState, clock } = options
  const installation = installationChecks(installState ?? DEFAULT_INSTALL_STATE_DIR)
  try {
    const config = await readHostConfig(file)
    const after = ['host.config']
    return [
      configCheck(() => ok(`${file}, node ${config.node}`)),
      ...certificateChecks({ role: 'host', node: config.node, tls: config.agent.tls }, clock, after),
      folderCheck('host.state', config.stateDir, after),
      ...hostDaemonChecks(config, after),
      ...hardwareChecks('host', config.hardware, options),
      ...installation,
    ]
  } catch (error) {
    const failure = OffloadError.from(error)
    return [
      configCheck(() => {
        if (configOptional === true) return skipped(failure.message, failure.hint)
        throw failure
      }),
      ...hardwareChecks('host', undefined, options),
      ...installation,
    ]
  }
}

const configCheck = (run: Check['run']): Check => ({ id: 'host.config', title: 'the configuration can be used', run })
