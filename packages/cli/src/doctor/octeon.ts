import { octeonDpuChecks, octeonDpuExpectations, octeonHostChecks } from '@cni-offload/hw-octeon'
import { localMachine, type Machine } from '@cni-offload/linux/machine'
import type { PluginReference } from '@cni-offload/sdk/runtime'
import { z } from 'zod'
import type { Check } from './check.ts'

/** Hardware whose own checks are made. */
export type CheckedHardware = 'octeon'

/** What somebody has said of the hardware; the configuration says the rest. */
export interface HardwareChoice {
  /** Which it is, whatever is configured. */
  readonly hardware?: CheckedHardware | undefined
  /** Folder that the machine's files are in. @defaultValue the one of the configuration, else `/` */
  readonly root?: string | undefined
  /** Address of the other side on the management link. @defaultValue the other one of the pair that is configured */
  readonly managementPeer?: string | undefined
  /** Folder of the DPU half's state. @defaultValue nobody runs it */
  readonly stateDir?: string | undefined
  /** The machine. @defaultValue the one that this runs on */
  readonly machine?: Machine | undefined
}

const PACKAGE = '@cni-offload/hw-octeon'

/** What of the backend's options is of use here. What is wrong with them, the check of the configuration says. */
const expectations = z.looseObject({
  root: z.string().optional().catch(undefined),
  pf: z.string().optional().catch(undefined),
  vfs: z.number().optional().catch(undefined),
  managementAddress: z.string().optional().catch(undefined),
  controlAgent: z
    .looseObject({
      setup: z
        .looseObject({ managementAddress: z.string().optional().catch(undefined) })
        .optional()
        .catch(undefined),
    })
    .optional()
    .catch(undefined),
})

/**
 * The checks of the hardware of one side; none unless it is known to be an OCTEON.
 *
 * @param configured - backend that the configuration names
 */
export function hardwareChecks(side: 'host' | 'dpu', configured: PluginReference | undefined, choice: HardwareChoice): readonly Check[] {
  const own = configured !== undefined && isOcteon(configured) ? configured : undefined
  if (choice.hardware !== 'octeon' && own === undefined) return []
  const { root, pf, vfs, managementAddress, controlAgent } = expectations.parse(own?.options ?? {})
  const machine = choice.machine ?? localMachine(choice.root ?? root ?? '/')
  const managementPeer = choice.managementPeer ?? otherEnd(managementAddress ?? controlAgent?.setup?.managementAddress)
  if (side === 'host') return octeonHostChecks(machine, { pf, vfs, managementPeer })
  const expected = own === undefined ? {} : octeonDpuExpectations(own.options ?? {}, choice.stateDir)
  return octeonDpuChecks(machine, { ...expected, managementPeer })
}

/** By the package's name, or by the folder of it where a path is given. */
const isOcteon = ({ plugin }: PluginReference): boolean => plugin === PACKAGE || /(?:^|\/)hw-octeon(?:\/|$)/.test(plugin)

/** The ends of a management link are 1 and 2 of its network unless somebody has numbered them in another way. */
function otherEnd(cidr: string | undefined): string | undefined {
  const [, prefix, last] = /^(.*[.:])([12])\/\d+$/.exec(cidr ?? '') ?? []
  return prefix === undefined ? undefined : `${prefix}${last === '1' ? '2' : '1'}`
}
