import { type ErrorCode, OffloadError } from '@cni-offload/sdk'
import { errnoOf } from '../machine/machine.ts'
import type { PciDevice } from './device.ts'
import { refused } from './refused.ts'

interface Meaning {
  readonly code: ErrorCode
  readonly why: (pf: PciDevice, enabled: number) => string
  readonly hint: string
}

/** What the kernel and drivers mean by an error of `sriov_numvfs`. */
const MEANINGS: Readonly<Record<string, Meaning>> = {
  ENOSRIOV: {
    code: 'HARDWARE_FAILURE',
    why: () => 'the function is not capable of SR-IOV',
    hint: 'Name the physical function; if it is one, switch SR-IOV on in the firmware of card and machine.',
  },
  ERANGE: {
    code: 'INVALID_CONFIG',
    why: ({ sriov }) => `a whole number from 0 to ${sriov?.total ?? 0} (sriov_totalvfs) is expected`,
    hint: 'Ask for fewer VFs, or give the card firmware settings with more.',
  },
  EINVAL: {
    code: 'INVALID_CONFIG',
    why: ({ driver, sriov }) => `driver ${driver} has fewer VFs than that, although sriov_totalvfs is ${sriov?.total ?? 0} (EINVAL)`,
    hint: 'Ask for fewer VFs; the kernel log (dmesg) may name the largest number.',
  },
  EBUSY: {
    code: 'KERNEL_REFUSED',
    why: () => 'somebody else has enabled VFs meanwhile (EBUSY)',
    hint: 'Only one may set the number of VFs: look for another operator, a systemd unit or a udev rule that does.',
  },
  EAGAIN: {
    code: 'NOT_READY',
    why: ({ driver }) => `driver ${driver} is not ready, because the card is not (EAGAIN)`,
    hint: 'Wait until the firmware or the control plane of the card runs, and try again.',
  },
  ENOENT: {
    code: 'HARDWARE_FAILURE',
    why: ({ driver }) =>
      driver === undefined
        ? 'the function has no driver (ENOENT)'
        : `driver ${driver} does not let VFs be made, or lacks a file of firmware (ENOENT)`,
    hint: 'Load the driver of the physical function; the kernel log (dmesg) names what else is missing.',
  },
  EPERM: {
    code: 'ALREADY_EXISTS',
    why: () => 'VFs are assigned to virtual machines (EPERM)',
    hint: 'Stop the virtual machines that have VFs of this card.',
  },
  FEWER: {
    code: 'HARDWARE_FAILURE',
    why: ({ driver }, enabled) => `driver ${driver} has enabled only ${enabled}, which stay`,
    hint: 'Ask for that many, or see in the kernel log (dmesg) why there are not more.',
  },
}

/** What a refused number of VFs means. @param reason - the system's error, or a name from the table above */
export function vfCountRefused(reason: unknown, file: string, count: number, pf: PciDevice, enabled: number = 0): OffloadError {
  const name = typeof reason === 'string' ? reason : (errnoOf(reason) ?? '')
  const meaning = MEANINGS[name]
  if (meaning === undefined) return refused(reason, file, String(count))
  const cause = typeof reason === 'string' ? {} : { cause: reason }
  return new OffloadError(meaning.code, `${file} = ${count}: ${meaning.why(pf, enabled)}`, { hint: meaning.hint, ...cause })
}
