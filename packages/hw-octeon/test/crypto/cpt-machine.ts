import { CPT, cryptoText, SOFT } from '../support/crypto-entries.ts'
import { counterText, faultText, statusText } from '../support/counter-text.ts'
import { MemoryMachine } from '../support/memory-machine.ts'
import { type PciFunction, plug, unplug } from '../support/pci-function.ts'

/** A CPT that a card of the test has. */
export const PF = '0002:20:00.0'
export const VF = '0002:20:00.1'
export const NUMVFS = `/sys/bus/pci/devices/${PF}/sriov_numvfs`
export const FOLDER = '/sys/kernel/debug/cn10k/cpt'

/**
 * A DPU with a CPT and its firmware, without virtual functions; writing to `sriov_numvfs` makes them as the driver does: not without
 * its firmware, and with algorithms in the kernel afterwards.
 */
export function cptMachine(pf: Partial<PciFunction> = {}, firmware: string = 'mrvl/cpt04'): MemoryMachine {
  const machine = new MemoryMachine({
    '/proc/crypto': cryptoText(SOFT),
    '/proc/sys/kernel/osrelease': '6.1.67-marvell\n',
    '/proc/net/xfrm_stat': 'XfrmInError             \t0\n',
    [`${FOLDER}/cpt_pc`]: counterText(71n),
    [`${FOLDER}/cpt_err_info`]: faultText(),
    [`${FOLDER}/cpt_se_sts`]: statusText,
  })
  for (const kind of ['ae', 'se', 'ie']) machine.files.set(`/lib/firmware/${firmware}/${kind}.out`, '')
  plug(machine, PF, { device: 'a0f2', driver: 'rvu_cptpf', totalVfs: 128, ...pf })
  machine.onWrite.set(NUMVFS, (text) => {
    if (text === '0') {
      unplug(machine, VF)
      machine.files.set('/proc/crypto', cryptoText(SOFT))
      return undefined
    }
    if (!machine.files.has(`/lib/firmware/${firmware}/ie.out`)) return 'ENOENT'
    plugVf(machine)
    machine.files.set('/proc/crypto', cryptoText(SOFT, CPT))
    return undefined
  })
  return machine
}

export const plugVf = (machine: MemoryMachine, driver: string = 'rvu_cptvf'): void =>
  plug(machine, VF, { device: 'a0f3', physfn: PF, driver })
