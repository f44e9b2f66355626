import type { SecurityAssociation } from '@cni-offload/linux/ipsec'
import type { Machine } from '@cni-offload/linux/machine'
import { OffloadError } from '@cni-offload/sdk'
import { type CptBlock, readCptBlocks } from '../../crypto/blocks.ts'
import { CPT_DRIVERS, cptAlgorithms, selectionOf } from '../../crypto/drivers.ts'
import { kernelAlgorithms, planCpt } from '../../crypto/enable.ts'
import { describeFaults, faultyRegisters } from '../../crypto/fault-registers.ts'
import { cptFirmware, missingFirmware } from '../../crypto/firmware.ts'
import { type CptFunction, cptFunctionsAmong } from '../../crypto/functions.ts'
import { describeAssociation, lateAssociations } from '../../crypto/late-associations.ts'
import { readT106Mode } from '../../crypto/mode.ts'
import { cptSilicon } from '../../crypto/stepping.ts'
import type { DoctorContext } from '../context.ts'
import { broken, doubtful, fine, type OcteonCheck, type OcteonFinding, some, unseen } from '../finding.ts'

const ENABLED = 'octeon.dpu.cpt'

/** Whether the crypto engine can take part in IPsec, and does. */
export function cryptoChecks(
  { machine, inventory }: DoctorContext,
  associations: () => readonly SecurityAssociation[],
  after: string,
): readonly OcteonCheck[] {
  const engines = async (): Promise<readonly CptFunction[]> => cptFunctionsAmong((await inventory()).functions.map(({ pci }) => pci))
  return [
    {
      id: 'octeon.dpu.cpt-firmware',
      title: 'the microcode of the crypto engine is there',
      after: [after],
      run: async (signal) => await firmwareFinding(machine, await engines(), signal),
    },
    {
      id: ENABLED,
      title: "the kernel's IPsec has the crypto engine",
      after: [after],
      run: async (signal) => await enabledFinding(machine, await engines(), signal),
    },
    {
      id: 'octeon.dpu.cpt-associations',
      title: 'no association is older than the crypto engine',
      after: [ENABLED],
      run: async () => await lateFinding(machine, associations),
    },
    {
      id: 'octeon.dpu.cpt-faults',
      title: 'the crypto engine shows no faults',
      after: [after],
      run: async () => await faultFinding(machine, await engines()),
    },
  ]
}

async function firmwareFinding(machine: Machine, [cpt]: readonly CptFunction[], signal: AbortSignal): Promise<OcteonFinding> {
  if (cpt === undefined) return unseen('there is no crypto engine')
  const firmware = cptFirmware(cptSilicon(cpt.pf), await readT106Mode(machine, cpt.pf.address, signal))
  const missing = await missingFirmware(machine, firmware)
  const seen = `/lib/firmware/${firmware.folder}, as ${firmware.because}`
  if (missing.length === 0) return fine(seen)
  const remedy = `Copy lib/firmware/${firmware.folder} of the SDK's root file system to the DPU.`
  // It is read once, when the first virtual function is made.
  return cpt.vfs.length > 0
    ? doubtful(seen, `${missing.join(', ')} is not there any more: the engine works until the next boot`, remedy)
    : broken(seen, `${missing.join(', ')} is missing: the kernel answers ENOENT to sriov_numvfs`, remedy)
}

async function enabledFinding(machine: Machine, functions: readonly CptFunction[], signal: AbortSignal): Promise<OcteonFinding> {
  if (functions.length === 0) return unseen('there is no crypto engine')
  const plan = await planCpt(machine, signal, functions)
  const { pf } = plan.found
  if (plan.kind === 'enable')
    return doubtful(
      `${pf.address} has no virtual function`,
      'IPsec is done by the CPU',
      `echo 1 > ${plan.file}, before there are associations of IPsec: those keep what they began with.`,
    )
  const served = cptAlgorithms(await kernelAlgorithms(machine))
  if (served.length > 0) return fine(`${pf.address}, for ${some(served, 2)}`)
  return broken(
    `${pf.address} has ${plan.found.vfs.length} virtual functions`,
    'new associations get another driver: see /proc/crypto for entries of cpt_, their priority and selftest',
    'See what dmesg says of rvu_cptvf.',
  )
}

async function lateFinding(machine: Machine, read: () => readonly SecurityAssociation[]): Promise<OcteonFinding> {
  const associations = readable(read)
  if ('missing' in associations) return unseen(associations.missing, 'Run it as root in the network namespace of the node.')
  const algorithms = await kernelAlgorithms(machine)
  const selections = Object.keys(CPT_DRIVERS).map((name) => selectionOf(algorithms, name))
  const late = lateAssociations(associations.all, selections)
  const seen = `${associations.all.length} associations, ${selections.reduce((sum, { users }) => sum + users, 0)} uses of the engine`
  if (late.some.length === 0) return fine(seen)
  const shown = some(late.some.map(describeAssociation))
  return doubtful(
    seen,
    late.sure ? `these began without it and keep the CPU: ${shown}` : `some began without it and keep the CPU; they are among ${shown}`,
    'Rotate the key: offload ipsec rotate. The engine has to be there before associations, at each boot.',
  )
}

function readable(
  read: () => readonly SecurityAssociation[],
): { readonly all: readonly SecurityAssociation[] } | { readonly missing: string } {
  try {
    return { all: read() }
  } catch (error) {
    return { missing: OffloadError.from(error).message }
  }
}

async function faultFinding(machine: Machine, functions: readonly CptFunction[]): Promise<OcteonFinding> {
  if (functions.length === 0) return unseen('there is no crypto engine')
  const blocks = await readCptBlocks(machine).catch((error: unknown) => OffloadError.from(error))
  if (OffloadError.is(blocks)) return unseen(blocks.message, blocks.hint)
  if (blocks.every(({ faults }) => faults === undefined)) return unseen('this kernel does not tell')
  const shown = blocks.flatMap(faultsOf)
  if (shown.length === 0) return fine('none')
  return broken(
    shown.join('; '),
    'packets that it had were lost',
    'See dmesg for CPTAF. If more come, boot the card anew and see its firmware.',
  )
}

const faultsOf = ({ folder, faults = [] }: CptBlock): readonly string[] => {
  const faulty = faultyRegisters(faults)
  return faulty.length === 0 ? [] : [`${folder}: ${describeFaults(faulty)}`]
}
