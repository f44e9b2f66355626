import { ifPresent, type Machine } from '@cni-offload/linux/machine'
import { hasDriver, type PciDevice } from '@cni-offload/linux/pci'
import { deferredDevices } from '../deferred.ts'
import { broken, doubtful, fine, type OcteonFinding, unseen } from '../finding.ts'
import { flavourInLog, type KernelLog } from '../kernel-log.ts'

/** Driver of the physical function. */
export const PF_DRIVER = 'octeon_ep'

/** Whether the driver has the physical function, and if not, what it waits for. */
export async function driverFinding(machine: Machine, { address, driver }: PciDevice): Promise<OcteonFinding> {
  if (driver === PF_DRIVER) return fine(`${driver} has ${address}`)
  const free = `${address} has ${driver === undefined ? 'no driver' : `driver ${driver}`}`
  if (driver !== undefined)
    return broken(
      free,
      `${PF_DRIVER} is expected`,
      `Give it back: echo ${address} > /sys/bus/pci/drivers/${driver}/unbind; clear driver_override; modprobe ${PF_DRIVER}.`,
    )
  if (!(await hasDriver(machine, PF_DRIVER))) return broken(free, `${PF_DRIVER} is not loaded`, `modprobe ${PF_DRIVER}`)
  const reason = (await deferredDevices(machine))?.get(address)
  const again = `echo ${address} > /sys/bus/pci/drivers_probe`
  return reason === undefined
    ? broken(free, `${PF_DRIVER} is loaded and did not take it: dmesg says why`, `Then: ${again}`)
    : broken(
        free,
        `it waits in devices_deferred${reason === '' ? '' : ` (${reason})`}: the firmware of the card was not ready when it looked`,
        `Start octep_cp_agent on the DPU, then: ${again}. The kernel looks again only when another driver comes.`,
      )
}

/** Whether the driver refuses what it does not do, or says yes to it. */
export async function flavourFinding(machine: Machine, { address }: PciDevice, log: KernelLog | undefined): Promise<OcteonFinding> {
  const taint = await ifPresent(machine.read(`/sys/module/${PF_DRIVER}/taint`))
  const inLog = log === undefined ? undefined : flavourInLog(log, address)
  const flavour = taint === undefined ? inLog : taint.includes('O') ? 'out-of-tree' : (inLog ?? 'upstream')
  if (flavour === undefined) return unseen('neither the module nor the log of the kernel tells which driver it is')
  if (flavour === 'upstream') return fine('the driver of Linux')
  return doubtful(
    "Marvell's driver",
    'it accepts VLAN, MAC, trust, spoof check, rate and link state of a VF, and does nothing of it',
    'Set none of these in network configurations of SR-IOV; addresses that cni-offload sets on the interface itself hold. Linux 6.14 has a ' +
      'driver that refuses what it does not do.',
  )
}
