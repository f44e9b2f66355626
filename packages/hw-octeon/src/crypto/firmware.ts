import { ifPresent, type Machine } from '@cni-offload/linux/machine'
import type { CptSilicon } from './stepping.ts'

/** Files of microcode that the driver loads when the first virtual function is made, in its order. */
export const CPT_FIRMWARE_FILES: readonly string[] = ['ae.out', 'se.out', 'ie.out']

/** Folder of the microcode below the firmware folder. */
export interface CptFirmware {
  /** Such as `mrvl/cpt04`. */
  readonly folder: string
  /** Why that one. */
  readonly because: string
}

/**
 * Which microcode the driver wants. CN10KA A0 and A1, and others that are switched to its mode by devlink, take `cpt04`; later silicon
 * `cpt05`; CN9K the one of its revision.
 *
 * @param t106Mode - whether devlink's `t106_mode` is 1
 */
export function cptFirmware(silicon: CptSilicon, t106Mode: boolean = false): CptFirmware {
  const of = silicon.name
  if (silicon.family === 'CN9K') return { folder: `mrvl/cpt${String(silicon.revision).padStart(2, '0')}`, because: `the card is ${of}` }
  if (silicon.early) return { folder: 'mrvl/cpt04', because: `the card is ${of}` }
  return t106Mode
    ? { folder: 'mrvl/cpt04', because: `the card is ${of} with t106_mode 1` }
    : { folder: 'mrvl/cpt05', because: `the card is ${of}` }
}

/** Where the kernel looks for firmware beside the folder of its parameter; folders of the running release come before the common ones. */
const BASES = (release: string): readonly string[] =>
  [`/lib/firmware/updates/${release}`, '/lib/firmware/updates', `/lib/firmware/${release}`, '/lib/firmware'].filter(
    (base) => !base.endsWith('/'),
  )

/** Endings that kernels can unpack. */
const ENDINGS: readonly string[] = ['', '.xz', '.zst']

/** Files of microcode that the kernel will not find. */
export async function missingFirmware(machine: Machine, { folder }: CptFirmware): Promise<readonly string[]> {
  const [extra = '', release = ''] = await Promise.all([
    ifPresent(machine.read('/sys/module/firmware_class/parameters/path')),
    ifPresent(machine.read('/proc/sys/kernel/osrelease')),
  ])
  const bases = [extra.trim(), ...BASES(release.trim())].filter((base) => base !== '')
  const names = new Set<string>()
  for (const base of bases)
    for (const name of (await ifPresent(machine.list(`${base}/${folder}`), ['ENOENT', 'ENOTDIR'])) ?? []) names.add(name)
  return CPT_FIRMWARE_FILES.filter((file) => !ENDINGS.some((ending) => names.has(`${file}${ending}`)))
}
