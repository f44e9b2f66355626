import type { Machine } from '@cni-offload/linux/machine'
import { disableCpt, enableCpt, planCpt } from '../crypto/enable.ts'
import { CPT_VF_DRIVER, cptFunctions } from '../crypto/functions.ts'
import type { CryptoChange, ModuleChange } from './change.ts'
import { type ChangeKind, reversed } from './kind.ts'
import { planModule } from './modules.ts'

/**
 * The changes that give the kernel a function of the crypto engine, none if it has one.
 *
 * @throws OffloadError as `planCpt`: NOT_FOUND, NOT_READY (driver, microcode, or user space has all of it), HARDWARE_FAILURE
 */
export async function planCrypto(machine: Machine, signal: AbortSignal): Promise<(ModuleChange | CryptoChange)[]> {
  const plan = await planCpt(machine, signal)
  if (plan.kind === 'done') return []
  return [...(await planModule(machine, CPT_VF_DRIVER, CPT_VF_DRIVER)), { kind: 'crypto', function: plan.found.pf.address }]
}

const cryptoEdits = ({ function: address }: CryptoChange) => [
  { target: `/sys/bus/pci/devices/${address}/sriov_numvfs`, before: '0', after: '1' },
]

/** Giving the kernel a function of the crypto engine: associations that are made from then on use it, and no older ones. */
export const cryptoKind: ChangeKind<CryptoChange> = {
  edits: cryptoEdits,
  undoEdits: (change) => reversed(cryptoEdits(change)),
  async apply(_, { machine, signal, clock }) {
    await enableCpt(machine, { signal, clock })
  },
  async undo({ function: address }, { machine, signal, clock }) {
    const engine = (await cptFunctions(machine)).find(({ pf }) => pf.address === address)
    const enabled = engine?.pf.sriov?.enabled ?? 0
    if (engine === undefined || enabled === 0) return 'nothing'
    // One function was made, for the kernel: what is there now is somebody else's, who may be using it.
    if (enabled > 1) return { left: `${address}: somebody has made ${enabled} functions of it since` }
    const [other] = engine.vfs.filter(({ driver }) => driver !== undefined && driver !== CPT_VF_DRIVER)
    if (other !== undefined) return { left: `${address}: ${other.driver} has its function ${other.address} since` }
    await disableCpt(machine, address, { signal, clock })
    return 'undone'
  },
}
