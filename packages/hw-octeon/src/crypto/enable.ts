import { type CryptoAlgorithm, parseCryptoAlgorithms, type SecurityAssociation } from '@cni-offload/linux/ipsec'
import { errnoOf, type Machine, pollUntil } from '@cni-offload/linux/machine'
import { setVfCount } from '@cni-offload/linux/pci'
import { type Clock, OffloadError } from '@cni-offload/sdk'
import { CPT_DRIVERS, ESP_GCM, selectionOf } from './drivers.ts'
import { type CptFirmware, cptFirmware, missingFirmware } from './firmware.ts'
import { CPT_PF_DRIVER, CPT_VF_DRIVER, type CptFunction, cptFunctions, kernelVfs } from './functions.ts'
import { lateAssociations } from './late-associations.ts'
import { readT106Mode } from './mode.ts'
import { cptSilicon } from './stepping.ts'

/** Registration tries each algorithm on the hardware, a few at a time. */
const LOOK_EVERY_MS = 50
/** Selftests of all algorithms take well below a second where the engines answer; a driver that hangs in them never ends. */
const REGISTERED_WITHIN_MS = 30_000

/** What CPT is switched on with. */
export interface CptEnableOptions {
  /** Ends the waits. */
  readonly signal: AbortSignal
  /** Time. */
  readonly clock: Clock
  /** The kernel's associations, to tell which ones do without CPT because they are older. @defaultValue nobody looks */
  readonly associations?: (() => readonly SecurityAssociation[]) | undefined
}

/** What {@link enableCpt} found and did. */
export interface CptEnabled {
  /** The physical function. */
  readonly pf: string
  /** Its virtual functions that the kernel has. */
  readonly vfs: readonly string[]
  /** False if it was so before: nothing was written. */
  readonly changed: boolean
  /** Associations that keep the CPU, as they began before CPT was there: only new ones or a new key get CPT. */
  readonly late: readonly SecurityAssociation[]
}

/** What stands in the way of CPT, or what is to be done. */
export type CptPlan =
  | { readonly kind: 'done'; readonly found: CptFunction }
  | { readonly kind: 'enable'; readonly found: CptFunction; readonly file: string; readonly from: string; readonly to: string }

/**
 * Says what {@link enableCpt} would do. Changes nothing.
 *
 * @param functions - the CPT functions of the machine, for whoever has read them already
 * @throws OffloadError NOT_FOUND (no CPT), NOT_READY (driver, firmware, or user space has all of it), HARDWARE_FAILURE
 */
export async function planCpt(machine: Machine, signal: AbortSignal, functions?: readonly CptFunction[]): Promise<CptPlan> {
  const all = functions ?? (await cptFunctions(machine))
  const ready = all.find((one) => kernelVfs(one).length > 0)
  if (ready !== undefined) return { kind: 'done', found: ready }
  const [found] = all
  if (found === undefined)
    throw new OffloadError('NOT_FOUND', 'no CPT: no PCI function 177d:a0f2 or 177d:a0fd', {
      hint: 'It is on the card: run this on the DPU. Firmware may also have switched it off.',
    })
  const { pf, vfs } = found
  if (pf.driver !== CPT_PF_DRIVER)
    throw new OffloadError('NOT_READY', `CPT ${pf.address} has ${pf.driver === undefined ? 'no driver' : `driver ${pf.driver}`}`, {
      hint: `Load it: modprobe ${CPT_PF_DRIVER}. Does dmesg say "AF is not initialized, deferring probe", then rvu_af has to come first.`,
    })
  if (vfs.length > 0)
    throw new OffloadError(
      'NOT_READY',
      `CPT ${pf.address} has ${vfs.length} virtual functions, none of them the kernel's: ${vfs.map(({ address, driver }) => `${address} (${driver ?? 'no driver'})`).join(', ')}`,
      {
        hint: `Give one of them to the kernel: write its address to /sys/bus/pci/drivers/${CPT_VF_DRIVER}/bind. User space keeps the others.`,
      },
    )
  const firmware = await wantedFirmware(machine, found, signal)
  const missing = await missingFirmware(machine, firmware)
  if (missing.length > 0) throw firmwareMissing(pf.address, firmware, missing)
  return { kind: 'enable', found, file: `/sys/bus/pci/devices/${pf.address}/sriov_numvfs`, from: '0', to: '1' }
}

/**
 * Makes a virtual CPT function, which is enough for all CPUs, and waits until the kernel has its algorithms and takes them for new
 * associations. Changes nothing where the kernel has one.
 *
 * @throws OffloadError as {@link planCpt}; NOT_READY if the algorithms did not come; PERMISSION_DENIED, KERNEL_REFUSED, CANCELLED
 */
export async function enableCpt(machine: Machine, { signal, clock, associations }: CptEnableOptions): Promise<CptEnabled> {
  const plan = await planCpt(machine, signal)
  const { pf } = plan.found
  if (plan.kind === 'enable') await makeVf(machine, plan.found, signal, clock)
  const algorithms = await registered(machine, pf.address, signal, clock)
  const after = (await cptFunctions(machine)).find((one) => one.pf.address === pf.address)
  const selections = Object.keys(CPT_DRIVERS).map((name) => selectionOf(algorithms, name))
  return {
    pf: pf.address,
    vfs: (after === undefined ? [] : kernelVfs(after)).map(({ address }) => address),
    changed: plan.kind === 'enable',
    late: associations === undefined ? [] : lateAssociations(associations(), selections).some,
  }
}

/**
 * Undoes {@link enableCpt}. Refused while anything uses it: associations would be left without their driver.
 *
 * @throws OffloadError ALREADY_EXISTS (in use), KERNEL_REFUSED, PERMISSION_DENIED
 */
export async function disableCpt(machine: Machine, pf: string, { signal, clock }: CptEnableOptions): Promise<void> {
  const algorithms = await kernelAlgorithms(machine)
  const users = Object.keys(CPT_DRIVERS).reduce((sum, name) => sum + selectionOf(algorithms, name).users, 0)
  const use = users === 0 ? undefined : `${users} associations of IPsec`
  await setVfCount(machine, pf, 0, { signal, clock, inUse: () => Promise.resolve(use) })
}

async function makeVf(machine: Machine, found: CptFunction, signal: AbortSignal, clock: Clock): Promise<void> {
  const { pf } = found
  try {
    await setVfCount(machine, pf.address, 1, {
      signal,
      clock,
      inUse: () => Promise.resolve(undefined),
      isSettled: ({ driver }) => driver !== undefined,
    })
  } catch (error) {
    // The driver passes on what its firmware loader says; of SR-IOV itself the same reason would mean that there is no driver.
    const reason = error instanceof Error ? errnoOf(error.cause) : undefined
    if (reason === 'ENOENT') throw firmwareMissing(pf.address, await wantedFirmware(machine, found, signal), undefined, error)
    throw error
  }
}

async function registered(machine: Machine, pf: string, signal: AbortSignal, clock: Clock): Promise<readonly CryptoAlgorithm[]> {
  const look = async (): Promise<readonly CryptoAlgorithm[] | undefined> => {
    const algorithms = await kernelAlgorithms(machine)
    return selectionOf(algorithms).cpt?.tested === true ? algorithms : undefined
  }
  const patience = { clock, signal, everyMs: LOOK_EVERY_MS, withinMs: REGISTERED_WITHIN_MS }
  const algorithms = await pollUntil(look, patience, `algorithms of CPT ${pf}`)
  if (algorithms !== undefined) return algorithms
  throw new OffloadError('NOT_READY', `CPT ${pf}: ${CPT_DRIVERS[ESP_GCM]} is not in /proc/crypto, or has not passed its selftest`, {
    hint: `See what dmesg says of ${CPT_VF_DRIVER}. Does the kernel have CONFIG_CRYPTO_DEV_OCTEONTX2_CPT, and rvu_cptvf as a module?`,
  })
}

/** Entries of `/proc/crypto`. @throws OffloadError UNDECODABLE, IO_FAILURE */
export async function kernelAlgorithms(machine: Machine): Promise<readonly CryptoAlgorithm[]> {
  const path = '/proc/crypto'
  const text = await machine.read(path).catch((error: unknown) => Promise.reject(OffloadError.from(error, 'IO_FAILURE', path)))
  return parseCryptoAlgorithms(text)
}

const wantedFirmware = async (machine: Machine, { pf }: CptFunction, signal: AbortSignal): Promise<CptFirmware> =>
  cptFirmware(cptSilicon(pf), await readT106Mode(machine, pf.address, signal))

function firmwareMissing(
  pf: string,
  { folder, because }: CptFirmware,
  missing: readonly string[] | undefined,
  cause?: unknown,
): OffloadError {
  const which = missing === undefined ? 'what the kernel wants of it' : missing.join(', ')
  return new OffloadError(
    'NOT_READY',
    `CPT ${pf} has no microcode: ${which} is not in /lib/firmware/${folder} (that folder, as ${because})`,
    {
      ...(cause === undefined ? {} : { cause }),
      hint: `Copy lib/firmware/${folder} of the SDK's root file system to the DPU. Until then the kernel answers ENOENT to sriov_numvfs.`,
    },
  )
}
