import type { KernelLog } from '../kernel/log.ts'
import { parseUnsigned, parseYesNo } from '../kernel/numbers.ts'
import { Refusal } from '../system-error.ts'
import { attribute, type Entries, link, readable } from '../tree/entry.ts'
import type { PciFunction } from './function.ts'

const U16 = 0xffff

/** The files of a physical function that has virtual ones. */
export function sriovAttributes(pf: PciFunction, log: KernelLog): Entries {
  const { sriov } = pf.spec
  if (sriov === undefined) return {}
  return {
    sriov_totalvfs: readable(`${sriov.total}\n`),
    sriov_numvfs: attribute(
      () => `${pf.vfCount}\n`,
      (text) => setVfCount(pf, text, log),
    ),
    sriov_offset: readable(`${sriov.offset}\n`),
    sriov_stride: readable(`${sriov.stride}\n`),
    sriov_vf_device: readable(`${sriov.device}\n`),
    sriov_vf_total_msix: readable('0\n'),
    sriov_drivers_autoprobe: attribute(
      () => (pf.vfAutoprobe ? '1\n' : '0\n'),
      (text) => void (pf.vfAutoprobe = parseYesNo(text)),
    ),
    ...Object.fromEntries(pf.vfs.map(({ index, address }) => [`virtfn${index}`, link(`../${address}`)])),
  }
}

/** What the kernel does with a number that is written to `sriov_numvfs`, in its order. */
async function setVfCount(pf: PciFunction, text: string, log: KernelLog): Promise<void> {
  const wanted = parseUnsigned(text, U16)
  if (wanted > (pf.spec.sriov?.total ?? 0)) throw new Refusal('ERANGE')
  if (wanted === pf.vfCount) return
  const say = (message: string): void => log.of(pf.driver?.name ?? 'pci', pf.address, message)
  if (pf.driver === undefined) {
    say('no driver bound to device; cannot configure SR-IOV')
    throw new Refusal('ENOENT')
  }
  const { configureSriov } = pf.driver
  if (configureSriov === undefined) {
    say('Driver does not support SRIOV configuration via sysfs')
    throw new Refusal('ENOENT')
  }
  if (wanted !== 0 && pf.vfCount !== 0) {
    say(`${pf.vfCount} VFs already enabled. Disable before enabling ${wanted} VFs`)
    throw new Refusal('EBUSY')
  }
  const enabled = await configureSriov(pf, wanted)
  if (enabled !== wanted) say(`${wanted} VFs requested; only ${enabled} enabled`)
}
