import type { Machine } from '@cni-offload/linux/machine'
import type { PciDevice } from '@cni-offload/linux/pci'
import { hostFunction } from '../../map/host-functions.ts'
import { type DoctorContext, doctorContext } from '../context.ts'
import { broken, fine, type OcteonCheck } from '../finding.ts'
import { macFinding } from '../macs.ts'
import { managementFinding } from '../management-link.ts'
import { netdevsOf } from '../netdev.ts'
import { driverFinding, flavourFinding } from './drivers.ts'
import { firmwareFinding, heartbeatFinding } from './firmware.ts'
import { linkFinding } from './link.ts'
import { vfCountFinding, vfDriverFinding } from './vfs.ts'

/** What is expected of a card on its host. */
export interface OcteonHostExpectations {
  /** Address of its physical function; may be omitted where there is only one. */
  readonly pf?: string | undefined
  /** How many VFs it is to have; any number by default. */
  readonly vfs?: number | undefined
  /** Address of the DPU on the management link, without prefix length; nobody is asked by default. */
  readonly managementPeer?: string | undefined
}

const FUNCTION = 'octeon.host.function'
const DRIVER = 'octeon.host.driver'

/** All that is to be looked at on the host of a card. Reads nothing before the checks are run. */
export function octeonHostChecks(machine: Machine, expected: OcteonHostExpectations = {}): readonly OcteonCheck[] {
  const context = doctorContext(machine)
  const pf = async (): Promise<PciDevice> => hostFunction(await context.inventory(), expected.pf)
  return [
    functionCheck(context, pf),
    {
      id: DRIVER,
      title: 'the driver has the card',
      after: [FUNCTION],
      run: async () => await driverFinding(machine, await pf()),
    },
    {
      id: 'octeon.host.flavour',
      title: 'the driver says what it cannot do',
      after: [DRIVER],
      run: async (signal) => await flavourFinding(machine, await pf(), await context.log(signal)),
    },
    {
      id: 'octeon.host.firmware',
      title: 'the firmware of the card is ready, and speaks the version of the driver',
      after: [FUNCTION],
      run: async (signal) => firmwareFinding(await pf(), await context.log(signal)),
    },
    {
      id: 'octeon.host.heartbeats',
      title: 'the heartbeats of the card come',
      after: [DRIVER],
      run: async (signal) => {
        const own = await pf()
        return heartbeatFinding(own, await context.log(signal), (await netdevsOf(machine, own))[0])
      },
    },
    {
      id: 'octeon.host.link',
      title: 'the interface of the physical function is up',
      after: [DRIVER],
      run: async () => await linkFinding(machine, await pf()),
    },
    {
      id: 'octeon.host.vfs',
      title: 'there are as many VFs as there should be',
      after: [DRIVER],
      run: async (signal) => await vfCountFinding(machine, await pf(), expected.vfs, signal),
    },
    {
      id: 'octeon.host.vf-drivers',
      title: 'each VF has its driver and an interface',
      after: ['octeon.host.vfs'],
      run: async () => vfDriverFinding(await vfsOf(context, await pf())),
    },
    {
      id: 'octeon.host.macs',
      title: 'the addresses of the functions are their own',
      after: [DRIVER],
      run: async () => {
        const own = await pf()
        return await macFinding(machine, [own, ...(await vfsOf(context, own))])
      },
    },
    ...managementCheck(machine, pf, expected.managementPeer),
  ]
}

function functionCheck(context: DoctorContext, pf: () => Promise<PciDevice>): OcteonCheck {
  return {
    id: FUNCTION,
    title: 'the card is there',
    run: async () => {
      const { side, chip } = await context.inventory()
      if (side === 'dpu') return broken('functions of the inside of a card', 'this is the DPU, not its host', 'Run it with --side dpu.')
      const { address } = await pf()
      return fine(`${address}, ${chip?.part ?? 'an unknown part'} ${chip?.stepping ?? ''}`.trim())
    },
  }
}

const vfsOf = async (context: DoctorContext, pf: PciDevice): Promise<readonly PciDevice[]> =>
  (await context.inventory()).functions.map((one) => one.pci).filter(({ physfn }) => physfn === pf.address)

function managementCheck(machine: Machine, pf: () => Promise<PciDevice>, peer: string | undefined): readonly OcteonCheck[] {
  if (peer === undefined) return []
  const run: OcteonCheck['run'] = async (signal) => {
    const own = await pf()
    const [netdev] = await netdevsOf(machine, own)
    if (netdev === undefined)
      return broken(`${own.address} has no interface here`, 'the management link goes over it', 'See octeon.host.link.')
    return await managementFinding(machine, netdev, peer, 'DPU', signal)
  }
  return [{ id: 'octeon.host.management', title: 'the DPU answers over the management link', after: ['octeon.host.link'], run }]
}
