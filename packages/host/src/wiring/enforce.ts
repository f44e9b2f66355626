import {
  askedVfSettings,
  type AttachResult,
  formatVfId,
  type HostDevice,
  OffloadError,
  type OpContext,
  type VfAdminSettings,
} from '@cni-offload/sdk'
import type { AttachmentRow } from '../journal/types.ts'
import { reached } from '../steps.ts'

/**
 * What a VF's physical function has to enforce. A VF without an interface gets the MAC of the network, too, where that can be: nobody else
 * sets it, and the network on the DPU may take no other.
 */
export function settingsOf({ userspace, vfMac, intent }: AttachmentRow, { mac, vf }: AttachResult): VfAdminSettings | undefined {
  const own = userspace === undefined || mac === vfMac || intent.hostEnforces?.includes('mac') !== true
  return own ? vf : { mac, ...vf }
}

/** What settings of a VF need to be enforced. */
export interface Enforcing {
  /** Hardware. */
  readonly device: Pick<HostDevice, 'name' | 'configure' | 'deviations'>
}

/**
 * Has a VF's physical function enforce what the network asks for. It is done before the pod's interface may speak, and undone by the
 * release of the VF. Where nothing is asked for nothing is called.
 *
 * @throws OffloadError HARDWARE_FAILURE
 */
export async function enforce(
  { device }: Enforcing,
  { vf }: Pick<AttachmentRow, 'vf'>,
  settings: VfAdminSettings | undefined,
  ctx: OpContext,
): Promise<void> {
  const asked = askedVfSettings(settings)
  if (settings === undefined || asked.length === 0) return
  if (device.configure === undefined)
    throw new OffloadError(
      'HARDWARE_FAILURE',
      `VF ${formatVfId(vf)}: ${asked.join(', ')} cannot be enforced by hardware "${device.name}"`,
      {
        hint: 'The agent has asked for what this host does not offer. Are both of the same release?',
      },
    )
  await device.configure(vf, settings, ctx)
  ctx.log.info({ vf: formatVfId(vf), settings }, 'the physical function enforces settings of the VF')
  reached('host.vf.enforced')
}

/**
 * What a VF's physical function does not enforce (any more), as readable phrases.
 *
 * @throws OffloadError HARDWARE_FAILURE when it cannot be asked
 */
export async function unenforced({ device }: Enforcing, row: AttachmentRow, ctx: OpContext): Promise<readonly string[]> {
  const { vf, result } = row
  const settings = result === undefined ? undefined : settingsOf(row, result)
  const asked = askedVfSettings(settings)
  if (settings === undefined || asked.length === 0) return []
  if (device.deviations === undefined) return [`hardware "${device.name}" cannot tell of ${asked.join(', ')} of VF ${formatVfId(vf)}`]
  return (await device.deviations(vf, settings, ctx)).map((phrase) => `VF ${formatVfId(vf)}: ${phrase}`)
}
