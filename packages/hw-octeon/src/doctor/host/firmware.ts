import type { PciDevice } from '@cni-offload/linux/pci'
import { broken, doubtful, fine, type OcteonFinding, unseen } from '../finding.ts'
import { type KernelLog, sinceBroughtUp } from '../kernel-log.ts'
import type { NetdevState } from '../netdev.ts'
import { PF_DRIVER } from './drivers.ts'

const NO_LOG = unseen('the log of the kernel cannot be read', 'Run it as root.')

/** Whether the driver got the firmware ready, by what it logged since it brought the function up last. */
export function firmwareFinding({ address, driver, netdevs }: PciDevice, log: KernelLog | undefined): OcteonFinding {
  if (log === undefined) return NO_LOG
  const lines = sinceBroughtUp(log, address)
  const mismatch = lines.findLast((line) => /version mismatch/.test(line))
  if (mismatch !== undefined)
    return broken(
      mismatch,
      'driver and control agent speak no common version',
      'Update octep_cp_agent on the DPU, or the driver of the host.',
    )
  const notReady = lines.findLast((line) => /Firmware (?:is )?not ready|Firmware ready status = 0|unable to get fw info/i.test(line))
  const works = driver === PF_DRIVER && netdevs !== undefined
  if (works) return fine(`${PF_DRIVER} has brought ${address} up`)
  if (notReady !== undefined)
    return broken(
      notReady,
      'the control agent of the card does not run, or is not ready',
      'Start octep_cp_agent on the DPU, and look there with offload doctor --side dpu.',
    )
  return broken(
    `${address} has no interface`,
    'its driver has not brought it up, and the log does not say why',
    `See dmesg for ${address}, and offload doctor --side dpu on the DPU.`,
  )
}

/**
 * Whether heartbeats were missed since the function was brought up: its driver does not look for them again by itself, also when somebody
 * has brought its interface back.
 *
 * @param link - its interface
 */
export function heartbeatFinding({ address }: PciDevice, log: KernelLog | undefined, link: NetdevState | undefined): OcteonFinding {
  if (log === undefined) return NO_LOG
  const missed = sinceBroughtUp(log, address).findLast((line) => /Missed \d+ heartbeats/.test(line))
  if (missed === undefined) return fine('none was missed')
  if (link?.up === true && link.carrier === true)
    return doubtful(
      missed,
      'its interface is back since, but the driver looks for heartbeats no longer: if the whole DPU stands still, only the host daemon notices',
      'Load the drivers anew when all pods have left their VFs (drain the node); nothing has to be done now.',
    )
  const closed = missed.includes('Uninitializing')
  return broken(
    missed,
    closed ? 'the driver has switched its interface off, and looks for heartbeats no longer' : 'the driver has taken its carrier away',
    'Let octep_cp_agent run on the DPU; then set the interface down and up. The driver watches again only when it is loaded anew, for which ' +
      'all pods have to leave their VFs (drain the node).',
  )
}
