import { OffloadError } from '@cni-offload/sdk'
import { hostFunction } from '../map/host-functions.ts'
import { type PortTable, sdpPorts } from '../map/ports.ts'
import { functionsOf, type OcteonFunctions, SDP_PORT } from '../pci/functions.ts'
import type { Change } from './change.ts'
import { planCrypto } from './crypto.ts'
import { planFile } from './files.ts'
import { AGENT_MEMORY_MIB, planHugepages, planHugepagesMount } from './hugepages.ts'
import { MANAGEMENT_ADDRESSES, planManagementLink } from './management-link.ts'
import { planModule } from './modules.ts'
import type { SetupSite } from './site.ts'
import { planVfio } from './vfio.ts'

/** What the control agent needs of the DPU; `agentGeneration` knows it. */
export interface AgentNeeds {
  /** Module that has to be loaded. */
  readonly module: string
  /** Functions that it gets through vfio-pci, by address. */
  readonly vfio: readonly string[]
  /** Whether it needs huge pages. */
  readonly hugepages: boolean
}

/** What a set-up is to reach. */
export interface SetupWish {
  /** What the control agent needs; only on a DPU. */
  readonly agent?: AgentNeeds
  /** The control agent's configuration; only on a DPU. */
  readonly config?: { readonly path: string; readonly text: string }
  /**
   * Addresses with prefix length of this end of the management link, which joins the host's physical function and the DPU's first port.
   * Empty for no link. @defaultValue 192.168.1.1/24 on the DPU, 192.168.1.2/24 on the host
   */
  readonly addresses?: readonly string[]
  /** The host's physical function, where there are several. */
  readonly pf?: string
  /** The map of ports, where it cannot be known. */
  readonly ports?: PortTable
  /** Whether the kernel gets a function of the crypto engine; only on a DPU. Associations of IPsec have to be made after that. @defaultValue false */
  readonly crypto?: boolean
}

/**
 * What has to be changed on a machine, in order: the DPU's modules, huge pages, functions for user space, configuration of the control
 * agent, crypto engine, and its end of the management link, or the host's modules and its end. Nothing is changed by asking, and what is right already is
 * not in it.
 *
 * @throws OffloadError HARDWARE_FAILURE (not a machine with a card, or functions are missing), INVALID_CONFIG, NOT_READY
 */
export async function planSetup(
  inventory: Pick<OcteonFunctions, 'side' | 'functions'>,
  wish: SetupWish,
  site: SetupSite,
): Promise<Change[]> {
  switch (inventory.side) {
    case 'dpu':
      return await planDpu(inventory, wish, site)
    case 'host':
      return await planHost(inventory, wish, site)
    case undefined:
      throw new OffloadError('HARDWARE_FAILURE', 'this machine has no PCI function of an OCTEON: there is nothing to set up', {
        hint: 'See whether the card is seated, has power and has booted; `offload octeon inventory` lists its functions.',
      })
  }
}

async function planDpu(inventory: Pick<OcteonFunctions, 'functions'>, wish: SetupWish, site: SetupSite): Promise<Change[]> {
  const { machine } = site
  const { agent, config, addresses = [MANAGEMENT_ADDRESSES.dpu], ports, crypto = false } = wish
  const changes: Change[] = []
  if (functionsOf(inventory, SDP_PORT).some(({ driver }) => driver === undefined))
    changes.push(...(await planModule(machine, 'rvu_nicvf', 'rvu_nicvf')))
  if (agent !== undefined) {
    changes.push(...(await planModule(machine, agent.module, agent.module)))
    if (agent.hugepages) changes.push(...(await planHugepages(machine, AGENT_MEMORY_MIB)), ...(await planHugepagesMount(machine)))
    changes.push(...(await planVfio(machine, agent.vfio)))
  }
  if (config !== undefined) changes.push(...(await planFile(machine, config.path, config.text)))
  // Before the link over which somebody may be waiting to make associations: those keep what they began with.
  if (crypto) changes.push(...(await planCrypto(machine, site.signal)))
  if (addresses.length > 0) changes.push(...(await planManagementLink(site, sdpPorts(inventory, ports).management, addresses)))
  return changes
}

async function planHost(inventory: Pick<OcteonFunctions, 'functions'>, wish: SetupWish, site: SetupSite): Promise<Change[]> {
  const { agent, config, addresses = [MANAGEMENT_ADDRESSES.host], pf, crypto = false } = wish
  if (agent !== undefined || config !== undefined || crypto) {
    throw new OffloadError('INVALID_CONFIG', 'control agent and crypto engine are of the DPU: a host cannot be set up for them', {
      hint: 'Run this on the DPU.',
    })
  }
  const { address } = hostFunction(inventory, pf)
  const modules = [
    ...(await planModule(site.machine, 'octeon_ep', 'octeon_ep')),
    ...(await planModule(site.machine, 'octeon_ep_vf', 'octeon_ep_vf')),
  ]
  return addresses.length === 0 ? modules : [...modules, ...(await planManagementLink(site, address, addresses))]
}
