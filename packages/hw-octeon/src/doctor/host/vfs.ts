import type { Machine } from '@cni-offload/linux/machine'
import { type PciDevice, userspaceDriver } from '@cni-offload/linux/pci'
import { loggedVfMaximum } from '../../map/vf-maximum.ts'
import { broken, doubtful, fine, type OcteonFinding, some } from '../finding.ts'

const VF_DRIVER = 'octeon_ep_vf'

/** Whether there are as many VFs as wanted, and whether the card has rings for that many. */
export async function vfCountFinding(
  machine: Machine,
  { address, sriov, virtfns }: PciDevice,
  wanted: number | undefined,
  signal: AbortSignal,
): Promise<OcteonFinding> {
  if (sriov === undefined)
    return broken(`${address} has no SR-IOV`, 'there can be no VFs', 'Switch SR-IOV on in the firmware of this server, and see dmesg.')
  const most = await loggedVfMaximum(machine, address, signal)
  const seen = `${sriov.enabled} VFs${wanted === undefined ? '' : `, ${wanted} wanted`}, the card has rings for ${most ?? 'an unknown number'}`
  if (wanted !== undefined && most !== undefined && wanted > most)
    return broken(
      seen,
      `the firmware gives no more, whatever sriov_totalvfs (${sriov.total}) says`,
      `Want ${most} at most, or set more SDP functions in the firmware menu of the card: one more than VFs.`,
    )
  const make = `The host daemon makes them; by hand: echo ${wanted ?? most ?? 'N'} > /sys/bus/pci/devices/${address}/sriov_numvfs`
  if (sriov.enabled === 0) return broken(seen, 'there are none for pods', `${make}.`)
  if (virtfns.length !== sriov.enabled)
    return broken(seen, `${virtfns.length} of them have come`, 'Wait; if it stays so, see dmesg, and rescan the bus (/sys/bus/pci/rescan).')
  if (wanted !== undefined && sriov.enabled !== wanted)
    return doubtful(
      seen,
      'the number was set by somebody else, or could not be reached',
      `${make}, after a 0; pods must not have any meanwhile.`,
    )
  return fine(seen)
}

/** Whether each VF has a driver and with it an interface, be it in a pod. */
export function vfDriverFinding(vfs: readonly PciDevice[]): OcteonFinding {
  const without = vfs.filter(({ driver }) => driver === undefined)
  const programs = vfs.filter(({ driver }) => userspaceDriver(driver) !== undefined)
  const others = vfs.filter((vf) => vf.driver !== undefined && vf.driver !== VF_DRIVER && !programs.includes(vf))
  const silent = vfs.filter(({ driver, netdevs }) => driver === VF_DRIVER && netdevs === undefined)
  const away = vfs.filter(({ netdevs }) => netdevs?.length === 0).length
  const ofPrograms = programs.length === 0 ? '' : `, ${programs.length} for programs`
  const seen = `${vfs.length} VFs${away === 0 ? '' : `, ${away} in pods`}${ofPrograms}`
  const names = (some_: readonly PciDevice[]): string => some(some_.map(({ address }) => address))
  if (without.length > 0)
    return broken(
      seen,
      `no driver has ${names(without)}`,
      `modprobe ${VF_DRIVER}; if it is loaded, the control agent on the DPU did not answer it: start that, then write the addresses to /sys/bus/pci/drivers_probe.`,
    )
  if (silent.length > 0)
    return broken(seen, `${names(silent)} made no interface`, `See dmesg for "mbox send command timed out", and octep_cp_agent on the DPU.`)
  if (others.length > 0)
    return doubtful(
      seen,
      `other drivers have ${some(others.map(({ address, driver }) => `${address} (${driver})`))}`,
      'Pods cannot get these; unbind them if that is not wanted.',
    )
  return fine(seen)
}
