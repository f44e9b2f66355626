import { type SecurityAssociation, securityAssociations } from '@cni-offload/linux/ipsec'
import type { Machine } from '@cni-offload/linux/machine'
import { type PciDevice, readPciDevice } from '@cni-offload/linux/pci'
import { OffloadError } from '@cni-offload/sdk'
import { type PortTable, sdpPorts } from '../../map/ports.ts'
import { type DoctorContext, doctorContext } from '../context.ts'
import { broken, fine, type OcteonCheck } from '../finding.ts'
import { managementFinding } from '../management-link.ts'
import { netdevsOf } from '../netdev.ts'
import { type AgentExpectations, agentChecks } from './agent-checks.ts'
import { cryptoChecks } from './crypto.ts'
import { deferredFinding, pemFinding, portFinding, sdpRvuFinding } from './functions.ts'
import { swapFinding } from './swap.ts'

/** What is expected of a card on its DPU. */
export interface OcteonDpuExpectations extends AgentExpectations {
  /** How many VFs the host has; any number by default. */
  readonly vfs?: number | undefined
  /** The configured map of ports. */
  readonly ports?: PortTable | undefined
  /** Address of the host on the management link, without prefix length; nobody is asked by default. */
  readonly managementPeer?: string | undefined
  /** The kernel's associations of IPsec. @defaultValue those of this process's network namespace */
  readonly associations?: (() => readonly SecurityAssociation[]) | undefined
}

const FUNCTION = 'octeon.dpu.function'
const PORTS = 'octeon.dpu.ports'

/** All that is to be looked at on the DPU. Reads nothing before the checks are run. */
export function octeonDpuChecks(machine: Machine, expected: OcteonDpuExpectations = {}): readonly OcteonCheck[] {
  const context = doctorContext(machine)
  return [
    functionCheck(context),
    {
      id: PORTS,
      title: "the other ends of the host's functions are there and have their driver",
      after: [FUNCTION],
      run: async () => portFinding(await context.inventory(), expected),
    },
    {
      id: 'octeon.dpu.pem',
      title: 'the PCI link shows itself to the control agent',
      after: [FUNCTION],
      run: async () => pemFinding(await context.inventory()),
    },
    {
      id: 'octeon.dpu.sdp-rvu',
      title: 'the packet interfaces for the control agent are complete',
      after: [FUNCTION],
      run: async () => sdpRvuFinding(await context.inventory()),
    },
    {
      id: 'octeon.dpu.deferred',
      title: 'no driver of the card waits for another',
      after: [FUNCTION],
      run: async () => await deferredFinding(machine, await context.inventory()),
    },
    ...agentChecks(context, expected, FUNCTION),
    { id: 'octeon.dpu.swap', title: 'there is no swap', run: async () => await swapFinding(machine) },
    ...managementCheck(context, expected),
    ...cryptoChecks(context, expected.associations ?? securityAssociations, FUNCTION),
  ]
}

function functionCheck(context: DoctorContext): OcteonCheck {
  return {
    id: FUNCTION,
    title: 'this is the inside of a card',
    run: async () => {
      const { side, chip, layout } = await context.inventory()
      if (side === 'host') return broken('functions of a card on its host', 'this is not the DPU', 'Run it with --side host.')
      if (side === undefined)
        return broken(
          'no PCI function of an OCTEON',
          'this is no DPU of the family',
          "Is the right --root given, and is /sys the machine's?",
        )
      const where = { af: 'SDP at the admin function', sdp: 'SDP of its own' }
      const what = [chip?.part ?? 'an unknown part', chip?.stepping, layout === undefined ? undefined : where[layout]]
      return fine(what.filter((one) => one !== undefined).join(', '))
    },
  }
}

function managementCheck(
  { machine, inventory }: DoctorContext,
  { ports, managementPeer: peer }: OcteonDpuExpectations,
): readonly OcteonCheck[] {
  const end = async (): Promise<PciDevice> => {
    const { management } = sdpPorts(await inventory(), ports)
    const found = await readPciDevice(machine, management)
    if (found !== undefined) return found
    throw new OffloadError('HARDWARE_FAILURE', `${management} has gone`, { hint: 'Rescan the bus: echo 1 > /sys/bus/pci/rescan' })
  }
  const link: OcteonCheck = {
    id: 'octeon.dpu.link',
    title: "the port of the host's physical function is up",
    after: [PORTS],
    run: async () => {
      const port = await end()
      const [netdev] = await netdevsOf(machine, port)
      if (netdev === undefined)
        return broken(
          `${port.address} has no interface here`,
          'the management link goes over it',
          'Bind rvu_nicvf to it, or bring its interface to this namespace.',
        )
      const { name, up } = netdev
      return up
        ? fine(`${name} at ${port.address}, up`)
        : broken(`${name} is down`, 'the management link goes over it', `ip link set ${name} up`)
    },
  }
  if (peer === undefined) return [link]
  const ping: OcteonCheck['run'] = async (signal) => {
    const [netdev] = await netdevsOf(machine, await end())
    if (netdev === undefined) return broken('no interface', 'the management link goes over it', 'See octeon.dpu.link.')
    return await managementFinding(machine, netdev, peer, 'host', signal)
  }
  return [link, { id: 'octeon.dpu.management', title: 'the host answers over the management link', after: [link.id], run: ping }]
}
